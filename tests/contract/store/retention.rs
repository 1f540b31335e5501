//! Checks of how long turns are kept. An engine may remove what is due by itself, at a moment of its own, so that what
//! goes is waited for.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use turnpike::domain::conversation::StoredTurn;
use turnpike::domain::{CompanyScope, TurnRecord};
use turnpike::ports::store::{ConversationStore, Erased, Filter, Page};

use super::{Store, record, scope};

/// Engines that remove by themselves look once a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) fn past() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_500).unwrap()
}

pub(crate) fn future() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::from_secs(3_600)
}

async fn wait_until_gone(store: &dyn ConversationStore, scope: &CompanyScope, turn: &TurnRecord) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        store.expire(OffsetDateTime::now_utc()).await.unwrap();
        let is_gone = store.turn(scope, turn.turn_id).await.unwrap().is_none()
            && store.history(scope, turn.conversation_id, 10).await.unwrap().iter().all(|it| it.record != *turn);
        if is_gone {
            return;
        }
        assert!(Instant::now() < deadline, "a turn is kept longer than it was to be");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn wait_until_headless(store: &dyn ConversationStore, scope: &CompanyScope, turn: &TurnRecord) {
    let deadline = Instant::now() + PATIENCE;
    while store.conversation(scope, turn.conversation_id).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "a conversation is kept without its turns");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) async fn keeps_a_turn_until_its_time(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let due = record("comp_a", "mixed", "due", 0);
    let kept = record("comp_a", "mixed", "kept", 1);
    let due_alone = record("comp_a", "due alone", "due", 2);
    // The one to be kept comes first: its conversation must not go with a turn that comes later and is due before it.
    store.append(&scope, &kept, Some(future())).await.unwrap();
    store.append(&scope, &due, Some(past())).await.unwrap();
    store.append(&scope, &due_alone, Some(past())).await.unwrap();
    wait_until_gone(&*store, &scope, &due).await;
    wait_until_gone(&*store, &scope, &due_alone).await;
    wait_until_headless(&*store, &scope, &due_alone).await;
    assert_eq!(store.stored(&scope, &[due.turn_id, kept.turn_id, due_alone.turn_id]).await.unwrap(), [kept.turn_id]);
    let page = Page { limit: 10, after: None };
    assert_eq!(store.turns(&scope, &page).await.unwrap().0, [StoredTurn { sequence: 1, record: kept.clone() }]);
    let head = store.conversations(&scope, &Filter::default(), &page).await.unwrap().0;
    assert_eq!(head.iter().map(|head| head.conversation_id).collect::<Vec<_>>(), [kept.conversation_id]);
    // Numbers are not given a second time while the conversation lasts, and a new one begins anew.
    let next = store.append(&scope, &record("comp_a", "mixed", "next", 3), None).await.unwrap();
    assert_eq!(next.sequence, 3);
    let anew = store.append(&scope, &record("comp_a", "due alone", "anew", 4), None).await.unwrap();
    assert_eq!((anew.sequence, anew.is_first, anew.conversation.summary.as_str()), (1, true, "anew"));
}

pub(super) async fn keeps_what_has_no_time(store: Store) {
    let (store, a, b) = (store.conversations, scope("comp_a"), scope("comp_b"));
    let (for_ever, limited) = (record("comp_a", "s", "for ever", 0), record("comp_a", "s", "limited", 1));
    let theirs = TurnRecord { company_id: "comp_b".parse().unwrap(), ..limited.clone() };
    store.append(&a, &for_ever, None).await.unwrap();
    store.append(&a, &limited, Some(past())).await.unwrap();
    // The same ids in another company, which keeps longer.
    store.append(&b, &theirs, Some(future())).await.unwrap();
    let (head, restored) = {
        let turn = record("comp_a", "restored", "due", 0);
        let head = turnpike::domain::conversation::Conversation::begun_by(&turn).with(&turn);
        (head, StoredTurn { sequence: 1, record: turn })
    };
    store.restore(&a, &head, std::slice::from_ref(&restored), Some(past())).await.unwrap();
    wait_until_gone(&*store, &a, &limited).await;
    wait_until_gone(&*store, &a, &restored.record).await;
    wait_until_headless(&*store, &a, &restored.record).await;
    assert!(store.turn(&a, for_ever.turn_id).await.unwrap().is_some());
    assert!(store.conversation(&a, for_ever.conversation_id).await.unwrap().is_some());
    assert!(store.turn(&b, theirs.turn_id).await.unwrap().is_some());
    assert_eq!(store.conversation(&b, theirs.conversation_id).await.unwrap().unwrap().last_sequence, 1);
    assert_eq!(store.expire(OffsetDateTime::now_utc()).await.unwrap(), Erased::default());
}
