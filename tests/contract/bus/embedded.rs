//! What the embedded bus promises beyond the contract: other processes on its file, and nothing left of what was erased.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnpike::adapters::bus::embedded::EmbeddedBus;
use turnpike::ports::bus::{Bus, Queue, Settlement};

use super::Fresh;
use super::support::{account, done, message, nothing_comes, take, take_and_finish, turn};
use crate::store::scope;
use crate::store::sqlite::mentions;

/// An empty bus in a folder of its own.
pub(super) async fn fresh(_test: &str) -> Option<Fresh> {
    let folder = tempfile::tempdir().unwrap();
    Some((Arc::new(open(folder.path())), Box::new(folder)))
}

fn open(folder: &Path) -> EmbeddedBus {
    EmbeddedBus::open(&folder.join("bus.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_everything_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(folder.path());
    bus.publish(&[turn("one"), turn("two"), turn("three"), turn("four")]).await.unwrap();
    take_and_finish(&bus, Queue::Persist).await;
    let retry = Settlement::Retry { after: Duration::from_millis(1), reason: String::new() };
    take(&bus, Queue::Persist).await.settle(retry).await.unwrap();
    let taken = take(&bus, Queue::Persist).await;
    drop(bus);
    let bus = open(folder.path());
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = take_and_finish(&bus, Queue::Persist).await;
        got.push((String::from_utf8(message.body.to_vec()).unwrap(), message.attempts));
    }
    got.sort();
    assert_eq!(got, [("four".to_owned(), 0), ("three".to_owned(), 0), ("two".to_owned(), 1)]);
    assert!(account(&bus, Queue::Persist).await.balances());
    drop(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_notice_what_another_process_redrives() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(open(folder.path()));
    let sent = turn("dead");
    server.publish(std::slice::from_ref(&sent)).await.unwrap();
    take(&*server, Queue::Persist).await.settle(Settlement::Dead { reason: "no".to_owned() }).await.unwrap();
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { take_and_finish(&*server, Queue::Persist).await }
    });

    let command = open(folder.path());
    assert_eq!(account(&command, Queue::Persist).await.dead, 1);
    assert_eq!(command.dead_letters(None, 10).await.unwrap()[0].message.id, sent.id);
    assert_eq!(command.redrive(None, None).await.unwrap(), 1);
    let started = Instant::now();
    assert_eq!(waiting.await.unwrap().id, sent.id);
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_nothing_that_another_process_erased() {
    let folder = tempfile::tempdir().unwrap();
    let server = open(folder.path());
    server.publish(&[turn("in work"), turn("read ahead")]).await.unwrap();
    let taken = take(&server, Queue::Persist).await;
    // Each is in two queues.
    assert_eq!(open(folder.path()).erase(&scope("comp_a")).await.unwrap(), 4);
    let follow_up = message("webhook.attempt", "comp_a", "of an erased turn");
    taken.settle(Settlement::Done { follow_ups: vec![follow_up] }).await.unwrap();
    // What was read ahead is forgotten within the second; settling it sooner changes nothing.
    if let Ok(taken) = tokio::time::timeout(Duration::from_millis(10), server.take(Queue::Persist)).await {
        taken.unwrap().settle(done()).await.unwrap();
    }
    nothing_comes(&server, Queue::Persist).await;
    nothing_comes(&server, Queue::Deliver).await;
    let account = account(&server, Queue::Persist).await;
    assert!(account.balances() && account.done == 0 && account.erased == 2, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_no_trace_of_an_erased_company() {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(folder.path());
    for n in 0..400 {
        // Bodies of many sizes, between another company's, some of them settled before the end.
        let ours = message("turn.completed", "comp_a", &format!("canary {n}").repeat(n % 97 + 1));
        let theirs = message("turn.completed", "comp_b", &format!("sparrow {n}").repeat(n % 89 + 1));
        bus.publish(&[ours, theirs]).await.unwrap();
        if n % 3 == 0 {
            take_and_finish(&bus, Queue::Persist).await;
        }
    }
    assert!(mentions(folder.path(), "canary"), "the test itself sees nothing");
    bus.erase(&scope("comp_a")).await.unwrap();
    assert!(!mentions(folder.path(), "canary"));
    assert!(mentions(folder.path(), "sparrow"));
}
