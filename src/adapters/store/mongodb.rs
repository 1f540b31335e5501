//! The store of the distributed mode: conversations, documents, the directory, the log of deliveries, the ledger of the bus,
//! what processes know of each other, and the facts for counting, in one MongoDB database.
//!
//! No operation needs a transaction over several documents, so that it all works on a sharded cluster too. The shard key
//! is the company: ids and unique indexes begin with it and every query names it. `migrations/README.md` says which few
//! collections cannot, and why.

mod analytics;
mod append;
mod batch;
mod call;
mod cluster;
mod codec;
mod conversations;
mod deliveries;
mod directory;
mod documents;
mod heads;
mod ledger;
mod migrations;
mod pulse;
mod removal;
mod restore;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use ::mongodb::bson::{Document, doc};
use ::mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use ::mongodb::{Client, Collection, Database};
use parking_lot::RwLock;
use tokio::sync::OnceCell;

use self::batch::Batches;
use self::ledger::Folding;
use self::pulse::Pulse;
use crate::config::Secret;
use crate::ports::store::Error;
use crate::runtime::tasks;

/// Longest wait for a server that takes the operation. Callers try again, so it is short.
const SELECTION: Duration = Duration::from_secs(2);

/// Where the database is, and how it is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `mongodb://` or `mongodb+srv://`, with whatever the driver understands. Write and read concern, retries and the
    /// timeouts are set by the adapter.
    pub uri: Secret,
    /// The database's name.
    pub database: String,
    /// Connections to each server at most.
    pub max_pool_size: u32,
    /// Connections to each server that are kept open.
    pub min_pool_size: u32,
    /// Longest time an operation may take, with all that it asks of the server.
    pub timeout: Duration,
}

/// A MongoDB database. Clones share the connections.
#[derive(Clone)]
pub struct MongoStore {
    settings: Arc<Settings>,
    /// Replaced when nothing is heard on it any more.
    connection: Arc<RwLock<Arc<OnceCell<Arc<Connection>>>>>,
    pulse: Arc<Pulse>,
    folding: Arc<Folding>,
}

struct Connection {
    client: Client,
    database: Database,
    batches: Batches,
}

impl MongoStore {
    /// Reads the settings. The client is made, and connects, when it is first asked for something, so that a service
    /// starts while the database or its names are away.
    ///
    /// # Errors
    /// `Invalid` for a URI that is none.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        ConnectionString::parse(settings.uri.reveal()).map_err(call::uri_error)?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
            connection: Arc::default(),
            pulse: Arc::default(),
            folding: Arc::default(),
        })
    }

    /// The server as an operator wants to hear of it: its version, and what it is part of.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn describe(&self) -> Result<String, Error> {
        let asked = self.call("describe", async {
            let connection = self.connection().await?;
            let database = &connection.database;
            let build = database.run_command(doc! { "buildInfo": 1 }).await?;
            Ok((build, database.run_command(doc! { "hello": 1 }).await?))
        });
        let (build, hello) = asked.await?;
        let version = build.get_str("version").unwrap_or("of an unknown version");
        let part_of = if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            "a sharded cluster".to_owned()
        } else {
            hello.get_str("setName").map_or_else(
                |_| "a single server: what its disk loses is lost".to_owned(),
                |name| format!("replica set {name} of {}", hello.get_array("hosts").map_or(1, Vec::len)),
            )
        };
        Ok(format!("{version}, {part_of}, database {}", self.settings.database))
    }

    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let current = Arc::clone(&self.connection.read());
        let connection = current.get_or_try_init(async || Connection::new(&self.settings).await.map(Arc::new)).await?;
        Ok(Arc::clone(connection))
    }

    /// Leaves the client and makes another one when it is next asked for something.
    ///
    /// The driver waits for the first answer on a new connection without end, and makes only a few connections at a time: a
    /// server or a proxy that swallows some of these first words leaves a pool that gives out nothing any more, even when
    /// the server is well again.
    fn reconnect(&self) {
        let old = std::mem::take(&mut *self.connection.write());
        tracing::warn!("MongoDB has not answered for a while; its connections are made anew");
        metrics::counter!("turnpike_store_reconnects_total").increment(1);
        if let Some(old) = old.get() {
            tasks::spawn("mongodb farewell", old.client.clone().shutdown().immediate(true).into_future());
        }
    }

    async fn collection(&self, name: &str) -> Result<Collection<Document>, Error> {
        Ok(self.connection().await?.database.collection(name))
    }
}

impl Connection {
    async fn new(settings: &Settings) -> Result<Self, Error> {
        // This looks names up for a `mongodb+srv://` URI.
        let mut options = ClientOptions::parse(settings.uri.reveal()).await.map_err(call::uri_error)?;
        options.app_name.get_or_insert_with(|| "turnpike".to_owned());
        options.max_pool_size = Some(settings.max_pool_size);
        options.min_pool_size = Some(settings.min_pool_size);
        options.server_selection_timeout = Some(SELECTION.min(settings.timeout));
        options.connect_timeout = Some(SELECTION.min(settings.timeout));
        options.retry_reads = Some(true);
        options.retry_writes = Some(true);
        // What is written stays written when the primary changes, and what is read was. All that decides is read from
        // the primary.
        options.write_concern =
            Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(settings.timeout).build());
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let client = Client::with_options(options).map_err(call::uri_error)?;
        let database = client.database(&settings.database);
        let batches = Batches::start(database.clone(), settings.timeout);
        Ok(Self { client, database, batches })
    }
}
