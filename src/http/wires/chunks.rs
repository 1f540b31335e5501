//! Chunk lines: `data: {"chunk":"…","done":false}` for each piece of the answer, and one line with `done` at the end. What
//! simple clients read that know nothing of stages.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Wire;
use crate::domain::TurnId;
use crate::domain::turn::{Degraded, FinishReason, Source, Usage};
use crate::pipeline::live::{TurnEvent, TurnHead};

/// The form of chunk lines.
#[derive(Default)]
pub(in crate::http) struct Chunks {
    /// Whether each line names the session, as its `conversation_id`, and tokens are counted as OpenAI does.
    names_conversation: bool,
    /// Whether each line has an id by which its client comes back.
    is_numbered: bool,
    sources: Arc<[Source]>,
}

impl Chunks {
    /// Lines that name the conversation, for clients of the Qwen surface.
    pub(in crate::http) fn named() -> Self {
        Self { names_conversation: true, ..Self::default() }
    }

    /// Lines with ids, for clients that reconnect by themselves (`EventSource`).
    pub(in crate::http) fn numbered() -> Self {
        Self { is_numbered: true, ..Self::default() }
    }
}

/// The id of a line: the turn, and the event's number in it.
pub(in crate::http) fn place_of(id: &str) -> Option<(TurnId, usize)> {
    let (turn, number) = id.split_once('.')?;
    Some((turn.parse().ok()?, number.parse().ok()?))
}

/// A piece of the answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ChunkLine)]
pub(in crate::http) struct Piece<'a> {
    /// The text.
    chunk: &'a str,
    /// False: more comes.
    done: bool,
    /// The conversation, on surfaces that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<&'a str>,
    /// The answer begins again from nothing, because its provider failed: what came before is void.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
}

/// The end of an answer.
#[derive(Serialize)]
struct End<'a> {
    chunk: &'a str,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    turn_id: TurnId,
    finish_reason: FinishReason,
    usage: serde_json::Value,
    sources: &'a [Source],
    degraded: &'a [Degraded],
}

/// An answer that failed.
#[derive(Serialize, ToSchema)]
#[schema(as = ChunkFailure, example = json!({"error": "there is no provider \"x\"", "done": true, "code": "unknown_provider"}))]
pub(in crate::http) struct Failed<'a> {
    /// What is wrong, for people.
    pub(in crate::http) error: &'a str,
    /// Always true: nothing follows.
    pub(in crate::http) done: bool,
    /// A short name for programs.
    pub(in crate::http) code: &'a str,
}

/// Tokens by OpenAI's names.
pub(in crate::http) fn openai_usage(usage: Usage) -> serde_json::Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    })
}

impl Wire for Chunks {
    fn write(&mut self, head: &TurnHead, first: usize, events: &[TurnEvent], out: &mut Vec<u8>) {
        let session = head.session_id.as_str();
        let conversation_id = self.names_conversation.then_some(session);
        for (number, event) in (first..).zip(events) {
            let begin = |out: &mut Vec<u8>| {
                if self.is_numbered {
                    out.extend_from_slice(format!("id: {}.{number}\n", head.turn_id).as_bytes());
                }
            };
            let piece = |chunk, reset| Piece { chunk, done: false, conversation_id, reset };
            match event {
                TurnEvent::Start | TurnEvent::Language { .. } | TurnEvent::Intent(_) => {}
                TurnEvent::Sources(sources) => self.sources = Arc::clone(sources),
                TurnEvent::Content(chunk) => {
                    begin(out);
                    super::data(out, &piece(chunk, false));
                }
                TurnEvent::Reset { .. } => {
                    begin(out);
                    super::data(out, &piece("", true));
                }
                TurnEvent::Done { finish_reason, usage, degraded } => {
                    begin(out);
                    let end = End {
                        chunk: "",
                        done: true,
                        conversation_id,
                        session_id: (!self.names_conversation).then_some(session),
                        turn_id: head.turn_id,
                        finish_reason: *finish_reason,
                        usage: if self.names_conversation { openai_usage(*usage) } else { json!(usage) },
                        sources: &self.sources,
                        degraded,
                    };
                    super::data(out, &end);
                }
                TurnEvent::Error { code, message, .. } => {
                    begin(out);
                    super::data(out, &Failed { error: message, done: true, code });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_turn_and_an_event() {
        let turn = TurnId::generate();
        assert_eq!(place_of(&format!("{turn}.7")), Some((turn, 7)));
        for bad in ["", "7", "x.7", &format!("{turn}"), &format!("{turn}.x")] {
            assert_eq!(place_of(bad), None, "{bad}");
        }
    }
}
