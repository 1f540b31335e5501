//! AG-UI events (<https://docs.ag-ui.com/concepts/events>): a run, the message that it writes, and what else is known of
//! the turn as custom events.

use serde_json::{Value, json};

use super::Wire;
use crate::domain::TurnId;
use crate::pipeline::live::{TurnEvent, TurnHead};

/// The form of AG-UI.
#[derive(Default)]
pub(in crate::http) struct AgUi {
    /// The client's names for the thread and the run; without them the session and the turn name them.
    names: Option<(String, String)>,
    /// The client's messages, to go back to when the answer begins again.
    messages: Option<Value>,
    /// Messages begun so far.
    begun: usize,
    /// Whether the last of them goes on.
    is_open: bool,
}

impl AgUi {
    /// For a run that a client has named, with the messages that it holds.
    pub(in crate::http) fn of_run(thread: String, run: String, messages: Value) -> Self {
        Self { names: Some((thread, run)), messages: Some(messages), ..Self::default() }
    }

    fn names<'a>(&'a self, head: &'a TurnHead) -> (&'a str, String) {
        match &self.names {
            Some((thread, run)) => (thread, run.clone()),
            None => (head.session_id.as_str(), head.turn_id.to_string()),
        }
    }

    /// The message's id: the turn's, and a number from the second on.
    fn message(&self, turn: TurnId) -> String {
        if self.begun > 1 { format!("{turn}-{}", self.begun) } else { turn.to_string() }
    }

    fn close(&mut self, turn: TurnId, out: &mut Vec<u8>) {
        if self.is_open {
            super::data(out, &json!({"type": "TEXT_MESSAGE_END", "messageId": self.message(turn)}));
            self.is_open = false;
        }
    }

    fn content(&mut self, turn: TurnId, text: &str, out: &mut Vec<u8>) {
        if !self.is_open {
            self.begun += 1;
            self.is_open = true;
            let id = self.message(turn);
            super::data(out, &json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"}));
        }
        let id = self.message(turn);
        super::data(out, &json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": text}));
    }

    fn custom(name: &str, value: &Value, out: &mut Vec<u8>) {
        super::data(out, &json!({"type": "CUSTOM", "name": name, "value": value}));
    }
}

impl Wire for AgUi {
    fn write(&mut self, head: &TurnHead, _first: usize, events: &[TurnEvent], out: &mut Vec<u8>) {
        let TurnHead { turn_id, session_id, conversation_id, .. } = head;
        for event in events {
            match event {
                TurnEvent::Start => {
                    let (thread, run) = self.names(head);
                    super::data(out, &json!({"type": "RUN_STARTED", "threadId": thread, "runId": run}));
                    let turn =
                        json!({"turn_id": turn_id, "session_id": session_id, "conversation_id": conversation_id});
                    Self::custom("turn", &turn, out);
                }
                TurnEvent::Language { language, confidence } => {
                    let found = json!({"language": language.name(), "code": language.code(), "confidence": super::exact(confidence)});
                    Self::custom("language", &found, out);
                }
                TurnEvent::Intent(found) => Self::custom("intent", &super::exact(found), out),
                TurnEvent::Sources(sources) => Self::custom("sources", &super::exact(sources), out),
                TurnEvent::Content(text) => self.content(*turn_id, text, out),
                TurnEvent::Reset { reason } => {
                    self.close(*turn_id, out);
                    Self::custom("reset", &json!({"reason": reason}), out);
                    if let Some(messages) = &self.messages {
                        super::data(out, &json!({"type": "MESSAGES_SNAPSHOT", "messages": messages}));
                    }
                }
                TurnEvent::Done { finish_reason, usage, degraded } => {
                    self.close(*turn_id, out);
                    let result = json!({
                        "turn_id": turn_id, "finish_reason": finish_reason, "usage": usage, "degraded": degraded,
                    });
                    let tokens = json!([{
                        "inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens,
                        "totalTokens": usage.input_tokens + usage.output_tokens,
                    }]);
                    let (thread, run) = self.names(head);
                    super::data(
                        out,
                        &json!({
                            "type": "RUN_FINISHED", "threadId": thread, "runId": run, "result": result, "usage": tokens,
                        }),
                    );
                }
                TurnEvent::Error { code, message, .. } => {
                    self.close(*turn_id, out);
                    super::data(out, &json!({"type": "RUN_ERROR", "message": message, "code": code}));
                }
            }
        }
    }
}
