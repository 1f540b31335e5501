//! One worker at a time tries a delivery.
//!
//! With a bus that several workers share, a message can be there twice: the broker gives it again after a lost
//! connection, and what is not heard of in time is published anew. Copies of what has come to its end the bus drops;
//! those that are on their way at the same time meet here, just before the request.

use std::collections::HashSet;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::runner::Outcome;
use crate::domain::CompanyScope;
use crate::domain::delivery::Standing;
use crate::ports::bus::Message;
use crate::ports::deliveries::{Lease, Leased, Leases};
use crate::ports::store::Error;

/// A lease is so much longer than a request may take: for what is written before and after it, by a database that may be
/// away for a while, and for clocks that differ.
const MARGIN: Duration = Duration::from_secs(30);
/// A copy of what is tried here looks again after so long.
const SOON: Duration = Duration::from_millis(500);

/// What this worker tries, and the leases that keep others from it.
pub(super) struct Exclusive {
    leases: Arc<dyn Leases>,
    worker: Uuid,
    term: Duration,
    trying: Mutex<HashSet<Uuid>>,
}

/// A delivery that is being tried here.
pub(super) struct Trying<'a> {
    exclusive: &'a Exclusive,
    id: Uuid,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.exclusive.trying.lock().remove(&self.id);
    }
}

impl Exclusive {
    /// For a worker whose requests take no longer than `deadline`.
    pub(super) fn new(leases: Arc<dyn Leases>, deadline: Duration) -> Self {
        Self { leases, worker: Uuid::new_v4(), term: deadline + MARGIN, trying: Mutex::default() }
    }

    /// Asks for the delivery of a message. Gives the lease with the number of tries that were made, or what the message
    /// comes to without one.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub(super) async fn begin(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        message: &Message,
    ) -> Result<ControlFlow<Outcome, (Trying<'_>, u32)>, Error> {
        if !self.trying.lock().insert(id) {
            return Ok(Break(Outcome::Defer { after: SOON }));
        }
        let trying = Trying { exclusive: self, id };
        let mut attempts = message.attempts;
        loop {
            let at = OffsetDateTime::now_utc();
            let lease = Lease { holder: self.worker, attempts, at, until: at + self.term };
            let wait = |until: OffsetDateTime| Duration::try_from(until - at).unwrap_or_default();
            return Ok(match self.leases.lease(scope, id, &lease).await? {
                Leased::Granted => Continue((trying, attempts)),
                Leased::Delivered => Break(Outcome::Done(Vec::new())),
                // What the message does not know of is caught up with at once.
                Leased::Tried(standing) if is_due(&standing, message, at) && standing.attempts > attempts => {
                    attempts = standing.attempts;
                    continue;
                }
                Leased::Tried(standing) => Break(Outcome::Retry {
                    after: standing.next_attempt_at.map(wait).unwrap_or_default(),
                    reason: standing.reason.unwrap_or_default(),
                }),
                Leased::Held { until } => Break(Outcome::Defer { after: wait(until).max(SOON) }),
            });
        }
    }
}

/// Whether the next try is to be made: it is time, or the message was put on its way anew since the last.
fn is_due(standing: &Standing, message: &Message, now: OffsetDateTime) -> bool {
    standing.next_attempt_at.is_none_or(|next| next <= now)
        || standing.last_attempt_at.is_some_and(|last| last < message.first_queued_at)
}
