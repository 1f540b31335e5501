//! Which engines keep the queues, the conversations and the knowledge: those of this process, or servers.

use std::time::Duration;

use super::Secret;
use super::raw;
use super::validate::Check;

/// The bus.
#[derive(Clone, Debug)]
pub enum Bus {
    /// A file of this process.
    Embedded,
    /// RabbitMQ.
    RabbitMq {
        /// `amqp://` or `amqps://`, with credentials and the virtual host.
        url: Secret,
        /// What the names of its exchanges and queues begin with.
        namespace: String,
        /// After so long, a message that is not known to have come to its end is published again.
        redeliver_after: Duration,
    },
}

/// The store of conversations, documents and the directory.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file that this machine's processes share.
    Embedded,
    /// MongoDB.
    MongoDb {
        /// `mongodb://` or `mongodb+srv://`, with credentials and options.
        uri: Secret,
        /// The database.
        database: String,
        /// Connections at least.
        min_pool_size: u32,
        /// Connections at most.
        max_pool_size: u32,
        /// Longest wait for an answer.
        timeout: Duration,
    },
}

/// The knowledge index.
#[derive(Clone, Debug)]
pub enum Index {
    /// A folder of this process.
    Embedded {
        /// Companies whose index is open at a time.
        open_shards: usize,
    },
    /// Qdrant.
    Qdrant {
        /// Its gRPC address.
        url: String,
        /// Its key, if it asks for one.
        api_key: Option<Secret>,
        /// The collection.
        collection: String,
        /// Longest wait for an answer.
        timeout: Duration,
    },
}

impl Bus {
    /// Whether several processes can share it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::RabbitMq { .. })
    }
}

pub(super) fn bus<F: Fn(&str) -> String>(raw: raw::Bus, store: &Store, check: &mut Check<'_, F>) -> Bus {
    let redeliver_after = check.some_seconds("bus.redeliver_after_s", raw.redeliver_after_s);
    match raw.backend.as_str() {
        "embedded" => Bus::Embedded,
        "rabbitmq" => {
            let url = address(raw.url, "bus.url", &["amqp://", "amqps://"], "RABBITMQ_URL", check);
            is_name("bus.namespace", &raw.namespace, check);
            if !matches!(store, Store::MongoDb { .. }) {
                check.fail("bus.backend", "RabbitMQ needs MongoDB, which keeps its books: set MONGODB_URI too");
            }
            Bus::RabbitMq { url, namespace: raw.namespace, redeliver_after }
        }
        other => {
            check.fail("bus.backend", format!("{other:?} is not a bus; write \"embedded\" or \"rabbitmq\""));
            Bus::Embedded
        }
    }
}

pub(super) fn store<F: Fn(&str) -> String>(raw: raw::Store, check: &mut Check<'_, F>) -> Store {
    let timeout = check.some_seconds("store.timeout_s", raw.timeout_s);
    match raw.backend.as_str() {
        "embedded" => Store::Embedded,
        "mongodb" => {
            let uri = address(raw.uri, "store.uri", &["mongodb://", "mongodb+srv://"], "MONGODB_URI", check);
            is_name("store.database", &raw.database, check);
            if raw.database.contains('.') {
                check.fail("store.database", "MongoDB allows no `.` in the name of a database");
            }
            if raw.max_pool_size == 0 || raw.min_pool_size > raw.max_pool_size {
                check.fail("store.max_pool_size", "must be at least 1, and not below `min_pool_size`");
            }
            Store::MongoDb {
                uri,
                database: raw.database,
                min_pool_size: raw.min_pool_size,
                max_pool_size: raw.max_pool_size,
                timeout,
            }
        }
        other => {
            check.fail("store.backend", format!("{other:?} is not a store; write \"embedded\" or \"mongodb\""));
            Store::Embedded
        }
    }
}

pub(super) fn index<F: Fn(&str) -> String>(raw: raw::Index, check: &mut Check<'_, F>) -> Index {
    let timeout = check.some_seconds("index.timeout_s", raw.timeout_s);
    let embedded = Index::Embedded { open_shards: check.positive("index.open_shards", raw.open_shards) };
    match raw.backend.as_str() {
        "embedded" => embedded,
        "qdrant" => {
            let url = raw.url.map(Secret::new);
            let url = address(url, "index.url", &["http://", "https://"], "QDRANT_URL", check);
            is_name("index.collection", &raw.collection, check);
            Index::Qdrant { url: url.reveal().to_owned(), api_key: raw.api_key, collection: raw.collection, timeout }
        }
        other => {
            check.fail("index.backend", format!("{other:?} is not an index; write \"embedded\" or \"qdrant\""));
            embedded
        }
    }
}

fn address<F: Fn(&str) -> String>(
    given: Option<Secret>,
    path: &str,
    schemes: &[&str],
    variable: &str,
    check: &mut Check<'_, F>,
) -> Secret {
    match given {
        Some(url) if schemes.iter().any(|scheme| url.reveal().starts_with(scheme)) => url,
        // What was written may hold a password, so it is not repeated.
        Some(_) => {
            check.fail(path, format!("must begin with {}", schemes.join(" or ")));
            Secret::new("")
        }
        None => {
            check.fail(path, format!("is needed for this backend; {variable} sets both"));
            Secret::new("")
        }
    }
}

/// A plain name: letters, digits, `_`, `-` and `.`.
fn is_name<F: Fn(&str) -> String>(path: &str, name: &str, check: &mut Check<'_, F>) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        check.fail(path, format!("{name:?} is not a name of 1 to 63 letters, digits, `_`, `-` and `.`"));
    }
}
