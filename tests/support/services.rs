//! The servers of the distributed mode: those that the environment names, or servers of the tests' own, which
//! `scripts/test-server` starts and which end when this process does, in whatever way.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;

use super::say;

/// The URL of a RabbitMQ: that of `RABBITMQ_URL`, or that of a node which the tests of this process share. None where
/// there is none to be had, and then `test` is said to be skipped.
pub fn rabbitmq(test: &str) -> Option<String> {
    static SHARED: OnceLock<Result<Helper, String>> = OnceLock::new();
    shared(test, "RABBITMQ_URL", "rabbitmq", &SHARED)
}

/// The URI of a MongoDB: that of `MONGODB_URI`, or that of a server which the tests of this process share. None where
/// there is none to be had, and then `test` is said to be skipped.
pub fn mongodb(test: &str) -> Option<String> {
    static SHARED: OnceLock<Result<Helper, String>> = OnceLock::new();
    shared(test, "MONGODB_URI", "mongodb", &SHARED)
}

fn shared(
    test: &str,
    variable: &str,
    kind: &'static str,
    helper: &'static OnceLock<Result<Helper, String>>,
) -> Option<String> {
    if let Some(url) = std::env::var(variable).ok().filter(|url| !url.is_empty()) {
        return Some(url);
    }
    match blocking(|| helper.get_or_init(|| Helper::start(kind))) {
        Ok(helper) => Some(helper.url.clone()),
        Err(missing) => {
            say(&format!("SKIPPED {test}: {missing}"));
            None
        }
    }
}

/// A server of a test's own. It and its files are gone when it is dropped.
pub struct OwnServer(Helper);

impl OwnServer {
    /// Starts a RabbitMQ node, or says what is missing. A server that is installed and does not start fails the test.
    pub fn rabbitmq() -> Option<Self> {
        own("rabbitmq").map(Self)
    }

    /// Starts a MongoDB server in the same way.
    pub fn mongodb() -> Option<Self> {
        own("mongodb").map(Self)
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Ends the server in order; clients see their connections closed.
    #[track_caller]
    pub fn stop(&self) {
        self.0.ask(&["stop"]);
    }

    /// Starts it again, with its data and on its port.
    #[track_caller]
    pub fn start_again(&self) {
        self.0.ask(&["start"]);
    }

    /// SIGKILL.
    #[track_caller]
    pub fn kill(&self) {
        self.0.ask(&["kill"]);
    }

    /// Gives it an order and gives what it answered: to RabbitMQ the arguments of `rabbitmqctl`; to MongoDB a command as
    /// extended JSON, in the database `admin` or the one named second.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.0.ask(&[&["ctl"], arguments].concat())
    }
}

fn own(kind: &'static str) -> Option<Helper> {
    match blocking(|| Helper::start(kind)) {
        Ok(helper) => Some(helper),
        Err(missing) => {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            say(&format!("SKIPPED {test}: {missing}"));
            None
        }
    }
}

/// One `scripts/test-server`. It ends its server when its standard input closes.
struct Helper {
    url: String,
    pipes: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    child: Child,
}

impl Helper {
    /// Starts a server. An error is what is not installed; one that does not start is a panic.
    #[track_caller]
    fn start(kind: &'static str) -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-server");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(kind)
            .env("TURNPIKE_TEST_TOOLS", super::test_tools())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let mut pipes = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let first = read(&mut pipes.1);
        if let Some(missing) = first["missing"].as_str() {
            let _ = child.wait();
            return Err(missing.to_owned());
        }
        let url = first["url"].as_str().unwrap_or_else(|| panic!("{kind} did not start: {first}")).to_owned();
        Ok(Self { url, pipes: Mutex::new(pipes), child })
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        let answer = blocking(|| {
            let mut pipes = self.pipes.lock().unwrap();
            let line = format!("{}\n", Value::from(words));
            pipes.0.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
            read(&mut pipes.1)
        });
        assert!(answer["ok"] == true, "{words:?}: {answer}");
        answer["output"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Closing the pipe is the order to end; the files are gone when the helper is.
        if let Ok(pipes) = self.pipes.get_mut() {
            drop(pipes.0.take());
        }
        let _ = blocking(|| self.child.wait());
    }
}

fn read(lines: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("scripts/test-server ended without a word: {line:?}"))
}

/// Waits without holding up what else runs on this thread, where the runtime can do that.
fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}
