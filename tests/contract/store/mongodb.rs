//! The MongoDB store, each test in a database of its own, and what it promises beyond the contract.

mod faults;
mod migrations;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use mongodb::Client;
use turnpike::adapters::store::mongodb::{MongoStore, Settings};
use turnpike::config::Secret;
use turnpike::ports::deliveries::Leases;
use uuid::Uuid;

use super::Store;
use crate::analytics::Counters;
use crate::cluster::Processes;
use crate::deliveries::Log;
use crate::ledger::Books;
use crate::support::services;

/// A database of a test's own, which is dropped with it.
pub(crate) struct Base {
    pub(crate) uri: String,
    pub(crate) name: String,
}

impl Base {
    /// A database that is not there yet, on the server of the environment or of the tests. None where there is none.
    pub(crate) fn new() -> Option<Self> {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        services::mongodb(&test).map(Self::on)
    }

    /// A database that is not there yet.
    pub(crate) fn on(uri: String) -> Self {
        Self { uri, name: format!("turnpike_test_{}", Uuid::new_v4().simple()) }
    }

    /// A store on it, which knows nothing of others.
    pub(crate) fn open(&self) -> MongoStore {
        self.open_within(Duration::from_secs(20))
    }

    /// A store whose operations may take so long.
    pub(crate) fn open_within(&self, timeout: Duration) -> MongoStore {
        self.open_as(&self.name, timeout)
    }

    /// A store whose client has a name, so that a server can be made to fail it alone.
    pub(crate) fn open_as(&self, client: &str, timeout: Duration) -> MongoStore {
        let joint = match (self.uri.contains('?'), self.uri.matches('/').count() > 2) {
            (true, _) => "&",
            (false, true) => "?",
            (false, false) => "/?",
        };
        let settings = Settings {
            uri: Secret::new(format!("{}{joint}appName={client}", self.uri)),
            database: self.name.clone(),
            max_pool_size: 16,
            min_pool_size: 0,
            timeout,
        };
        MongoStore::open(&settings).unwrap()
    }

    /// A store on it, migrated.
    pub(crate) async fn migrated(&self) -> MongoStore {
        let store = self.open();
        store.migrate().await.unwrap();
        store
    }

    /// The database as it is without the adapter.
    pub(crate) async fn bare(&self) -> mongodb::Database {
        Client::with_uri_str(&self.uri).await.unwrap().database(&self.name)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let drop = async { self.bare().await.drop().await };
        // A server that the test has stopped took the database along.
        let _ = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
    }
}

/// An empty store.
pub(crate) async fn fresh() -> Option<Store> {
    let base = Base::new()?;
    let store = Arc::new(base.migrated().await);
    Some(Store { conversations: store.clone(), documents: store.clone(), directory: store, _guard: Box::new(base) })
}

/// Empty analytics.
pub(crate) async fn fresh_counters() -> Option<Counters> {
    let base = Base::new()?;
    let store = Arc::new(base.migrated().await);
    Some(Counters { analytics: store.clone(), conversations: store, _guard: Box::new(base) })
}

/// An empty log of deliveries.
pub(crate) async fn fresh_log() -> Option<Log> {
    let base = Base::new()?;
    let store = Arc::new(base.migrated().await);
    Some(Log { deliveries: store.clone(), conversations: store, _guard: Box::new(base) })
}

/// An empty log of deliveries, and leases of them.
pub(crate) async fn fresh_leases() -> Option<(Log, Arc<dyn Leases>)> {
    let base = Base::new()?;
    let store = Arc::new(base.migrated().await);
    let log = Log { deliveries: store.clone(), conversations: store.clone(), _guard: Box::new(base) };
    Some((log, store))
}

/// An empty ledger, seen by two processes.
pub(crate) async fn fresh_books() -> Option<Books> {
    let base = Base::new()?;
    let (ledger, other) = (Arc::new(base.migrated().await), Arc::new(base.open()));
    Some(Books { ledger, other, _guard: Box::new(base) })
}

/// An empty cluster, seen by two processes.
pub(crate) async fn fresh_processes() -> Option<Processes> {
    let base = Base::new()?;
    let (cluster, other) = (Arc::new(base.migrated().await), Arc::new(base.open()));
    Some(Processes { cluster, other, _guard: Box::new(base) })
}
