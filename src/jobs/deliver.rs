//! Tells companies' webhooks what happened.
//!
//! Two kinds of messages share the queue. An event of a conversation is spread: one `webhook.attempt` for each endpoint
//! that listens. An attempt is posted to its endpoint, again and again by the policy until the endpoint takes it, so one
//! endpoint's troubles are its own. The body is made when the event is spread and is the same bytes in every try.

mod attempt;
mod disabling;
mod gate;
mod lease;
mod line;
mod log;
mod pace;
mod parcels;
mod posting;
mod replay;
mod sign;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Semaphore;

pub use self::attempt::Attempt;
use self::gate::Gates;
use self::lease::Exclusive;
use self::log::Log;
use self::pace::Paces;
pub use self::pace::Share;
use super::retry::Policy;
use super::runner::{Job, Outcome};
use crate::config;
use crate::domain::delivery::State;
use crate::domain::event::{Origin, WORKER};
use crate::domain::webhook::{Endpoint, InvalidSecret};
use crate::domain::{CompanyScope, ConversationId, Event, EventType, SessionId};
use crate::ports::bus::{Message, Queue};
use crate::ports::deliveries::{Deliveries, Leases};
use crate::ports::directory::Directory;
use crate::ports::webhook::{Request, Sender};
use crate::ports::{bus, store};

/// The `user-agent` of webhooks.
pub const USER_AGENT: &str = concat!("Turnpike/", env!("CARGO_PKG_VERSION"));

/// Messages at hand for each place: the others wait for endpoints that are slow, or for a place.
const HANDLERS_PER_PLACE: usize = 5;

/// Messages that a worker has at hand, of which `concurrency` are worked on at a time.
pub fn handlers(concurrency: usize) -> usize {
    concurrency.saturating_mul(HANDLERS_PER_PLACE)
}
/// How long what came of a request may take to be written down.
const WRITING: Duration = Duration::from_secs(5);

/// Why a message could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is no event, or its data is not what its type says.
    #[error("not an event that can be delivered: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Events of this type are not delivered.
    #[error("events of type {0} are not delivered")]
    Type(&'static str),
    /// There is nothing to be sent.
    #[error("there is nothing to be sent")]
    Empty,
    /// The directory or the log failed.
    #[error(transparent)]
    Directory(#[from] store::Error),
    /// The endpoint's secret is not one.
    #[error("the endpoint's secret cannot sign ({0}); rotate it")]
    Secret(#[from] InvalidSecret),
    /// An attempt does not serialise.
    #[error(transparent)]
    Attempt(#[from] bus::Error),
}

/// A webhook that says nothing but that it arrives: what `turnpike webhook test` sends.
///
/// # Errors
/// When the endpoint's secret is not one.
pub fn probe(endpoint: &Endpoint, now: OffsetDateTime) -> Result<Request, Error> {
    let origin = Origin {
        source: WORKER,
        subject: endpoint.id.to_string(),
        company_id: endpoint.company_id.clone(),
        conversation_id: ConversationId::of_session(&endpoint.company_id, &SessionId::generate()),
        traceparent: None,
    };
    let data = serde_json::json!({"company_id": endpoint.company_id, "endpoint_id": endpoint.id, "is_test": true});
    let event = Event::new(EventType::ConversationUpdated, &origin, &now.to_string(), &data)?;
    let payload = parcels::to_send(&event, endpoint)?;
    let attempt = Attempt::of(&payload).ok_or(Error::Empty)?;
    let headers = sign::headers(endpoint, &attempt, now)?;
    Ok(Request { url: endpoint.url.clone(), headers, body: attempt.body() })
}

/// The job.
pub struct Deliver {
    directory: Arc<dyn Directory>,
    sender: Arc<dyn Sender>,
    log: Log,
    gates: Gates,
    paces: Paces,
    /// Where other workers share the bus.
    exclusive: Option<Exclusive>,
    deadline: Duration,
    /// Endpoints that have failed for so long are disabled.
    disable_after: Option<Duration>,
    /// For endpoints that fail.
    policy: Policy,
    /// For our own directory when it fails.
    directory_policy: Policy,
    /// Places for those who work. Who waits long for an endpoint steps aside and leaves his place to the next.
    places: Semaphore,
    concurrency: usize,
}

impl Deliver {
    /// The job, for a directory of endpoints, a log of deliveries and a way to post, of which a share is this worker's.
    pub fn new(
        directory: Arc<dyn Directory>,
        deliveries: Arc<dyn Deliveries>,
        sender: Arc<dyn Sender>,
        share: Share,
        settings: &config::Webhooks,
        jobs: &config::Jobs,
    ) -> Self {
        Self {
            directory,
            sender,
            log: Log::new(deliveries, settings.keep_deliveries),
            paces: Paces::new(share, settings.concurrency_per_endpoint),
            exclusive: None,
            deadline: settings.deadline,
            disable_after: settings.disable_after,
            gates: Gates::new(settings.concurrency, settings.concurrency_per_endpoint, settings.max_delay),
            policy: Policy {
                initial: settings.initial_delay,
                max: settings.max_delay,
                give_up_after: Some(settings.give_up_after),
            },
            directory_policy: Policy::forever(jobs.initial_delay, jobs.max_delay),
            places: Semaphore::new(settings.concurrency.max(1)),
            concurrency: handlers(settings.concurrency),
        }
    }

    /// The same job beside others on a shared bus.
    #[must_use]
    pub fn among_others(self, leases: Arc<dyn Leases>) -> Self {
        Self { exclusive: Some(Exclusive::new(leases, self.deadline)), ..self }
    }

    async fn work(&self, message: &Message) -> Result<Outcome, Error> {
        // Nobody closes the semaphore, so this only waits.
        let place = self.places.acquire().await.ok();
        let event: Event = serde_json::from_slice(&message.body)?;
        let scope = CompanyScope::granted(event.companyid.clone());
        match event.event_type {
            EventType::WebhookAttempt => {
                let attempt: Attempt = serde_json::from_str(event.data.get())?;
                self.attempt(&scope, &attempt, message, place).await
            }
            EventType::WebhookReplay => self.replay(&scope, &event).await,
            offered if EventType::OFFERED.contains(&offered) => self.spread(&scope, &event).await,
            other => Err(Error::Type(other.as_str())),
        }
    }

    /// Makes an attempt for each endpoint that listens.
    async fn spread(&self, scope: &CompanyScope, event: &Event) -> Result<Outcome, Error> {
        let endpoints = self.directory.endpoints(scope).await?;
        let parcels = parcels::of_event(event, &endpoints)?;
        self.log.open(scope, &parcels).await?;
        let on_their_way = parcels.iter().filter(|parcel| parcel.delivery.standing.state == State::Pending);
        let attempts: Result<Vec<Message>, Error> = on_their_way
            .filter_map(|parcel| Some((parcel, Attempt::of(parcel)?)))
            .map(|(parcel, attempt)| Ok(attempt.message(parcel, event.traceparent.clone())?))
            .collect();
        attempts.map(Outcome::Done)
    }
}

impl Job for Deliver {
    const NAME: &'static str = "deliver";
    const QUEUE: Queue = Queue::Deliver;

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A request that is given up half-way is made again by somebody else.
    fn drain(&self) -> Duration {
        self.deadline + WRITING
    }

    async fn run(&self, message: &Message) -> Outcome {
        match self.work(message).await {
            Ok(outcome) => outcome,
            Err(error @ Error::Directory(store::Error::Unavailable(_))) => {
                Outcome::Retry { after: self.directory_policy.delay(message.attempts), reason: error.to_string() }
            }
            Err(error) => Outcome::Dead { reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
