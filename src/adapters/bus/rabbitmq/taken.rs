//! A message in work, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::envelope::Outgoing;
use super::ledger_error;
use super::shared::Shared;
use super::shelf::{Claim, Held, Shelf};
use crate::ports::bus::{Error, Message, Queue, Settlement, Taken};

/// From this delay on a message waits at the server, where nobody holds it.
const AWAY: Duration = Duration::from_secs(1);
/// Of a message that waits here time and again the ledger hears so often in the time after which it would be taken for
/// lost, and given to somebody else as well.
const HEARD_OF: u32 = 2;
/// A message whose settlement failed is given again after so long.
const UNSETTLED: Duration = Duration::from_secs(1);

/// A message that was taken.
pub(super) struct TakenMessage {
    shared: Arc<Shared>,
    queue: Queue,
    shelf: Arc<Shelf>,
    claim: Claim,
    /// What the claim holds, for whoever only looks.
    message: Message,
}

/// Where a message is after its settlement.
enum Settled {
    /// Nowhere: the server may forget it.
    Over,
    /// Still here, to be given again.
    Here { after: Duration, attempts: u32, heard_at: Instant },
}

impl TakenMessage {
    /// The message of a claim; none when the claim holds nothing.
    pub(super) fn new(shared: Arc<Shared>, queue: Queue, shelf: Arc<Shelf>, claim: Claim) -> Option<Self> {
        let message = claim.held()?.message.clone();
        Some(Self { shared, queue, shelf, claim, message })
    }
}

#[async_trait]
impl Taken for TakenMessage {
    fn message(&self) -> &Message {
        &self.message
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), Error> {
        let Self { shared, queue, shelf, claim, .. } = *self;
        // Whoever goes away in the middle drops the claim, and the message is given again.
        let Some(held) = claim.held() else { return Ok(()) };
        if claim.is_erased() {
            // Its effect is none any more, and nothing follows from it. What cannot be acknowledged comes again, and the
            // job finds that the company is gone.
            let acknowledged = held.ack().await;
            claim.end();
            return acknowledged;
        }
        let settled = Step { shared: &shared, queue, shelf: &shelf, held }.take(settlement).await;
        match settled {
            Ok(Settled::Over) => {
                let acknowledged = held.ack().await;
                let is_booked = held.is_booked;
                claim.end();
                // Without the acknowledgement the message comes again; the ledger knows then that it is over.
                if is_booked { Ok(()) } else { acknowledged }
            }
            Ok(Settled::Here { after, attempts, heard_at }) => {
                claim.give_back(after, |held| {
                    held.message.attempts = attempts;
                    held.heard_at = heard_at;
                });
                Ok(())
            }
            Err(error) => {
                claim.give_back(UNSETTLED, |_| {});
                Err(error)
            }
        }
    }
}

/// One settlement.
struct Step<'a> {
    shared: &'a Shared,
    queue: Queue,
    shelf: &'a Shelf,
    held: &'a Held,
}

impl Step<'_> {
    async fn take(&self, settlement: Settlement) -> Result<Settled, Error> {
        let Self { shared, queue, held, .. } = self;
        let message = &held.message;
        match settlement {
            Settlement::Done { follow_ups } => {
                shared.send(&follow_ups).await?;
                if held.is_booked {
                    shared.ledger.done(*queue, message.id).await.map_err(ledger_error)?;
                }
                Ok(Settled::Over)
            }
            Settlement::Retry { after, .. } => self.again(after, message.attempts.saturating_add(1)).await,
            Settlement::Defer { after } => self.again(after, message.attempts).await,
            Settlement::Dead { reason } => {
                shared.bury(*queue, message, &reason).await?;
                Ok(Settled::Over)
            }
        }
    }

    /// Short waits are waited here, as long as they do not keep others out; a crash forgets the try that failed.
    async fn again(&self, after: Duration, attempts: u32) -> Result<Settled, Error> {
        let Self { shared, queue, held, .. } = self;
        let (_, waiting) = self.shelf.len();
        let is_crowded = waiting >= usize::from(shared.settings.prefetch(*queue)).div_ceil(2);
        if after < AWAY && !is_crowded {
            let mut heard_at = held.heard_at;
            if held.is_booked && heard_at.elapsed() >= shared.settings.redeliver_after / HEARD_OF {
                // With as many tries as the server knows of: what it gives again after a crash is then no old copy.
                self.postpone(held.attempts_before, after).await?;
                heard_at = Instant::now();
            }
            return Ok(Settled::Here { after, attempts, heard_at });
        }
        let after = after.max(AWAY);
        let copy = Message { attempts, ..held.message.clone() };
        let outgoing = Outgoing::later(&shared.names, *queue, &copy, after, held.is_booked)?;
        if held.is_booked {
            self.postpone(attempts, after).await?;
        }
        // If this fails, this process tries again. If it dies meanwhile, the message that the server gives again counts as
        // an old copy, and the next one comes when this one is overdue.
        shared.publisher().publish(&[outgoing]).await?;
        Ok(Settled::Over)
    }

    /// Tells the ledger that the message comes again.
    async fn postpone(&self, attempts: u32, after: Duration) -> Result<(), Error> {
        let due_at = self.shared.due_after(after);
        self.shared.ledger.postpone(self.queue, self.held.message.id, attempts, due_at).await.map_err(ledger_error)
    }
}
