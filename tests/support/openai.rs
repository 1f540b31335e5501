//! A provider that speaks OpenAI's whole API over a real socket, keeps what was asked byte for byte, and misbehaves on
//! demand: the model's name says how.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The key that it is to be asked with.
pub const KEY: &str = "sk-secret-of-the-provider";

/// The chunks of an answer as a provider of its own taste writes them: nothing of this may change on its way.
pub const CHUNKS: &str = concat!(
    ": welcome\n\n",
    "data: {\"id\": \"chatcmpl-7\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"plain\",\"x_extra\":{\"a\" : 1},\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\r\n\r\n",
    "data: {\"id\": \"chatcmpl-7\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"plain\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Ch\\u00e0o \"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\": \"chatcmpl-7\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"plain\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bạn 🦀\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\": \"chatcmpl-7\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"plain\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\": \"chatcmpl-7\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"plain\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}}\n\n",
    "data: [DONE]\n\n",
);

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How the list of models is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    Its,
    Nothing,
    Never,
}

/// The provider.
pub struct Api {
    pub base_url: String,
    state: Arc<Served>,
    task: tokio::task::JoinHandle<()>,
}

struct Served {
    asked: Mutex<Vec<Asked>>,
    models: Mutex<Vec<String>>,
    lists: Mutex<Lists>,
    open: AtomicUsize,
    tries: AtomicUsize,
    polls: AtomicUsize,
    is_plain_web: AtomicBool,
}

impl Api {
    /// One that lists models.
    pub async fn start(models: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(Served {
            asked: Mutex::default(),
            models: Mutex::new(models.iter().map(|&id| id.to_owned()).collect()),
            lists: Mutex::new(Lists::Its),
            open: AtomicUsize::new(0),
            tries: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            is_plain_web: AtomicBool::new(false),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base_url, state, task }
    }

    /// The settings of a provider of a name, with the models that are set for it.
    pub fn config(&self, name: &str, models: &[&str]) -> String {
        format!(
            "[providers.{name}]\nkind = \"openai\"\nbase_url = \"{}\"\napi_key = \"{KEY}\"\nmodels = {models:?}\n",
            self.base_url
        )
    }

    /// What was asked under a path, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.state.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Lists other models from now on.
    pub fn has(&self, models: &[&str]) {
        *self.state.models.lock().unwrap() = models.iter().map(|&id| id.to_owned()).collect();
    }

    /// Answers the question for its models in another way from now on.
    pub fn lists(&self, lists: Lists) {
        *self.state.lists.lock().unwrap() = lists;
    }

    /// From now on knows no images and no videos, as most servers of this protocol.
    pub fn knows_text_alone(&self) {
        self.state.is_plain_web.store(true, Ordering::SeqCst);
    }

    /// Answers that are being sent.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(state): State<Arc<Served>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let asked = Asked { method: parts.method.to_string(), path: path.clone(), headers: parts.headers, body };
    state.asked.lock().unwrap().push(asked.clone());
    if asked.headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {KEY}")) {
        return error(StatusCode::UNAUTHORIZED, "no key", "invalid_api_key");
    }
    let is_plain_web = state.is_plain_web.load(Ordering::SeqCst);
    match path.as_str() {
        "/v1/models" => list(&state).await,
        "/v1/chat/completions" => chat(&state, &asked.json()).await,
        "/v1/embeddings" => embed(&asked.json()),
        "/v1/images/generations" | "/v1/images/edits" if !is_plain_web => {
            axum::Json(json!({"created": 1, "data": [{"b64_json": "aGVsbG8="}]})).into_response()
        }
        "/v1/videos/generations" if !is_plain_web => video(&asked.json()),
        path if path.starts_with("/v1/videos/generations/") && !is_plain_web => poll(&state, path),
        // As a web framework says it, in no form of this API.
        _ => (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))).into_response(),
    }
}

async fn list(state: &Served) -> Response {
    let lists = *state.lists.lock().unwrap();
    match lists {
        Lists::Its => {
            let models = state.models.lock().unwrap().clone();
            let data: Vec<Value> = models
                .iter()
                .map(|id| json!({"id": id, "object": "model", "created": 1700000000, "owned_by": "x"}))
                .collect();
            axum::Json(json!({"object": "list", "data": data})).into_response()
        }
        Lists::Nothing => (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))).into_response(),
        Lists::Never => std::future::pending().await,
    }
}

