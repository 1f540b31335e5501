//! Opens what keeps conversations, documents, companies and numbers: a file of this machine, or MongoDB.

use std::sync::Arc;

use anyhow::Context;

use super::data_dir::DataDir;
use crate::adapters::store::mongodb::{self, MongoStore};
use crate::adapters::store::sqlite::SqliteStore;
use crate::config::{self, Settings};
use crate::ports::analytics::Analytics;
use crate::ports::cluster::Cluster;
use crate::ports::deliveries::{Deliveries, Leases};
use crate::ports::directory::Directory;
use crate::ports::ledger::Ledger;
use crate::ports::store::{ConversationStore, DocumentRegister};

/// One store behind all its ports.
#[derive(Clone)]
pub struct Stores {
    /// Conversations and their turns.
    pub conversations: Arc<dyn ConversationStore>,
    /// Which documents the index holds.
    pub documents: Arc<dyn DocumentRegister>,
    /// Companies, keys, endpoints.
    pub directory: Arc<dyn Directory>,
    /// Numbers about turns.
    pub analytics: Arc<dyn Analytics>,
    /// The log of deliveries.
    pub deliveries: Arc<dyn Deliveries>,
    /// What only a store that several processes share has.
    pub shared: Option<Shared>,
}

/// What a store that several processes share has besides.
#[derive(Clone)]
pub struct Shared {
    /// The other processes.
    pub cluster: Arc<dyn Cluster>,
    /// The books of a bus that keeps none.
    pub ledger: Arc<dyn Ledger>,
    /// Who of several workers tries a delivery.
    pub leases: Arc<dyn Leases>,
    /// Its migrations.
    pub mongodb: MongoStore,
}

impl Stores {
    /// Opens the store that the settings name. A server is not asked yet: a service starts while it is away.
    ///
    /// # Errors
    /// When the file cannot be opened, or the server's address is not one.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        match &settings.store {
            config::Store::Embedded => {
                let path = DataDir::open(&settings.data_dir)?.store();
                let store = SqliteStore::open(&path).with_context(|| format!("opening {}", path.display()))?;
                let store = Arc::new(store);
                Ok(Self {
                    conversations: store.clone(),
                    documents: store.clone(),
                    directory: store.clone(),
                    analytics: store.clone(),
                    deliveries: store,
                    shared: None,
                })
            }
            config::Store::MongoDb { uri, database, min_pool_size, max_pool_size, timeout } => {
                let settings = mongodb::Settings {
                    uri: uri.clone(),
                    database: database.clone(),
                    min_pool_size: *min_pool_size,
                    max_pool_size: *max_pool_size,
                    timeout: *timeout,
                };
                let store = MongoStore::open(&settings).context("MONGODB_URI, or `store.uri`")?;
                let shared = Arc::new(store.clone());
                Ok(Self {
                    conversations: shared.clone(),
                    documents: shared.clone(),
                    directory: shared.clone(),
                    analytics: shared.clone(),
                    deliveries: shared.clone(),
                    shared: Some(Shared {
                        cluster: shared.clone(),
                        ledger: shared.clone(),
                        leases: shared,
                        mongodb: store,
                    }),
                })
            }
        }
    }

    /// The other processes, if there may be any.
    pub fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.shared.as_ref().map(|shared| Arc::clone(&shared.cluster))
    }
}
