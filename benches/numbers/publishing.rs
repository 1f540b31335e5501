//! Publishing to RabbitMQ: the bus's confirmed batches against the same messages without confirms, and against one
//! confirm after the other; and taking them out again.

#[path = "../../tests/contract/bus/ledger.rs"]
#[expect(dead_code, reason = "here no ledger goes away")]
mod ledger;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use turnpike::adapters::bus::rabbitmq::{RabbitBus, Settings};
use turnpike::config::Secret;
use turnpike::ports::bus::{Bus, Message, Queue, Settlement};
use uuid::Uuid;

use self::ledger::MemoryLedger;
use crate::Effort;
use crate::support::services::OwnServer;
use crate::table::{Sample, Table, ms, ratio, reach};

/// Size of a turn's event, in bytes.
const BYTES: usize = 2048;
/// What the spool publishes at a time.
const BATCH: usize = 256;
/// Turns that a worker takes at a time.
const WORKERS: usize = 32;
/// Turns a second that the bus has to carry, as many as the spool makes durable.
const TARGET: f64 = 2000.0;

/// What one way has published so far.
#[derive(Default)]
struct Made {
    seconds: f64,
    messages: usize,
    waits_ms: Sample,
}

impl Made {
    fn add(&mut self, begun: Instant, messages: usize) {
        self.seconds += begun.elapsed().as_secs_f64();
        self.messages += messages;
        self.waits_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }

    fn per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

pub(crate) async fn measure(effort: Effort) {
    let Some(node) = OwnServer::rabbitmq() else { return };
    let settings = Settings::new(Secret::new(node.url()));
    RabbitBus::migrate(&settings).await.unwrap();
    let bus = RabbitBus::open(settings, Arc::new(MemoryLedger::default())).unwrap();
    let connection = Connection::connect(node.url(), ConnectionProperties::default()).await.unwrap();
    let (plain, confirming) = (connection.create_channel().await.unwrap(), connection.create_channel().await.unwrap());
    confirming.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let rounds = effort.pick(5, 1);
    let time = Duration::from_millis(effort.pick(1000, 200));
    let (mut unconfirmed, mut pipelined, mut single) = (Made::default(), Made::default(), Made::default());
    for _ in 0..rounds {
        let begun = Instant::now();
        while begun.elapsed() < time {
            publish_unconfirmed(&plain, &mut unconfirmed).await;
        }
        // What was sent without confirms is still on its way, and not to be met by those who come next.
        empty(&confirming).await;
        let begun = Instant::now();
        while begun.elapsed() < time {
            let batch = messages();
            let begun = Instant::now();
            bus.publish(&batch).await.unwrap();
            pipelined.add(begun, batch.len());
        }
        empty(&confirming).await;
        let begun = Instant::now();
        while begun.elapsed() < time {
            let begun = Instant::now();
            publish(&confirming, &messages()[0]).await.await.unwrap();
            single.add(begun, 1);
        }
        empty(&confirming).await;
    }
    let taken = take_all(&bus, effort.pick(20_000, 1_000)).await;

    let title = format!("Publishing to RabbitMQ, messages of {BYTES} bytes into two queues ({rounds} rounds of each)");
    let mut table = Table::new(title, &["", "a second", "ratio", "call p50", "call p99"]);
    let row = |made: &Made| {
        let numbers = [made.per_second(), made.waits_ms.p50(), made.waits_ms.p99()];
        [format!("{:.0}", numbers[0]), ratio(numbers[0], single.per_second()), ms(numbers[1]), ms(numbers[2])]
    };
    let target = |made: &Made| reach(">= 2,000 a second", made.per_second() >= TARGET);
    table.row("confirmed one by one", &row(&single), "");
    table.row(format!("the bus: confirmed, {BATCH} a call"), &row(&pipelined), target(&pipelined));
    table.row(format!("written only, no confirms, {BATCH} a call"), &row(&unconfirmed), "");
    table.row(format!("taken and settled, {WORKERS} at a time"), &row(&taken), target(&taken));
    table.print();
}

fn messages() -> Vec<Message> {
    let body = bytes::Bytes::from(vec![b'x'; BYTES]);
    let message = || Message {
        id: Uuid::now_v7(),
        routing_key: "turn.completed.comp_bench".to_owned(),
        body: body.clone(),
        attempts: 0,
        first_queued_at: OffsetDateTime::now_utc(),
    };
    (0..BATCH).map(|_| message()).collect()
}

async fn publish(channel: &Channel, message: &Message) -> lapin::PublisherConfirm {
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_message_id(message.id.to_string().as_str().into());
    let (exchange, key) = ("turnpike.events".into(), message.routing_key.as_str().into());
    channel.basic_publish(exchange, key, BasicPublishOptions::default(), &message.body, properties).await.unwrap()
}

/// All of a batch is written at once, and the server says nothing to it.
async fn publish_unconfirmed(channel: &Channel, made: &mut Made) {
    let batch = messages();
    let begun = Instant::now();
    futures::future::join_all(batch.iter().map(|message| publish(channel, message))).await;
    made.add(begun, batch.len());
}

/// Waits until nothing more arrives, and empties the queues.
async fn empty(channel: &Channel) {
    for queue in [Queue::Persist, Queue::Analytics] {
        while channel.queue_purge(queue.name().into(), QueuePurgeOptions::default()).await.unwrap() > 0 {}
    }
}

/// Takes and settles turns that lie in the queue.
async fn take_all(bus: &Arc<RabbitBus>, count: usize) -> Made {
    let batches = count.div_ceil(BATCH);
    for _ in 0..batches {
        bus.publish(&messages()).await.unwrap();
    }
    let each = batches * BATCH / WORKERS;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..WORKERS {
        let bus = Arc::clone(bus);
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for _ in 0..each {
                let begun = Instant::now();
                let taken = bus.take(Queue::Persist).await.unwrap();
                taken.settle(Settlement::Done { follow_ups: Vec::new() }).await.unwrap();
                waits.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            waits
        });
    }
    let waits = tasks.join_all().await.concat();
    let mut made = Made { seconds: begun.elapsed().as_secs_f64(), messages: waits.len(), waits_ms: Sample::default() };
    made.waits_ms.extend(waits);
    made
}
