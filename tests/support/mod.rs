//! What the tests are made with: the real binary as a process, a client that reads streams, a provider that speaks the
//! real protocol, servers to run against.
#![allow(dead_code, reason = "each test crate uses its own part of it")]

pub mod browser;
pub mod client;
pub mod clients;
pub mod llm;
pub mod openai;
pub mod process;
pub mod proxy;
pub mod qdrant;
pub mod receiver;
pub mod services;
pub mod snippets;
pub mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that anything here is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where `make tools` puts what the tests use.
pub fn test_tools() -> PathBuf {
    let tools = std::env::var_os("TURNPIKE_TEST_TOOLS").map(PathBuf::from);
    tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".data/test-tools"))
}

/// The pulled embedding model, or a line that says that the test is skipped for want of it.
pub fn models(test: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("TURNPIKE_MODELS").map(PathBuf::from);
    let found = dir.filter(|dir| dir.join("all-MiniLM-L6-v2/model.toml").exists());
    if found.is_none() {
        say(&format!("SKIPPED {test}: TURNPIKE_MODELS names no folder with all-MiniLM-L6-v2; `make test` brings it"));
    }
    found
}

/// A file of the shared data, or a line that says that the test is skipped for want of it.
pub fn shared_data(test: &str, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        say(&format!("SKIPPED {test}: {name} is not in ../shared/data"));
    }
    path.exists().then_some(path)
}

/// Has what a test fails with said at once as well, and not only when all tests have ended: a log may be cut before.
pub fn tell_of_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            say(&format!("{}: {panic}", thread.name().unwrap_or("a thread")));
            usual(panic);
        }));
    });
}

/// Says something that is seen though the test passes: what `eprintln!` writes is kept back then.
pub fn say(line: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
