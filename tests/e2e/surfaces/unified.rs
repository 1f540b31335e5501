//! The native surface, with the request that it was first described with.

use serde_json::{Value, json};

use super::Place;
use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;
use crate::support::receiver::Receiver;

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_request_gives_the_sample_sequence() {
    let receiver = Receiver::healthy().await;
    let provider = Provider::start().await;
    let site = Site::new(&provider.config("mock", &["plain"]));
    let key = site.company("comp_123456");
    site.endpoint("comp_123456", &receiver.url("/hook"));
    site.knowledge("comp_123456", &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm.\n")]);
    let server = site.serve();
    let client = Client::new(&server, "comp_123456", &key);
    let body = json!({
        "message": "Tôi muốn tìm hiểu về lãi suất vay",
        "company_id": "comp_123456",
        "industry": "banking",
        "user_info": {"user_id": "user_123", "source": "web_device"},
    });
    let response = client.post("/api/unified/chat-stream").json(&body).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut turn = client.turn(response);
    turn.rest().await;
    // The sequence as it was described, with what has come to stand between.
    let described: Vec<&str> = turn.kinds().into_iter().filter(|kind| !["start", "sources"].contains(kind)).collect();
    assert_eq!(described, ["language", "intent", "content", "done"]);
    assert_eq!(turn.find("language").unwrap()["language"], "vietnamese");
    let intent = turn.find("intent").unwrap();
    assert_eq!(intent["intent"], "information");
    assert!(intent["confidence"].as_f64().unwrap() > 0.5, "{intent}");
    let pieces: Vec<&Value> =
        turn.seen.iter().filter(|seen| seen.kind() == "content").map(|seen| &seen.data["chunk"]).collect();
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.is_string()));
    let done = turn.find("done").unwrap();
    assert_eq!(done["session_id"], "user_123", "without a session it is the user's");
    assert!(done["conversation_id"].is_string());
    // One webhook, after the stream.
    let told = receiver.wait_for(1, crate::support::PATIENCE).await;
    let told = told[0].json();
    assert_eq!((&told["type"], &told["data"]["status"]), (&json!("conversation.updated"), &json!("ACTIVE")));
    assert_eq!((&told["data"]["channel"], &told["data"]["message_count"]), (&json!("web"), &json!(2)));
    let stored = client.stored_turn(&turn.turn_id()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), turn.text());
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_becomes_one_event() {
    let place = Place::new("plain", "").await;
    let mut turn = place.client.ask("Xin chào", "s1").await;
    turn.rest().await;
    let path = format!("/api/unified/turns/{}/feedback", turn.turn_id());
    let said = json!({"rating": "up", "comment": "Đúng điều tôi cần."});
    for _ in 0..2 {
        assert_eq!(place.client.post(&path).json(&said).send().await.unwrap().status(), 202);
    }
    assert_eq!(place.client.post(&path).json(&json!({"rating": "down"})).send().await.unwrap().status(), 202);
    // What was taken is on disk: the spool holds it.
    let mut events: Vec<Value> = Vec::new();
    for file in std::fs::read_dir(place.site.data_dir().join("spool")).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for begin in text.match_indices("{\"specversion\"").map(|(at, _)| at) {
            let event = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>().next();
            events.extend(event.and_then(Result::ok).filter(|event| event["type"] == "turn.feedback"));
        }
    }
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
    let (data, turn_id) = (&events[0]["data"], json!(turn.turn_id()));
    assert_eq!((&data["rating"], &data["comment"], &data["turn_id"]), (&said["rating"], &said["comment"], &turn_id));
    assert_eq!((&events[0]["subject"], &data["company_id"]), (&turn_id, &json!("acme")));
    for (path, body, status) in [
        (path.as_str(), json!({"rating": "sideways"}), 400),
        (path.as_str(), json!({"rating": "up", "comment": "x".repeat(3000)}), 413),
        ("/api/unified/turns/019a9f3e-5c3a-7d3f-9a51-0b1e5f0c7d2a/feedback", json!({"rating": "up"}), 404),
    ] {
        assert_eq!(place.client.post(path).json(&body).send().await.unwrap().status().as_u16(), status, "{body}");
    }
}
