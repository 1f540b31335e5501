//! Checks of what carries conversations from one store to another: which turns are stored, all of them in pages, and
//! writing them as they were.

use turnpike::domain::conversation::{Conversation, Status, StoredTurn};
use turnpike::domain::{CompanyScope, TurnId, TurnRecord};
use turnpike::ports::store::{ConversationStore, Error, Filter, Page};

use super::{Store, record, scope};

async fn all_turns(store: &dyn ConversationStore, scope: &CompanyScope, limit: usize) -> Vec<StoredTurn> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (turns, next) = store.turns(scope, &Page { limit, after }).await.unwrap();
        assert!(turns.len() <= limit, "a page of {} turns", turns.len());
        all.extend(turns);
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// A conversation of so many turns, the second of which has no answer, as it is in the store that it comes from.
fn elsewhere(company: &str, session: &str, turns: i64) -> (Conversation, Vec<StoredTurn>) {
    let mut head = None;
    let mut stored = Vec::new();
    for n in 0..turns {
        let mut turn = record(company, session, &format!("question {n}"), 10 * n);
        if n == 1 {
            turn.answer.clear();
        }
        head = Some(head.unwrap_or_else(|| Conversation::begun_by(&turn)).with(&turn));
        stored.push(StoredTurn { sequence: n as u64 + 1, record: turn });
    }
    (head.unwrap(), stored)
}

pub(super) async fn says_which_turns_are_stored(store: Store) {
    let (store, a, b) = (store.conversations, scope("comp_a"), scope("comp_b"));
    let (ours, theirs) = (record("comp_a", "s", "q", 0), record("comp_b", "s", "q", 0));
    store.append(&a, &ours, None).await.unwrap();
    store.append(&b, &theirs, None).await.unwrap();
    assert_eq!(store.stored(&a, &[]).await.unwrap(), []);
    let asked = [TurnId::generate(), theirs.turn_id, ours.turn_id, TurnId::generate()];
    assert_eq!(store.stored(&a, &asked).await.unwrap(), [ours.turn_id]);
    assert_eq!(store.stored(&b, &asked).await.unwrap(), [theirs.turn_id]);
    // As many as wait in a long queue.
    let mut many: Vec<TurnId> = (0..5_000).map(|_| TurnId::generate()).collect();
    many.push(ours.turn_id);
    assert_eq!(store.stored(&a, &many).await.unwrap(), [ours.turn_id]);
}

pub(super) async fn gives_all_turns_in_pages(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    assert_eq!(store.turns(&scope, &Page { limit: 10, after: None }).await.unwrap(), (vec![], None));
    let mut expected = Vec::new();
    for n in 0..23 {
        // More than nine in one conversation: 10 comes after 9, not after 1.
        let turn = record("comp_a", if n % 4 == 0 { "short" } else { "long" }, &n.to_string(), n);
        let sequence = store.append(&scope, &turn, None).await.unwrap().sequence;
        expected.push(StoredTurn { sequence, record: turn });
    }
    store.append(&super::scope("comp_b"), &record("comp_b", "long", "theirs", 0), None).await.unwrap();
    expected.sort_by_key(|turn| (turn.record.conversation_id, turn.sequence));
    for limit in [1, 4, 22, 23, 24, 1_000] {
        assert_eq!(all_turns(&*store, &scope, limit).await, expected, "limit {limit}");
    }
    for text in ["", "1", "x-y", "é", "-", "' OR 1=1 --"] {
        let answer = store.turns(&scope, &Page { limit: 4, after: Some(text.to_owned()) }).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{text:?} gave {answer:?}");
    }
}

