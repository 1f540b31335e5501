//! Checks of what is done to single conversations: they are found by what they are, ended, and removed.

use time::{Duration, OffsetDateTime};
use turnpike::domain::TurnRecord;
use turnpike::domain::conversation::Status;
use turnpike::ports::store::{Erased, Error, Filter, Page, Removed};

use super::{Store, record, scope};

fn after(record: &TurnRecord, seconds: i64) -> OffsetDateTime {
    record.finished_at + Duration::seconds(seconds)
}

pub(super) async fn finds_conversations_by_what_they_are(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let mut records: Vec<TurnRecord> =
        (0..4).map(|n| record("comp_a", &format!("s{n}"), &format!("q{n}"), 10 * n)).collect();
    records[1].channel = "zalo".to_owned();
    records[2].language = "en".parse().ok();
    records[3].intent = None;
    for record in &records {
        store.append(&scope, record, None).await.unwrap();
    }
    store.end(&scope, records[0].conversation_id, after(&records[0], 1)).await.unwrap().unwrap();
    let found = async |filter: Filter| -> Vec<String> {
        let (mut all, mut page) = (Vec::new(), Page { limit: 2, after: None });
        loop {
            let (some, next) = store.conversations(&scope, &filter, &page).await.unwrap();
            all.extend(some.into_iter().map(|one| one.session_id.as_str().to_owned()));
            let Some(next) = next else { return all };
            page.after = Some(next);
        }
    };
    let all = Filter::default();
    assert_eq!(found(all.clone()).await, ["s3", "s2", "s1", "s0"]);
    assert_eq!(found(Filter { channel: Some("zalo".to_owned()), ..all.clone() }).await, ["s1"]);
    assert_eq!(found(Filter { status: Some(Status::Ended), ..all.clone() }).await, ["s0"]);
    assert_eq!(found(Filter { status: Some(Status::Active), ..all.clone() }).await, ["s3", "s2", "s1"]);
    assert_eq!(found(Filter { language: "vi".parse().ok(), ..all.clone() }).await, ["s3", "s1", "s0"]);
    assert_eq!(found(Filter { intent: Some("information".to_owned()), ..all.clone() }).await, ["s2", "s1", "s0"]);
    assert_eq!(found(Filter { session: "s2".parse().ok(), ..all.clone() }).await, ["s2"]);
    let (from, until) = (Some(records[1].finished_at), Some(records[3].finished_at));
    assert_eq!(found(Filter { from, until, ..all.clone() }).await, ["s2", "s1"]);
    let both = Filter { channel: Some("zalo".to_owned()), language: "en".parse().ok(), ..all };
    assert_eq!(found(both).await, [""; 0]);
}

pub(super) async fn tells_language_and_intent_of_the_last_turn(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let mut turns: Vec<TurnRecord> = (0..3).map(|n| record("comp_a", "s", "q", n)).collect();
    turns[2].language = "en".parse().ok();
    turns[2].intent = None;
    // Stored in another order than they were asked.
    for turn in [&turns[2], &turns[0], &turns[1]] {
        store.append(&scope, turn, None).await.unwrap();
    }
    let head = store.conversation(&scope, turns[0].conversation_id).await.unwrap().unwrap();
    assert_eq!((head.language.map(|it| it.code()), head.intent.as_deref()), (Some("en"), Some("information")));
}

pub(super) async fn gives_the_turns_of_a_conversation_in_order(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let turns: Vec<TurnRecord> = (0..5).map(|n| record("comp_a", "s", &n.to_string(), n)).collect();
    for turn in turns.iter().chain([&record("comp_a", "other", "q", 9)]) {
        store.append(&scope, turn, None).await.unwrap();
    }
    let id = turns[0].conversation_id;
    let given = async |after, limit| -> Vec<u64> {
        let given = store.turns_after(&scope, id, after, limit).await.unwrap();
        given.into_iter().map(|turn| turn.sequence).collect()
    };
    assert_eq!(given(0, 2).await, [1, 2]);
    assert_eq!(given(2, 10).await, [3, 4, 5]);
    assert_eq!(given(5, 10).await, [0; 0]);
    assert_eq!(given(u64::MAX, 10).await, [0; 0]);
    assert_eq!(store.turns_after(&super::scope("comp_b"), id, 0, 10).await.unwrap(), []);
}

