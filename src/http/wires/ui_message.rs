//! The UI message stream, version 1, that the `ai` package reads (<https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>).
//!
//! That protocol takes nothing back. An answer that begins again begins a new text part after a part `data-reset`: the
//! answer is the text after the last of these.

use serde_json::{Value, json};

use super::Wire;
use crate::domain::FinishReason;
use crate::domain::turn::Source;
use crate::pipeline::live::{TurnEvent, TurnHead};

/// The header by which clients know the protocol.
pub(in crate::http) const HEADER: (&str, &str) = ("x-vercel-ai-ui-message-stream", "v1");

/// The form of UI message streams.
#[derive(Default)]
pub(in crate::http) struct UiMessage {
    /// Text parts begun so far.
    parts: usize,
    /// Whether the last of them goes on.
    is_open: bool,
}

impl UiMessage {
    fn close(&mut self, out: &mut Vec<u8>) {
        if self.is_open {
            super::data(out, &json!({"type": "text-end", "id": self.parts.to_string()}));
            self.is_open = false;
        }
    }

    fn content(&mut self, text: &str, out: &mut Vec<u8>) {
        if !self.is_open {
            self.parts += 1;
            self.is_open = true;
            super::data(out, &json!({"type": "text-start", "id": self.parts.to_string()}));
        }
        super::data(out, &json!({"type": "text-delta", "id": self.parts.to_string(), "delta": text}));
    }
}

impl Wire for UiMessage {
    fn write(&mut self, head: &TurnHead, _first: usize, events: &[TurnEvent], out: &mut Vec<u8>) {
        for event in events {
            match event {
                TurnEvent::Start => {
                    let TurnHead { turn_id, session_id, conversation_id, .. } = head;
                    let about =
                        json!({"turn_id": turn_id, "session_id": session_id, "conversation_id": conversation_id});
                    super::data(out, &json!({"type": "start", "messageId": turn_id, "messageMetadata": about}));
                }
                TurnEvent::Language { language, confidence } => {
                    let found = json!({"language": language.name(), "code": language.code(), "confidence": super::exact(confidence)});
                    super::data(out, &json!({"type": "data-language", "data": found}));
                }
                TurnEvent::Intent(found) => {
                    super::data(out, &json!({"type": "data-intent", "data": super::exact(found)}))
                }
                TurnEvent::Sources(sources) => {
                    for source in sources.iter() {
                        super::data(out, &of_source(source));
                    }
                }
                TurnEvent::Content(text) => self.content(text, out),
                TurnEvent::Reset { reason } => {
                    self.close(out);
                    super::data(out, &json!({"type": "data-reset", "data": {"reason": reason}}));
                }
                TurnEvent::Done { finish_reason, usage, degraded } => {
                    self.close(out);
                    let about = json!({"finish_reason": finish_reason, "usage": usage, "degraded": degraded});
                    let reason = reason_of(*finish_reason);
                    super::data(out, &json!({"type": "finish", "finishReason": reason, "messageMetadata": about}));
                    out.extend_from_slice(b"data: [DONE]\n\n");
                }
                TurnEvent::Error { message, .. } => {
                    self.close(out);
                    super::data(out, &json!({"type": "error", "errorText": message}));
                    out.extend_from_slice(b"data: [DONE]\n\n");
                }
            }
        }
    }
}

/// A source as a part of the message. What the protocol has no field for goes into its metadata.
fn of_source(source: &Source) -> Value {
    let about = json!({"turnpike": super::exact(source)});
    let id = source.n.to_string();
    match &source.url {
        Some(url) => {
            json!({"type": "source-url", "sourceId": id, "url": url, "title": source.title, "providerMetadata": about})
        }
        None => json!({
            "type": "source-document", "sourceId": id, "mediaType": "text/plain", "title": source.title,
            "providerMetadata": about,
        }),
    }
}

fn reason_of(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content-filter",
        FinishReason::Stopped | FinishReason::Interrupted => "other",
        FinishReason::Failed => "error",
    }
}
