//! A provider that speaks OpenAI's streaming protocol over a real socket, and misbehaves on demand: the model's name
//! says how.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// The provider.
pub struct Provider {
    pub base_url: String,
    state: Arc<Served>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Served {
    requests: AtomicUsize,
    bodies: std::sync::Mutex<Vec<Value>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(Served::default());
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base_url, state, task }
    }

    /// Requests that came.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// What was asked last.
    pub fn last_body(&self) -> Value {
        self.state.bodies.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// The settings of a provider `name` whose models are the behaviours given.
    pub fn config(&self, name: &str, models: &[&str]) -> String {
        format!(
            "[providers.{name}]\nkind = \"openai\"\nbase_url = \"{}\"\napi_key = \"sk-secret-of-tests\"\nmodels = {models:?}\n",
            self.base_url
        )
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn models() -> axum::Json<Value> {
    axum::Json(
        json!({"object": "list", "data": [{"id": "plain", "object": "model", "created": 1, "owned_by": "tests"}]}),
    )
}

async fn complete(State(state): State<Arc<Served>>, body: axum::Json<Value>) -> Response {
    let n = state.requests.fetch_add(1, Ordering::SeqCst);
    state.bodies.lock().unwrap().push(body.0.clone());
    let model = body.0["model"].as_str().unwrap_or_default().to_owned();
    match model.as_str() {
        "unauthorized" => error(StatusCode::UNAUTHORIZED),
        "busy" => ([("retry-after", "1")], error(StatusCode::TOO_MANY_REQUESTS)).into_response(),
        "busy-once" if n == 0 => error(StatusCode::TOO_MANY_REQUESTS),
        "broken" => error(StatusCode::INTERNAL_SERVER_ERROR),
        "html" => ([("content-type", "text/html")], "<html><body>Sign in</body></html>").into_response(),
        "silent" => stream(vec![], Duration::ZERO, End::Hang),
        "stall" => stream(pieces("Một phần ", 3), Duration::from_millis(5), End::Hang),
        "half-line" => stream_raw(vec![b"data: {\"choices\":[{\"delta\":{\"cont".to_vec()]),
        "drop" => stream(pieces("Một phần ", 3), Duration::from_millis(5), End::Drop),
        "slow" => stream(pieces("từ ", 400), Duration::from_millis(25), End::Done),
        // Long enough to see the text grow, short enough to wait for its end.
        "slowly" => stream(pieces("từ ", 20), Duration::from_millis(100), End::Done),
        "thinking" => {
            let mut frames = vec![delta(json!({"reasoning_content": "bí mật trong đầu"}))];
            frames.push(delta(json!({"content": "<think>also secret</think>"})));
            frames.extend(pieces("Trả lời ", 3));
            stream(frames, Duration::from_millis(1), End::Done)
        }
        "half-thought" => stream(vec![delta(json!({"content": "<think>let me see"}))], Duration::ZERO, End::Drop),
        "half-citation" => stream(vec![delta(json!({"content": "["}))], Duration::ZERO, End::Drop),
        "citing" => stream(
            vec![delta(json!({"content": "Lãi suất là 7% [1] và [9"})), delta(json!({"content": "] hoặc [2024]."}))],
            Duration::ZERO,
            End::Done,
        ),
        // Its own answer for each question.
        "echo" => {
            let last = body.0["messages"].as_array().and_then(|all| all.last()?["content"].as_str());
            stream(pieces(&format!("{} ", last.unwrap_or_default()), 24), Duration::from_millis(5), End::Done)
        }
        "flood" => stream(pieces(&"dài ".repeat(5000), 400), Duration::ZERO, End::Done),
        "instant" => stream(pieces("từ ", 200), Duration::ZERO, End::Done),
        _ => stream(pieces("từ ", 30), Duration::from_millis(3), End::Done),
    }
}

/// How a stream ends.
enum End {
    Done,
    Drop,
    Hang,
}

fn error(status: StatusCode) -> Response {
    (status, axum::Json(json!({"error": {"message": "no", "type": "test"}}))).into_response()
}

fn pieces(text: &str, times: usize) -> Vec<String> {
    (0..times).map(|n| delta(json!({"content": format!("{text}{n} ")}))).collect()
}

fn delta(delta: Value) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    format!("data: {chunk}\n\n")
}

fn stream(mut frames: Vec<String>, gap: Duration, end: End) -> Response {
    if matches!(end, End::Done) {
        let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}});
        frames.push(format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n"));
    }
    let frames = futures::stream::iter(frames).then(move |frame| async move {
        if !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        Ok::<_, std::io::Error>(frame)
    });
    let tail: futures::stream::BoxStream<'static, Result<String, std::io::Error>> = match end {
        End::Done => futures::stream::empty().boxed(),
        End::Drop => futures::stream::once(async { Err(std::io::Error::other("dropped")) }).boxed(),
        End::Hang => futures::stream::pending().boxed(),
    };
    ([("content-type", "text/event-stream")], Body::from_stream(frames.chain(tail))).into_response()
}

fn stream_raw(frames: Vec<Vec<u8>>) -> Response {
    let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
    ([("content-type", "text/event-stream")], Body::from_stream(frames)).into_response()
}

/// A port where something listens, accepts, and never says a word.
pub async fn mute() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.flush().await;
            kept.push(stream);
        }
    });
    (base_url, task)
}
