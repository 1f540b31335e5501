//! How a turn's events are written to a client: one file for each wire. All of them tell the same turn.

pub(super) mod ag_ui;
pub(super) mod chunks;
pub(super) mod native;
pub(super) mod openai;
pub(super) mod ui_message;

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

/// A turn's answer as bare text, as it grows. Where it begins again, a blank line stands between. An answer that fails
/// breaks the body off: no client can take what came for all of it.
pub(super) fn text(reader: Reader) -> Response {
    let pieces = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        loop {
            let (_, events) = reader.next().await?;
            let mut out = String::new();
            for event in &events {
                match event {
                    TurnEvent::Content(piece) => out.push_str(piece),
                    TurnEvent::Reset { .. } => out.push_str("\n\n"),
                    TurnEvent::Error { message, .. } => {
                        return Some((Err(std::io::Error::other(message.clone())), None));
                    }
                    TurnEvent::Start
                    | TurnEvent::Language { .. }
                    | TurnEvent::Intent(_)
                    | TurnEvent::Sources(_)
                    | TurnEvent::Done { .. } => {}
                }
            }
            if !out.is_empty() {
                return Some((Ok(Bytes::from(out)), Some(reader)));
            }
        }
    });
    let mut response = Body::from_stream(pieces).into_response();
    unbuffered(&mut response, "text/plain; charset=utf-8");
    response
}

/// A body of server-sent events as a response that nothing on its way buffers.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = body.into_response();
    unbuffered(&mut response, "text/event-stream; charset=utf-8");
    response
}

fn unbuffered(response: &mut Response, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// A value as it is written by itself. Put into another value as it is, a narrow float would be widened, and show digits that
/// it does not have: 0.9230962991714478 for 0.9230963.
fn exact(value: &impl serde::Serialize) -> serde_json::Value {
    let text = serde_json::to_string(value).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
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
