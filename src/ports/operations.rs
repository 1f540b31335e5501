//! What an operator looks after besides the companies: queues and their books, what was given up, the processes.

use async_trait::async_trait;
use uuid::Uuid;

use super::bus::{self, Account, DeadLetter, Queue};
use super::cluster::Member;
use super::store;

/// Why something of it cannot be told or done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The store did not.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The account of a gateway's spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolAccount {
    /// Events ever put into it.
    pub accepted: u64,
    /// Events that the bus has confirmed.
    pub forwarded: u64,
    /// Bytes that wait.
    pub pending_bytes: u64,
    /// Milliseconds that the oldest waiting event has waited.
    pub oldest_ms: u64,
    /// Events that damage to the disk has cost.
    pub lost: u64,
}

/// The books of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    /// This gateway's spool.
    pub spool: SpoolAccount,
    /// Every queue.
    pub queues: Vec<Account>,
}

impl Books {
    /// Whether every event is accounted for.
    pub fn balance(&self) -> bool {
        self.spool.lost == 0 && self.queues.iter().all(Account::balances)
    }
}

/// The service as its operator sees it.
#[async_trait]
pub trait Operations: Send + Sync {
    /// The books as they are now.
    ///
    /// # Errors
    /// When the bus or the store cannot be asked.
    async fn books(&self) -> Result<Books, Error>;

    /// Messages that were given up, oldest first.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Tries messages again that were given up, all or the one with an id. Says how many.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error>;

    /// The processes of the service, this one among them; none where there can be no other.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn members(&self) -> Result<Vec<Member>, Error>;
}
