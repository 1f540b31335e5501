use serde_json::Value;

use super::*;
use crate::domain::{ConversationId, SessionId, TurnId};

fn head() -> TurnHead {
    let (company_id, session_id): (_, SessionId) = ("c".parse().unwrap(), "s".parse().unwrap());
    let conversation_id = ConversationId::of_session(&company_id, &session_id);
    TurnHead { turn_id: TurnId::generate(), company_id, session_id, conversation_id, channel: "web".to_owned() }
}

fn source(n: usize) -> Source {
    let document_id = format!("d{n}").parse().unwrap();
    Source { n, document_id, title: format!("T{n}"), url: None, score: 0.5, snippet: String::new() }
}

fn content(text: &str) -> TurnEvent {
    TurnEvent::Content(text.into())
}

fn done() -> TurnEvent {
    let usage = Usage { input_tokens: 3, output_tokens: 2, estimated: false };
    TurnEvent::Done { finish_reason: FinishReason::Length, usage, degraded: Vec::new() }
}

/// What is written of events, each for itself.
fn written(include_usage: bool, events: &[TurnEvent]) -> (String, Vec<Value>, bool) {
    let mut wire = ChatChunks::new("turnpike".to_owned(), include_usage);
    let (head, mut out) = (head(), Vec::new());
    for event in events {
        wire.write(&head, 1, std::slice::from_ref(event), &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let chunks = data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect();
    (text, chunks, wire.has_ended())
}

#[test]
fn a_turn_is_one_completion_with_the_role_first_and_an_end() {
    let events = [TurnEvent::Start, content("một "), content("hai"), done()];
    let (text, chunks, has_ended) = written(false, &events);
    assert!(text.ends_with("data: [DONE]\n\n") && !has_ended, "{text}");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["created"] == chunks[0]["created"]));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks[2]["choices"][0]["delta"], json!({"content": "hai"}));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "length");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn usage_comes_last_and_only_when_it_is_asked_for() {
    let (_, chunks, _) = written(true, &[TurnEvent::Start, content("x"), done()]);
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}));
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[test]
fn sources_say_where_they_are_cited() {
    let sources = TurnEvent::Sources([source(1), source(2), source(12)].into_iter().collect());
    let events = [TurnEvent::Start, sources, content("Lãi [1"), content("2] và [x] [1"), content("]."), done()];
    let (_, chunks, _) = written(false, &events);
    let annotations = &chunks[4]["choices"][0]["delta"]["annotations"];
    let places: Vec<_> = (0..3)
        .map(|n| {
            let cited = &annotations[n]["url_citation"];
            (cited["n"].as_u64().unwrap(), cited["start_index"].as_u64().unwrap(), cited["end_index"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(places, [(1, 16, 19), (2, 0, 0), (12, 4, 8)]);
}

#[test]
fn an_answer_that_begins_again_ends_the_stream_unless_nothing_was_written() {
    let reset = TurnEvent::Reset { reason: "provider_failed" };
    let (text, chunks, has_ended) = written(false, &[TurnEvent::Start, reset.clone(), content("x"), done()]);
    assert!(!has_ended && text.ends_with("[DONE]\n\n"), "{text}");
    assert_eq!(chunks.len(), 3);

    let (text, chunks, has_ended) = written(false, &[TurnEvent::Start, content("x"), reset, content("y"), done()]);
    assert!(has_ended && !text.contains("[DONE]") && !text.contains("\"y\""), "{text}");
    assert_eq!(chunks[2]["error"]["code"], "answer_restarted");
}

#[test]
fn an_error_is_told_in_the_clients_form() {
    let error = TurnEvent::Error { code: "unavailable".into(), message: "no".to_owned(), retryable: true };
    let (text, chunks, has_ended) = written(false, &[TurnEvent::Start, error]);
    assert!(has_ended && !text.contains("[DONE]"));
    assert_eq!(chunks[1]["error"]["message"], "no");
}
