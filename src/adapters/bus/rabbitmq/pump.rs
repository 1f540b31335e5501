//! From the server to the shelf: one consumer for each queue from which something is taken, made anew when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::envelope::{Envelope, Outgoing};
use super::error::{Broker, Code};
use super::events::{ConsumerEnded, CopyDropped, LedgerFailed, Poisoned};
use super::ledger_error;
use super::line::Session;
use super::shared::Shared;
use super::shelf::{Held, Shelf};
use super::topology::look;
use crate::ports::bus::{Error, Queue};
use crate::ports::ledger::Standing;

/// First and longest wait before a consumer or a question is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Messages that the ledger is asked about at once.
const TOGETHER: usize = 128;
/// How long a copy waits of a message that is here already.
const BUSY: Duration = Duration::from_millis(500);
/// A message that was given so often and never settled takes its worker down each time, as far as anyone can tell.
const POISON: u64 = 1_000;

/// How often a consumer is compared with what the server knows of it, and how often in a row it may get nothing: while
/// messages wait, and while none do.
const WATCH: Duration = Duration::from_secs(3);
const STARVED: u32 = 2;
const IDLE: u32 = 5;

/// What to do with a message that came.
enum Verdict {
    /// Give it to a job.
    Give(Held),
    /// Give it to a job after less than a second.
    Wait(Held, Duration),
    /// It is here already: look again later.
    Busy(Held, Envelope),
    /// There is nothing left to do, and the server knows.
    Gone,
}

