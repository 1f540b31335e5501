//! What webhooks are told of a conversation without a turn of it.

use serde::Serialize;
use time::OffsetDateTime;

use crate::domain::conversation::{Conversation, Message, Status};
use crate::domain::event::{GATEWAY, Origin};
use crate::domain::{Event, EventType, TurnRecord};

/// `conversation.updated` of a conversation that was ended. It has the form that it has after a turn, with the sequence of
/// the last one and no messages.
#[derive(Serialize)]
struct Ended<'a> {
    company_id: &'a str,
    conversation_id: uuid::Uuid,
    session_id: &'a str,
    channel: &'a str,
    status: Status,
    message_count: u64,
    sequence: u64,
    turn_id: String,
    language: Option<&'static str>,
    intent: Option<&'a str>,
    finish_reason: crate::domain::FinishReason,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    summary: &'a str,
    messages: [Message; 0],
}

/// The event that says that a conversation was ended, after its last turn.
pub(super) fn of_end(conversation: &Conversation, last: &TurnRecord) -> Result<Event, serde_json::Error> {
    let ended = Ended {
        company_id: conversation.company_id.as_str(),
        conversation_id: conversation.conversation_id.as_uuid(),
        session_id: conversation.session_id.as_str(),
        channel: &conversation.channel,
        status: conversation.status,
        message_count: conversation.message_count,
        sequence: conversation.last_sequence,
        turn_id: last.turn_id.to_string(),
        language: conversation.language.map(|language| language.code()),
        intent: conversation.intent.as_deref(),
        finish_reason: last.finish_reason,
        ended_at: conversation.ended_at,
        summary: &conversation.summary,
        messages: [],
    };
    let origin = Origin {
        source: GATEWAY,
        subject: last.turn_id.to_string(),
        company_id: conversation.company_id.clone(),
        conversation_id: conversation.conversation_id,
        traceparent: None,
    };
    // The same turn may be the last one of several ends.
    let nanos = conversation.ended_at.map(OffsetDateTime::unix_timestamp_nanos).unwrap_or_default();
    Event::new(EventType::ConversationUpdated, &origin, &format!("ended/{nanos}"), &ended)
}
