//! Publishing: many at once, confirmed each, and nothing believed that was not.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::envelope::Outgoing;
use super::error::{Broker, Code};
use super::events::{Confirmed, Returned};
use super::line::{Line, Session};
use super::topology::{Topology, look};
use crate::ports::bus::Error;

/// Messages and bytes that are under way on one channel before their confirms are waited for.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// Channels in use at once.
const CHANNELS: usize = 32;

/// How often the queues are looked at while something is published.
const LOOK: Duration = Duration::from_secs(5);

/// Sends messages and waits for the server to say that it has them.
pub(super) struct Publisher {
    line: Arc<Line>,
    topology: Arc<Topology>,
    /// Longest wait for a connection, or for the end of an alarm.
    patience: Duration,
    /// Longest wait for the confirms of a batch.
    confirm: Duration,
    permits: Semaphore,
    /// When the queues were last looked at.
    looked: Mutex<Option<Instant>>,
    /// Channels that nobody uses, each with its session.
    idle: Mutex<Vec<(Weak<Session>, Channel)>>,
}

/// Why a batch is not where it should be.
enum Failure {
    /// These came back.
    Returned(HashSet<Uuid>),
    /// The server refused, or is gone.
    Broker(Broker),
    /// Nothing that trying again at once would change.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<Broker> for Failure {
    fn from(error: Broker) -> Self {
        Self::Broker(error)
    }
}

impl Publisher {
    /// A publisher on a line.
    pub(super) fn new(line: Arc<Line>, topology: Arc<Topology>, patience: Duration, confirm: Duration) -> Self {
        let permits = Semaphore::new(CHANNELS);
        Self { line, topology, patience, confirm, permits, looked: Mutex::default(), idle: Mutex::default() }
    }

    /// The connection that messages go over.
    ///
    /// # Errors
    /// When there is none within `patience`.
    pub(super) async fn session(&self, patience: Duration) -> Result<Arc<Session>, Error> {
        self.line.session(patience).await
    }

