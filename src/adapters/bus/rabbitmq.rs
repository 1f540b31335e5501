//! The bus of many processes: queues of RabbitMQ.
//!
//! The server keeps messages, and a ledger keeps the books that it does not keep: what became of each message that is to
//! be delivered, and which messages were given up. What a broken queue has lost is found there and published again, by
//! [`Bus::sweep`].
//!
//! A message that waits for a second or longer waits in the delay levels (`migrations/rabbitmq`); nobody holds it there.
//! Connections are made for ever, and queues that are gone are declared again; until then `publish` fails after a while
//! and `take` waits.

mod books;

mod delay;
mod envelope;
mod error;
mod events;
mod line;
mod names;
mod publisher;
mod pump;
mod shared;
mod shelf;
mod taken;
mod topology;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use self::names::Names;
use self::shared::Shared;
use self::shelf::{Held, Shelf};
use self::taken::TakenMessage;
use self::topology::Topology;
use crate::config::Secret;
use crate::domain::CompanyScope;
use crate::ports::bus::{Account, Bus, DeadLetter, Error, Message, Queue, Taken, Turns};
use crate::ports::ledger::Ledger;
use crate::ports::store;
use crate::runtime::tasks;

/// How to reach RabbitMQ, and how to behave there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `amqp://` or `amqps://`, with user, password and virtual host.
    pub url: Secret,
    /// What the names of queues and exchanges begin with. Who shares a virtual host has a namespace of its own.
    pub namespace: String,
    /// Turns to be stored that the server gives to this process ahead of their settlement. As many as the job works on at
    /// a time; the same number again is given on top, so that the next one is at hand. What one process holds no other
    /// one can have.
    pub persist_prefetch: usize,
    /// Webhooks to be sent, likewise.
    pub deliver_prefetch: usize,
    /// Turns to be counted, likewise.
    pub analytics_prefetch: usize,
    /// Longest wait for a connection, or for the end of an alarm, before publishing fails.
    pub patience: Duration,
    /// Longest wait for the server to confirm what was published.
    pub confirm: Duration,
    /// A message of the ledger of which nothing was heard so long after it was due is published again.
    pub redeliver_after: Duration,
}

impl Settings {
    /// The default settings for a server.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            namespace: "turnpike".to_owned(),
            persist_prefetch: 32,
            deliver_prefetch: 128,
            analytics_prefetch: 32,
            patience: Duration::from_secs(5),
            confirm: Duration::from_secs(10),
            redeliver_after: Duration::from_secs(120),
        }
    }

    /// How many messages of a queue the server gives at most. It reads 0 as no limit.
    fn prefetch(&self, queue: Queue) -> u16 {
        let in_work = match queue {
            Queue::Persist => self.persist_prefetch,
            Queue::Deliver => self.deliver_prefetch,
            Queue::Analytics => self.analytics_prefetch,
        };
        u16::try_from(in_work.saturating_mul(2)).unwrap_or(u16::MAX).max(2)
    }
}

/// Queues of RabbitMQ.
pub struct RabbitBus {
    shared: Arc<Shared>,
    shelves: [OnceLock<Arc<Shelf>>; Queue::ALL.len()],
    stop: CancellationToken,
    _stops: DropGuard,
}

impl RabbitBus {
    /// A bus that connects when it is first used. To be called within a runtime.
    ///
    /// # Errors
    /// `Invalid` when the URL or the namespace is none.
    pub fn open(settings: Settings, ledger: Arc<dyn Ledger>) -> Result<Arc<Self>, Error> {
        let names = Names::new(&settings.namespace)?;
        let uri = line::address(&settings.url)?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::new(settings, names, uri, ledger, stop.clone())?);
        Ok(Arc::new(Self { shared, shelves: Default::default(), stop: stop.clone(), _stops: stop.drop_guard() }))
    }

    /// Declares what the server is to hold, and says what was missing. What is there already stays as it is.
    ///
    /// # Errors
    /// `Invalid` when something is there with other arguments, or the user may not declare it; `Unavailable` when the server
    /// cannot be reached.
    pub async fn migrate(settings: &Settings) -> Result<Vec<String>, Error> {
        let topology = Topology::new(&Names::new(&settings.namespace)?)?;
        let session = line::connect(&line::address(&settings.url)?, "migrate").await?;
        let done = async {
            let missing = topology.pending(&session).await?;
            topology.declare(&session).await?;
            Ok(missing.into_iter().map(|what| what.replace("is missing", "was missing and is declared")).collect())
        };
        let done = done.await;
        session.close().await;
        done
    }

    /// Says what `migrate` would declare, and what is there but different. Changes nothing.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn pending(settings: &Settings) -> Result<Vec<String>, Error> {
        let topology = Topology::new(&Names::new(&settings.namespace)?)?;
        let session = line::connect(&line::address(&settings.url)?, "check").await?;
        let pending = topology.pending(&session).await;
        session.close().await;
        pending
    }

    /// The shelf of a queue, and the consumer that fills it.
    fn shelf(&self, queue: Queue) -> &Arc<Shelf> {
        let place = match queue {
            Queue::Persist => &self.shelves[0],
            Queue::Deliver => &self.shelves[1],
            Queue::Analytics => &self.shelves[2],
        };
        place.get_or_init(|| {
            let (shelf, finished) = Shelf::new();
            let pump = pump::run(Arc::clone(&self.shared), queue, Arc::clone(&shelf), self.stop.clone());
            tasks::spawn("rabbitmq-consumer", pump);
            tasks::spawn("rabbitmq-acknowledge", acknowledge(finished));
            shelf
        })
    }

    fn shelves(&self) -> impl Iterator<Item = &Arc<Shelf>> {
        self.shelves.iter().filter_map(OnceLock::get)
    }
}

