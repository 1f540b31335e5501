//! Tests of storing turns.

use super::super::testing::{MemoryStore, company, endpoint, finished, jobs, record};
use super::*;
use crate::domain::webhook::Disabled;
use serde_json::{Value, json};

fn job(store: &Arc<MemoryStore>) -> Persist {
    Persist::new(Arc::clone(store) as _, Arc::clone(store) as _, &jobs(), Returning::Here)
}

fn done(outcome: Outcome) -> Vec<Message> {
    match outcome {
        Outcome::Done(follow_ups) => follow_ups,
        other => panic!("{other:?}"),
    }
}

fn data(message: &Message) -> Value {
    serde_json::from_slice::<Value>(&message.body).unwrap()["data"].clone()
}

#[tokio::test]
async fn a_stored_turn_is_followed_by_what_webhooks_say() {
    let store = MemoryStore::with([]);
    let record = record("s-1", "Lãi suất?", "6%");
    let follow_ups = done(job(&store).run(&finished(&record)).await);
    assert_eq!(store.turns.lock().len(), 1);
    assert_eq!(follow_ups.len(), 1);
    assert_eq!(follow_ups[0].routing_key, "conversation.updated.comp_1");
    assert_eq!(
        data(&follow_ups[0]),
        json!({
            "company_id": "comp_1", "conversation_id": record.conversation_id.to_string(), "session_id": "s-1",
            "channel": "web", "status": "ACTIVE", "message_count": 2, "sequence": 1,
            "turn_id": record.turn_id.to_string(), "language": "vi", "intent": null, "finish_reason": "stop",
            "ended_at": null, "summary": "Lãi suất?",
            "messages": [{"role": "user", "content": "Lãi suất?"}, {"role": "assistant", "content": "6%"}]
        })
    );
}

#[tokio::test]
async fn the_same_turn_again_makes_the_same_messages() {
    let store = MemoryStore::with([]);
    let job = job(&store);
    let message = finished(&record("s-1", "q", "a"));
    let first = done(job.run(&message).await);
    let second = done(job.run(&message).await);
    assert_eq!(store.turns.lock().len(), 1);
    assert_eq!((first[0].id, &first[0].body), (second[0].id, &second[0].body));
}

#[tokio::test]
async fn further_events_are_published_only_when_someone_listens() {
    use EventType::{ConversationCreated, ConversationUpdated, MessageCreated};
    let all = [ConversationUpdated, ConversationCreated, MessageCreated];
    let mut deaf = endpoint("ep_2", &all);
    deaf.disabled = Some(Disabled::now("gone"));
    let store = MemoryStore::with([deaf]);
    assert_eq!(done(job(&store).run(&finished(&record("s-1", "q", "a"))).await).len(), 1, "a disabled one listened");
    let endpoint = endpoint("ep_1", &all);
    store.endpoints.lock().insert(endpoint.id.clone(), endpoint);
    let keys = |messages: &[Message]| messages.iter().map(|it| it.routing_key.clone()).collect::<Vec<_>>();
    let first = done(job(&store).run(&finished(&record("s-2", "q", "a"))).await);
    assert_eq!(
        keys(&first),
        [
            "conversation.created.comp_1",
            "message.created.comp_1",
            "message.created.comp_1",
            "conversation.updated.comp_1"
        ]
    );
    assert_eq!(data(&first[1])["message"], json!({"role": "user", "content": "q"}));
    assert_ne!(first[1].id, first[2].id);
    let second = done(job(&store).run(&finished(&record("s-2", "q", ""))).await);
    assert_eq!(keys(&second), ["message.created.comp_1", "conversation.updated.comp_1"]);
    assert_eq!(data(&second[1])["sequence"], 2);
}

