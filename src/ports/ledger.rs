//! The ledger: what a bus that keeps no books of its own needs to account for each message, and to replace what a
//! broken queue has lost.
//!
//! A message is written down before it is published, and again when it has come to its end. What is not known to have
//! come to its end when it should have is published anew.

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bus::{Account, DeadLetter, Message, Queue, Turns};
use super::store::Error;
use crate::domain::CompanyScope;

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was never written down, or was erased.
    Unknown,
    /// It is on its way, and so many tries have failed.
    Pending {
        /// Tries that failed.
        attempts: u32,
    },
    /// Its effect is done.
    Done,
    /// It was given up.
    Dead,
}

/// Messages and what became of them, by queue and id.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Writes messages down as pending, before they are published; those that are known stay as they are. `due_at` is
    /// when they should have come to their end or to a retry.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn open(&self, queue: Queue, messages: &[Message], due_at: OffsetDateTime) -> Result<(), Error>;

    /// What is known of a message.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    async fn standing(&self, queue: Queue, id: Uuid) -> Result<Standing, Error>;

    /// What is known of several messages, in their order.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    async fn standings(&self, queue: Queue, ids: &[Uuid]) -> Result<Vec<Standing>, Error>;

    /// A try failed, or there was no room for one; the message comes again at `due_at`. One that is not pending stays
    /// as it is.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn postpone(&self, queue: Queue, id: Uuid, attempts: u32, due_at: OffsetDateTime) -> Result<(), Error>;

    /// The message's effect is done.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn done(&self, queue: Queue, id: Uuid) -> Result<(), Error>;

    /// The message was given up. It is written down if it was not before.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn dead(&self, queue: Queue, message: &Message, reason: &str) -> Result<(), Error>;

    /// Pending messages that were due before `now`, the longest overdue first; their `due_at` moves to `lease_until`, so
    /// that of several processes that ask one gets each.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    async fn overdue(
        &self,
        queue: Queue,
        now: OffsetDateTime,
        lease_until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<Message>, Error>;

    /// The account of each queue that has messages in the ledger.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;

    /// Messages that were given up, oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Makes messages that were given up pending again, all or the one with an id, with their tries forgotten, due at
    /// `due_at`. Gives them with their queues, to be published.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn redrive(
        &self,
        queue: Option<Queue>,
        id: Option<Uuid>,
        due_at: OffsetDateTime,
    ) -> Result<Vec<(Queue, Message)>, Error>;

    /// Removes messages that were given up before a moment. Says how many.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error>;

    /// Removes a company's messages. Says how many were not done.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error>;

    /// Removes what tells of turns. Says how many messages were not done.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error>;
}
