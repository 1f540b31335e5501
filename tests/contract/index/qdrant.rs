//! The index on a Qdrant server: the contract over the real protocol, and what this adapter promises beside it.

mod faults;
mod same;
mod schema;
mod server;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use turnpike::adapters::index::qdrant::{QdrantIndex, Settings};
use turnpike::ports::index::{Encoder, KnowledgeIndex};

use crate::support::qdrant::QdrantServer;

/// A server of its own.
pub(crate) struct Remote {
    pub(crate) server: QdrantServer,
}

impl Remote {
    /// With the collection in it.
    pub(crate) async fn new() -> Self {
        let remote = Self::empty();
        remote.index(super::hybrid()).migrate(None).await.unwrap();
        remote
    }

    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        Self { server: QdrantServer::start() }
    }

    /// Patient ones: the tests share the machine with each other.
    pub(crate) fn settings(&self) -> Settings {
        Settings { timeout: Duration::from_secs(20), batch: 7, ..Settings::new(self.server.url()) }
    }

    /// As another process would open it.
    pub(crate) fn index(&self, encoder: Encoder) -> QdrantIndex {
        QdrantIndex::open(&self.settings(), encoder).unwrap()
    }

    fn open(&self, encoder: Encoder) -> Arc<dyn KnowledgeIndex> {
        Arc::new(self.index(encoder))
    }
}

index_contract!(contract, Remote::new().await);
