//! Delays on the real server: exact to the second, independent of each other, and in nobody's hands.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use turnpike::ports::bus::{Bus as _, Queue, Settlement};

use super::{Here, channel, retry, waiting};
use crate::bus::support::{done, message, nothing_comes, take, turn};

/// A due time is kept if the message comes within a second after it, and not before.
const EXACT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_due_in_30_hours_never_holds_one_due_in_5_seconds() {
    let Some(here) = Here::shared("a_message_due_in_30_hours").await else { return };
    let hours = 30 * 3_600;
    let delays = [hours, hours + 5, 5, hours + 1, 1, 3, hours + 3, 2, 5].map(Duration::from_secs);
    let odd = [1_700, 2_400, 4_950].map(Duration::from_millis);
    let delays: Vec<Duration> = delays.into_iter().chain(odd).collect();
    let sent: Vec<_> = delays.iter().map(|_| message("webhook.attempt", "comp_a", "later")).collect();
    let first = here.another();
    first.publish(&sent).await.unwrap();
    let mut due = HashMap::new();
    for _ in &delays {
        let taken = take(&*first, Queue::Deliver).await;
        let id = taken.message().id;
        let delay = delays[sent.iter().position(|message| message.id == id).unwrap()];
        let begun = Instant::now();
        taken.settle(retry(delay)).await.unwrap();
        due.insert(id, (begun + delay, Instant::now() + delay));
    }
    // What waits is in nobody's hands: the process that put it away is gone when it comes.
    drop(first);
    for _ in delays.iter().filter(|delay| delay.as_secs() < hours) {
        let taken = timeout(Duration::from_secs(20), here.bus.take(Queue::Deliver)).await;
        let taken = taken.expect("a short delay is held up").unwrap();
        let now = Instant::now();
        let (earliest, latest) = due.remove(&taken.message().id).expect("it came twice");
        assert!(now >= earliest, "{:?} too early", earliest - now);
        assert!(now <= latest + EXACT, "{:?} late", now - latest);
        assert_eq!(taken.message().attempts, 1);
        taken.settle(done()).await.unwrap();
    }
    nothing_comes(&*here.bus, Queue::Deliver).await;
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    // 30 hours are 108,000 s, whose highest bit is that of level 16.
    assert_eq!(waiting(&channel, &here.name("delay.16")).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferral_waits_at_the_server_too_and_is_not_counted() {
    let Some(here) = Here::shared("a_deferral_waits_at_the_server_too").await else { return };
    here.bus.publish(&[turn("no room")]).await.unwrap();
    let after = Duration::from_millis(1_200);
    let begun = Instant::now();
    take(&*here.bus, Queue::Persist).await.settle(Settlement::Defer { after }).await.unwrap();
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    assert_eq!(waiting(&channel, &here.name("delay.0")).await, 1);
    let taken = take(&*here.bus, Queue::Persist).await;
    assert!(begun.elapsed() >= after && begun.elapsed() < after + EXACT, "{:?}", begun.elapsed());
    assert_eq!(taken.message().attempts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_waits_do_not_keep_others_out() {
    let Some(mut here) = Here::shared("short_waits_do_not_keep_others_out").await else { return };
    here.settings.deliver_prefetch = 4;
    let bus = here.another();
    let jammed: Vec<_> = (0..16).map(|_| message("webhook.attempt", "comp_a", "jammed")).collect();
    let free = message("webhook.attempt", "comp_b", "free");
    bus.publish(&jammed).await.unwrap();
    bus.publish(std::slice::from_ref(&free)).await.unwrap();
    // Each is deferred again and again, always for less than a second.
    let begun = Instant::now();
    loop {
        let taken = take(&*bus, Queue::Deliver).await;
        if taken.message().id == free.id {
            break;
        }
        assert!(begun.elapsed() < Duration::from_millis(900), "held up by what is deferred");
        taken.settle(Settlement::Defer { after: Duration::from_millis(900) }).await.unwrap();
    }
}
