//! Queues, books and processes, as the console shows them.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::accounts;
use super::stores::Stores;
use crate::ports::bus::{Bus, DeadLetter, Queue};
use crate::ports::cluster::Member;
use crate::ports::operations::{Books, Error, Operations, SpoolAccount};
use crate::spool::Spool;

/// The service that a gateway is part of.
pub struct Operator {
    /// The stores, which know of the other processes.
    pub stores: Stores,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The gateway's spool.
    pub spool: Spool,
}

#[async_trait]
impl Operations for Operator {
    async fn books(&self) -> Result<Books, Error> {
        // The spool first: what moves on while this is read is then counted twice rather than not at all.
        let account = self.spool.account();
        let spool = SpoolAccount {
            accepted: account.accepted,
            forwarded: account.forwarded,
            pending_bytes: account.pending_bytes,
            oldest_ms: u64::try_from(self.spool.oldest_age().as_millis()).unwrap_or(u64::MAX),
            lost: account.lost,
        };
        Ok(Books { spool, queues: accounts::accounts(&self.stores, self.bus.as_ref()).await? })
    }

    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.bus.dead_letters(queue, limit).await?)
    }

    async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error> {
        Ok(self.bus.redrive(queue, id).await?)
    }

    async fn members(&self) -> Result<Vec<Member>, Error> {
        match self.stores.cluster() {
            Some(cluster) => Ok(cluster.members().await?),
            None => Ok(Vec::new()),
        }
    }
}
