//! The real binary, as a process of its own with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// A data directory with its settings, and the commands that are run on it.
pub struct Site {
    dir: tempfile::TempDir,
    config: String,
}

impl Site {
    /// An empty site. `config` is put into its settings file.
    pub fn new(config: &str) -> Self {
        super::tell_of_panics();
        let site = Self { dir: tempfile::tempdir().unwrap(), config: config.to_owned() };
        site.configure(config);
        site
    }

    /// Writes other settings.
    pub fn configure(&self, config: &str) {
        let base = "[server]\nport = 0\n[telemetry]\nlog_format = \"json\"\n[embedder]\nenabled = false\n[webhooks]\nallow_private = true\n";
        // A test's own value for a key of the base takes its place.
        let mut table: toml::Table = base.parse().unwrap();
        let own: toml::Table = config.parse().unwrap();
        for (section, value) in own {
            match (table.get_mut(&section), value) {
                (Some(toml::Value::Table(base)), toml::Value::Table(own)) => base.extend(own),
                (_, value) => drop(table.insert(section, value)),
            }
        }
        std::fs::write(self.config_path(), toml::to_string(&table).unwrap()).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("turnpike.toml")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The command with the site's settings, and nothing of the tests' environment but what every process needs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.arg("--config").arg(self.config_path()).arg("--data-dir").arg(self.data_dir()).args(arguments);
        command.current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed, and gives its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "turnpike {arguments:?} failed:\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Adds a company and gives its key.
    #[track_caller]
    pub fn company(&self, id: &str) -> String {
        let out = self.ok(&["company", "add", id, "--name", id, "--industry", "banking", "--language", "vi,en"]);
        out.split_whitespace().find(|word| word.starts_with("tp_")).expect("a key is printed").to_owned()
    }

    /// Adds an endpoint and gives its secret.
    #[track_caller]
    pub fn endpoint(&self, company: &str, url: &str) -> String {
        let out = self.ok(&["webhook", "add", "--company", company, "--url", url]);
        out.split_whitespace().find(|word| word.starts_with("whsec_")).expect("a secret is printed").to_owned()
    }

    /// Puts texts into a company's knowledge: pairs of a file's name and its content.
    #[track_caller]
    pub fn knowledge(&self, company: &str, files: &[(&str, &str)]) {
        let folder = self.dir.path().join(format!("knowledge-{company}"));
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.ok(&["ingest", "--company", company, folder.to_str().unwrap()]);
    }

    /// Starts the service and waits until it listens.
    #[track_caller]
    pub fn serve(&self) -> Server {
        Server::start(self.command(&["serve"]))
    }

    /// The ledger as JSON.
    pub fn ledger(&self) -> serde_json::Value {
        let output = self.run(&["queue", "ledger", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A running service. Dropped, it is killed.
pub struct Server {
    child: Child,
    pub base: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (sender, receiver) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let address = serde_json::from_str::<serde_json::Value>(&line)
                    .ok()
                    .and_then(|line| Some(line.get("fields")?.get("address")?.as_str()?.to_owned()));
                if let Some(address) = address {
                    let _ = sender.send(address);
                }
                kept.lock().unwrap().push(line);
            }
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(base) => Self { child, base, log },
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the service did not start:\n{}", log.lock().unwrap().join("\n"));
            }
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The lines that the service has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no code of the process runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "the service does not end:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Ends the service in order.
    #[track_caller]
    pub fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
