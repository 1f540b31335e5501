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

use super::envelope::{Envelope, Outgoing};
use super::error::{Broker, Code};
use super::events::{ConsumerEnded, CopyDropped, LedgerFailed, Poisoned};
use super::line::Session;
use super::shared::Shared;
use super::shelf::{Held, Shelf};
use super::topology::look;
use crate::ports::bus::{Error, Queue};
use crate::ports::ledger::Standing;

/// First and longest wait before a consumer or a question is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a copy waits of a message that is here already.
const BUSY: Duration = Duration::from_millis(500);
/// A message that was given so often and never settled takes its worker down each time, as far as anyone can tell.
const POISON: u64 = 1_000;

/// How often a consumer is compared with what the server knows of it, and how often in a row it may get nothing while
/// messages wait.
const WATCH: Duration = Duration::from_secs(3);
const STARVED: u32 = 2;

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
        ConsumerEnded { queue: queue.name(), reason: &ended }.emit();
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

/// Consumes until the server or the connection ends it. Says why it ended.
async fn consume(shared: &Arc<Shared>, queue: Queue, shelf: &Arc<Shelf>, session: &Session) -> String {
    let (channel, consumer) = match begin(shared, queue, session).await {
        Ok(begun) => begun,
        Err(error) => return error.to_string(),
    };
    let mut consumer = consumer.fuse();
    let counts = Counts::default();
    let mut watch = std::pin::pin!(watch(shared, queue, shelf, session, &counts));
    // Looked up side by side, and given in the order in which they came.
    let mut coming: FuturesOrdered<BoxFuture<'_, Verdict>> = FuturesOrdered::new();
    let mut busy: FuturesUnordered<BoxFuture<'_, Verdict>> = FuturesUnordered::new();
    loop {
        let verdict = tokio::select! {
            delivery = consumer.next() => match delivery {
                Some(Ok(mut delivery)) => {
                    let envelope = Envelope::open(&mut delivery);
                    let held = hold(queue, &envelope, delivery, &channel);
                    counts.came.fetch_add(1, Ordering::Relaxed);
                    counts.undecided.fetch_add(1, Ordering::Relaxed);
                    coming.push_back(Box::pin(judge(shared, queue, shelf, held, envelope)));
                    continue;
                }
                Some(Err(error)) => return error.to_string(),
                None => return "the server cancelled it: its queue is gone or has moved".to_owned(),
            },
            Some(verdict) = coming.next() => verdict,
            Some(verdict) = busy.next() => verdict,
            reason = &mut watch => return reason,
        };
        if let Verdict::Busy(held, envelope) = verdict {
            busy.push(Box::pin(async move {
                sleep(BUSY).await;
                judge(shared, queue, shelf, held, envelope).await
            }));
            continue;
        }
        counts.undecided.fetch_sub(1, Ordering::Relaxed);
        match verdict {
            Verdict::Give(held) => shelf.put(held),
            Verdict::Wait(held, after) => shelf.put_later(held, after),
            Verdict::Busy(..) | Verdict::Gone => {}
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

/// Waits until the consumer cannot be alive, though nobody told it that it is not. Says why.
async fn watch(shared: &Shared, queue: Queue, shelf: &Shelf, session: &Session, counts: &Counts) -> String {
    let name = shared.names.queue(queue);
    let mut starved = 0;
    loop {
        let came = counts.came.load(Ordering::Relaxed);
        sleep(WATCH).await;
        let seen = async { look(session, &session.channel().await?, &name).await };
        let seen = match seen.await {
            Ok(seen) => seen,
            Err(error) => return error.to_string(),
        };
        let held = shelf.len().0 + counts.undecided.load(Ordering::Relaxed);
        let has_room = held < usize::from(shared.settings.prefetch(queue));
        let none_came = counts.came.load(Ordering::Relaxed) == came;
        starved = if seen.waiting > 0 && has_room && none_came { starved + 1 } else { 0 };
        if seen.consumers == 0 {
            return "the server does not know it any more".to_owned();
        }
        if starved >= STARVED {
            return format!("{} messages wait and none comes", seen.waiting);
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
        acker: delivery.acker,
        _channel: channel.clone(),
    }
}

async fn judge(shared: &Shared, queue: Queue, shelf: &Shelf, held: Held, envelope: Envelope) -> Verdict {
    let mut retry = RETRY.0;
    loop {
        match try_to_judge(shared, queue, shelf, &held, &envelope).await {
            Ok(Some(standing)) => {
                CopyDropped { queue: queue.name(), id: held.message.id, standing }.emit();
                // What cannot be acknowledged comes again, and ends here again.
                let _ = held.ack().await;
                return Verdict::Gone;
            }
            Ok(None) => break,
            Err(Error::Invalid(reason)) => {
                tracing::error!(queue = queue.name(), reason, "a message cannot be handled by the bus itself");
                break;
            }
            Err(error) => {
                LedgerFailed { queue: queue.name(), error: &error }.emit();
                sleep(retry).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
    if shelf.holds(held.message.id) {
        return Verdict::Busy(held, envelope);
    }
    match envelope.rest {
        Duration::ZERO => Verdict::Give(held),
        rest => Verdict::Wait(held, rest),
    }
}

/// Says what the ledger knows of a message that is not to be given, or nothing of one that is.
async fn try_to_judge(
    shared: &Shared,
    queue: Queue,
    shelf: &Shelf,
    held: &Held,
    envelope: &Envelope,
) -> Result<Option<&'static str>, Error> {
    let message = &held.message;
    if held.is_booked {
        match shared.ledger.standing(queue, message.id).await.map_err(super::ledger_error)? {
            Standing::Done => return Ok(Some("done")),
            Standing::Dead => return Ok(Some("dead")),
            Standing::Pending { attempts } if attempts > message.attempts => return Ok(Some("tried since")),
            // An entry may be lost, or its company erased: the job finds out.
            Standing::Pending { .. } | Standing::Unknown => {}
        }
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