pub(super) async fn ends_a_conversation_until_its_next_turn(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let turns: Vec<TurnRecord> = [0, 5, 100].map(|at| record("comp_a", "s", "q", at)).to_vec();
    let id = turns[0].conversation_id;
    assert_eq!(store.end(&scope, id, after(&turns[0], 50)).await.unwrap(), None);
    store.append(&scope, &turns[0], None).await.unwrap();
    let ended = store.end(&scope, id, after(&turns[0], 50)).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_at), (Status::Ended, Some(after(&turns[0], 50))));
    // Ended once, and by nobody else.
    assert_eq!(store.end(&scope, id, after(&turns[0], 60)).await.unwrap(), Some(ended.clone()));
    assert_eq!(store.end(&super::scope("comp_b"), id, after(&turns[0], 60)).await.unwrap(), None);
    assert_eq!(store.conversation(&scope, id).await.unwrap(), Some(ended.clone()));
    // A turn from before the end that is stored late does not begin it again; one from after it does.
    let late = store.append(&scope, &turns[1], None).await.unwrap().conversation;
    assert_eq!((late.status, late.ended_at, late.last_sequence), (Status::Ended, ended.ended_at, 2));
    let again = store.append(&scope, &turns[2], None).await.unwrap().conversation;
    assert_eq!((again.status, again.ended_at, again.last_sequence), (Status::Active, None, 3));
    assert_eq!(store.conversation(&scope, id).await.unwrap(), Some(again));
}

pub(super) async fn removes_a_conversation_for_good(store: Store) {
    let (store, a, b) = (store.conversations, scope("comp_a"), scope("comp_b"));
    let turns: Vec<TurnRecord> = (0..3).map(|n| record("comp_a", "s", &n.to_string(), n)).collect();
    let (other, theirs) = (record("comp_a", "other", "q", 0), record("comp_b", "s", "q", 0));
    for turn in turns.iter().take(2).chain([&other]) {
        store.append(&a, turn, None).await.unwrap();
    }
    store.append(&b, &theirs, None).await.unwrap();
    let (id, until) = (turns[0].conversation_id, after(&turns[2], 1));
    assert_eq!(store.removed(&a, &[id]).await.unwrap(), []);
    // Not by another company.
    assert_eq!(store.remove(&b, id, until).await.unwrap(), Erased::default());
    assert_eq!(store.history(&a, id, 9).await.unwrap().len(), 2);
    let erased = Erased { conversations: 1, turns: 2, documents: 0 };
    assert_eq!(store.remove(&a, id, until).await.unwrap(), erased);
    assert_eq!(store.conversation(&a, id).await.unwrap(), None);
    assert_eq!(store.history(&a, id, 9).await.unwrap(), []);
    assert_eq!(store.turn(&a, turns[0].turn_id).await.unwrap(), None);
    assert_eq!(store.removed(&a, &[id, other.conversation_id]).await.unwrap(), [Removed { conversation: id, until }]);
    // What was still on its way does not bring it back, and neither does a turn that was there.
    for late in [&turns[2], &turns[0]] {
        let answer = store.append(&a, late, None).await;
        assert!(matches!(answer, Err(Error::Removed)), "{answer:?}");
    }
    assert_eq!(store.conversation(&a, id).await.unwrap(), None);
    assert_eq!(store.history(&a, other.conversation_id, 9).await.unwrap().len(), 1);
    assert_eq!(store.history(&b, theirs.conversation_id, 9).await.unwrap().len(), 1);
    assert_eq!(store.remove(&a, id, until).await.unwrap(), Erased::default());
}

pub(super) async fn lets_a_removed_conversation_begin_again(store: Store) {
    let (store, scope) = (store.conversations, scope("comp_a"));
    let [old, new, late] = [0, 100, 1].map(|at| record("comp_a", "s", "q", at));
    store.append(&scope, &old, None).await.unwrap();
    let (id, until) = (old.conversation_id, after(&old, 20));
    store.remove(&scope, id, until).await.unwrap();
    let begun = store.append(&scope, &new, None).await.unwrap();
    assert!(begun.is_first && begun.sequence == 1);
    // Removed once more up to the same moment, it keeps what came after.
    assert_eq!(store.remove(&scope, id, until).await.unwrap(), Erased::default());
    assert!(matches!(store.append(&scope, &late, None).await, Err(Error::Removed)));
    assert_eq!(store.history(&scope, id, 9).await.unwrap().len(), 1);
    assert_eq!(store.conversation(&scope, id).await.unwrap().unwrap().message_count, 2);
    assert_eq!(store.removed(&scope, &[]).await.unwrap(), []);
}
