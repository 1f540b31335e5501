//! Writes down what becomes of deliveries. What was sent stays sent: a log that cannot be written never makes a webhook
//! go out twice, and is missed in the end.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::events::LogMissed;
use super::super::retry::Policy;
use super::super::runner::{DiscardReason, Outcome};
use crate::domain::delivery::{self, Parcel, Standing, State, Timing};
use crate::domain::{CompanyScope, EndpointId};
use crate::ports::deliveries::Deliveries;
use crate::ports::store;
use crate::ports::webhook::Posted;

/// Bytes of an answer that are kept.
const BODY_START: usize = 4 * 1024;
/// How often it is written down that an endpoint works that has worked before.
const WELL: Duration = Duration::from_secs(60);
/// How long the end of a delivery is tried to be written down, and how often.
const INSIST: Duration = Duration::from_secs(600);
const AGAIN: Policy = Policy { initial: Duration::from_millis(100), max: Duration::from_secs(5), give_up_after: None };
/// Endpoints of which that is remembered.
const MOST_WELL: u64 = 10_000;

pub(super) struct Log {
    pub(super) deliveries: Arc<dyn Deliveries>,
    keep: Duration,
    well: Cache<EndpointId, ()>,
}

impl Log {
    pub(super) fn new(deliveries: Arc<dyn Deliveries>, keep: Duration) -> Self {
        Self { deliveries, keep, well: Cache::builder().time_to_live(WELL).max_capacity(MOST_WELL).build() }
    }

    /// Until when what is written down now is kept.
    pub(super) fn keep_until(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.keep
    }

    /// Writes deliveries down before they are put on their way.
    pub(super) async fn open(&self, scope: &CompanyScope, parcels: &[Parcel]) -> Result<(), store::Error> {
        if parcels.is_empty() {
            return Ok(());
        }
        self.deliveries.open(scope, parcels, self.keep_until()).await
    }

    /// Writes down what a delivery came to, and its last try if there was one.
    ///
    /// Its end is insisted on for a while: in an ordered line the next one waits for it, and a delivery that looks as if it
    /// were still on its way holds up its conversation. The message is settled by the same database or one beside it, so
    /// little is waited for here that would not be waited for then.
    pub(super) async fn note(
        &self,
        scope: &CompanyScope,
        id: Option<Uuid>,
        outcome: &Outcome,
        attempts: u32,
        attempt: Option<&delivery::Attempt>,
    ) {
        let Some(id) = id else { return };
        let standing = standing(outcome, attempts, attempt);
        let insist_until = (standing.state != State::Pending).then(|| Instant::now() + INSIST);
        let mut tries = 0;
        loop {
            match self.deliveries.note(scope, id, &standing, attempt).await {
                Ok(()) => return,
                Err(store::Error::Unavailable(_)) if insist_until.is_some_and(|end| Instant::now() < end) => {
                    tokio::time::sleep(AGAIN.delay(tries)).await;
                    tries += 1;
                }
                Err(error) => return LogMissed { what: "delivery", error: &error }.emit(),
            }
        }
    }

    /// Whether a delivery arrived, which its message need not know.
    pub(super) async fn is_delivered(&self, scope: &CompanyScope, id: Option<Uuid>) -> Result<bool, store::Error> {
        let Some(id) = id else { return Ok(false) };
        let known = self.deliveries.delivery(scope, id).await?;
        Ok(known.is_some_and(|known| known.delivery.standing.state == State::Delivered))
    }

    /// An endpoint took a webhook.
    pub(super) async fn succeeded(&self, scope: &CompanyScope, endpoint: &EndpointId) {
        if self.well.contains_key(endpoint) {
            return;
        }
        match self.deliveries.succeeded(scope, endpoint, OffsetDateTime::now_utc()).await {
            Ok(()) => self.well.insert(endpoint.clone(), ()),
            Err(error) => LogMissed { what: "endpoint", error: &error }.emit(),
        }
    }

    /// A try of an endpoint failed. Says since when all have, if that is known.
    pub(super) async fn failed(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        reason: &str,
        open_for: Option<Duration>,
    ) -> Option<OffsetDateTime> {
        self.well.invalidate(endpoint);
        let now = OffsetDateTime::now_utc();
        let since = self.deliveries.failed(scope, endpoint, now, reason, open_for.map(|open| now + open)).await;
        since.inspect_err(|error| LogMissed { what: "endpoint", error }.emit()).ok()
    }
}

/// How a delivery stands after an outcome.
fn standing(outcome: &Outcome, attempts: u32, attempt: Option<&delivery::Attempt>) -> Standing {
    let (state, reason, next) = match outcome {
        Outcome::Done(_) => (State::Delivered, None, None),
        Outcome::Discarded(reason) => (State::Discarded, Some(in_words(*reason).to_owned()), None),
        Outcome::Retry { after, reason } => (State::Pending, Some(reason.clone()), Some(*after)),
        Outcome::Defer { after } => (State::Pending, None, Some(*after)),
        Outcome::Dead { reason } => (State::Dead, Some(reason.clone()), None),
    };
    Standing {
        state,
        attempts,
        status: attempt.and_then(|attempt| attempt.status),
        reason,
        last_attempt_at: attempt.map(|attempt| attempt.started_at),
        next_attempt_at: next.map(|after| OffsetDateTime::now_utc() + after),
    }
}

fn in_words(reason: DiscardReason) -> &'static str {
    match reason {
        DiscardReason::CompanyGone => "the company was removed",
        DiscardReason::ConversationGone => "the conversation was removed",
        DiscardReason::EndpointGone => "the endpoint was removed",
        DiscardReason::EndpointDisabled => "the endpoint was disabled",
        DiscardReason::EndpointSaidGone => "the endpoint answered 410 Gone and was disabled",
    }
}

/// A try as it is kept.
pub(super) fn attempt(
    posted: &Posted,
    number: u32,
    started_at: OffsetDateTime,
    outcome: &str,
    detail: &str,
) -> delivery::Attempt {
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let timing = &posted.timing;
    let answer = posted.result.as_ref().ok();
    let body = answer.map(|answer| answer.body_start.get(..BODY_START).unwrap_or(&answer.body_start));
    delivery::Attempt {
        number,
        started_at,
        outcome: outcome.to_owned(),
        error: (!detail.is_empty()).then(|| detail.to_owned()),
        status: answer.map(|answer| answer.status),
        http_version: answer.map(|answer| answer.http_version.to_owned()),
        remote_address: posted.remote_address.map(|address| address.to_string()),
        headers: answer.map(|answer| answer.headers.clone()).unwrap_or_default(),
        body_start: body.map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default(),
        timing: Timing {
            dns_ms: timing.dns.map(ms),
            connect_ms: timing.connect.map(ms),
            first_byte_ms: timing.first_byte.map(ms),
            total_ms: ms(timing.total),
        },
    }
}
