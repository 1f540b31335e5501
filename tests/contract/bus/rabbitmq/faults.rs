//! The faults that a server has, on a node that no other test uses: they hit everybody on it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use turnpike::adapters::bus::rabbitmq::RabbitBus;
use turnpike::ports::bus::{Bus, Error, Message, Queue};
use uuid::Uuid;

use super::{Here, channel, retry};
use crate::bus::support::{done, message, take, take_and_finish, turn};
use crate::support::services::OwnServer;
use crate::support::wait_for;

/// One node for all tests of this file, which take turns.
static NODE: tokio::sync::Mutex<Option<OwnServer>> = tokio::sync::Mutex::const_new(None);

macro_rules! node {
    ($turn:ident) => {{
        if $turn.is_none() {
            *$turn = OwnServer::rabbitmq();
        }
        match &*$turn {
            Some(node) => node,
            None => return,
        }
    }};
}

/// Somebody who publishes and somebody who works, until they are stopped.
struct Load {
    bus: Arc<RabbitBus>,
    goes_on: Arc<AtomicBool>,
    published: Arc<Mutex<Vec<Uuid>>>,
    handled: Arc<Mutex<HashSet<Uuid>>>,
    publisher: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Publishes messages of the deliver queue, each until that is confirmed, as the spool does.
    fn start(here: &Here) -> Self {
        let bus = here.another();
        let goes_on = Arc::new(AtomicBool::new(true));
        let (published, handled) = (Arc::<Mutex<Vec<Uuid>>>::default(), Arc::<Mutex<HashSet<Uuid>>>::default());
        let publisher = tokio::spawn({
            let (bus, goes_on) = (Arc::clone(&here.bus), Arc::clone(&goes_on));
            let published = Arc::clone(&published);
            async move {
                while goes_on.load(Ordering::Relaxed) {
                    let batch: Vec<Message> =
                        (0..20).map(|_| message("webhook.attempt", "comp_a", "under load")).collect();
                    while bus.publish(&batch).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    published.lock().extend(batch.iter().map(|message| message.id));
                }
            }
        });
        let worker = |_| {
            let (bus, handled) = (Arc::clone(&bus), Arc::clone(&handled));
            tokio::spawn(async move {
                loop {
                    let taken = bus.take(Queue::Deliver).await.unwrap();
                    handled.lock().insert(taken.message().id);
                    // What cannot be settled is given again.
                    let _ = taken.settle(done()).await;
                }
            })
        };
        let workers = (0..4).map(worker).collect();
        Self { goes_on, published, handled, publisher, workers, bus }
    }

    /// Waits until so many more messages were handled.
    async fn goes_on(&self, messages: usize) {
        let before = self.handled.lock().len();
        wait_for("the load to go on", async || {
            self.sweep().await;
            (self.handled.lock().len() >= before + messages).then_some(())
        })
        .await;
    }

    async fn sweep(&self) {
        // An error is that of a server that is away.
        let _ = self.bus.sweep().await;
    }

