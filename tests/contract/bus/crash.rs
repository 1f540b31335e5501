//! The embedded bus under `kill -9`: a child process publishes and settles until it is killed at no certain moment.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use turnpike::adapters::bus::embedded::EmbeddedBus;
use turnpike::ports::bus::{Bus, Queue, Settlement};
use uuid::Uuid;

use super::support::{account, message, take_and_finish};
use crate::store::crash::{FOLDER, run_and_kill};

const ROUNDS: u64 = 8;
const WORKERS: usize = 8;

#[test]
fn an_account_balances_after_every_kill() {
    const NAME: &str = concat!(module_path!(), "::an_account_balances_after_every_kill");
    if let Some(folder) = std::env::var_os(FOLDER) {
        runtime().block_on(work(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        run_and_kill(NAME, folder.path(), &folder.path().join("journal"), round);
        runtime().block_on(async {
            let bus = EmbeddedBus::open(&folder.path().join("bus.db")).unwrap();
            for queue in Queue::ALL {
                let account = account(&bus, queue).await;
                assert!(account.balances(), "{account:?}");
            }
        });
    }
    let journal = std::fs::read_to_string(folder.path().join("journal")).unwrap();
    runtime().block_on(audit(folder.path(), &journal));
}

/// Writes down what it is about to do and what was acknowledged, and goes on until it is killed.
async fn work(folder: &Path) {
    let bus = Arc::new(EmbeddedBus::open(&folder.join("bus.db")).unwrap());
    let journal = OpenOptions::new().create(true).append(true).open(folder.join("journal")).unwrap();
    let journal = Arc::new(journal);
    let mut tasks = Vec::new();
    for worker in 0..WORKERS {
        tasks.push(tokio::spawn(publish(Arc::clone(&bus), Arc::clone(&journal))));
        let queue = if worker % 2 == 0 { Queue::Persist } else { Queue::Deliver };
        tasks.push(tokio::spawn(settle(Arc::clone(&bus), Arc::clone(&journal), queue)));
    }
    futures::future::join_all(tasks).await;
}

async fn publish(bus: Arc<EmbeddedBus>, journal: Arc<File>) {
    loop {
        let batch: Vec<_> = (0..3).map(|_| message("turn.completed", "comp_a", "x")).collect();
        bus.publish(&batch).await.unwrap();
        for message in batch {
            note(&journal, "published", "turnpike.persist", message.id);
        }
    }
}

async fn settle(bus: Arc<EmbeddedBus>, journal: Arc<File>, queue: Queue) {
    for n in 0.. {
        let taken = bus.take(queue).await.unwrap();
        let id = taken.message().id;
        note(&journal, "settling", queue.name(), id);
        match n % 4 {
            0 => {
                let after = Duration::from_millis(2);
                taken.settle(Settlement::Retry { after, reason: String::new() }).await.unwrap();
            }
            1 if queue == Queue::Persist => {
                let follow_up = message("webhook.attempt", "comp_a", "x");
                let follow_id = follow_up.id;
                taken.settle(Settlement::Done { follow_ups: vec![follow_up] }).await.unwrap();
                note(&journal, "settled", queue.name(), id);
                note(&journal, "published", "turnpike.deliver", follow_id);
            }
            _ => {
                taken.settle(Settlement::Done { follow_ups: Vec::new() }).await.unwrap();
                note(&journal, "settled", queue.name(), id);
            }
        }
    }
}

/// One write to a file that is appended to is whole or not there, and what was written outlives the process.
fn note(mut journal: &File, what: &str, queue: &str, id: Uuid) {
    journal.write_all(format!("{what} {queue} {id}\n").as_bytes()).unwrap();
}

async fn audit(folder: &Path, journal: &str) {
    let bus = EmbeddedBus::open(&folder.join("bus.db")).unwrap();
    for queue in [Queue::Persist, Queue::Deliver] {
        let noted = |what: &str| -> HashSet<Uuid> {
            let prefix = format!("{what} {} ", queue.name());
            journal.lines().filter_map(|line| line.strip_prefix(&*prefix)).map(|id| id.parse().unwrap()).collect()
        };
        let (published, settling, settled) = (noted("published"), noted("settling"), noted("settled"));
        assert!(published.len() > 20 && settled.len() > 5, "the child did next to nothing");
        let before = account(&bus, queue).await;
        let mut left = HashSet::new();
        for _ in 0..before.pending {
            let message = take_and_finish(&bus, queue).await;
            assert!(left.insert(message.id), "{} was there twice", message.id);
        }
        assert_eq!(left.intersection(&settled).count(), 0, "a settled message was given again");
        for id in &published {
            assert!(left.contains(id) || settling.contains(id), "{id} was acknowledged and is lost");
        }
        assert!(before.done >= settled.len() as u64);
        let after = account(&bus, queue).await;
        assert!(after.balances() && after.pending == 0, "{after:?}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