#[async_trait]
impl Bus for RabbitBus {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        self.shared.send(messages).await
    }

    /// What the ledger holds as overdue is published again.
    async fn sweep(&self) -> Result<u64, Error> {
        self.shared.sweep().await
    }

    async fn take(&self, queue: Queue) -> Result<Box<dyn Taken>, Error> {
        let shelf = self.shelf(queue);
        let claim = shelf.take().await;
        match TakenMessage::new(Arc::clone(&self.shared), queue, Arc::clone(shelf), claim) {
            Some(taken) => Ok(Box::new(taken)),
            None => Err(Error::Unavailable("a message was gone before it was taken".to_owned())),
        }
    }

    /// The account of the deliver queue is the ledger's, and whole. The server keeps none of the other queues: of them
    /// `pending` is what waits in the queue or is held by this process, `dead` is the ledger's, and nothing is known of
    /// what is done. What other processes hold, and what waits in the delay levels, is not counted there.
    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let held = |queue: Queue| {
            let place = Queue::ALL.iter().position(|other| *other == queue);
            let shelf = place.and_then(|place| self.shelves.get(place)).and_then(OnceLock::get);
            shelf.map_or(0, |shelf| shelf.len().0)
        };
        self.shared.accounts(held).await
    }

    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.ledger.dead_letters(queue, limit).await.map_err(ledger_error)
    }

    async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error> {
        self.shared.redrive(queue, id).await
    }

    /// Looks through all queues. What other processes hold at the moment is not seen: their jobs find that the company is
    /// gone.
    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error> {
        self.shared.expire(before).await
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let booked = self.shared.ledger.erase(scope).await.map_err(ledger_error)?;
        let company = scope.company().as_str();
        Ok(booked + self.erase_unbooked(&|of: &str, _: &[u8]| of == company).await?)
    }

    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error> {
        let booked = self.shared.ledger.erase_turns(scope, turns).await.map_err(ledger_error)?;
        let company = scope.company().as_str();
        Ok(booked + self.erase_unbooked(&|of: &str, body: &[u8]| of == company && turns.have(body)).await?)
    }

    async fn check(&self) -> Result<(), Error> {
        self.shared.check().await
    }
}

impl RabbitBus {
    /// Removes messages wherever they are but in the ledger, and says how many of them it does not know.
    async fn erase_unbooked(&self, is_gone: &(dyn Fn(&str, &[u8]) -> bool + Sync)) -> Result<u64, Error> {
        let mut erased = self.shelves().map(|shelf| shelf.erase(is_gone)).sum::<u64>();
        erased += self.shared.erase_everywhere(is_gone).await?;
        // What was on its way from the server to this process when the first look was taken.
        erased += self.shelves().map(|shelf| shelf.erase(is_gone)).sum::<u64>();
        Ok(erased)
    }
}

/// Acknowledges what only needs that, until the shelf is gone.
async fn acknowledge(mut finished: mpsc::UnboundedReceiver<Held>) {
    while let Some(held) = finished.recv().await {
        // What cannot be acknowledged is given again, and its job finds that the company is gone.
        let _ = held.ack().await;
    }
}

fn ledger_error(error: store::Error) -> Error {
    match error {
        store::Error::Unavailable(reason) => Error::Unavailable(format!("the ledger: {reason}")),
        store::Error::Invalid(reason) => Error::Invalid(format!("the ledger: {reason}")),
        store::Error::Removed => Error::Invalid(format!("the ledger: {error}")),
    }
}
