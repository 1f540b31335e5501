//! Stores a finished turn, and publishes what the company's webhooks are told of it.
//!
//! The store makes it exactly once (by the turn's id); the events that follow have ids and bodies that depend on the
//! turn alone, so doing it again after a crash makes the same events. They are published by settling the message: a
//! turn is never stored without its webhooks following.
//!
//! The turns of one conversation are stored in their order, for the store numbers them as they come: within a process a
//! turn waits while an earlier one of its conversation has been taken and is not finished (`lanes`), and with several
//! workers until the turn that it names as the one before it is stored (`order`).

mod lanes;
mod order;

pub use self::lanes::Returning;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::lanes::Lanes;
use self::order::Order;
use super::retry::Policy;
use super::runner::{DiscardReason, Job, Outcome};
use crate::config;
use crate::domain::conversation;
use crate::domain::event::WORKER;
use crate::domain::told::{Created, MessageCreated, Updated};
use crate::domain::{CompanyScope, ConversationId, Event, EventType, TurnId, TurnRecord};
use crate::ports::bus::{Message, Queue};
use crate::ports::directory::Directory;
use crate::ports::store::{self, Appended, ConversationStore};

/// Why a turn was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is not an event that holds a turn.
    #[error("not an event with a turn's record: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The event and the record in it disagree about whose turn it is.
    #[error("the event is of company {event}, its record of another one")]
    CompanyMismatch {
        /// The event's company.
        event: String,
    },
    /// The store or the directory failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What follows from it does not serialise.
    #[error(transparent)]
    FollowUp(#[from] crate::ports::bus::Error),
}

/// The job.
pub struct Persist {
    store: Arc<dyn ConversationStore>,
    directory: Arc<dyn Directory>,
    policy: Policy,
    concurrency: usize,
    lanes: Lanes,
    order: Order,
    returning: Returning,
}

/// Of a message, whose place it takes.
#[derive(Deserialize)]
struct Place {
    conversationid: ConversationId,
    /// The turn.
    subject: TurnId,
}

impl Place {
    /// None for what is no event of a turn: it waits for nobody, and what is wrong with it shows when it is handled.
    fn of(message: &Message) -> Option<Self> {
        serde_json::from_slice(&message.body).ok()
    }
}

impl Persist {
    /// The job, for a store and the directory of who wants to hear of it.
    pub fn new(
        store: Arc<dyn ConversationStore>,
        directory: Arc<dyn Directory>,
        settings: &config::Jobs,
        returning: Returning,
    ) -> Self {
        Self {
            store,
            directory,
            policy: Policy::forever(settings.initial_delay, settings.max_delay),
            concurrency: settings.persist_concurrency,
            lanes: Lanes::new(returning),
            order: Order::default(),
            returning,
        }
    }

    async fn store(&self, message: &Message) -> Result<Outcome, Error> {
        let event: Event = serde_json::from_slice(&message.body)?;
        let record: TurnRecord = serde_json::from_str(event.data.get())?;
        if record.company_id != event.companyid {
            return Err(Error::CompanyMismatch { event: event.companyid.to_string() });
        }
        let scope = CompanyScope::granted(event.companyid.clone());
        // A turn may still be on its way when its company is removed; stored now, it would come back from erasure.
        let Some(company) = self.directory.company(scope.company()).await? else {
            return Ok(Outcome::Discarded(DiscardReason::CompanyGone));
        };
        if let Some(after) = self.waits(&scope, &record).await? {
            return Ok(Outcome::Defer { after });
        }
        let appended = self.store.append(&scope, &record, company.keep_until(record.finished_at)).await?;
        let wanted = self.wanted(&scope).await?;
        follow_ups(&event, &record, &appended, &wanted).map(Outcome::Done)
    }

