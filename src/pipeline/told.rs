//! What webhooks are told of a conversation without a turn of it.

use time::OffsetDateTime;

use crate::domain::conversation::Conversation;
use crate::domain::event::{GATEWAY, Origin};
use crate::domain::told::{Ended, Updated};
use crate::domain::{Event, EventType, TurnRecord};

/// The events that say that a conversation was ended, after its last turn.
pub(super) fn of_end(conversation: &Conversation, last: &TurnRecord) -> Result<[Event; 2], serde_json::Error> {
    let origin = Origin {
        source: GATEWAY,
        subject: last.turn_id.to_string(),
        company_id: conversation.company_id.clone(),
        conversation_id: conversation.conversation_id,
        traceparent: None,
    };
    // The same turn may be the last one of several ends.
    let nanos = conversation.ended_at.map(OffsetDateTime::unix_timestamp_nanos).unwrap_or_default();
    let discriminator = format!("ended/{nanos}");
    let updated = Updated::by_end(conversation, last);
    Ok([
        Event::new(EventType::ConversationUpdated, &origin, &discriminator, &updated)?,
        Event::new(EventType::ConversationEnded, &origin, &discriminator, &Ended::by_end(conversation, last))?,
    ])
}
