//! The tests' own servers: nothing of them outlives the test, however it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::{PATIENCE, say};

/// The other end of the server's pipe is held by a process that is killed, as a test may be.
fn ends_with_its_holder(kind: &str) {
    let mut holder = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().unwrap();
    let pipe = holder.stdout.take().unwrap();
    let mut helper = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-server"))
        .arg(kind)
        .stdin(pipe)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(helper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    if let Some(missing) = ready["missing"].as_str() {
        say(&format!("SKIPPED what {kind} leaves behind: {missing}"));
        holder.kill().unwrap();
        holder.wait().unwrap();
        helper.wait().unwrap();
        return;
    }
    let directory = Path::new(ready["directory"].as_str().unwrap()).to_owned();
    let url = ready["url"].as_str().unwrap();
    let address = url.split("://").nth(1).unwrap().rsplit('@').next().unwrap().split('/').next().unwrap();
    TcpStream::connect(address).unwrap();
    assert!(directory.exists() && !processes_of(&directory).is_empty());

    holder.kill().unwrap();
    holder.wait().unwrap();
    let began = Instant::now();
    while helper.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "{kind} outlives whoever started it");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(TcpStream::connect(address).is_err(), "{kind} still listens at {address}");
    assert!(!directory.exists(), "{} is left behind", directory.display());
    assert_eq!(processes_of(&directory), Vec::<String>::new());
}

/// The command lines and environments of processes that name a directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.file_name().unwrap().to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let texts = processes.flat_map(|process| {
        ["cmdline", "environ"].map(|file| std::fs::read(process.path().join(file)).unwrap_or_default())
    });
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).filter(|text| text.contains(name)).collect()
}

#[test]
fn a_rabbitmq_node_ends_with_the_test_that_was_killed() {
    ends_with_its_holder("rabbitmq");
}

#[test]
fn a_mongodb_server_ends_with_the_test_that_was_killed() {
    ends_with_its_holder("mongodb");
}