    /// Sends messages in order. All are confirmed and where they should be when it returns; after an error any part of
    /// them may be.
    ///
    /// # Errors
    /// When there is no connection, the server does not take them, or no queue does.
    pub(super) async fn publish(&self, messages: &[Outgoing]) -> Result<(), Error> {
        let mut rest = messages;
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(batch(rest));
            self.publish_batch(batch).await?;
            rest = more;
        }
        Ok(())
    }

    /// Sends a batch. What finds no exchange or no queue is sent once more after these were declared again.
    async fn publish_batch(&self, batch: &[Outgoing]) -> Result<(), Error> {
        let Ok(permit) = timeout(self.patience, self.permits.acquire()).await else {
            return Err(Error::Unavailable("RabbitMQ: too many publishers wait for confirms".to_owned()));
        };
        let session = self.session(self.patience).await?;
        session.unblocked(self.patience).await?;
        self.look_after_queues(&session).await?;
        let again: Vec<Outgoing> = match self.send(&session, &batch.iter().collect::<Vec<_>>()).await {
            Ok(()) => return Ok(()),
            Err(Failure::Returned(ids)) => {
                self.topology.mend(&session, "messages came back").await?;
                batch.iter().filter(|message| ids.contains(&message.id)).cloned().collect()
            }
            Err(Failure::Broker(error)) if error.code() == Code::NotFound => {
                self.topology.mend(&session, &error.to_string()).await?;
                batch.to_vec()
            }
            Err(Failure::Broker(error)) => return Err(error.into()),
            Err(Failure::Final(error)) => return Err(error),
        };
        let sent = self.send(&session, &again.iter().collect::<Vec<_>>()).await;
        drop(permit);
        sent.map_err(|failure| match failure {
            Failure::Returned(ids) => Error::Unavailable(format!("RabbitMQ has no queue for {} messages", ids.len())),
            Failure::Broker(error) => error.into(),
            Failure::Final(error) => error,
        })
    }

    /// Looks every now and then whether the queues are there. A message that two queues take does not come back when one
    /// of them is gone.
    async fn look_after_queues(&self, session: &Session) -> Result<(), Error> {
        let is_due = {
            let mut looked = self.looked.lock();
            let is_due = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
            if is_due {
                *looked = Some(Instant::now());
            }
            is_due
        };
        if !is_due {
            return Ok(());
        }
        let channel = session.channel().await?;
        for queue in self.topology.shared_queues() {
            match look(session, &channel, queue).await {
                Err(error) if error.code() == Code::NotFound => {
                    return self.topology.mend(session, &error.to_string()).await;
                }
                seen => drop(seen?),
            }
        }
        Ok(())
    }

    /// Sends messages over a channel that nobody else uses meanwhile: the library hands a message that came back to
    /// whichever confirm is next on the channel.
    async fn send(&self, session: &Arc<Session>, messages: &[&Outgoing]) -> Result<(), Failure> {
        let begun = Instant::now();
        let channel = self.channel(session).await?;
        let confirms = async { confirmed(begin(&channel, messages).await?).await };
        let Ok(returned) = timeout(self.confirm, confirms).await else {
            session.doubt();
            return Err(Error::Unavailable(format!(
                "RabbitMQ did not confirm within {} s",
                self.confirm.as_secs_f64()
            ))
            .into());
        };
        let returned = returned?;
        Confirmed { messages: messages.len() - returned.len().min(messages.len()), took: begun.elapsed() }.emit();
        // A channel on which something went wrong does not come here, and is closed when it is dropped.
        self.idle.lock().push((Arc::downgrade(session), channel));
        if returned.is_empty() {
            return Ok(());
        }
        Returned { messages: returned.len() }.emit();
        Err(Failure::Returned(returned))
    }

    async fn channel(&self, session: &Arc<Session>) -> Result<Channel, Broker> {
        loop {
            let Some((of, channel)) = self.idle.lock().pop() else { break };
            let is_of_session = of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, session));
            if is_of_session && channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = session.channel().await?;
        session.ask(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }
}

/// How many of the messages to send at once; at least one.
fn batch(messages: &[Outgoing]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take(BATCH).take_while(|message| {
        bytes += message.body.len();
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}

/// Sends all, in order, and gives what their confirms will come to.
async fn begin(channel: &Channel, messages: &[&Outgoing]) -> Result<Vec<PublisherConfirm>, Broker> {
    let mut sending = Vec::with_capacity(messages.len());
    for message in messages {
        let mut publish: Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send>> =
            Box::pin(channel.basic_publish(
                message.exchange.clone(),
                message.routing_key.clone(),
                BasicPublishOptions { mandatory: message.is_expected, ..BasicPublishOptions::default() },
                &message.body,
                message.properties.clone(),
            ));
        // The first poll puts the message in line. Waiting for each to be written would cost a turn of the connection's
        // loop for each.
        let polled = futures::poll!(publish.as_mut());
        sending.push(async move {
            match polled {
                std::task::Poll::Ready(sent) => sent,
                std::task::Poll::Pending => publish.await,
            }
        });
    }
    Ok(join_all(sending).await.into_iter().collect::<lapin::Result<_>>()?)
}

/// Waits for all confirms. Gives the ids of messages that came back.
async fn confirmed(confirms: Vec<PublisherConfirm>) -> Result<HashSet<Uuid>, Failure> {
    let mut returned = HashSet::new();
    for confirm in confirms {
        match confirm.await.map_err(Broker::from)? {
            Confirmation::Ack(None) => {}
            Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back)) => {
                let id = back.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
                returned.insert(id.unwrap_or_default());
            }
            Confirmation::Nack(None) => {
                return Err(Error::Unavailable("RabbitMQ did not accept a message".to_owned()).into());
            }
            Confirmation::NotRequested => {
                return Err(Error::Unavailable("RabbitMQ was not asked to confirm".to_owned()).into());
            }
        }
    }
    Ok(returned)
}
