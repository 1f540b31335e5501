//! One turn on all wires, read by the clients of each.

use serde_json::{Value, json};

use super::{Place, lines};
use crate::support::{clients, wait_for};

const QUESTION: &str = "Lãi suất vay mua nhà là bao nhiêu?";

fn settings<'a>(place: &'a Place, session: &'a str, key: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("URL", &place.server.base),
        ("KEY", &place.key),
        ("SESSION", session),
        ("MESSAGE", QUESTION),
        ("IDEMPOTENCY_KEY", key),
    ]
}

/// What a client in JavaScript says of a turn.
fn said(program: &str, place: &Place, session: &str, key: &str) -> Option<Value> {
    let said = clients::run("the wires", program, &settings(place, session, key))?;
    Some(serde_json::from_str(said.lines().last().unwrap()).unwrap())
}

/// The turn as the native wire tells it: text, sources, end.
async fn native(place: &Place, session: &str, key: &str) -> (String, Value, Value) {
    let body = json!({"message": QUESTION, "session_id": session});
    let request = place.client.post("/api/unified/chat-stream").header("idempotency-key", key).json(&body);
    let mut turn = place.client.turn(request.send().await.unwrap());
    turn.rest().await;
    (turn.text(), turn.find("sources").unwrap()["sources"].clone(), turn.find("done").unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wires_tell_the_same_turn() {
    let place = Place::new("citing", "").await;
    let (text, sources, done) = native(&place, "s1", "k1").await;
    assert!(text.contains("[1]") && sources[0]["document_id"] == "rate", "{text} {sources}");
    let Some(ui) = said("ui_message.mjs", &place, "s1", "k1") else { return };
    assert_eq!((&ui["text"], &ui["sources"]), (&json!(text), &sources));
    assert_eq!((&ui["metadata"]["usage"], &ui["metadata"]["turn_id"]), (&done["usage"], &done["turn_id"]));
    assert_eq!(ui["metadata"]["degraded"], done["degraded"]);
    assert_eq!(ui["language"]["code"], "vi");
    let Some(ag) = said("ag_ui.mjs", &place, "s1", "k1") else { return };
    assert_eq!((&ag["text"], &ag["custom"]["sources"]), (&json!(text), &sources));
    assert_eq!(
        (&ag["finished"]["result"]["usage"], &ag["custom"]["turn"]["turn_id"]),
        (&done["usage"], &done["turn_id"])
    );
    assert_eq!(ag["finished"]["usage"][0]["inputTokens"], done["usage"]["input_tokens"]);
    assert_eq!((&ag["finished"]["threadId"], &ag["finished"]["runId"]), (&json!("s1"), &json!("run-1")));
    assert_eq!(ag["custom"]["intent"], ui["intent"]);
    // As one document, and chosen by `Accept`.
    let body = json!({"message": QUESTION, "session_id": "s1"});
    let ask = |path: &str, accept: &str| {
        let request = place.client.post(path).header("idempotency-key", "k1").header("accept", accept);
        request.json(&body).send()
    };
    let whole: Value = ask("/api/unified/chat", "*/*").await.unwrap().json().await.unwrap();
    assert_eq!((&whole["answer"], &whole["sources"], &whole["usage"]), (&json!(text), &sources, &done["usage"]));
    let chosen = ask("/api/unified/chat-stream", "text/event-stream; wire=ui-message").await.unwrap();
    assert_eq!(chosen.headers()["x-vercel-ai-ui-message-stream"], "v1");
    assert!(chosen.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    let chosen = ask("/api/unified/chat-stream", "text/event-stream; wire=ag-ui").await.unwrap();
    let events = lines(&chosen.text().await.unwrap());
    assert_eq!((&events[0]["type"], &events[0]["threadId"]), (&json!("RUN_STARTED"), &json!("s1")));
    let unknown = ask("/api/unified/chat-stream", "text/event-stream; wire=morse").await.unwrap();
    assert_eq!(unknown.status(), 400);
    assert_eq!(place.provider.requests(), 1, "a wire asked again");
    place.is_kept(done["turn_id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_grows_and_turns_by_either_wire_are_kept() {
    let place = Place::new("slowly", "").await;
    let Some(ui) = said("ui_message.mjs", &place, "u", "") else { return };
    assert!(ui["steps"].as_u64().unwrap() > 5, "{ui}");
    let stored = place.is_kept(ui["metadata"]["turn_id"].as_str().unwrap()).await;
    assert_eq!((&stored["answer"], &stored["session_id"]), (&ui["text"], &json!("u")));
    let Some(ag) = said("ag_ui.mjs", &place, "a", "") else { return };
    let stored = place.is_kept(ag["custom"]["turn"]["turn_id"].as_str().unwrap()).await;
    assert_eq!((&stored["answer"], &stored["session_id"]), (&ag["text"], &json!("a")));
    assert_eq!(
        ag["kinds"],
        json!([
            "RUN_STARTED",
            "CUSTOM",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "RUN_FINISHED"
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_begins_again_is_the_second_one_on_every_wire() {
    let provider = crate::support::llm::Provider::start().await;
    let config = format!(
        "[models]\nretries = 0\nchain = [\"mock/drop\", \"mock/plain\"]\n{}",
        provider.config("mock", &["drop", "plain"])
    );
    let place = Place::with(provider, &config).await;
    let Some(ui) = said("ui_message.mjs", &place, "u", "") else { return };
    assert_eq!(ui["resets"], 1, "{ui}");
    let stored = place.is_kept(ui["metadata"]["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"], ui["text"]);
    let Some(ag) = said("ag_ui.mjs", &place, "a", "") else { return };
    let stored = place.is_kept(ag["custom"]["turn"]["turn_id"].as_str().unwrap()).await;
    assert_eq!((&stored["answer"], &ag["asked"]), (&ag["text"], &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_end_with_no_question_are_refused() {
    let place = Place::new("plain", "").await;
    let answer = json!({"id": "m", "role": "assistant", "content": "x", "parts": [{"type": "text", "text": "x"}]});
    for messages in [json!([]), json!([answer])] {
        for (path, mut body) in [
            ("ui-message", json!({"id": "c", "trigger": "submit-message"})),
            ("ag-ui", json!({"threadId": "t", "runId": "r", "tools": [], "context": []})),
        ] {
            body["messages"] = messages.clone();
            let path = format!("/api/unified/chat-stream/{path}");
            let response = place.client.post(&path).json(&body).send().await.unwrap();
            assert_eq!(response.status(), 400, "{path}");
            let refused: Value = response.json().await.unwrap();
            assert_eq!(refused["code"], "invalid_messages");
        }
    }
    assert_eq!(place.provider.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_text_reads_a_turn_over_the_openai_surface() {
    let place = Place::new("slowly", "").await;
    let Some(read) = said("stream_text.mjs", &place, "", "") else { return };
    assert!(read["steps"].as_u64().unwrap() > 5, "{read}");
    assert_eq!(read["finish"], "stop");
    let stored = wait_for("the turn", || async { place.client.stored().await.concat().pop() }).await;
    assert_eq!(stored["answer"], read["text"]);
    let usage = (&stored["usage"]["input_tokens"], &stored["usage"]["output_tokens"]);
    assert_eq!(usage, (&read["input_tokens"], &read["output_tokens"]));
    place.is_kept(stored["turn_id"].as_str().unwrap()).await;
}
