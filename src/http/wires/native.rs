//! The native form: one `id:` and one `data:` line for each event.

use serde::Serialize;

use super::Wire;
use crate::domain::turn::{Degraded, Source, Usage};
use crate::domain::{ConversationId, FinishReason, SessionId, TurnId};
use crate::pipeline::live::{TurnEvent, TurnHead};

/// The native form.
pub(in crate::http) struct Native;

impl Wire for Native {
    fn write(&mut self, head: &TurnHead, first: usize, events: &[TurnEvent], out: &mut Vec<u8>) {
        for (id, event) in (first..).zip(events) {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id.to_string().as_bytes());
            out.push(b'\n');
            super::data(out, &Message::of(head, event));
        }
    }
}

/// An event of a turn as it goes over the wire, told apart by `type`. Exactly one `done` or `error` ends every stream.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = TurnEvent)]
pub(in crate::http) enum Message<'a> {
    /// The turn was accepted.
    Start { turn_id: TurnId, session_id: &'a SessionId, conversation_id: ConversationId },
    /// The question's language: its English name, its ISO 639-1 code, and how probable it is.
    Language { language: &'a str, code: &'a str, confidence: f32 },
    /// What the question is after, how probable that is, and the agent that answers.
    Intent { intent: &'a str, confidence: f32, agent: &'a str },
    /// The passages that the answer may cite as `[n]`.
    Sources { sources: &'a [Source] },
    /// A piece of the answer.
    Content { chunk: &'a str },
    /// The answer begins again from nothing, because its provider failed in the middle.
    Reset { reason: &'a str },
    /// The answer is complete, and the turn will be stored.
    Done {
        session_id: &'a SessionId,
        conversation_id: ConversationId,
        turn_id: TurnId,
        finish_reason: FinishReason,
        usage: Usage,
        degraded: &'a [Degraded],
    },
    /// The turn ended without an answer.
    Error { code: &'a str, message: &'a str, retryable: bool },
}

impl<'a> Message<'a> {
    pub(in crate::http) fn of(head: &'a TurnHead, event: &'a TurnEvent) -> Self {
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
