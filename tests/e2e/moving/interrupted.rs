//! Exports and imports under SIGKILL.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use time::OffsetDateTime;
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::conversation::{Conversation, StoredTurn};
use turnpike::domain::{CompanyId, CompanyScope, FinishReason, SessionId, TurnId, TurnRecord};
use turnpike::ports::store::ConversationStore;

use super::{stderr, text};
use crate::support::PATIENCE;
use crate::support::process::Site;

/// Enough that a command works for a while, and can be met at it.
const CONVERSATIONS: usize = 300;
const TURNS: u64 = 30;
const ALL: usize = CONVERSATIONS * TURNS as usize;

fn company() -> CompanyId {
    "acme".parse().unwrap()
}

fn record(session: &SessionId, n: u64) -> TurnRecord {
    TurnRecord {
        channel: "web".into(),
        message: format!("Câu hỏi {n}"),
        answer: "Trả lời. ".repeat(40),
        finish_reason: FinishReason::Stop,
        language: "vi".parse().ok(),
        ..TurnRecord::begun(TurnId::generate(), company(), session.clone(), OffsetDateTime::now_utc())
    }
}

async fn site_with_many_turns() -> Site {
    let site = Site::new("");
    site.company("acme");
    let store = SqliteStore::open(&site.data_dir().join("store.db")).unwrap();
    let scope = CompanyScope::granted(company());
    for n in 0..CONVERSATIONS {
        let session: SessionId = format!("s{n}").parse().unwrap();
        let turns: Vec<StoredTurn> =
            (1..=TURNS).map(|sequence| StoredTurn { sequence, record: record(&session, sequence) }).collect();
        let begun = Conversation::begun_by(&turns[0].record);
        let head = turns.iter().fold(begun, |head, turn| head.with(&turn.record));
        store.restore(&scope, &head, &turns, None).await.unwrap();
    }
    site
}

/// Kills a command when `is_there` says so. Says whether it came to that, or the command to its end before.
fn killed_when(mut command: std::process::Command, is_there: impl Fn() -> bool) -> bool {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if is_there() {
            child.kill().unwrap();
            return child.wait().unwrap().code().is_none();
        }
        assert!(Instant::now() < deadline, "the command neither ends nor gets on");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_cost_nothing_but_time() {
    let from = site_with_many_turns().await;
    let dir = from.path().join("export");
    let turns = dir.join("companies/acme/turns.part");
    let export = ["export", text(&dir)];
    let mut kills = 0;
    for reached in [1, 1_000_000, 4_000_000] {
        kills += usize::from(killed_when(from.command(&export), || size(&turns) >= reached));
        assert!(dir.join("manifest.json").exists() || dir.join("progress.json").exists());
    }
    assert!(kills >= 2, "the export was killed {kills} times");
    if !dir.join("manifest.json").exists() {
        let refused = from.run(&["import", text(&dir)]);
        assert!(stderr(&refused).contains("not complete"), "{}", stderr(&refused));
        let said = from.ok(&export);
        assert!(said.contains("5 files of an earlier run"), "{said}");
    }

    let to = Site::new("");
    // Makes the store's file, so that it can be looked into.
    to.ok(&["company", "list"]);
    let store = SqliteStore::open(&to.data_dir().join("store.db")).unwrap();
    let import = ["import", text(&dir)];
    let count = || {
        let runtime = tokio::runtime::Handle::current();
        let scope = CompanyScope::granted(company());
        let page = turnpike::ports::store::Page { limit: ALL + 1, after: None };
        tokio::task::block_in_place(|| runtime.block_on(store.turns(&scope, &page))).unwrap().0.len()
    };
    let mut kills = 0;
    for reached in [1, ALL / 3, 2 * ALL / 3] {
        kills += usize::from(killed_when(to.command(&import), || count() >= reached));
    }
    assert!(kills >= 2, "the import was killed {kills} times");
    let said = to.ok(&import);
    assert_eq!(said.lines().filter(|line| line.ends_with("same")).count(), 7, "{said}");
    assert_eq!(count(), ALL);
}
