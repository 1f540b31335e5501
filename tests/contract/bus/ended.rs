//! When a gateway may forget a turn: every state that a turn can be in behind the bus.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use turnpike::domain::{Company, Event, EventType};
use turnpike::jobs::ended::TurnEnds;
use turnpike::ports::bus::{Message, Queue};
use turnpike::ports::ledger::Ledger;
use turnpike::ports::outbox::{End, Ends, Sent};
use uuid::Uuid;

use super::ledger::MemoryLedger;
use crate::store::{Store, record, scope, sqlite};

fn company(retention_days: Option<u32>) -> Company {
    serde_json::from_value(serde_json::json!({
        "id": "comp_a", "name": "A", "industry": null, "languages": [], "pipeline": null, "description": null,
        "retention_days": retention_days, "created_at": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

fn message(id: Uuid) -> Message {
    let now = OffsetDateTime::now_utc();
    let routing_key = "conversation.updated.comp_a".to_owned();
    Message { id, routing_key, body: "{}".into(), attempts: 0, first_queued_at: now }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_forgotten_when_it_is_stored_and_told_or_is_not_to_be_kept() {
    let Store { conversations, directory, _guard, .. } = sqlite::fresh().await;
    let ledger = Arc::new(MemoryLedger::default());
    let ends = TurnEnds::new(conversations.clone(), directory.clone(), ledger.clone());
    directory.put_company(&company(None)).await.unwrap();
    let (scope, turn) = (scope("comp_a"), record("comp_a", "s", "q", 0));
    let sent = Sent {
        event_id: Uuid::now_v7(),
        company_id: turn.company_id.clone(),
        conversation_id: turn.conversation_id,
        turn_id: turn.turn_id,
        ended_at: OffsetDateTime::now_utc() - Duration::days(3),
    };
    let end = async |sent: &Sent| ends.ended(std::slice::from_ref(sent)).await.unwrap()[0];
    assert_eq!(end(&sent).await, End::Open);
    conversations.append(&scope, &turn, None).await.unwrap();
    assert_eq!(end(&sent).await, End::Open, "its webhooks are in no book yet");
    let told = Event::id_of(&turn.turn_id.to_string(), EventType::ConversationUpdated, "");
    ledger.open(Queue::Deliver, &[message(told)], OffsetDateTime::now_utc()).await.unwrap();
    assert_eq!(end(&sent).await, End::Kept);

    // Another one, which cannot be stored.
    let given_up = Sent { event_id: Uuid::now_v7(), turn_id: record("comp_a", "s", "q", 1).turn_id, ..sent.clone() };
    assert_eq!(end(&given_up).await, End::Open);
    ledger.dead(Queue::Persist, &message(given_up.event_id), "broken").await.unwrap();
    assert_eq!(end(&given_up).await, End::Kept);

    // One whose conversation was removed after it began, and the first of the conversation that began again.
    let removed = record("comp_a", "removed", "q", 3);
    let (id, conversation) = (removed.turn_id, removed.conversation_id);
    let gone = Sent { event_id: Uuid::now_v7(), turn_id: id, conversation_id: conversation, ..sent.clone() };
    assert_eq!(end(&gone).await, End::Open);
    conversations.remove(&scope, conversation, OffsetDateTime::now_utc()).await.unwrap();
    assert_eq!(end(&gone).await, End::Erased);
    // Ids of turns tell the time in milliseconds.
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let again = Sent { turn_id: record("comp_a", "removed", "q", 4).turn_id, ..gone };
    assert_eq!(end(&again).await, End::Open);

    // One that is older than its company keeps turns, and one whose company is gone.
    let old = Sent { event_id: Uuid::now_v7(), turn_id: record("comp_a", "s", "q", 2).turn_id, ..sent.clone() };
    assert_eq!(end(&old).await, End::Open);
    directory.put_company(&company(Some(2))).await.unwrap();
    assert_eq!(end(&old).await, End::Kept);
    directory.remove_company(&scope).await.unwrap();
    assert_eq!(end(&sent).await, End::Erased);
}
