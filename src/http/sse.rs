//! Streams of a turn's events in the native form: one `id:` and one `data:` line each, a comment after silence.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;

use crate::domain::turn::{Degraded, Source, Usage};
use crate::domain::{ConversationId, FinishReason, SessionId, TurnId};
use crate::pipeline::live::{Reader, TurnEvent, TurnHead};

/// A turn's events as an answer to a request.
pub(super) fn response(reader: Reader, heartbeat: Duration) -> Response {
    let frames = stream::unfold(reader, move |mut reader| async move {
        let frame = match tokio::time::timeout(heartbeat, reader.next()).await {
            Ok(Some((first, events))) => frames(reader.turn().head(), first, &events),
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b": \n\n"),
        };
        Some((Ok::<_, std::convert::Infallible>(frame), reader))
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// All events that are there, in one piece: what arrived together leaves together.
fn frames(head: &TurnHead, first: usize, events: &[TurnEvent]) -> Bytes {
    let mut buffer = Vec::with_capacity(128 * events.len());
    for (id, event) in (first..).zip(events) {
        buffer.extend_from_slice(b"id: ");
        buffer.extend_from_slice(id.to_string().as_bytes());
        buffer.extend_from_slice(b"\ndata: ");
        if let Err(error) = serde_json::to_writer(&mut buffer, &Wire::of(head, event)) {
            // Nothing in an event can fail to serialise; a client would only see an empty line.
            tracing::error!(%error, "an event does not serialise");
        }
        buffer.extend_from_slice(b"\n\n");
    }
    buffer.into()
}

/// An event as it goes over the wire.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Wire<'a> {
    Start {
        turn_id: TurnId,
        session_id: &'a SessionId,
        conversation_id: ConversationId,
    },
    Language {
        language: &'a str,
        code: &'a str,
        confidence: f32,
    },
    Intent {
        intent: &'a str,
        confidence: f32,
        agent: &'a str,
    },
    Sources {
        sources: &'a [Source],
    },
    Content {
        chunk: &'a str,
    },
    Reset {
        reason: &'a str,
    },
    Done {
        session_id: &'a SessionId,
        conversation_id: ConversationId,
        turn_id: TurnId,
        finish_reason: FinishReason,
        usage: Usage,
        degraded: &'a [Degraded],
    },
    Error {
        code: &'a str,
        message: &'a str,
        retryable: bool,
    },
}

impl<'a> Wire<'a> {
    pub(super) fn of(head: &'a TurnHead, event: &'a TurnEvent) -> Self {
        let TurnHead { turn_id, session_id, conversation_id, .. } = head;
        let (turn_id, conversation_id) = (*turn_id, *conversation_id);
        match event {
            TurnEvent::Start => Self::Start { turn_id, session_id, conversation_id },
            TurnEvent::Language { language, confidence } => {
                Self::Language { language: language.name(), code: language.code(), confidence: *confidence }
            }
            TurnEvent::Intent(found) => {
                Self::Intent { intent: &found.intent, confidence: found.confidence, agent: &found.agent }
            }
            TurnEvent::Sources(sources) => Self::Sources { sources },
            TurnEvent::Content(chunk) => Self::Content { chunk },
            TurnEvent::Reset { reason } => Self::Reset { reason },
            TurnEvent::Done { finish_reason, usage, degraded } => Self::Done {
                session_id,
                conversation_id,
                turn_id,
                finish_reason: *finish_reason,
                usage: *usage,
                degraded,
            },
            TurnEvent::Error { code, message, retryable } => Self::Error { code, message, retryable: *retryable },
        }
    }
}
