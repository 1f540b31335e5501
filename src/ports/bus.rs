//! The bus: events in by topic, out by queue, at least once, in the order they came unless a retry says otherwise.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::{CompanyScope, ConversationId, TurnId};

/// Why the bus did not take or give a message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus cannot be reached; a later try may succeed.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// The message cannot be understood; a later try would end the same.
    #[error("the bus does not understand: {0}")]
    Invalid(String),
}

/// A queue of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Turns to be stored.
    Persist,
    /// Webhooks to be sent.
    Deliver,
    /// Turns to be counted.
    Analytics,
}

impl Queue {
    /// All queues.
    pub const ALL: [Self; 3] = [Self::Persist, Self::Deliver, Self::Analytics];

    /// The queue's name on the bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persist => "turnpike.persist",
            Self::Deliver => "turnpike.deliver",
            Self::Analytics => "turnpike.analytics",
        }
    }

    /// The queue of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name || queue.name().strip_prefix("turnpike.") == Some(name))
    }

    /// The topics that end in the queue: routing keys `<type>.<company>` with `*` for the company.
    pub fn bindings(self) -> &'static [&'static str] {
        match self {
            Self::Persist | Self::Analytics => &["turn.completed.*", "turn.failed.*"],
            Self::Deliver => &[
                "conversation.updated.*",
                "conversation.created.*",
                "message.created.*",
                "webhook.attempt.*",
                "webhook.replay.*",
                "conversation.ended.*",
                "turn.feedback.*",
                "knowledge.updated.*",
                "endpoint.disabled.*",
            ],
        }
    }

    /// Whether a routing key ends in the queue.
    pub fn takes(self, routing_key: &str) -> bool {
        self.bindings().iter().any(|binding| {
            binding
                .strip_suffix('*')
                .and_then(|head| routing_key.strip_prefix(head))
                .is_some_and(|company| !company.is_empty() && !company.contains('.'))
        })
    }
}

/// An event as it lies on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The event's id.
    pub id: Uuid,
    /// `<type>.<company_id>`.
    pub routing_key: String,
    /// The event in JSON.
    pub body: Bytes,
    /// Tries that failed before this one.
    pub attempts: u32,
    /// When it first came to its queue, by the bus's clock; set anew when it is redriven.
    pub first_queued_at: OffsetDateTime,
}

impl Message {
    /// The message that carries an event.
    ///
    /// # Errors
    /// When the event does not serialise.
    pub fn of_event(event: &Event) -> Result<Self, Error> {
        Ok(Self {
            id: event.id,
            routing_key: event.routing_key(),
            body: serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?.into(),
            attempts: 0,
            first_queued_at: event.time,
        })
    }
}

/// What became of a message that was taken.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Its effect is done; what follows from it is published with the same certainty.
    Done {
        /// Events that follow.
        follow_ups: Vec<Message>,
    },
    /// It failed for now.
    Retry {
        /// How long until the next try.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// It was not tried, for want of room; the try is not counted.
    Defer {
        /// How long until it is given again.
        after: Duration,
    },
    /// It can't succeed, or has failed for too long.
    Dead {
        /// Why.
        reason: String,
    },
}

/// A message taken from a queue. Dropped without `settle` it is given again.
#[async_trait]
pub trait Taken: Send {
    /// The message.
    fn message(&self) -> &Message;

    /// Says what became of it. Durable when it returns.
    ///
    /// # Errors
    /// When the bus cannot be told; the message will be given again.
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), Error>;
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The queue it was in.
    pub queue: String,
    /// The message.
    pub message: Message,
    /// Why it was given up.
    pub reason: String,
    /// When.
    pub died_at: OffsetDateTime,
}

/// One queue's account: `accepted = done + dead + pending + erased`, or something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The queue.
    pub queue: &'static str,
    /// Messages that ever came to it.
    pub accepted: u64,
    /// Messages whose effect is done.
    pub done: u64,
    /// Messages given up and not redriven.
    pub dead: u64,
    /// Messages waiting, for their turn or for a retry, and messages being worked on.
    pub pending: u64,
    /// Messages removed because their company or conversation was, or because they were dead for too long.
    pub erased: u64,
    /// Milliseconds that the oldest waiting message has waited.
    pub oldest_ms: Option<u64>,
}

impl Account {
    /// Whether every message is accounted for.
    pub fn balances(&self) -> bool {
        self.accepted == self.done + self.dead + self.pending + self.erased
    }
}

/// Turns of one conversation, up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The conversation.
    pub conversation: ConversationId,
    /// Those that began until then.
    pub until: OffsetDateTime,
}

impl Turns {
    /// Whether an event tells of one of them. What is no event of a conversation does not.
    pub fn have(&self, body: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Place<'a> {
            conversationid: ConversationId,
            #[serde(borrow)]
            subject: Cow<'a, str>,
        }
        let Ok(place) = serde_json::from_slice::<Place<'_>>(body) else { return false };
        let began = place.subject.parse::<TurnId>().ok().and_then(|turn| turn.began()).map(OffsetDateTime::from);
        place.conversationid == self.conversation && began.is_none_or(|began| began <= self.until)
    }
}

/// Events by topic.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Publishes messages in order. They are in all the queues that take them, durably, when it returns; after an error
    /// any part of them may be, and they are to be published again. Where the bus can tell, a message whose id a queue
    /// still holds is not added to it again, and one that lies among the dead letters is tried again; a job has to
    /// bear being given the same message twice all the same.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn publish(&self, messages: &[Message]) -> Result<(), Error>;

    /// Waits for the next message of a queue that is due.
    ///
    /// # Errors
    /// When the bus cannot be reached; asking again is right.
    async fn take(&self, queue: Queue) -> Result<Box<dyn Taken>, Error>;

    /// Every queue's account.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;

    /// Dead letters, oldest first.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Puts dead letters back into the queues they came from, all or the one with an id, with their tries forgotten.
    /// Says how many.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error>;

    /// Publishes again what should have come to its end by now and is not known to have. Says how many messages. To be
    /// called every so often by whoever takes messages; a bus that keeps its own messages safely has nothing to do.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn sweep(&self) -> Result<u64, Error>;

    /// Removes dead letters that died before a moment. Says how many.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error>;

    /// Removes a company's messages from all queues and dead letters. Says how many.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error>;

    /// Removes what tells of turns from all queues and dead letters. Says how many messages.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error>;

    /// Whether the bus can be asked.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    async fn check(&self) -> Result<(), Error>;
}
