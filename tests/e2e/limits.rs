//! Bad input and bad clients: each has a clear answer, and the rest is served on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::say;

fn address(server: &Server) -> &str {
    server.base.strip_prefix("http://").unwrap()
}

async fn problem(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_request_gets_its_own_answer() {
    let site = Site::new("[limits]\nbody_bytes = 20000\nmessage_chars = 100\n");
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let path = "/api/unified/chat-stream";
    let send = |body: Vec<u8>| client.post(path).header("content-type", "application/json").body(body).send();
    let ask = |body: Value| client.post(path).json(&body).send();
    let cases: Vec<(reqwest::Response, u16, &str)> = vec![
        (send(b"{\"message\": \"x\"".to_vec()).await.unwrap(), 400, "invalid_json"),
        (send(b"{\"message\": \"\xff\xfe\"}".to_vec()).await.unwrap(), 400, "invalid_utf8"),
        (send(b"".to_vec()).await.unwrap(), 400, "invalid_json"),
        (ask(json!({"message": 7})).await.unwrap(), 400, "invalid_json"),
        (ask(json!([])).await.unwrap(), 400, "invalid_json"),
        (ask(json!({"message": "  \n "})).await.unwrap(), 400, "empty_message"),
        (ask(json!({"message": "x".repeat(101)})).await.unwrap(), 413, "message_too_long"),
        (ask(json!({"message": "x".repeat(30_000)})).await.unwrap(), 413, "body_too_large"),
        (ask(json!({"message": "x", "language": "klingon"})).await.unwrap(), 400, "unknown_language"),
        (ask(json!({"message": "x", "session_id": "a\u{0}b"})).await.unwrap(), 400, "invalid_session_id"),
        (ask(json!({"message": "x", "company_id": "no/such"})).await.unwrap(), 400, "invalid_company_id"),
        (ask(json!({"message": "x", "company_id": "other"})).await.unwrap(), 403, "company_mismatch"),
        (
            client.post(path).body("message=x").header("content-type", "text/plain").send().await.unwrap(),
            415,
            "unsupported_media_type",
        ),
        (client.get(path).await, 405, "method_not_allowed"),
        (client.get("/nowhere").await, 404, "not_found"),
        (client.get("/api/companies/acme/conversations/x").await, 404, "not_found"),
        (client.get("/api/companies/acme/conversations?cursor=%00zzz").await, 400, "invalid_cursor"),
    ];
    for (n, (response, status, code)) in cases.into_iter().enumerate() {
        assert_eq!(problem(response).await, (status, code.to_owned()), "case {n}");
    }
    let precise: Value = ask(json!({"message": "x", "user_info": {"user_id": 5}})).await.unwrap().json().await.unwrap();
    assert!(precise["detail"].as_str().unwrap().contains("`user_info.user_id`"), "{precise}");
    // All that was refused left the service as it was.
    let mut turn = client.ask("xin chào", "s").await;
    turn.rest().await;
    assert!(turn.find("done").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_does_not_exist_is_said_in_open_mode() {
    let site = Site::new("[auth]\nmode = \"open\"\n");
    site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "ghost", "");
    let response = client.ask_with("x", "s", &[]).await;
    assert_eq!(problem(response).await, (404, "unknown_company".to_owned()));
    let client = Client::new(&server, "acme", "");
    assert_eq!(client.ask_with("x", "s", &[]).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_100_mb_is_refused_and_its_sender_gets_to_know() {
    let site = Site::new("");
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let response = client
        .post("/api/unified/chat-stream")
        .header("content-type", "application/json")
        .body(vec![b' '; 100 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(problem(response).await, (413, "body_too_large".to_owned()));
    // The same without a length ahead.
    let chunks = futures::stream::iter((0..1600).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])));
    let response = client
        .post("/api/unified/chat-stream")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(response).await, (413, "body_too_large".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_slow_bodies_are_cut_off() {
    let site = Site::new("[server]\nheader_timeout_s = 0.3\nbody_timeout_s = 0.3\n");
    let key = site.company("acme");
    let server = site.serve();
    let mut head = TcpStream::connect(address(&server)).await.unwrap();
    head.write_all(b"POST /api/unified/chat HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = String::new();
    // The connection is closed, with or without a word.
    tokio::time::timeout(Duration::from_secs(20), head.read_to_string(&mut answer))
        .await
        .expect("it stays open")
        .unwrap_or(0);

    let mut body = TcpStream::connect(address(&server)).await.unwrap();
    let request = format!(
        "POST /api/unified/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{{\"mess"
    );
    body.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(20), body.read_to_string(&mut answer))
        .await
        .expect("it stays open")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut_off_and_its_turn_is_kept() {
    let provider = Provider::start().await;
    let site = Site::new(&format!(
        "[server]\nwrite_timeout_s = 0.5\n[turn]\ndisconnect_grace_s = 0.2\nanswer_chars = 30000000\n[spool]\nsegment_bytes = 67108864\nmax_bytes = 536870912\n{}",
        provider.config("mock", &["flood"])
    ));
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let mut deaf = TcpStream::connect(address(&server)).await.unwrap();
    let body = client.body("xin chào", "deaf").to_string();
    let request = format!(
        "POST /api/unified/chat-stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    deaf.write_all(request.as_bytes()).await.unwrap();
    let turn = crate::support::wait_for("the turn to be kept", || async {
        client.stored().await.into_iter().flatten().next()
    })
    .await;
    assert_eq!(turn["finish_reason"], "interrupted");
    let metrics = client.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("turnpike_http_write_timeouts_total 1"), "{metrics}");
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_turns_and_too_many_requests_are_refused_with_a_time_to_come_back() {
    let provider = Provider::start().await;
    let site = Site::new(&format!(
        "[limits]\nstreams_per_company = 2\nrequests_per_minute = 6\n{}",
        provider.config("mock", &["slow"])
    ));
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let _first = client.ask("một", "s1").await;
    let _second = client.ask("hai", "s2").await;
    let third = client.ask_with("ba", "s3", &[]).await;
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(problem(third).await, (429, "too_many_streams".to_owned()));
    let mut last = client.ask_with("bốn", "s4", &[]).await;
    for _ in 0..6 {
        last = client.ask_with("năm", "s5", &[]).await;
    }
    assert!(last.headers().contains_key("retry-after"));
    assert_eq!(problem(last).await, (429, "rate_limited".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_turns_serves_on_and_recovers() {
    let site = Site::new("[spool]\nsegment_bytes = 1048576\nmax_bytes = 67108864\n");
    let small = site.path().join("small");
    std::fs::create_dir_all(&small).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&small).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        say("SKIPPED a_full_disk_refuses_new_turns_serves_on_and_recovers: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(small.clone());
    let data = small.join("data");
    let command = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.arg("--data-dir").arg(&data);
        command
    };
    let key = {
        let output = command(&["company", "add", "acme"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().find(|word| word.starts_with("tp_")).unwrap().to_owned()
    };
    let server = Server::start(command(&["serve"]));
    let client = Client::new(&server, "acme", &key);
    client.ask("xin chào", "s").await.rest().await;
    // Somebody else fills the disk.
    let filler = small.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[7; 65536]).is_ok() {}
    drop(file);
    // What is allocated serves for a while; then new turns are refused in words, and no stream is ever lost.
    let refused = crate::support::wait_for("a refusal", || async {
        let response = client.ask_with(&"x".repeat(7000), "s", &[]).await;
        if response.status() == 200 {
            let mut turn = client.turn(response);
            turn.rest().await;
            assert!(turn.find("done").is_some() || turn.find("error").is_some());
            return None;
        }
        Some(response)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (503, "spool_full".to_owned()));
    assert_eq!(client.get("/readyz").await.status(), 503);
    assert_eq!(client.get("/livez").await.status(), 200);
    std::fs::remove_file(&filler).unwrap();
    crate::support::wait_for("turns to be taken again", || async {
        let response = client.ask_with("xin chào", "s", &[]).await;
        (response.status() == 200).then_some(())
    })
    .await;
    crate::support::wait_for("the ledger to be settled", || async {
        let output = command(&["queue", "ledger", "--json"]).output().unwrap();
        let ledger: Value = serde_json::from_slice(&output.stdout).ok()?;
        (ledger["balances"] == true && ledger["queues"][0]["pending"] == 0 && ledger["spool"]["pending"] == 0)
            .then_some(())
    })
    .await;
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
