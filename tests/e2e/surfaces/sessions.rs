//! Sessions that the service names.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Place, lines, shown};
use crate::support::process::Server;
use crate::support::{clients, wait_for};

async fn session(place: &Place) -> String {
    let response = place.client.post("/session").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    body["session_id"].as_str().unwrap().to_owned()
}

async fn ask(place: &Place, session: &str, message: &str) -> Vec<Value> {
    let body = json!({"message": message, "session_id": session});
    let response = place.client.post("/chat/stream").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    lines(&response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_remembers_and_its_turns_are_kept() {
    let place = Place::new("echo", "").await;
    let session = session(&place).await;
    assert_eq!(uuid::Uuid::parse_str(&session).unwrap().get_version_num(), 8);
    let first = ask(&place, &session, "Lãi suất vay mua nhà là bao nhiêu?").await;
    let (end, pieces) = first.split_last().unwrap();
    assert!(pieces.len() > 1, "it came at once");
    assert!(pieces.iter().all(|line| line["done"] == false && line["chunk"].is_string()), "{pieces:?}");
    assert_eq!((&end["chunk"], &end["done"]), (&json!(""), &json!(true)));
    assert_eq!((&end["session_id"], &end["finish_reason"]), (&json!(session), &json!("stop")));
    assert_eq!(end["sources"][0]["document_id"], "rate");
    let stored = place.is_kept(end["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), shown(&first));
    assert_eq!(stored["session_id"], session);

    ask(&place, &session, "Còn vay mua xe?").await;
    let asked = place.provider.last_body();
    assert!(asked["messages"].to_string().contains("mua nhà"), "the first question is not in {asked}");
    let other = self::session(&place).await;
    ask(&place, &other, "Xin chào").await;
    let asked = place.provider.last_body();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 2, "another session's past is in {asked}");
}

/// Asks in a session that may not be known: the code that refuses it, if any.
async fn refused(place: &Place, session: &str) -> Option<String> {
    let body = json!({"message": "Xin chào", "session_id": session});
    let response = place.client.post("/chat/stream").json(&body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status != 200).then_some(())?;
    assert_eq!(status, 404);
    let body: Value = serde_json::from_str(&text).unwrap();
    assert!(body["detail"].as_str().unwrap().contains("POST /session"), "{body}");
    Some(body["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_known_after_a_restart_and_one_that_was_made_up_is_not() {
    let mut place = Place::new("plain", "").await;
    for name in ["test-session", "", "b1d7c0de-5c3a-4d3f-9a51-0b1e5f0c7d2a"] {
        assert_eq!(refused(&place, name).await.as_deref(), Some("unknown_session"), "{name}");
    }
    let session = session(&place).await;
    place.server.terminate();
    place.server.wait();
    place.server = place.site.serve();
    place.client = place.client.at(&place.server.base);
    assert_eq!(refused(&place, &session).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_which_nothing_is_asked_expires() {
    let idle_for = Duration::from_secs(4);
    let place = Place::new("instant", "[sessions]\nidle_s = 4\n").await;
    let (used, idle) = (session(&place).await, session(&place).await);
    let made = Instant::now();
    while made.elapsed() <= idle_for {
        ask(&place, &used, "Xin chào").await;
    }
    assert_eq!(refused(&place, &idle).await.as_deref(), Some("session_expired"));
    assert_eq!(refused(&place, &used).await, None, "it was used a moment ago");
    tokio::time::sleep(idle_for + Duration::from_millis(500)).await;
    assert_eq!(refused(&place, &used).await.as_deref(), Some("session_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_the_answer_alone() {
    let place = Place::new("plain", "").await;
    let session = session(&place).await;
    let body = json!({"message": "Xin chào", "session_id": session});
    let asked = place.client.post("/chat/stream").header("accept", "text/plain").json(&body);
    let response = asked.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("từ 0 từ 1 ") && !text.contains("data:"), "{text}");
    let stored = wait_for("the turn", || async { place.client.stored().await.concat().pop() }).await;
    assert_eq!(stored["answer"].as_str().unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_that_fails_is_broken_off() {
    let place = Place::new("slow", "[models]\nidle_timeout_s = 5\n").await;
    let session = session(&place).await;
    let body = json!({"message": "Xin chào", "session_id": session});
    let asked = place.client.post("/chat/stream").header("accept", "text/plain").json(&body);
    let mut response = asked.send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    let Place { mut server, .. } = place;
    Server::kill(&mut server);
    let ended = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err(), "a part of the answer passed for all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gradio_front_end_shows_the_text_as_it_grows() {
    let place = Place::new("slowly", "").await;
    let Some(said) = clients::run("gradio", "gradio_chat.py", &place.settings(&place.server.base)) else { return };
    let states: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let shown: Vec<&str> = states.iter().filter_map(|state| state["text"].as_str()).collect();
    assert!(shown.len() >= 5, "the text came in {} steps: {said}", shown.len());
    assert!(shown.windows(2).all(|pair| pair[1].starts_with(pair[0]) && pair[1].len() > pair[0].len()), "{said}");
    let end = states.last().unwrap_or_else(|| panic!("{said}"));
    let stored = place.is_kept(end["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"].as_str(), shown.last().copied());
}
