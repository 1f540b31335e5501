//! The bus of a single machine: queues in one SQLite file.
//!
//! One process takes and settles; which messages it works on is known in its memory alone, so that a crash gives them
//! all again. Any process may publish, read the accounts and redrive: whoever waits for messages looks at least once a
//! second at what the file holds. A message, its counters and what follows from it change in one transaction.

mod shelf;
mod tables;
mod taken;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite_migration::{M, Migrations};
use time::OffsetDateTime;
use uuid::Uuid;

use self::shelf::{Next, Shelf};
use self::tables::{Clock, Entry};
use self::taken::TakenMessage;
use crate::adapters::sqlite::{self, Database, Options, nanos_of};
use crate::domain::CompanyScope;
use crate::ports::bus::{Account, Bus, DeadLetter, Error, Message, Queue, Taken, Turns};

/// The longest wait before the file is looked at again, for what another process may have put there.
const LOOK: Duration = Duration::from_secs(1);

/// Queues in a file.
pub struct EmbeddedBus {
    database: Database,
    clock: Arc<Clock>,
    shelves: Arc<Shelves>,
}

impl EmbeddedBus {
    /// Opens the bus's file, making it if need be. At most one process may take from it.
    ///
    /// # Errors
    /// When the file cannot be opened, or a newer version has changed it.
    pub fn open(path: &Path) -> Result<Self, sqlite::Error> {
        let database = Database::open(path, &migrations(), Options::default())?;
        Ok(Self { database, clock: Arc::default(), shelves: Arc::default() })
    }
}

/// The steps that bring the bus's file to the schema that this version works with.
pub fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(include_str!("../../../migrations/sqlite/bus-0001.sql"))])
}

#[async_trait]
impl Bus for EmbeddedBus {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        let entries = entries(messages)?;
        if entries.is_empty() {
            return Ok(());
        }
        let queues = queues_of(&entries);
        let clock = Arc::clone(&self.clock);
        self.database.write(move |connection| tables::insert(connection, &clock, &entries)).await?;
        self.shelves.wake(&queues);
        Ok(())
    }

    async fn take(&self, queue: Queue) -> Result<Box<dyn Taken>, Error> {
        let shelf = self.shelves.of(queue);
        // Takers stand in line, and the first of them fetches for all.
        let _turn = shelf.turn.lock().await;
        loop {
            if let Some(claim) = Shelf::pop(shelf, LOOK) {
                return Ok(Box::new(TakenMessage {
                    database: self.database.clone(),
                    clock: Arc::clone(&self.clock),
                    shelves: Arc::clone(&self.shelves),
                    queue,
                    claim,
                }));
            }
            match shelf.next() {
                Next::Read { claimed, generation } => {
                    let found = self.database.read(move |connection| tables::due(connection, queue, &claimed)).await;
                    shelf.put(found.inspect_err(|_| shelf.look_again())?, generation);
                }
                Next::Wait { next_due } => {
                    let wait = next_due.map_or(LOOK, |due| tables::until(due).min(LOOK));
                    tokio::select! {
                        () = shelf.changed.notified() => {}
                        () = tokio::time::sleep(wait) => shelf.look_again(),
                    }
                }
            }
        }
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        Ok(self
            .database
            .read(|connection| Queue::ALL.map(|queue| tables::account(connection, queue)).into_iter().collect())
            .await?)
    }

    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.database.read(move |connection| tables::dead_letters(connection, queue, limit)).await?)
    }

    async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error> {
        let clock = Arc::clone(&self.clock);
        let count = self.database.write(move |connection| tables::redrive(connection, &clock, queue, id)).await?;
        self.shelves.wake(&Queue::ALL);
        Ok(count)
    }

    async fn sweep(&self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error> {
        let before = nanos_of(before)?;
        Ok(self.database.write(move |connection| tables::expire(connection, before)).await?)
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let company = scope.company().clone();
        let count = self.database.write(move |connection| tables::erase(connection, &company)).await?;
        self.shelves.clear();
        self.database.scrub().await?;
        Ok(count)
    }

    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error> {
        let company = scope.company().clone();
        let count = self.database.write(move |connection| tables::erase_turns(connection, &company, turns)).await?;
        self.shelves.clear();
        self.database.scrub().await?;
        Ok(count)
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(self.database.check().await?)
    }
}

impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        if error.is_permanent() { Self::Invalid(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

/// A shelf for each queue.
#[derive(Default)]
struct Shelves {
    persist: Arc<Shelf>,
    deliver: Arc<Shelf>,
    analytics: Arc<Shelf>,
}

impl Shelves {
    fn of(&self, queue: Queue) -> &Arc<Shelf> {
        match queue {
            Queue::Persist => &self.persist,
            Queue::Deliver => &self.deliver,
            Queue::Analytics => &self.analytics,
        }
    }

    fn wake(&self, queues: &[Queue]) {
        for queue in queues {
            self.of(*queue).look_again();
        }
    }

    fn clear(&self) {
        for queue in Queue::ALL {
            self.of(queue).clear();
        }
    }
}

/// One entry for each queue that takes a message. What no queue takes is counted and gone.
fn entries(messages: &[Message]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(messages.len());
    for message in messages {
        let before = entries.len();
        for queue in Queue::ALL.into_iter().filter(|queue| queue.takes(&message.routing_key)) {
            let company = message.routing_key.rsplit_once('.').map(|(_, company)| company.to_owned());
            let company =
                company.ok_or_else(|| Error::Invalid(format!("{:?} names no company", message.routing_key)))?;
            entries.push(Entry { queue, company, message: message.clone() });
        }
        if entries.len() == before {
            metrics::counter!("turnpike_bus_unroutable_total").increment(1);
            tracing::debug!(message.id = %message.id, message.routing_key, "no queue takes the message");
        }
    }
    Ok(entries)
}

fn queues_of(entries: &[Entry]) -> Vec<Queue> {
    Queue::ALL.into_iter().filter(|queue| entries.iter().any(|entry| entry.queue == *queue)).collect()
}
