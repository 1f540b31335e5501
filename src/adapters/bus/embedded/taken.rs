//! A message in work, and what becomes of it.

use std::sync::Arc;

use async_trait::async_trait;

use super::shelf::Claim;
use super::tables::{self, Clock};
use super::{Shelves, entries, queues_of};
use crate::adapters::sqlite::Database;
use crate::ports::bus::{Error, Message, Queue, Settlement, Taken};

/// A message that was taken.
pub(super) struct TakenMessage {
    pub(super) database: Database,
    pub(super) clock: Arc<Clock>,
    pub(super) shelves: Arc<Shelves>,
    pub(super) queue: Queue,
    pub(super) claim: Claim,
}

#[async_trait]
impl Taken for TakenMessage {
    fn message(&self) -> &Message {
        self.claim.message()
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), Error> {
        let Self { database, clock, shelves, queue, mut claim } = *self;
        let follow_ups = match &settlement {
            Settlement::Done { follow_ups } => entries(follow_ups)?,
            _ => Vec::new(),
        };
        let woken = queues_of(&follow_ups);
        // The claim goes with the write and comes back after the commit: should the caller go away in between, nobody
        // gets the message before the file says what became of it.
        let claim = database
            .write(move |connection| {
                let number = claim.number();
                let due_at = match settlement {
                    Settlement::Done { .. } => {
                        tables::done(connection, &clock, queue, number, &follow_ups)?;
                        None
                    }
                    Settlement::Retry { after, .. } => Some(tables::postpone(connection, number, after, 1)?),
                    Settlement::Defer { after } => Some(tables::postpone(connection, number, after, 0)?),
                    Settlement::Dead { reason } => {
                        tables::bury(connection, number, &reason)?;
                        None
                    }
                };
                match due_at {
                    Some(due_at) => claim.comes_again(due_at),
                    None => claim.is_over(),
                }
                Ok(claim)
            })
            .await?;
        drop(claim);
        shelves.wake(&woken);
        Ok(())
    }
}
