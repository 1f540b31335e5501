//! What all parts of the bus share: connections, the publisher, the ledger, and the steps that several of them take.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::uri::AMQPUri;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::envelope::{Outgoing, company_of, queued_now};
use super::error::Code;
use super::line::{Line, Session};
use super::names::Names;
use super::publisher::Publisher;
use super::topology::{Topology, look};
use super::{Settings, ledger_error};
use crate::ports::bus::{Error, Message, Queue};
use crate::ports::ledger::Ledger;

/// Whoever asks how things are wants to know soon.
const CHECK: Duration = Duration::from_secs(1);

/// What the parts share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) topology: Arc<Topology>,
    pub(super) ledger: Arc<dyn Ledger>,
    uri: AMQPUri,
    stop: CancellationToken,
    publisher: OnceLock<Publisher>,
    consuming: OnceLock<Arc<Line>>,
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        names: Names,
        uri: AMQPUri,
        ledger: Arc<dyn Ledger>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let topology = Arc::new(Topology::new(&names)?);
        let (publisher, consuming) = (OnceLock::new(), OnceLock::new());
        Ok(Self { settings, names, topology, ledger, uri, stop, publisher, consuming })
    }

    /// Sends messages, over a connection of its own: while the server has an alarm it reads nothing from whoever
    /// publishes, not even acknowledgements.
    pub(super) fn publisher(&self) -> &Publisher {
        self.publisher.get_or_init(|| {
            let line = Line::start("publish", self.uri.clone(), self.stop.clone());
            Publisher::new(line, Arc::clone(&self.topology), self.settings.patience, self.settings.confirm)
        })
    }

    /// The connection for everything else.
    pub(super) fn consuming(&self) -> &Arc<Line> {
        self.consuming.get_or_init(|| Line::start("consume", self.uri.clone(), self.stop.clone()))
    }

    /// A session of the connection for everything else.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Error> {
        self.consuming().session(self.settings.patience).await
    }

    /// Writes down what is to be delivered, and publishes all by topic.
    pub(super) async fn send(&self, messages: &[Message]) -> Result<(), Error> {
        let messages: Vec<Message> = messages.iter().map(queued_now).collect();
        if let Some(nameless) = messages.iter().find(|message| company_of(message).is_empty()) {
            return Err(Error::Invalid(format!("{:?} names no company", nameless.routing_key)));
        }
        let booked: Vec<Message> =
            messages.iter().filter(|message| Queue::Deliver.takes(&message.routing_key)).cloned().collect();
        if !booked.is_empty() {
            self.ledger.open(Queue::Deliver, &booked, self.due_after(Duration::ZERO)).await.map_err(ledger_error)?;
        }
        let outgoing: Vec<Outgoing> =
            messages.iter().map(|message| Outgoing::to_all(&self.names, message)).collect::<Result<_, _>>()?;
        let unroutable = outgoing.iter().filter(|message| !message.is_expected).count();
        metrics::counter!("turnpike_bus_unroutable_total").increment(unroutable as u64);
        self.publisher().publish(&outgoing).await
    }

    /// Gives a message up: in the ledger, which counts, and in the queue of dead letters, for people to look at.
    pub(super) async fn bury(&self, queue: Queue, message: &Message, reason: &str) -> Result<(), Error> {
        self.ledger.dead(queue, message, reason).await.map_err(ledger_error)?;
        self.publisher().publish(&[Outgoing::dead(&self.names, queue, message, reason)?]).await
    }

    /// When something is to have been heard of a message that waits for so long.
    pub(super) fn due_after(&self, wait: Duration) -> OffsetDateTime {
        let after = wait.saturating_add(self.settings.redeliver_after);
        OffsetDateTime::now_utc().checked_add(after.try_into().unwrap_or(time::Duration::MAX)).unwrap_or(
            // Nothing waits until the end of the calendar.
            OffsetDateTime::now_utc(),
        )
    }

    /// Messages that wait in a queue to be given to someone. A queue that is gone is declared again, and empty.
    pub(super) async fn waiting(&self, session: &Session, queue: &str) -> Result<u32, Error> {
        let channel = session.channel().await?;
        match look(session, &channel, queue).await {
            Err(error) if error.code() == Code::NotFound => {
                self.topology.mend(session, &error.to_string()).await?;
                Ok(0)
            }
            seen => Ok(seen?.waiting),
        }
    }

    /// Whether the server takes messages and has what it should.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let session = self.publisher().session(self.settings.patience.min(CHECK)).await?;
        session.unblocked(Duration::ZERO).await?;
        let channel = session.channel().await?;
        for queue in self.topology.queues() {
            look(&session, &channel, queue).await.map_err(|error| Error::Unavailable(format!("{queue}: {error}")))?;
        }
        Ok(())
    }
}
