//! Turns over a WebSocket.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Place;
use crate::support::browser::{LAPTOP, browser, driver};
use crate::support::{clients, wait_for};

fn socket_of(place: &Place) -> String {
    format!("{}/api/unified/chat-ws", place.server.base.replace("http://", "ws://"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_stops_and_reads_on_over_another_connection() {
    let place = Place::new("slowly", "").await;
    let address = socket_of(&place);
    let settings = [("WS", address.as_str()), ("KEY", place.key.as_str())];
    let Some(said) = clients::run("websockets", "websocket_chat.py", &settings) else { return };
    let steps: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap();
    let at_once = step("at_once");
    let answers = at_once["answers"].as_object().unwrap();
    assert_eq!((answers.len(), &at_once["pongs"]), (2, &json!(1)));
    assert!(at_once["switches"].as_u64().unwrap() >= 4, "one waited for the other: {at_once}");
    assert_eq!(at_once["kinds"][0], "start");
    for (turn, text) in answers {
        assert_eq!(place.is_kept(turn).await["answer"], *text);
    }
    let stopped = step("stopped");
    assert_eq!(stopped["finish"], "stopped");
    assert_eq!(place.is_kept(stopped["turn"].as_str().unwrap()).await["answer"], stopped["text"]);
    let resumed = step("resumed");
    let stored = place.is_kept(resumed["turn"].as_str().unwrap()).await;
    assert_eq!((&stored["answer"], &stored["finish_reason"]), (&resumed["text"], &json!("stop")));
    assert_eq!(
        step("refused")["codes"],
        json!([
            "invalid_json",
            "invalid_json",
            "empty_message",
            "text_expected",
            "not_found",
            "not_found",
            "company_mismatch",
            "closed"
        ])
    );
}

/// A connection that has been upgraded, as bare bytes.
async fn upgraded(place: &Place) -> TcpStream {
    let mut stream = connect(place, &format!("Authorization: Bearer {}\r\n", place.key)).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

async fn connect(place: &Place, headers: &str) -> TcpStream {
    let address = place.server.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /api/unified/chat-ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// A text message as a client sends it: masked, here with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    if length < 126 {
        frame.push(0x80 | length as u8);
    } else {
        frame.extend([0x80 | 126, (length >> 8) as u8, length as u8]);
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

async fn metric(place: &Place, name: &str) -> f64 {
    let text = place.client.get("/metrics").await.text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closed_and_silent_connections_end() {
    let place = Place::new("plain", "[turn]\nheartbeat_s = 0.3\n").await;
    let mut half_closed = upgraded(&place).await;
    half_closed.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), half_closed.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "half of a connection was kept");
    // One that answers no ping is taken for gone.
    let mut silent = upgraded(&place).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a connection that says nothing was kept");
    assert!(rest.contains(&0x89), "it was not asked whether it lives");
    wait_for("all to be gone", || async { (metric(&place, "turnpike_websockets_open").await == 0.0).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off() {
    let place =
        Place::new("flood", "[server]\nwrite_timeout_s = 1\n[turn]\ndisconnect_grace_s = 1\nanswer_chars = 10000000\n")
            .await;
    let mut stream = upgraded(&place).await;
    stream.write_all(&frame("{\"type\":\"chat\",\"message\":\"Xin chào\",\"session_id\":\"f\"}")).await.unwrap();
    let stored = wait_for("its turn to be given up", || async { place.client.stored().await.concat().pop() }).await;
    assert_eq!(stored["finish_reason"], "interrupted");
    assert!(metric(&place, "turnpike_http_write_timeouts_total").await >= 1.0);
    // The service serves on.
    let mut turn = place.client.ask("Xin chào", "other").await;
    assert!(turn.until("content").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_the_turn_and_says_farewell() {
    let mut place = Place::new("slowly", "").await;
    let mut stream = upgraded(&place).await;
    stream.write_all(&frame("{\"type\":\"chat\",\"message\":\"Xin chào\",\"session_id\":\"x\"}")).await.unwrap();
    let mut read = vec![0; 4096];
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("\"content\"") {
        let count = stream.read(&mut read).await.unwrap();
        all.extend_from_slice(&read[..count]);
    }
    let asked = Instant::now();
    place.server.terminate();
    stream.read_to_end(&mut all).await.unwrap();
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("\"type\":\"done\"") && text.contains("\"finish_reason\":\"stop\""), "{text}");
    assert!(text.contains("the service goes down"), "no farewell: {text}");
    assert!(place.server.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(20), "it waited for the whole grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_in_the_answer_to_the_upgrade() {
    let place = Place::new("plain", "").await;
    for (headers, status) in [("", 401), ("Authorization: Bearer tp_wrong\r\n", 401)] {
        let mut stream = connect(&place, headers).await;
        let mut read = vec![0; 64];
        stream.read_exact(&mut read).await.unwrap();
        let head = String::from_utf8_lossy(&read).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
    let plain = place.client.get("/api/unified/chat-ws").await;
    assert!(plain.status().is_client_error());
    let body: Value = plain.json().await.unwrap();
    assert_eq!(body["code"], "websocket_expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_asks_over_its_websocket() {
    let Some(driver) = driver("the browser's WebSocket").await else { return };
    let place = Place::new("plain", "[auth]\nmode = \"open\"\n").await;
    let browser = browser(&driver, LAPTOP).await;
    browser.goto(&place.server.url("/")).await.unwrap();
    let script = r"
        const [address, done] = arguments;
        const socket = new WebSocket(address), seen = [];
        socket.onopen = () => socket.send(JSON.stringify({type: 'chat', message: 'Xin chào', session_id: 'b'}));
        socket.onmessage = event => {
            const data = JSON.parse(event.data);
            seen.push(data);
            if (data.type === 'done') { socket.close(); done(seen); }
        };
        socket.onerror = () => done([{type: 'failed'}]);
    ";
    let seen = browser.execute_async(script, vec![json!(socket_of(&place))]).await.unwrap();
    let seen = seen.as_array().unwrap();
    let text: String = seen.iter().filter_map(|event| event["chunk"].as_str()).collect();
    let stored = place.is_kept(seen[0]["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), text);
    browser.close().await.unwrap();
}
