//! The adapter against a server that speaks the protocol, well and badly.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

use super::super::http::fake_server::{FakeServer, Reply, within};
use super::super::http::{ClientOptions, client};
use super::*;
use crate::domain::Language;
use crate::domain::conversation::{Message, Role};
use crate::ports::model::{Chunk, Error, FinishReason, Usage};

const KEY: &str = "AIzaTest0123456789";

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.to_owned() }
}

fn request() -> Request {
    Request {
        turn_id: "0190-turn".to_owned(),
        system: "Be kind.".to_owned(),
        messages: vec![
            message(Role::User, "Hi"),
            message(Role::Assistant, "Hello"),
            message(Role::User, "Rates?"),
            message(Role::Assistant, ""),
            message(Role::User, "Lãi suất?"),
        ],
        temperature: Some(0.7),
        max_tokens: Some(64),
        thinking: None,
        language: Language::VIETNAMESE,
        question: "Lãi suất?".to_owned(),
        passages: Vec::new(),
    }
}

fn model(server: &FakeServer) -> GeminiModel {
    let options = Options {
        id: ModelId { provider: "gemini".to_owned(), model: "models/gemini-flash".to_owned() },
        base_url: format!("{}/v1beta/", server.url()),
        api_key: KEY.to_owned(),
        thinking_budget: Some(0),
    };
    GeminiModel::new(client(&ClientOptions::default()).unwrap(), options).unwrap()
}

async fn ask(reply: Reply) -> Result<Vec<Result<Chunk, Error>>, Error> {
    let server = FakeServer::start(vec![reply]).await;
    let model = model(&server);
    Ok(within(model.stream(&request())).await?.collect().await)
}

fn event(value: &Value) -> String {
    format!("data: {value}\r\n\r\n")
}

fn text(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]})
}

#[tokio::test]
async fn an_answer_is_read_and_the_request_is_as_the_protocol_wants_it() {
    let end = json!({
        "candidates": [{"content": {"parts": [{"text": "!"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 4},
    });
    let thought = json!({"candidates": [{"content": {"parts": [{"text": "plan", "thought": true}]}}]});
    let parts = [event(&thought), event(&text("Chào 🎉")), event(&end)];
    let server = FakeServer::start(vec![Reply::events(&parts).byte_by_byte()]).await;
    let model = model(&server);
    let chunks: Vec<_> =
        within(async { model.stream(&request()).await.unwrap().map(Result::unwrap).collect().await }).await;
    let expected = [
        Chunk::Reasoning,
        Chunk::Content("Chào 🎉".to_owned()),
        Chunk::Content("!".to_owned()),
        Chunk::Usage(Usage { input_tokens: 9, output_tokens: 7 }),
        Chunk::Finish(FinishReason::Stop),
    ];
    assert_eq!(chunks, expected);

    let sent = server.request().await;
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1beta/models/gemini-flash:streamGenerateContent?alt=sse HTTP/1.1"), "{head}");
    assert!(head.contains(&format!("x-goog-api-key: {KEY}")), "{head}");
    let expected = json!({
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello"}]},
            {"role": "user", "parts": [{"text": "Rates?"}, {"text": "Lãi suất?"}]},
        ],
        "generationConfig": {"temperature": 0.7, "maxOutputTokens": 64, "thinkingConfig": {"thinkingBudget": 0}},
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn a_blocked_prompt_is_a_content_filter() {
    let chunks = ask(Reply::events(&[event(&json!({"promptFeedback": {"blockReason": "SAFETY"}}))])).await.unwrap();
    assert!(matches!(chunks.as_slice(), [Ok(Chunk::Finish(FinishReason::ContentFilter))]), "{chunks:?}");
}

#[tokio::test]
async fn an_answer_without_a_reason_to_stop_broke_off() {
    for reply in [Reply::events(&[event(&text("Hi"))]), Reply::open_events(&[event(&text("Hi"))])] {
        let chunks = ask(reply).await.unwrap();
        assert!(matches!(chunks.as_slice(), [Ok(Chunk::Content(_)), Err(Error::Interrupted(_))]), "{chunks:?}");
    }
}

#[tokio::test]
async fn refusals_are_typed_and_keep_the_key_secret() {
    let refusal =
        |code: u16, status: &str| json!({"error": {"code": code, "message": format!("bad {KEY}"), "status": status}});
    let wait = json!([{"error": {"code": 429, "message": "quota", "details": [{"retryDelay": "12s"}]}}]);
    let wrong_key = json!({"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}});
    for (status, body, code) in [
        ("400 Bad Request", wrong_key, "unauthorized"),
        ("400 Bad Request", refusal(400, "INVALID_ARGUMENT"), "bad_request"),
        ("403 Forbidden", refusal(403, "PERMISSION_DENIED"), "unauthorized"),
        ("429 Too Many Requests", wait, "rate_limited"),
        ("503 Service Unavailable", refusal(503, "UNAVAILABLE"), "unavailable"),
    ] {
        let Err(error) = ask(Reply::status(status, "Content-Type: application/json\r\n", &body.to_string())).await
        else {
            panic!("{status} was accepted");
        };
        assert_eq!(error.code(), code);
        assert!(!error.to_string().contains(KEY), "{error}");
        if let Error::RateLimited { retry_after } = error {
            assert_eq!(retry_after, Some(Duration::from_secs(12)));
        }
    }
}

#[tokio::test]
async fn dropping_the_stream_ends_the_request() {
    let server = FakeServer::start(vec![Reply::open_events(&[event(&text("Hi"))]).stall()]).await;
    let model = model(&server);
    let mut stream = model.stream(&request()).await.unwrap();
    assert_eq!(within(stream.next()).await.unwrap().unwrap(), Chunk::Content("Hi".to_owned()));
    drop(stream);
    server.client_gone().await;
}