    /// Whether a turn waits for the one before it. Where all turns come to one process, they come in their order.
    async fn waits(&self, scope: &CompanyScope, record: &TurnRecord) -> Result<Option<Duration>, Error> {
        let Some(previous) = record.previous_turn_id.filter(|_| self.returning == Returning::Anywhere) else {
            return Ok(None);
        };
        if !self.store.stored(scope, &[previous]).await?.is_empty() {
            self.order.go(record.turn_id);
            return Ok(None);
        }
        Ok(self.order.wait(record.turn_id))
    }

    /// The types that some enabled endpoint of the company listens to.
    async fn wanted(&self, scope: &CompanyScope) -> Result<Vec<EventType>, Error> {
        let endpoints = self.directory.endpoints(scope).await?;
        Ok(endpoints.into_iter().filter(|it| it.disabled.is_none()).flat_map(|it| it.event_types).collect())
    }
}

impl Job for Persist {
    const NAME: &'static str = "persist";
    const QUEUE: Queue = Queue::Persist;

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn taken(&self, message: &Message) {
        if let Some(place) = Place::of(message) {
            self.lanes.arrive(place.conversationid, place.subject);
        }
    }

    async fn run(&self, message: &Message) -> Outcome {
        let entered = Place::of(message).map(|place| self.lanes.enter(place.conversationid, place.subject));
        let place = match entered.transpose() {
            Ok(place) => place,
            Err(after) => return Outcome::Defer { after },
        };
        let outcome = match self.store(message).await {
            Ok(outcome) => outcome,
            Err(Error::Store(store::Error::Removed)) => Outcome::Discarded(DiscardReason::ConversationGone),
            Err(error @ Error::Store(store::Error::Unavailable(_))) => {
                Outcome::Retry { after: self.policy.delay(message.attempts), reason: error.to_string() }
            }
            Err(error) => Outcome::Dead { reason: error.to_string() },
        };
        // Whatever else became of it, the next turn may go. So it may after a panic: one that comes again and again is
        // not to hold up its conversation for a day.
        if let (Some(place), Outcome::Retry { after, .. }) = (place, &outcome) {
            place.keep(*after);
        }
        outcome
    }
}

/// `conversation.updated`, always; the other events for those who listen. One message costs the bus about as much as
/// the turn itself, so what nobody listens to is not published.
fn follow_ups(
    event: &Event,
    record: &TurnRecord,
    appended: &Appended,
    wanted: &[EventType],
) -> Result<Vec<Message>, Error> {
    let conversation = &appended.conversation;
    let mut follow_ups = Vec::new();
    if appended.is_first && wanted.contains(&EventType::ConversationCreated) {
        let data = Created::by_turn(conversation, record);
        follow_ups.push(message_of(event, record, EventType::ConversationCreated, "", &data)?);
    }
    let messages = conversation::messages_of(record);
    if wanted.contains(&EventType::MessageCreated) {
        for message in &messages {
            let discriminator = match message.role {
                conversation::Role::User => "user",
                conversation::Role::Assistant => "assistant",
            };
            let data = MessageCreated::by_turn(record, appended.sequence, message);
            follow_ups.push(message_of(event, record, EventType::MessageCreated, discriminator, &data)?);
        }
    }
    let data = Updated::by_turn(conversation, record, appended.sequence, appended.message_count, messages);
    follow_ups.push(message_of(event, record, EventType::ConversationUpdated, "", &data)?);
    Ok(follow_ups)
}

fn message_of(
    cause: &Event,
    record: &TurnRecord,
    event_type: EventType,
    discriminator: &str,
    data: &impl Serialize,
) -> Result<Message, Error> {
    let mut event = Event::new(event_type, &cause.origin(WORKER), discriminator, data)?;
    let now = event.time;
    // The turn's own time, not that of storing it: a webhook says the same however often and late it is made.
    event.time = record.finished_at;
    let message = Message::of_event(&event)?;
    Ok(Message { first_queued_at: now, ..message })
}

#[cfg(test)]
mod tests;
