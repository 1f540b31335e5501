//! The SQLite store under `kill -9`: a child process stores turns until it is killed at no certain moment.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::{ConversationId, TurnId};
use turnpike::ports::store::ConversationStore;

use super::{record, scope};

/// Names the folder to work in, to a test that runs as its own child.
pub(crate) const FOLDER: &str = "TURNPIKE_TEST_CRASH_FOLDER";

const ROUNDS: u64 = 6;
const SESSIONS: usize = 4;

/// Runs one test of this binary as a child process, waits until its journal grows, and some time later kills it.
pub(crate) fn run_and_kill(test: &str, folder: &Path, journal: &Path, round: u64) {
    // The harness leaves the crate's name out.
    let (_, test) = test.split_once("::").unwrap();
    let length = || std::fs::metadata(journal).map_or(0, |metadata| metadata.len());
    let before = length();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while length() == before {
        assert!(Instant::now() < deadline, "the child does nothing");
        assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
        std::thread::yield_now();
    }
    // Any moment will do, as long as it is another one in each round.
    std::thread::sleep(Duration::from_micros(3_000 + round * 17_301));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "the child ended by itself");
}

#[test]
fn acknowledged_turns_keep_their_places_after_every_kill() {
    const NAME: &str = concat!(module_path!(), "::acknowledged_turns_keep_their_places_after_every_kill");
    if let Some(folder) = std::env::var_os(FOLDER) {
        runtime().block_on(work(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    for round in 0..ROUNDS {
        run_and_kill(NAME, folder.path(), &journal, round);
        runtime().block_on(audit(folder.path(), &std::fs::read_to_string(&journal).unwrap()));
    }
}

/// Stores turns, and writes down the place of each, until it is killed.
async fn work(folder: &Path) {
    let store = Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap());
    let journal = Arc::new(OpenOptions::new().create(true).append(true).open(folder.join("journal")).unwrap());
    let tasks = (0..2 * SESSIONS).map(|task| {
        let (store, journal) = (Arc::clone(&store), Arc::clone(&journal));
        tokio::spawn(async move {
            let scope = scope("comp_a");
            for n in 0.. {
                let turn = record("comp_a", &format!("s{}", task % SESSIONS), "q", n);
                let appended = store.append(&scope, &turn, None).await.unwrap();
                // One write to a file that is appended to is whole or not there.
                let line = format!("{} {} {}\n", turn.turn_id, turn.conversation_id, appended.sequence);
                (&*journal).write_all(line.as_bytes()).unwrap();
            }
        })
    });
    futures::future::join_all(tasks.collect::<Vec<_>>()).await;
}

async fn audit(folder: &Path, journal: &str) {
    let store = SqliteStore::open(&folder.join("store.db")).unwrap();
    let scope = scope("comp_a");
    let mut acknowledged: HashMap<ConversationId, Vec<(TurnId, u64)>> = HashMap::new();
    for line in journal.lines() {
        let [turn, conversation, sequence] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let place = (turn.parse().unwrap(), sequence.parse().unwrap());
        acknowledged.entry(conversation.parse().unwrap()).or_default().push(place);
    }
    for (conversation, places) in acknowledged {
        let history = store.history(&scope, conversation, usize::MAX).await.unwrap();
        let sequences: Vec<_> = history.iter().map(|stored| stored.sequence).collect();
        assert_eq!(sequences, (1..=history.len() as u64).collect::<Vec<_>>(), "the sequence has gaps");
        let head = store.conversation(&scope, conversation).await.unwrap().unwrap();
        assert_eq!((head.last_sequence, head.message_count), (history.len() as u64, 2 * history.len() as u64));
        let stored: HashMap<_, _> = history.iter().map(|stored| (stored.record.turn_id, stored.sequence)).collect();
        for (turn, sequence) in places {
            assert_eq!(stored.get(&turn), Some(&sequence), "an acknowledged turn is lost or was moved");
        }
        let last = history.last().unwrap();
        assert_eq!(store.append(&scope, &last.record, None).await.unwrap().sequence, last.sequence);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
