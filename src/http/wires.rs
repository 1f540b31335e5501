//! How a turn's events are written to a client: one file for each wire. All of them tell the same turn.

pub(super) mod native;
pub(super) mod openai;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;

use crate::pipeline::live::{Reader, TurnEvent, TurnHead};

/// Writes events in the form of one protocol.
pub(super) trait Wire: Send + 'static {
    /// Writes events, of which the first has the number `first`. What is written together leaves together.
    fn write(&mut self, head: &TurnHead, first: usize, events: &[TurnEvent], out: &mut Vec<u8>);

    /// Whether nothing may follow what was written, though the turn goes on.
    fn has_ended(&self) -> bool {
        false
    }
}

/// A turn's events as a stream of server-sent events, a comment after each `heartbeat` of silence.
pub(super) fn stream(reader: Reader, heartbeat: Duration, wire: impl Wire) -> Response {
    let frames = stream::unfold((reader, wire), move |(mut reader, mut wire)| async move {
        let frame = loop {
            if wire.has_ended() {
                return None;
            }
            match tokio::time::timeout(heartbeat, reader.next()).await {
                Ok(Some((first, events))) => {
                    let mut out = Vec::with_capacity(128 * events.len());
                    wire.write(reader.turn().head(), first, &events, &mut out);
                    // Not every event has a form on every wire.
                    if !out.is_empty() {
                        break Bytes::from(out);
                    }
                }
                Ok(None) => return None,
                Err(_) => break Bytes::from_static(b": \n\n"),
            }
        };
        Some((Ok::<_, std::convert::Infallible>(frame), (reader, wire)))
    });
    event_stream(Body::from_stream(frames))
}

/// A body of server-sent events as a response that nothing on its way buffers.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Appends one `data:` line of JSON, and the empty line that ends an event.
pub(super) fn data(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    out.extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        // Nothing in an event can fail to serialise; a client would only see an empty line.
        tracing::error!(%error, "an event does not serialise");
    }
    out.extend_from_slice(b"\n\n");
}
