//! The adapter against a server that speaks the protocol, well and badly.

use std::time::Duration;

use futures::StreamExt;

use super::super::http::fake_server::{FakeServer, Reply, within};
use super::super::http::{ClientOptions, client};
use super::*;
use crate::domain::Language;
use crate::domain::conversation::{Message, Role};
use crate::ports::model::{Chunk, Error, FinishReason, Usage};

const KEY: &str = "sk-test-0123456789";

fn request() -> Request {
    Request {
        turn_id: "0190-turn".to_owned(),
        system: "Be kind.".to_owned(),
        messages: vec![Message { role: Role::User, content: "Lãi suất?".to_owned() }],
        temperature: Some(0.5),
        max_tokens: Some(64),
        thinking: None,
        language: Language::VIETNAMESE,
        question: "Lãi suất?".to_owned(),
        passages: Vec::new(),
    }
}

fn model(server: &FakeServer) -> OpenAiModel {
    let id = ModelId { provider: "test".to_owned(), model: "small".to_owned() };
    let options = Options::new(id, format!("{}/v1", server.url()), Some(KEY.to_owned()));
    OpenAiModel::new(client(&ClientOptions::default()).unwrap(), options).unwrap()
}

/// The text, all chunks but the text, and the error, of one question.
async fn ask(reply: Reply) -> (String, Vec<Chunk>, Option<Error>) {
    let server = FakeServer::start(vec![reply]).await;
    let model = model(&server);
    within(read(&model)).await
}

async fn read(model: &OpenAiModel) -> (String, Vec<Chunk>, Option<Error>) {
    let (mut text, mut others) = (String::new(), Vec::new());
    let mut stream = match model.stream(&request()).await {
        Ok(stream) => stream,
        Err(error) => return (text, others, Some(error)),
    };
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(Chunk::Content(piece)) => text.push_str(&piece),
            Ok(other) => others.push(other),
            Err(error) => {
                assert!(stream.next().await.is_none(), "something followed an error");
                return (text, others, Some(error));
            }
        }
    }
    (text, others, None)
}

fn delta(content: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n")
}

const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const TOKENS: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn whole() -> Vec<String> {
    vec![": keep-alive\n\n".into(), delta("Chào "), delta("bạn 🎉"), STOP.into(), TOKENS.into(), DONE.into()]
}

fn whole_chunks() -> Vec<Chunk> {
    vec![Chunk::Usage(Usage { input_tokens: 3, output_tokens: 2 }), Chunk::Finish(FinishReason::Stop)]
}

#[tokio::test]
async fn an_answer_is_read_and_the_request_is_as_the_protocol_wants_it() {
    let server = FakeServer::start(vec![Reply::events(&whole())]).await;
    let (text, others, error) = within(read(&model(&server))).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((text.as_str(), others), ("Chào bạn 🎉", whole_chunks()));

    let sent = server.request().await;
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/chat/completions http/1.1"), "{head}");
    assert!(
        head.contains(&format!("authorization: bearer {KEY}")) && head.contains("x-request-id: 0190-turn"),
        "{head}"
    );
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "model": "small", "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.5, "max_tokens": 64,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Lãi suất?"}],
    });
    assert_eq!(body, expected);
}

#[test]
fn settings_change_the_request() {
    let id = ModelId { provider: "test".to_owned(), model: "o".to_owned() };
    let mut options = Options::new(id, "http://localhost", None);
    options.include_usage = false;
    options.token_limit = TokenLimit::MaxCompletionTokens;
    options.extra =
        serde_json::from_str(r#"{"temperature": null, "chat_template_kwargs": {"enable_thinking": false}}"#).unwrap();
    let body = wire::body(&options, &request());
    let mut names: Vec<_> = body.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["chat_template_kwargs", "max_completion_tokens", "messages", "model", "stream"]);
}

