//! What the SQLite store promises beyond the contract: other processes on its file, and nothing left of what was erased.

use std::path::Path;
use std::sync::Arc;

use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::TurnRecord;
use turnpike::ports::directory::Directory;
use turnpike::ports::store::{ConversationStore, Page};

use super::{Store, record, scope};

/// An empty store in a folder of its own.
pub(crate) async fn fresh() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    Store { conversations: store.clone(), documents: store.clone(), directory: store, _guard: Box::new(folder) }
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
        store.append(&scope, turn)
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
        store.append(&scope(&company(n)), &turn).await.unwrap();
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
    assert_eq!(store.conversations(&scope("comp_01"), &page).await.unwrap().0.len(), 20);
}
