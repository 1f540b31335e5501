//! The loop that all jobs share: take a message, handle it in a task of its own, tell the bus what became of it.
//!
//! A permit is taken before a message is, so no message waits in here while another worker could have it. Whatever a
//! handler does, panic included, its message is settled or given again. Errors of the bus are waited out, for ever.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::events::{BusFailed, HandlersAbandoned, MessageDiscarded, MessageHandled};
use super::retry::Policy;
use crate::ports::bus::{Bus, Message, Queue, Settlement, Taken};

/// How long handlers may go on after the shutdown began, unless their job knows better.
const DRAIN: Duration = Duration::from_secs(10);
/// A message whose handler still panics after so long is given up.
const PANICS_END: Duration = Duration::from_secs(24 * 3600);
/// Between two tries of a bus that fails.
const BUS_RETRY: Policy =
    Policy { initial: Duration::from_millis(200), max: Duration::from_secs(10), give_up_after: None };

/// Why there is nothing to do for a message any more. It counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardReason {
    /// The company was removed, and nothing of it is to be stored again.
    CompanyGone,
    /// The conversation was removed after the turn began.
    ConversationGone,
    /// The endpoint was removed.
    EndpointGone,
    /// The endpoint is disabled.
    EndpointDisabled,
    /// The endpoint said 410 Gone, and is disabled from now on.
    EndpointSaidGone,
}

impl DiscardReason {
    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CompanyGone => "company_gone",
            Self::ConversationGone => "conversation_gone",
            Self::EndpointGone => "endpoint_gone",
            Self::EndpointDisabled => "endpoint_disabled",
            Self::EndpointSaidGone => "endpoint_said_gone",
        }
    }
}

/// What became of a message, as the job sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its effect is done; these follow from it.
    Done(Vec<Message>),
    /// There is nothing to do for it any more.
    Discarded(DiscardReason),
    /// It failed for now.
    Retry {
        /// How long until the next try.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// It was not tried, for want of room.
    Defer {
        /// How long until it is given again.
        after: Duration,
    },
    /// It can't succeed, or has failed for too long.
    Dead {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    fn label(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Discarded(_) => "discarded",
            Self::Retry { .. } => "retry",
            Self::Defer { .. } => "deferred",
            Self::Dead { .. } => "dead",
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Done(_) | Self::Defer { .. } => None,
            Self::Discarded(reason) => Some(reason.as_str().to_owned()),
            Self::Retry { reason, .. } | Self::Dead { reason } => Some(reason.clone()),
        }
    }
}

impl From<Outcome> for Settlement {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(follow_ups) => Self::Done { follow_ups },
            Outcome::Discarded(_) => Self::Done { follow_ups: Vec::new() },
            Outcome::Retry { after, reason } => Self::Retry { after, reason },
            Outcome::Defer { after } => Self::Defer { after },
            Outcome::Dead { reason } => Self::Dead { reason },
        }
    }
}

/// One kind of work that is done for messages of a queue.
pub trait Job: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// Where its messages come from.
    const QUEUE: Queue;

    /// Messages handled at a time.
    fn concurrency(&self) -> usize;

    /// When a message is tried again whose handler panicked.
    fn policy(&self) -> &Policy;

    /// How long handlers may go on after the shutdown began.
    fn drain(&self) -> Duration {
        DRAIN
    }

    /// A message was taken. Called in the order in which messages are taken, before its handler begins.
    fn taken(&self, _message: &Message) {}

    /// Handles one message. It may have been handled before: the effect is to be the same.
    fn run(&self, message: &Message) -> impl Future<Output = Outcome> + Send;
}

/// Runs a job until `shutdown`, then waits a while for the handlers at work.
pub async fn run<J: Job>(job: Arc<J>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(job.concurrency().max(1)));
    let unsettled = Arc::new(AtomicU32::new(0));
    let mut untaken = 0;
    let mut handlers = JoinSet::new();
    loop {
        let next = async {
            let failures: u32 = untaken.max(unsettled.load(Ordering::Relaxed));
            if failures > 0 {
                tokio::time::sleep(BUS_RETRY.delay(failures - 1)).await;
            }
            // Nobody closes the semaphore, so this only waits.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, bus.take(J::QUEUE).await)
        };
        let (permit, taken) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        while handlers.try_join_next().is_some() {}
        match taken {
            Ok(taken) => {
                untaken = 0;
                job.taken(taken.message());
                let span = tracing::info_span!("job", name = J::NAME, message.id = %taken.message().id);
                let (job, unsettled) = (Arc::clone(&job), Arc::clone(&unsettled));
                let handler = async move {
                    handle(&*job, taken, &unsettled).await;
                    drop(permit);
                };
                handlers.spawn(handler.instrument(span));
            }
            Err(error) => {
                untaken = untaken.saturating_add(1);
                BusFailed { job: J::NAME, operation: "take", error: &error }.emit();
            }
        }
    }
    let drained = tokio::time::timeout(job.drain(), async { while handlers.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        HandlersAbandoned { job: J::NAME, handlers: handlers.len() }.emit();
        handlers.shutdown().await;
    }
}

/// Handles a message that was taken, and settles it.
async fn handle<J: Job>(job: &J, taken: Box<dyn Taken>, unsettled: &AtomicU32) {
    let begun = Instant::now();
    let in_flight = InFlight::begin(J::NAME);
    let message = taken.message();
    // A panic may leave the job's own state half changed; jobs keep none that is not behind a lock or atomic.
    let (outcome, label) = match AssertUnwindSafe(job.run(message)).catch_unwind().await {
        Ok(outcome) => {
            let label = outcome.label();
            (outcome, label)
        }
        Err(panic) => (after_panic(job.policy(), message, panic.as_ref()), "panic"),
    };
    if let Outcome::Discarded(reason) = &outcome {
        MessageDiscarded { job: J::NAME, id: message.id, reason: reason.as_str() }.emit();
    }
    MessageHandled {
        job: J::NAME,
        id: message.id,
        attempts: message.attempts,
        outcome: label,
        reason: outcome.reason(),
        took: begun.elapsed(),
    }
    .emit();
    match taken.settle(outcome.into()).await {
        Ok(()) => unsettled.store(0, Ordering::Relaxed),
        Err(error) => {
            unsettled.fetch_add(1, Ordering::Relaxed);
            BusFailed { job: J::NAME, operation: "settle", error: &error }.emit();
        }
    }
    drop(in_flight);
}

fn after_panic(policy: &Policy, message: &Message, panic: &(dyn std::any::Any + Send)) -> Outcome {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let reason = format!("the handler panicked: {text}");
    if age(message) >= PANICS_END {
        Outcome::Dead { reason }
    } else {
        Outcome::Retry { after: policy.delay(message.attempts), reason }
    }
}

/// How long ago the message first came to its queue.
pub(super) fn age(message: &Message) -> Duration {
    (OffsetDateTime::now_utc() - message.first_queued_at).try_into().unwrap_or_default()
}

/// Counts a handler in the gauge for as long as it lives, however it ends.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn begin(job: &'static str) -> Self {
        let gauge = metrics::gauge!("turnpike_job_in_flight", "job" => job);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests;