#[tokio::test]
async fn every_byte_may_come_alone() {
    let crlf: Vec<String> = whole().iter().map(|part| part.replace('\n', "\r\n").replace("data: ", "data:")).collect();
    let (text, others, error) = ask(Reply::events(&[crlf.concat()]).byte_by_byte()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((text.as_str(), others), ("Chào bạn 🎉", whole_chunks()));
}

#[tokio::test]
async fn chunks_cut_characters_and_events() {
    let joined = whole().concat();
    let parts: Vec<&[u8]> = joined.as_bytes().chunks(7).collect();
    let (text, others, error) = ask(Reply::events(&parts)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((text.as_str(), others), ("Chào bạn 🎉", whole_chunks()));
}

#[tokio::test]
async fn thoughts_are_signs_of_life_and_no_text() {
    let thought = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"secret plan\"}}]}\n\n".to_owned();
    let (text, others, error) = ask(Reply::events(&[thought, delta("Hi"), STOP.into(), DONE.into()])).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text, "Hi");
    assert_eq!(others, [Chunk::Reasoning, Chunk::Finish(FinishReason::Stop)]);
}

#[tokio::test]
async fn a_provider_that_stops_without_counting_or_closing_ends_the_answer() {
    let (text, others, error) = ask(Reply::open_events(&[delta("Hi"), STOP.into()]).stall()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((text.as_str(), others), ("Hi", vec![Chunk::Finish(FinishReason::Stop)]));
    // The same without any end of the body, and with the last event cut off before its blank line.
    let (text, others, error) = ask(Reply::open_events(&[delta("Hi"), STOP.trim_end().to_owned()])).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((text.as_str(), others), ("Hi", vec![Chunk::Finish(FinishReason::Stop)]));
}

#[tokio::test]
async fn what_breaks_off_is_an_error() {
    for (name, reply) in [
        ("connection closed in the middle", Reply::open_events(&[delta("Hi")])),
        ("body ended in the middle", Reply::events(&[delta("Hi")])),
        ("half a line", Reply::events(&[delta("Hi"), "data: {\"choices\":[{\"delta\":{\"con".to_owned()])),
    ] {
        let (text, others, error) = ask(reply).await;
        assert_eq!(text, "Hi", "{name}");
        assert!(others.is_empty(), "{name}: {others:?}");
        assert_eq!(error.map(|error| error.code()), Some("interrupted"), "{name}");
    }
    let (_, _, error) = ask(Reply::text("")).await;
    assert_eq!(error.unwrap().code(), "unavailable");
}

#[tokio::test]
async fn errors_within_the_stream_come_after_the_text() {
    let broken = "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n".to_owned();
    let (text, _, error) = ask(Reply::events(&[delta("Hi"), broken, delta("never")])).await;
    assert_eq!(text, "Hi");
    assert_eq!(error.unwrap().to_string(), "the provider is unavailable: CUDA out of memory");
    let (_, _, error) = ask(Reply::events(&["data: not json\n\n"])).await;
    assert_eq!(error.unwrap().code(), "protocol");
}

#[tokio::test]
async fn refusals_are_typed_and_keep_the_key_secret() {
    let json = "Content-Type: application/json\r\n";
    let repeats_key = format!("{{\"error\":{{\"message\":\"Unknown thing {KEY} here\"}}}}");
    for (status, headers, body, code, text) in [
        ("401 Unauthorized", json, repeats_key.as_str(), "unauthorized", "refuses the key"),
        ("403 Forbidden", "", "", "unauthorized", "refuses the key"),
        ("400 Bad Request", json, repeats_key.as_str(), "bad_request", "400: Unknown thing [redacted] here"),
        ("404 Not Found", json, "{\"detail\":\"Not Found\"}", "bad_request", "404: Not Found"),
        ("500 Internal Server Error", json, "{\"error\":\"boom\"}", "unavailable", "500: boom"),
        ("502 Bad Gateway", "Content-Type: text/html\r\n", "<html>nginx</html>", "unavailable", "502 Bad Gateway"),
        ("302 Found", "Location: http://127.0.0.1:1/\r\n", "", "protocol", "redirects are not followed"),
        ("200 OK", "Content-Type: text/html\r\n", "<html>Log in</html>", "protocol", "got text/html"),
        ("200 OK", json, "{\"error\":{\"message\":\"no\",\"code\":503}}", "unavailable", "no"),
        ("200 OK", json, "{\"choices\":[]}", "protocol", "got application/json"),
        ("200 OK", "", "<html>Log in</html>", "interrupted", "ended in the middle"),
    ] {
        let (_, _, error) = ask(Reply::status(status, headers, body)).await;
        let error = error.unwrap();
        assert_eq!(error.code(), code, "{status}: {error}");
        assert!(error.to_string().contains(text), "{status}: {error}");
        assert!(!error.to_string().contains(KEY), "{error}");
    }
    let (_, _, error) = ask(Reply::status("429 Too Many Requests", "Retry-After: 7\r\n", "")).await;
    assert!(matches!(error, Some(Error::RateLimited { retry_after: Some(wait) }) if wait == Duration::from_secs(7)));
}

#[tokio::test]
async fn a_refusal_whose_body_never_comes_is_still_told() {
    let reply = Reply::text("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{\"err").stall();
    assert_eq!(ask(reply).await.2.unwrap().code(), "unauthorized");
}

#[tokio::test]
async fn dropping_the_stream_ends_the_request() {
    let server = FakeServer::start(vec![Reply::open_events(&[delta("Hi")]).stall()]).await;
    let model = model(&server);
    let mut stream = model.stream(&request()).await.unwrap();
    assert_eq!(within(stream.next()).await.unwrap().unwrap(), Chunk::Content("Hi".to_owned()));
    drop(stream);
    server.client_gone().await;
}

#[tokio::test]
async fn an_error_ends_the_request_while_the_stream_is_still_held() {
    let server = FakeServer::start(vec![Reply::open_events(&["data: not json\n\n"]).stall()]).await;
    let model = model(&server);
    let mut stream = model.stream(&request()).await.unwrap();
    assert!(within(stream.next()).await.unwrap().is_err());
    server.client_gone().await;
}

#[tokio::test]
async fn a_line_without_end_is_refused() {
    let endless = vec!["data: ".to_owned() + &"x".repeat(65_536); 40];
    let (_, _, error) = ask(Reply::open_events(&endless).stall()).await;
    assert_eq!(error.unwrap().code(), "protocol");
}

#[tokio::test]
async fn later_turns_use_the_same_connection() {
    const TURNS: usize = 8;
    let reply = || Reply::events(&whole()).pause_before_end(Duration::from_millis(2)).keep_open();
    let server = FakeServer::start((0..TURNS).map(|_| reply()).collect()).await;
    let model = model(&server);
    for _ in 0..TURNS {
        assert!(within(read(&model)).await.2.is_none());
        // The connection's own task must run once to give it back.
        tokio::task::yield_now().await;
    }
    // On a busy machine one may be given back too late; a body that is not read to its end never gives one back.
    assert!(server.connections() < TURNS, "{} connections", server.connections());
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let server = FakeServer::start(Vec::new()).await;
    let model = model(&server);
    drop(server);
    let error = read(&model).await.2.unwrap();
    assert_eq!(error.code(), "unavailable");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}