/// Moves messages from a queue to its shelf until `stop`.
pub(super) async fn run(shared: Arc<Shared>, queue: Queue, shelf: Arc<Shelf>, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let pumping = async {
            let session = shared.consuming().next().await;
            let begun = Instant::now();
            let ended = consume(&shared, queue, &shelf, &session).await;
            (begun.elapsed(), ended)
        };
        let (lasted, ended) = tokio::select! {
            pumped = pumping => pumped,
            () = stop.cancelled() => return,
        };
        shelf.forget_lost();
        let Some(reason) = ended else { continue };
        ConsumerEnded { queue: queue.name(), reason: &reason }.emit();
        failures = if lasted > RETRY.1 { 0 } else { failures + 1 };
        tokio::select! {
            () = sleep(pause(failures)) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn pause(failures: u32) -> Duration {
    RETRY.0.saturating_mul(1 << failures.min(6)).min(RETRY.1)
}

/// Consumes until the server or the connection ends it. Says why it ended, or nothing when it is only to begin anew.
async fn consume(shared: &Arc<Shared>, queue: Queue, shelf: &Arc<Shelf>, session: &Session) -> Option<String> {
    let (channel, consumer) = match begin(shared, queue, session).await {
        Ok(begun) => begun,
        Err(error) => return Some(error.to_string()),
    };
    let mut consumer = consumer.ready_chunks(TOGETHER).fuse();
    let counts = Counts::default();
    let mut watch = std::pin::pin!(watch(shared, queue, shelf, session, &counts));
    // Looked up side by side, and given in the order in which they came.
    let mut coming: FuturesOrdered<BoxFuture<'_, Vec<Verdict>>> = FuturesOrdered::new();
    let mut busy: FuturesUnordered<BoxFuture<'_, Vec<Verdict>>> = FuturesUnordered::new();
    loop {
        let verdicts = tokio::select! {
            deliveries = consumer.next() => {
                let Some(deliveries) = deliveries else {
                    return Some("the server cancelled it: its queue is gone or has moved".to_owned());
                };
                let mut batch = Vec::with_capacity(deliveries.len());
                for delivery in deliveries {
                    match delivery {
                        Ok(mut delivery) => {
                            let envelope = Envelope::open(&mut delivery);
                            batch.push((hold(queue, &envelope, delivery, &channel), envelope));
                        }
                        Err(error) => return Some(error.to_string()),
                    }
                }
                counts.came.fetch_add(batch.len(), Ordering::Relaxed);
                counts.undecided.fetch_add(batch.len(), Ordering::Relaxed);
                coming.push_back(Box::pin(judge(shared, queue, shelf, batch)));
                continue;
            }
            Some(verdicts) = coming.next() => verdicts,
            Some(verdicts) = busy.next() => verdicts,
            reason = &mut watch => return reason,
        };
        for verdict in verdicts {
            if !matches!(verdict, Verdict::Busy(..)) {
                counts.undecided.fetch_sub(1, Ordering::Relaxed);
            }
            match verdict {
                Verdict::Give(held) => shelf.put(held),
                Verdict::Wait(held, after) => shelf.put_later(held, after),
                Verdict::Busy(held, envelope) => busy.push(Box::pin(async move {
                    sleep(BUSY).await;
                    judge(shared, queue, shelf, vec![(held, envelope)]).await
                })),
                Verdict::Gone => {}
            }
        }
    }
}

/// What a consumer has seen.
#[derive(Default)]
struct Counts {
    /// Messages that came.
    came: AtomicUsize,
    /// Those of them of which it is not decided what to do.
    undecided: AtomicUsize,
}

/// Waits until the consumer cannot be alive, though nobody told it that it is not; says why. Or until it has been idle
/// for so long that it is better begun anew, and says nothing.
///
/// A queue that was deleted and declared again at once keeps the consumers of the old one without a word. What it gives
/// them the server takes for what they had before and drops, until the channel is closed.
async fn watch(shared: &Shared, queue: Queue, shelf: &Shelf, session: &Session, counts: &Counts) -> Option<String> {
    let name = shared.names.queue(queue);
    let (mut starved, mut idle) = (0, 0);
    loop {
        let came = counts.came.load(Ordering::Relaxed);
        sleep(WATCH).await;
        let seen = async { look(session, &session.channel().await?, &name).await };
        let seen = match seen.await {
            Ok(seen) => seen,
            Err(error) => return Some(error.to_string()),
        };
        let held = shelf.len().0 + counts.undecided.load(Ordering::Relaxed);
        let has_room = held < usize::from(shared.settings.prefetch(queue));
        let none_came = counts.came.load(Ordering::Relaxed) == came;
        starved = if seen.waiting > 0 && has_room && none_came { starved + 1 } else { 0 };
        idle = if held == 0 && none_came { idle + 1 } else { 0 };
        if seen.consumers == 0 {
            return Some("the server does not know it any more".to_owned());
        }
        if starved >= STARVED {
            return Some(format!("{} messages wait and none comes", seen.waiting));
        }
        if idle >= IDLE {
            return None;
        }
    }
}

/// Opens a channel and consumes from the queue, which is declared if it is not there.
async fn begin(shared: &Shared, queue: Queue, session: &Session) -> Result<(Channel, Consumer), Error> {
    match subscribe(shared, queue, session).await {
        Err(error) if error.code() == Code::NotFound => {
            shared.topology.mend(session, &error.to_string()).await?;
            Ok(subscribe(shared, queue, session).await?)
        }
        begun => Ok(begun?),
    }
}

async fn subscribe(shared: &Shared, queue: Queue, session: &Session) -> Result<(Channel, Consumer), Broker> {
    let channel = session.channel().await?;
    session.ask(channel.basic_qos(shared.settings.prefetch(queue), BasicQosOptions::default())).await?;
    let name = ShortString::try_new(shared.names.queue(queue)).map_err(|_| Broker::name_too_long())?;
    let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
    let consumer = session.ask(channel.basic_consume(name, tag, options, FieldTable::default())).await?;
    Ok((channel, consumer))
}

fn hold(queue: Queue, envelope: &Envelope, delivery: Delivery, channel: &Channel) -> Held {
    Held {
        message: envelope.message.clone(),
        company: envelope.company.clone(),
        is_booked: envelope.is_booked || queue == Queue::Deliver,
        attempts_before: envelope.message.attempts,
        heard_at: Instant::now(),
        acker: delivery.acker,
        _channel: channel.clone(),
    }
}

/// Decides about messages that came together, with one question to the ledger. They keep their order.
async fn judge(shared: &Shared, queue: Queue, shelf: &Shelf, batch: Vec<(Held, Envelope)>) -> Vec<Verdict> {
    let ids: Vec<Uuid> = batch.iter().filter(|(held, _)| held.is_booked).map(|(held, _)| held.message.id).collect();
    let mut known = Vec::new();
    if !ids.is_empty() {
        known = insist(queue, || Box::pin(standings(shared, queue, &ids))).await;
    }
    let mut known = known.into_iter();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (held, envelope) in batch {
        let standing = if held.is_booked { known.next() } else { None }.unwrap_or(Standing::Unknown);
        let over = insist(queue, || Box::pin(is_over(shared, queue, shelf, &held, &envelope, standing))).await;
        verdicts.push(match over {
            Some(standing) => {
                CopyDropped { queue: queue.name(), id: held.message.id, standing }.emit();
                // What cannot be acknowledged comes again, and ends here again.
                let _ = held.ack().await;
                Verdict::Gone
            }
            None if shelf.holds(held.message.id) => Verdict::Busy(held, envelope),
            None if envelope.rest.is_zero() => Verdict::Give(held),
            None => Verdict::Wait(held, envelope.rest),
        });
    }
    verdicts
}

async fn standings(shared: &Shared, queue: Queue, ids: &[Uuid]) -> Result<Vec<Standing>, Error> {
    shared.ledger.standings(queue, ids).await.map_err(ledger_error)
}

/// Asks until there is an answer. The messages wait meanwhile, and the server gives no more than this process may hold.
async fn insist<'a, T: Default>(queue: Queue, ask: impl Fn() -> BoxFuture<'a, Result<T, Error>>) -> T {
    let mut retry = RETRY.0;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(Error::Invalid(reason)) => {
                tracing::error!(queue = queue.name(), reason, "the bus gives a message to its job unseen");
                return T::default();
            }
            Err(error) => {
                LedgerFailed { queue: queue.name(), error: &error }.emit();
                sleep(retry).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}

/// Says why a message is not to be given, or nothing of one that is.
async fn is_over(
    shared: &Shared,
    queue: Queue,
    shelf: &Shelf,
    held: &Held,
    envelope: &Envelope,
    standing: Standing,
) -> Result<Option<&'static str>, Error> {
    let message = &held.message;
    match standing {
        Standing::Done => return Ok(Some("done")),
        Standing::Dead => return Ok(Some("dead")),
        Standing::Pending { attempts } if attempts > message.attempts => return Ok(Some("tried since")),
        // An entry may be lost, or its company erased: the job finds out.
        Standing::Pending { .. } | Standing::Unknown => {}
    }
    if envelope.deliveries >= POISON && !shelf.holds(message.id) {
        Poisoned { queue: queue.name(), id: message.id, deliveries: envelope.deliveries }.emit();
        let reason = format!("given {} times and never settled", envelope.deliveries);
        shared.bury(queue, message, &reason).await?;
        return Ok(Some("given up"));
    }
    if envelope.rest >= Duration::from_secs(1) {
        // It was to wait for longer than all levels together.
        let onward = Outgoing::later(&shared.names, queue, message, envelope.rest, held.is_booked)?;
        shared.publisher().publish(&[onward]).await?;
        return Ok(Some("on its way"));
    }
    Ok(None)
}