#[tokio::test]
async fn a_store_that_is_away_is_tried_for_ever_and_one_that_refuses_is_not() {
    let store = MemoryStore::with([]);
    let job = job(&store);
    let mut message = finished(&record("s", "q", "a"));
    *store.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
    message.first_queued_at -= time::Duration::days(1000);
    for (attempts, low, high) in [(0, 400, 600), (1, 800, 1200), (2, 1600, 2400), (5000, 40_000, 60_000)] {
        message.attempts = attempts;
        let Outcome::Retry { after, .. } = job.run(&message).await else { panic!("attempt {attempts}") };
        assert!((low..=high).contains(&after.as_millis()), "attempt {attempts}: {after:?}");
    }
    *store.error.lock() = Some(|| store::Error::Invalid("no".to_owned()));
    assert!(matches!(job.run(&message).await, Outcome::Dead { .. }));
}

#[tokio::test]
async fn a_later_turn_does_not_overtake_one_that_is_tried_again() {
    let store = MemoryStore::with([]);
    let job = job(&store);
    let [first, second] = ["q1", "q2"].map(|question| finished(&record("s", question, "a")));
    *store.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
    assert!(matches!(job.run(&first).await, Outcome::Retry { .. }));
    *store.error.lock() = None;
    assert!(matches!(job.run(&second).await, Outcome::Defer { .. }), "it overtook the first");
    done(job.run(&finished(&record("another", "q", "a"))).await);
    assert_eq!(data(&done(job.run(&first).await)[0])["sequence"], 1);
    assert_eq!(data(&done(job.run(&second).await)[0])["sequence"], 2);
}

#[tokio::test]
async fn a_turn_that_is_given_up_holds_up_nobody() {
    let store = MemoryStore::with([]);
    let job = job(&store);
    let [first, second] = ["q1", "q2"].map(|question| finished(&record("s", question, "a")));
    *store.error.lock() = Some(|| store::Error::Invalid("no".to_owned()));
    assert!(matches!(job.run(&first).await, Outcome::Dead { .. }));
    *store.error.lock() = None;
    done(job.run(&second).await);
}

#[tokio::test]
async fn a_turn_of_a_removed_company_is_not_stored() {
    let store = MemoryStore::with([]);
    *store.is_removed.lock() = true;
    let outcome = job(&store).run(&finished(&record("s", "q", "a"))).await;
    assert_eq!(outcome, Outcome::Discarded(DiscardReason::CompanyGone));
    assert!(store.turns.lock().is_empty());
}

#[tokio::test]
async fn poison_dies_at_once() {
    let store = MemoryStore::with([]);
    let good = finished(&record("s", "q", "a"));
    let text = String::from_utf8(good.body.to_vec()).unwrap();
    let foreign = text.replace(r#""companyid":"comp_1""#, r#""companyid":"comp_2""#);
    assert_ne!(foreign, text);
    for body in [String::new(), "\u{0}".to_owned(), "{}".to_owned(), text.replace("turn_id", "turm_id"), foreign] {
        let outcome = job(&store).run(&Message { body: body.clone().into(), ..good.clone() }).await;
        assert!(matches!(outcome, Outcome::Dead { .. }), "{body}: {outcome:?}");
    }
    assert!(store.turns.lock().is_empty());
    assert_eq!(company().as_str(), "comp_1");
}

#[tokio::test]
async fn with_several_workers_a_turn_is_stored_after_the_one_before_it() {
    let store = MemoryStore::with([]);
    let job = Persist::new(Arc::clone(&store) as _, Arc::clone(&store) as _, &jobs(), Returning::Anywhere);
    let first = record("s-1", "q1", "a1");
    let second = TurnRecord { previous_turn_id: Some(first.turn_id), ..record("s-1", "q2", "a2") };
    assert!(matches!(job.run(&finished(&second)).await, Outcome::Defer { .. }));
    assert!(store.turns.lock().is_empty());
    done(job.run(&finished(&first)).await);
    done(job.run(&finished(&second)).await);
    assert_eq!(store.turns.lock().iter().map(|turn| turn.turn_id).collect::<Vec<_>>(), [first.turn_id, second.turn_id]);
}
