//! Counts a finished turn for its company's numbers: what it was about, how it ended and how fast it began, without any
//! of its text. The analytics count it once (by the turn's id), however often the message comes.

use std::sync::Arc;
use std::time::Duration;

use super::retry::Policy;
use super::runner::{DiscardReason, Job, Outcome};
use crate::config;
use crate::domain::analytics::Fact;
use crate::domain::{CompanyScope, Event, TurnRecord};
use crate::ports::analytics::Analytics as Counters;
use crate::ports::bus::{Message, Queue};
use crate::ports::directory::Directory;
use crate::ports::store;

/// Why a turn was not counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is not an event that holds a turn.
    #[error("not an event with a turn's record: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The event and the record in it disagree about whose turn it is.
    #[error("the event is of company {event}, its record of another one")]
    CompanyMismatch {
        /// The event's company.
        event: String,
    },
    /// The turn ended at the end of all times.
    #[error("no time is so long after {0}")]
    Timeless(time::OffsetDateTime),
    /// The analytics or the directory failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The job.
pub struct Analytics {
    counters: Arc<dyn Counters>,
    directory: Arc<dyn Directory>,
    concurrency: usize,
    keep: Duration,
    policy: Policy,
}

impl Analytics {
    /// The job, for what counts and the directory of whose turns are still to be counted.
    pub fn new(counters: Arc<dyn Counters>, directory: Arc<dyn Directory>, settings: &config::Jobs) -> Self {
        Self {
            counters,
            directory,
            concurrency: settings.analytics_concurrency,
            keep: settings.analytics_keep,
            policy: Policy::forever(settings.initial_delay, settings.max_delay),
        }
    }

    async fn count(&self, message: &Message) -> Result<Outcome, Error> {
        let event: Event = serde_json::from_slice(&message.body)?;
        let record: TurnRecord = serde_json::from_str(event.data.get())?;
        if record.company_id != event.companyid {
            return Err(Error::CompanyMismatch { event: event.companyid.to_string() });
        }
        let end = record.finished_at;
        let keep = self.keep.try_into().map_err(|_| Error::Timeless(end))?;
        let keep_until = end.checked_add(keep).ok_or(Error::Timeless(end))?;
        let scope = CompanyScope::granted(event.companyid);
        // A turn may still be on its way when its company is removed; counted now, it would come back from erasure.
        if self.directory.company(scope.company()).await?.is_none() {
            return Ok(Outcome::Discarded(DiscardReason::CompanyGone));
        }
        self.counters.record(&scope, &Fact::from(&record), keep_until).await?;
        Ok(Outcome::Done(Vec::new()))
    }
}

impl Job for Analytics {
    const NAME: &'static str = "analytics";
    const QUEUE: Queue = Queue::Analytics;

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    async fn run(&self, message: &Message) -> Outcome {
        match self.count(message).await {
            Ok(outcome) => outcome,
            Err(error @ Error::Store(store::Error::Unavailable(_))) => {
                Outcome::Retry { after: self.policy.delay(message.attempts), reason: error.to_string() }
            }
            Err(error) => Outcome::Dead { reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
