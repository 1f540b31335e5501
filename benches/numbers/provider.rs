//! A provider that streams in OpenAI's form at the pace that is set, without Nagle's delay, on a thread of its own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::time::Instant;

/// How an answer comes: the first frame at once, the others so far apart.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) frames: usize,
    pub(crate) gap: Duration,
}

/// The provider. It lives as long as the process.
pub(crate) struct Provider {
    pub(crate) address: std::net::SocketAddr,
    pace: Arc<Mutex<Pace>>,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let pace = Arc::new(Mutex::new(Pace { frames: 1, gap: Duration::ZERO }));
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(Arc::clone(&pace));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap().tap_io(|stream| {
                    stream.set_nodelay(true).unwrap();
                });
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address, pace }
    }

    /// The pace of the answers that begin from now on.
    pub(crate) fn set(&self, frames: usize, gap: Duration) {
        *self.pace.lock().unwrap() = Pace { frames, gap };
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

async fn complete(State(pace): State<Arc<Mutex<Pace>>>, _question: Bytes) -> Response {
    let Pace { frames, gap } = *pace.lock().unwrap();
    let started = Instant::now();
    let stream = futures::stream::unfold(0, move |n| async move {
        if n > frames {
            return None;
        }
        if n > 0 && n < frames && !gap.is_zero() {
            // By the clock and not from frame to frame: what is late once does not make all later frames late.
            tokio::time::sleep_until(started + gap * u32::try_from(n).unwrap()).await;
        }
        Some((Ok::<_, Infallible>(Bytes::from(frame(n, frames))), n + 1))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
}

fn frame(n: usize, frames: usize) -> String {
    if n == frames {
        return concat!(
            r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "\n\n",
            r#"data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}"#,
            "\n\ndata: [DONE]\n\n"
        )
        .to_owned();
    }
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"từ {n} \"}},\"finish_reason\":null}}]}}\n\n"
    )
}