pub(super) async fn restores_a_conversation_as_it_was(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let (mut head, turns) = elsewhere("comp_a", "s", 4);
    head.status = Status::Ended;
    head.ended_at = Some(head.updated_at);
    // In any order, and in parts.
    let parts = [[turns[1].clone(), turns[0].clone()], [turns[3].clone(), turns[2].clone()]];
    for part in &parts {
        store.restore(&scope, &head, part, None).await.unwrap();
    }
    assert_eq!(store.conversation(&scope, head.conversation_id).await.unwrap(), Some(head.clone()));
    assert_eq!(all_turns(&*store, &scope, 10).await, turns);
    assert_eq!(store.history(&scope, head.conversation_id, 10).await.unwrap(), turns);
    let page = Page { limit: 10, after: None };
    assert_eq!(store.conversations(&scope, &Filter::default(), &page).await.unwrap().0, std::slice::from_ref(&head));
    // A turn that was stored elsewhere and comes by the bus again has its place already.
    for (turn, messages) in turns.iter().zip([2, 3, 5, 7]) {
        let again = store.append(&scope, &turn.record, None).await.unwrap();
        assert_eq!((again.sequence, again.message_count), (turn.sequence, messages));
        assert_eq!((again.is_first, &again.conversation), (turn.sequence == 1, &head));
    }
    assert_eq!(all_turns(&*store, &scope, 10).await, turns);
}

pub(super) async fn restores_once_and_goes_on(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let (head, mut turns) = elsewhere("comp_a", "s", 5);
    turns[0].record.idempotency_key = Some("key".to_owned());
    let (early, _) = elsewhere("comp_a", "s", 3);
    store.restore(&scope, &early, &turns[..3], None).await.unwrap();
    for _ in 0..2 {
        // What is there stays as it is; the head comes up to turns that came to the other store meanwhile.
        let mut changed = turns.clone();
        changed[0].record.answer = "changed".to_owned();
        store.restore(&scope, &head, &changed, None).await.unwrap();
        assert_eq!(all_turns(&*store, &scope, 10).await, turns);
        assert_eq!(store.conversation(&scope, head.conversation_id).await.unwrap().unwrap().last_sequence, 5);
        // And it does not go back.
        store.restore(&scope, &early, &turns[..3], None).await.unwrap();
        assert_eq!(store.conversation(&scope, head.conversation_id).await.unwrap().unwrap().last_sequence, 5);
    }
    let found = store.turn_by_idempotency_key(&scope, "key").await.unwrap().unwrap();
    assert_eq!(found, turns[0]);
    let next = store.append(&scope, &record("comp_a", "s", "next", 100), None).await.unwrap();
    assert_eq!((next.sequence, next.message_count, next.is_first), (6, 11, false));
}

pub(super) async fn refuses_to_restore_what_does_not_fit(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let (head, turns) = elsewhere("comp_a", "s", 2);
    let other = store.append(&scope, &record("comp_a", "s", "here already", 0), None).await.unwrap();
    let taken = store.restore(&scope, &head, &turns, None).await;
    assert!(matches!(taken, Err(Error::Invalid(_))), "two turns with the sequence {}: {taken:?}", other.sequence);
    assert_eq!(store.turn(&scope, turns[0].record.turn_id).await.unwrap(), None);

    let (theirs, their_turns) = elsewhere("comp_b", "s", 1);
    let (another, _) = elsewhere("comp_a", "another", 1);
    let moved = StoredTurn {
        record: TurnRecord { conversation_id: another.conversation_id, ..their_turns[0].record.clone() },
        ..their_turns[0].clone()
    };
    for (head, turns) in [(&theirs, &their_turns[..]), (&another, &[moved][..]), (&another, &turns[1..])] {
        let answer = store.restore(&scope, head, turns, None).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
    }
    assert_eq!(store.conversation(&scope, another.conversation_id).await.unwrap(), None);
}

pub(super) async fn restores_a_conversation_whose_beginning_is_gone(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let (head, turns) = elsewhere("comp_a", "s", 6);
    store.restore(&scope, &head, &turns[3..], None).await.unwrap();
    assert_eq!(all_turns(&*store, &scope, 10).await, turns[3..]);
    assert_eq!(store.conversation(&scope, head.conversation_id).await.unwrap(), Some(head.clone()));
    let again = store.append(&scope, &turns[4].record, None).await.unwrap();
    assert_eq!((again.sequence, again.is_first), (5, false));
    let next = store.append(&scope, &record("comp_a", "s", "next", 100), None).await.unwrap();
    assert_eq!((next.sequence, next.message_count), (7, head.message_count + 2));
}
