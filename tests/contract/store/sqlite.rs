//! What the SQLite store promises beyond the contract: other processes on its file, and nothing left of what was erased.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::TurnRecord;
use turnpike::domain::analytics::{Cell, Fact, Grain};
use turnpike::domain::conversation::{Conversation, StoredTurn};
use turnpike::ports::directory::Directory;
use turnpike::ports::store::{ConversationStore, Erased, Filter, Page};

use super::retention::future;
use super::{Store, record, scope};
use crate::analytics::Counters;
use crate::deliveries::Log;

/// An empty store in a folder of its own.
pub(crate) async fn fresh() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    Store { conversations: store.clone(), documents: store.clone(), directory: store, _guard: Box::new(folder) }
}

/// Empty analytics in a folder of their own.
pub(crate) async fn fresh_counters() -> Counters {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    Counters { analytics: store.clone(), conversations: store, _guard: Box::new(folder) }
}

/// An empty log of deliveries in a folder of its own.
pub(crate) async fn fresh_log() -> Log {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    Log { deliveries: store.clone(), conversations: store, _guard: Box::new(folder) }
}

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(&folder.join("store.db")).unwrap()
}

/// Whether any file of a folder holds a text.
pub(crate) fn mentions(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    // Both open it, and make it, at the same moment.
    let (server, command) = std::thread::scope(|threads| {
        let both = [threads.spawn(|| open(folder.path())), threads.spawn(|| open(folder.path()))];
        let [server, command] = both.map(|thread| thread.join().unwrap());
        (server, command)
    });
    let scope = scope("comp_a");
    let turns: Vec<_> = (0..40).map(|n| record("comp_a", "s", "q", n)).collect();
    let writes = turns.iter().enumerate().map(|(n, turn)| {
        let store = if n % 2 == 0 { &server } else { &command };
        store.append(&scope, turn, None)
    });
    let mut sequences: Vec<_> =
        futures::future::join_all(writes).await.into_iter().map(|appended| appended.unwrap().sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_no_trace_of_an_erased_company() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // Many companies, so that many pages hold rows of several, and random ids, so that rows are moved between pages.
    let company = |n: usize| format!("comp_{:02}", n * 7 % 30);
    for n in 0..600usize {
        let bird = if n * 7 % 30 % 2 == 0 { "canary" } else { "sparrow" };
        let question = format!("{bird} {n} ").repeat(n % 12 + 1);
        let answer = format!("{bird} {n} ").repeat(n % 61 + 1);
        let turn = TurnRecord { answer, ..record(&company(n), &format!("{bird} {n}"), &question, n as i64) };
        store.append(&scope(&company(n)), &turn, None).await.unwrap();
    }
    assert!(mentions(folder.path(), "canary"), "the test itself sees nothing");
    for n in (0..30).step_by(2) {
        let erased = scope(&format!("comp_{n:02}"));
        assert_eq!(store.erase(&erased).await.unwrap().turns, 20);
        store.remove_company(&erased).await.unwrap();
    }
    assert!(!mentions(folder.path(), "canary"));
    assert!(mentions(folder.path(), "sparrow"));
    let page = Page { limit: 1_000, after: None };
    assert_eq!(store.conversations(&scope("comp_01"), &Filter::default(), &page).await.unwrap().0.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_what_is_due_and_says_what_went() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let scope = scope("comp_a");
    let keep_until = future();
    // More than go in one write.
    let turns: Vec<_> = (0..1_201).map(|n| record("comp_a", &format!("canary {}", n % 3), "q", n)).collect();
    let appends = turns.iter().map(|turn| store.append(&scope, turn, Some(keep_until)));
    for appended in futures::future::join_all(appends).await {
        appended.unwrap();
    }
    let kept = record("comp_a", "canary 0", "q", 2_000);
    store.append(&scope, &kept, Some(keep_until + Duration::from_nanos(1))).await.unwrap();
    assert_eq!(store.expire(keep_until - Duration::from_nanos(1)).await.unwrap(), Erased::default());
    let expected = Erased { conversations: 2, turns: 1_201, documents: 0 };
    assert_eq!(store.expire(keep_until).await.unwrap(), expected);
    assert_eq!(store.expire(keep_until).await.unwrap(), Erased::default());
    assert_eq!(store.history(&scope, kept.conversation_id, 10).await.unwrap()[0].record, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_not_counted_before_it_is_removed_either() {
    let Counters { analytics, conversations, _guard } = fresh_counters().await;
    let scope = scope("comp_a");
    let turn = record("comp_a", "s", "q", 0);
    let now = OffsetDateTime::now_utc();
    let count = || analytics.cells(&scope, turn.finished_at, now, Grain::Day);
    analytics.record(&scope, &Fact::from(&turn), now - Duration::from_secs(1)).await.unwrap();
    assert_eq!(count().await.unwrap(), []);
    // More than go in one write.
    let until = future();
    let facts: Vec<_> = (0..700).map(|n| Fact::from(&record("comp_a", "s", "q", n))).collect();
    let counted = facts.iter().map(|fact| analytics.record(&scope, fact, until));
    futures::future::join_all(counted).await.into_iter().for_each(Result::unwrap);
    let turns = |cells: Vec<Cell>| cells.iter().map(|cell| cell.turns).sum::<u64>();
    assert_eq!(turns(count().await.unwrap()), 700);
    conversations.expire(until).await.unwrap();
    assert_eq!(analytics.erase_analytics(&scope).await.unwrap(), 0, "rows are left that were due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_turn_counts_the_messages_before_it_though_their_turns_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let scope = scope("comp_a");
    let turns: Vec<_> = (0..6).map(|n| record("comp_a", "s", "q", n)).collect();
    let head = turns.iter().fold(Conversation::begun_by(&turns[0]), |head, turn| head.with(turn));
    let stored = |n: usize| StoredTurn { sequence: n as u64 + 1, record: turns[n].clone() };
    store.restore(&scope, &head, &[stored(2), stored(5)], None).await.unwrap();
    for (n, messages) in [(2, 6), (5, 12)] {
        assert_eq!(store.append(&scope, &turns[n], None).await.unwrap().message_count, messages);
    }
}