    /// Ends, and sees that everything that was confirmed came to its end, on the books too.
    async fn ends_well(self, here: &Here) {
        self.goes_on.store(false, Ordering::Relaxed);
        self.publisher.await.unwrap();
        let published = std::mem::take(&mut *self.published.lock());
        assert!(published.len() > 100, "next to no load");
        wait_for("everything to be handled", async || {
            let _ = self.bus.sweep().await;
            let account = here.bus.accounts().await.ok()?.into_iter().find(|account| account.queue.contains("deliver"));
            account.filter(|account| account.pending == 0)
        })
        .await;
        for worker in self.workers {
            worker.abort();
        }
        let handled = self.handled.lock();
        assert_eq!(published.iter().filter(|id| !handled.contains(id)).count(), 0, "confirmed and lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_are_made_again() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    let here = Here::at(node.url()).await;
    let load = Load::start(&here);
    for _ in 0..3 {
        load.goes_on(200).await;
        node.ctl(&["close_all_connections", "test"]);
    }
    load.goes_on(200).await;
    load.ends_well(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_deleted_under_load_lose_nothing() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    let here = Here::at(node.url()).await;
    let load = Load::start(&here);
    let (_connection, channel) = channel(node.url()).await.unwrap();
    for _ in 0..3 {
        load.goes_on(200).await;
        channel.queue_delete(here.name("deliver").as_str().into(), Default::default()).await.unwrap();
    }
    load.goes_on(200).await;
    channel.exchange_delete(here.name("events").as_str().into(), Default::default()).await.unwrap();
    load.goes_on(200).await;
    load.ends_well(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_or_is_killed_is_waited_for() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    let here = Here::at(node.url()).await;
    let load = Load::start(&here);
    load.goes_on(200).await;
    node.stop();
    let begun = Instant::now();
    let error = here.bus.publish(&[message("turn.failed", "comp_a", "meanwhile")]).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(here.bus.check().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(12), "took {:?} to say so", begun.elapsed());
    node.start_again();
    load.goes_on(200).await;
    node.kill();
    node.start_again();
    load.goes_on(200).await;
    // What the load goes by is not what the check asks on.
    wait_for("the bus to find its server", || async { here.bus.check().await.ok() }).await;
    load.ends_well(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_fails_in_time_while_the_server_has_an_alarm() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    let here = Here::at(node.url()).await;
    here.bus.publish(&[self::turn("before"), self::turn("settled in the alarm")]).await.unwrap();
    take_and_finish(&*here.bus, Queue::Persist).await;
    let load = Load::start(&here);
    load.goes_on(100).await;
    node.ctl(&["set_vm_memory_high_watermark", "0"]);
    for _ in 0..3 {
        let begun = Instant::now();
        let error = here.bus.publish(&[self::turn("during")]).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(8), "hung for {:?}", begun.elapsed());
    }
    let error = here.bus.check().await.unwrap_err();
    assert!(error.to_string().contains("takes no messages"), "{error}");
    // Work goes on: acknowledgements have a connection of their own.
    take_and_finish(&*here.bus, Queue::Persist).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    here.bus.publish(&[self::turn("after")]).await.unwrap();
    load.goes_on(100).await;
    load.ends_well(&here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_outlive_a_server_that_is_killed() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    let here = Here::at(node.url()).await;
    let sent: Vec<_> = (0..40).map(|n| message("turn.failed", "comp_a", &n.to_string())).collect();
    here.bus.publish(&sent).await.unwrap();
    for n in 0..sent.len() as u64 {
        // These messages are in no ledger: nobody but the server knows of them.
        let after = Duration::from_secs(4 + n % 12);
        take(&*here.bus, Queue::Persist).await.settle(retry(after)).await.unwrap();
    }
    node.kill();
    node.start_again();
    let mut got = HashSet::new();
    while got.len() < sent.len() {
        let taken = take(&*here.bus, Queue::Persist).await;
        // An acknowledgement that the server did not read before it died lets the message come once more as it was; its copy
        // comes when it is due all the same.
        if taken.message().attempts == 1 {
            got.insert(taken.message().id);
        }
        taken.settle(done()).await.unwrap();
    }
    assert_eq!(got, sent.iter().map(|message| message.id).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_held_a_message_too_long_begins_anew() {
    let mut turn = NODE.lock().await;
    let node = node!(turn);
    node.ctl(&["eval", "application:set_env(rabbit, consumer_timeout, 1000)."]);
    node.ctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 1000)."]);
    let here = Here::at(node.url()).await;
    here.bus.publish(&[self::turn("held")]).await.unwrap();
    let held = take(&*here.bus, Queue::Persist).await;
    let consumer = || node.ctl(&["list_consumers", "queue_name", "consumer_tag"]);
    let first = consumer();
    wait_for("another consumer", async || {
        let now = consumer();
        (now != first && now.contains(&here.name("persist"))).then_some(())
    })
    .await;
    node.ctl(&["eval", "application:set_env(rabbit, consumer_timeout, 1800000)."]);
    assert!(matches!(held.settle(done()).await, Err(Error::Unavailable(_))));
    // The server has given it again meanwhile; it waited for the one that was in work.
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.body, "held");
}