async fn chat(state: &Arc<Served>, body: &Value) -> Response {
    let streams = body["stream"] == true;
    match body["model"].as_str().unwrap_or_default() {
        "bad-key" => error(StatusCode::UNAUTHORIZED, &format!("Incorrect API key provided: {KEY}"), "invalid_api_key"),
        "telltale" => error(StatusCode::BAD_REQUEST, &format!("your key {KEY} is not for this"), "telltale"),
        "unknown" => error(StatusCode::NOT_FOUND, "The model `unknown` does not exist", "model_not_found"),
        "busy-twice" if state.tries.fetch_add(1, Ordering::SeqCst) < 2 => (
            [("retry-after-ms", "20"), ("x-ratelimit-remaining-requests", "3")],
            error(StatusCode::TOO_MANY_REQUESTS, "slow down", "rate_limit_exceeded"),
        )
            .into_response(),
        "web-page" => (StatusCode::INTERNAL_SERVER_ERROR, "<html>oops</html>").into_response(),
        "moved" => (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")], "").into_response(),
        "hangs" => sent(state, CHUNKS.get(..400).unwrap_or(CHUNKS), Duration::ZERO, true),
        "breaks" => {
            let pieces = futures::stream::iter([Ok(Bytes::from_static(CHUNKS.as_bytes()).slice(..300))]);
            let end = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("gone"))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(pieces.chain(end))).into_response()
        }
        "silent" => std::future::pending().await,
        "slow" => sent(state, CHUNKS, Duration::from_millis(20), false),
        _ if streams && body["tools"].is_array() => tool_chunks(),
        _ if streams => sent(state, CHUNKS, Duration::ZERO, false),
        _ => document(body),
    }
}

/// Chunks at a pace, and then nothing for ever if it `hangs`. What is open is counted until it is sent or nobody reads.
fn sent(state: &Arc<Served>, text: &str, gap: Duration, hangs: bool) -> Response {
    struct Open(Arc<Served>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
    state.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(Arc::clone(state));
    let pieces: Vec<Bytes> = text.as_bytes().chunks(97).map(Bytes::copy_from_slice).collect();
    let pieces = futures::stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(gap).await;
        Ok::<_, std::io::Error>(piece)
    });
    let tail = futures::stream::once(async move {
        let _open = open;
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(Bytes::new())
    });
    let headers =
        [("content-type", "text/event-stream"), ("x-request-id", "req_7"), ("x-ratelimit-remaining-requests", "3")];
    (headers, Body::from_stream(pieces.chain(tail))).into_response()
}

/// A whole answer: a call of the first tool where there are tools, and after its result, or without tools, a text.
fn document(body: &Value) -> Response {
    let last = body["messages"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let tool = body["tools"][0]["function"]["name"].as_str().filter(|_| last["role"] != "tool");
    let (message, reason) = match tool {
        Some(name) => {
            let call = json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{\"city\":\"Huế\"}"}});
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
        None => (
            json!({"role": "assistant", "content": format!("Nghe: {}", last["content"].as_str().unwrap_or("…"))}),
            "stop",
        ),
    };
    axum::Json(json!({
        "id": "chatcmpl-8", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }))
    .into_response()
}

fn tool_chunks() -> Response {
    let chunk = |delta: Value, reason: Value| {
        let chunk = json!({"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "plain",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let call = |call: Value| json!({ "tool_calls": [call] });
    let text = [
        chunk(json!({"role": "assistant", "content": null}), Value::Null),
        chunk(
            call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}})),
            Value::Null,
        ),
        chunk(call(json!({"index": 0, "function": {"arguments": "{\"city\":"}})), Value::Null),
        chunk(call(json!({"index": 0, "function": {"arguments": "\"Huế\"}"}})), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    ([("content-type", "text/event-stream")], text).into_response()
}

/// A vector for each text: its length, and two numbers.
fn embed(body: &Value) -> Response {
    let texts = body["input"].as_array().cloned().unwrap_or_else(|| vec![body["input"].clone()]);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = [text.as_str().unwrap_or_default().chars().count() as f32, 0.5, -1.0];
            let embedding = match body["encoding_format"].as_str() {
                Some("base64") => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                    json!(base64::engine::general_purpose::STANDARD.encode(bytes))
                }
                _ => json!(vector),
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": 2, "total_tokens": 2});
    axum::Json(json!({"object": "list", "model": body["model"], "data": data, "usage": usage})).into_response()
}

fn video(body: &Value) -> Response {
    match body["model"].as_str() {
        Some("video-at-once") => {
            axum::Json(json!({"created": 1, "data": [{"url": "https://videos.example/1.mp4"}]})).into_response()
        }
        _ => axum::Json(json!({"id": "task-7", "object": "video", "status": "queued", "progress": 0})).into_response(),
    }
}

fn poll(state: &Served, path: &str) -> Response {
    if !path.ends_with("/task-7") {
        return error(StatusCode::NOT_FOUND, "no such task", "not_found");
    }
    let task = match state.polls.fetch_add(1, Ordering::SeqCst) {
        n @ 0..=2 => json!({"id": "task-7", "object": "video", "status": "in_progress", "progress": 30 * (n + 1)}),
        _ => json!({"id": "task-7", "object": "video", "status": "completed", "progress": 100,
            "data": [{"url": "https://videos.example/7.mp4"}]}),
    };
    axum::Json(task).into_response()
}

fn error(status: StatusCode, message: &str, code: &str) -> Response {
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": code});
    (status, axum::Json(json!({ "error": error }))).into_response()
}
