//! The ledger's part: copies that are told apart, losses that are found, and erasure in every corner.

use std::time::{Duration, Instant};

use lapin::options::{BasicGetOptions, BasicNackOptions};
use turnpike::ports::bus::{Bus, Error, Queue, Settlement};
use turnpike::ports::ledger::{Ledger, Standing};

use super::{Here, LEVELS, channel, retry, waiting};
use crate::bus::support::{PATIENCE, account, done, message, nothing_comes, take, take_and_finish, turn};
use crate::store::scope;
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_what_is_done_or_dead_or_was_tried_since_is_dropped() {
    let Some(here) = Here::shared("a_copy_of_what_is_done").await else { return };
    let sent = ["done", "dead", "tried"].map(|body| message("webhook.attempt", "comp_a", body));
    here.bus.publish(&sent).await.unwrap();
    take_and_finish(&*here.bus, Queue::Deliver).await;
    take(&*here.bus, Queue::Deliver).await.settle(Settlement::Dead { reason: "no".to_owned() }).await.unwrap();
    take(&*here.bus, Queue::Deliver).await.settle(retry(Duration::from_secs(3_600))).await.unwrap();
    here.bus.publish(&sent).await.unwrap();
    nothing_comes(&*here.bus, Queue::Deliver).await;
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    wait_for("an empty queue", async || (waiting(&channel, &here.name("deliver")).await == 0).then_some(())).await;
    drop(here.another());
    assert_eq!(here.ledger.standing(Queue::Deliver, sent[0].id).await.unwrap(), Standing::Done);
    let account = account(&*here.bus, Queue::Deliver).await;
    assert_eq!((account.accepted, account.done, account.dead, account.pending), (3, 1, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_queue_has_lost_is_published_again() {
    let Some(here) = Here::shared("what_a_queue_has_lost").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    let sent: Vec<_> = (0..3).map(|n| message("webhook.attempt", "comp_a", &n.to_string())).collect();
    here.bus.publish(&sent).await.unwrap();
    take(&*here.bus, Queue::Deliver).await.settle(retry(Duration::from_secs(1))).await.unwrap();
    take_and_finish(&*here.bus, Queue::Deliver).await;
    assert_eq!(take(&*here.bus, Queue::Deliver).await.message().id, sent[2].id);
    channel.queue_delete(here.name("deliver").as_str().into(), Default::default()).await.unwrap();
    channel.queue_delete(here.name("delay.0").as_str().into(), Default::default()).await.unwrap();
    let published = wait_for("overdue messages", async || {
        // The server may still be busy with taking the queue down.
        here.bus.sweep().await.ok().filter(|published| *published > 0)
    });
    let mut published = published.await;
    let mut got = Vec::new();
    while got.len() < 2 {
        // The one that was tried is due later than the one that was not.
        if let Ok(taken) = tokio::time::timeout(Duration::from_millis(100), here.bus.take(Queue::Deliver)).await {
            let taken = taken.unwrap();
            got.push((taken.message().body.clone(), taken.message().attempts));
            taken.settle(done()).await.unwrap();
        }
        published += here.bus.sweep().await.unwrap_or_default();
    }
    got.sort();
    assert_eq!(got, [("0".into(), 1), ("2".into(), 0)]);
    assert!(published >= 2);
    tokio::time::sleep(here.settings.redeliver_after).await;
    assert_eq!(here.bus.sweep().await.unwrap(), 0);
    assert_eq!(account(&*here.bus, Queue::Deliver).await.done, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_gives_back_time_and_again_is_not_taken_for_lost() {
    let Some(mut here) = Here::shared("what_a_process_gives_back").await else { return };
    here.settings.redeliver_after = Duration::from_secs(2);
    let (holder, other) = (here.another(), here.another());
    let sent = message("webhook.attempt", "comp_a", "0");
    holder.publish(std::slice::from_ref(&sent)).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < here.settings.redeliver_after * 2 {
        take(&*holder, Queue::Deliver).await.settle(retry(Duration::from_millis(20))).await.unwrap();
        assert_eq!(other.sweep().await.unwrap(), 0, "after {:?}", begun.elapsed());
    }
    let held = take(&*holder, Queue::Deliver).await;
    assert!(held.message().attempts > 1);
    drop((held, holder));
    // What it knew goes with it, and the message comes at once to somebody else.
    let given = take_and_finish(&*other, Queue::Deliver).await;
    assert_eq!((given.id, given.attempts), (sent.id, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persist_message_that_was_redriven_is_on_the_books_until_it_ends() {
    let Some(here) = Here::shared("a_persist_message_that_was_redriven").await else { return };
    let sent = turn("again");
    here.bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    take(&*here.bus, Queue::Persist).await.settle(Settlement::Dead { reason: "no".to_owned() }).await.unwrap();
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    assert_eq!(waiting(&channel, &here.name("dead")).await, 1);
    assert_eq!(here.bus.redrive(Some(Queue::Persist), None).await.unwrap(), 1);
    assert_eq!(waiting(&channel, &here.name("dead")).await, 0);
    assert_eq!(here.ledger.standing(Queue::Persist, sent.id).await.unwrap(), Standing::Pending { attempts: 0 });
    // A retry through the levels does not take it off the books.
    take(&*here.bus, Queue::Persist).await.settle(retry(Duration::from_secs(1))).await.unwrap();
    take_and_finish(&*here.bus, Queue::Persist).await;
    assert_eq!(here.ledger.standing(Queue::Persist, sent.id).await.unwrap(), Standing::Done);
    // It was for the persist queue alone.
    take_and_finish(&*here.bus, Queue::Analytics).await;
    nothing_comes(&*here.bus, Queue::Analytics).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_ledger_is_away() {
    let Some(here) = Here::shared("nothing_is_lost_while_the_ledger_is_away").await else { return };
    let sent = [0, 1].map(|n| message("webhook.attempt", "comp_a", &n.to_string()));
    here.bus.publish(&sent).await.unwrap();
    let taken = take(&*here.bus, Queue::Deliver).await;
    here.ledger.set_away(true);
    assert!(matches!(taken.settle(done()).await, Err(Error::Unavailable(_))));
    assert!(matches!(here.bus.publish(&sent).await, Err(Error::Unavailable(_))));
    // Turns do not need it, and wait for nothing.
    here.bus.publish(&[turn("stored all the same")]).await.unwrap();
    take_and_finish(&*here.bus, Queue::Persist).await;
    here.ledger.set_away(false);
    let mut got =
        [take_and_finish(&*here.bus, Queue::Deliver).await, take_and_finish(&*here.bus, Queue::Deliver).await]
            .map(|message| (message.id, message.attempts));
    got.sort();
    assert_eq!(got, [(sent[0].id, 0), (sent[1].id, 0)]);
    assert_eq!(account(&*here.bus, Queue::Deliver).await.done, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_held_goes_to_another_when_it_ends() {
    let Some(here) = Here::shared("what_a_process_held").await else { return };
    let sent: Vec<_> = (0..5).map(|n| turn(&n.to_string())).collect();
    let first = here.another();
    first.publish(&sent).await.unwrap();
    let taken = take(&*first, Queue::Persist).await;
    taken.settle(retry(Duration::from_millis(900))).await.unwrap();
    let in_work = take(&*first, Queue::Persist).await;
    drop((in_work, first));
    let mut got = Vec::new();
    for _ in &sent {
        got.push(take_and_finish(&*here.bus, Queue::Persist).await.id);
    }
    got.sort();
    assert_eq!(got, sent.iter().map(|message| message.id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nobody_ever_settles_is_given_up() {
    let Some(here) = Here::shared("a_message_that_nobody_ever_settles").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    let sent = turn("poison");
    here.bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    let queue = here.name("persist");
    for _ in 0..1_000 {
        let got = wait_for("the message", async || {
            channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap()
        });
        got.await.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await.unwrap();
    }
    nothing_comes(&*here.bus, Queue::Persist).await;
    let letters = wait_for("a dead letter", async || {
        Some(here.bus.dead_letters(None, 10).await.unwrap()).filter(|letters| !letters.is_empty())
    });
    let letters = letters.await;
    assert_eq!((letters.len(), letters[0].message.id), (1, sent.id));
    assert_eq!(waiting(&channel, &here.name("dead")).await, 1);
    assert_eq!(here.bus.redrive(None, None).await.unwrap(), 1);
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.id, sent.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasure_reaches_every_queue_and_leaves_the_others_alone() {
    let Some(here) = Here::shared("erasure_reaches_every_queue").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    let other = here.another();
    for company in ["comp_a", "comp_b"] {
        for after in [2, 40, 100_000] {
            for topic in ["turn.failed", "webhook.attempt"] {
                let queue = if topic == "turn.failed" { Queue::Persist } else { Queue::Deliver };
                other.publish(&[message(topic, company, "waits long")]).await.unwrap();
                take(&*other, queue).await.settle(retry(Duration::from_secs(after))).await.unwrap();
            }
        }
        other.publish(&[message("turn.failed", company, "dies")]).await.unwrap();
        take(&*other, Queue::Persist).await.settle(Settlement::Dead { reason: "no".to_owned() }).await.unwrap();
    }
    drop(other);
    // Five of each company are to be stored or counted: three that wait, one that died, and four to be counted.
    let begun = Instant::now();
    let erased = here.bus.erase(&scope("comp_a")).await.unwrap();
    assert_eq!(erased, 3 + 1 + 4 + 3, "persist, dead, analytics, deliver");
    assert!(begun.elapsed() < PATIENCE);
    // What is put back into its queue is seen there a little later.
    wait_for("the other company's messages", async || {
        let mut left = 0;
        for level in 0..LEVELS {
            left += waiting(&channel, &here.name(&format!("delay.{level}"))).await;
        }
        let queue = async |name: &str| waiting(&channel, &here.name(name)).await;
        left += queue("persist").await + queue("deliver").await;
        ((left, queue("analytics").await, queue("dead").await) == (6, 4, 1)).then_some(())
    })
    .await;
    for _ in 0..4 {
        let got = take_and_finish(&*here.bus, Queue::Analytics).await;
        assert_eq!(got.routing_key, "turn.failed.comp_b");
    }
    assert_eq!(here.bus.erase(&scope("comp_a")).await.unwrap(), 0);
}
