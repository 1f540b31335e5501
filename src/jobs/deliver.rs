//! Tells companies' webhooks what happened.
//!
//! Two kinds of messages share the queue. An event of a conversation is spread: one `webhook.attempt` for each endpoint
//! that listens. An attempt is posted to its endpoint, again and again by the policy until the endpoint takes it, so one
//! endpoint's troubles are its own. The body is made when the event is spread and is the same bytes in every try.

mod attempt;
mod gate;
mod lease;
mod line;
mod log;
mod pace;
mod parcels;
mod replay;
mod sign;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::attempt::Attempt;
use self::gate::{Entry, Gates, Pass, Report};
use self::lease::{Begun, Exclusive};
use self::line::Waiting;
use self::log::Log;
pub use self::pace::Share;
use self::pace::{Paces, Turn};
use self::verdict::Verdict;
use super::events::{EndpointDisabled, WebhookPosted};
use super::retry::Policy;
use super::runner::{DiscardReason, Job, Outcome, age};
use crate::config;
use crate::domain::delivery::{self, State};
use crate::domain::event::{Origin, WORKER};
use crate::domain::webhook::{Disabled, Endpoint, InvalidSecret, Order};
use crate::domain::{CompanyScope, ConversationId, Event, EventType, SessionId, told};
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
/// When a message comes again that has disabled its endpoint.
const AT_ONCE: Duration = Duration::from_millis(20);

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

    /// Posts an attempt, if its endpoint is still there and has room.
    async fn attempt(
        &self,
        scope: &CompanyScope,
        attempt: &Attempt,
        message: &Message,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Outcome, Error> {
        let id = attempt.delivery_id;
        let Some(endpoint) = self.directory.endpoint(scope, &attempt.endpoint_id).await? else {
            let outcome = Outcome::Discarded(DiscardReason::EndpointGone);
            self.log.note(scope, id, &outcome, message.attempts, None).await;
            return Ok(outcome);
        };
        if let Some(disabled) = &endpoint.disabled {
            let outcome = Outcome::Discarded(DiscardReason::EndpointDisabled);
            self.log.note(scope, id, &outcome, message.attempts, None).await;
            return match disabled.by == Some(message.id) {
                true => Ok(Outcome::Done(vec![told_of(&endpoint, disabled)?])),
                false => Ok(outcome),
            };
        }
        let policy = self.policy_of(&endpoint);
        let age = age(message);
        if let (Order::Ordered, Some(place)) = (endpoint.order, attempt.place) {
            let it = Waiting::at(&endpoint, place, age);
            if let Some(after) = line::wait(self.log.deliveries.as_ref(), scope, it).await? {
                return Ok(Outcome::Defer { after });
            }
        }
        let pass = match self.gates.enter(&endpoint.id).await {
            Entry::Go(pass) => pass,
            Entry::Full(after) => return Ok(Outcome::Defer { after }),
            Entry::Open { after, reason } => {
                // One that was never tried, such as one that was just redriven, waits for a first try.
                let had_its_chance = message.attempts > 0 || age > gate::LONGEST_BREAK;
                let outcome = match (had_its_chance, policy.gives_up(age)) {
                    (true, true) if self.log.is_delivered(scope, id).await? => Outcome::Done(Vec::new()),
                    (true, true) => Outcome::Dead { reason: gave_up(age, &reason) },
                    // The pause may be hours long; its end is not to come after that of the message.
                    (true, false) => Outcome::Defer { after: policy.within(after, age) },
                    (false, _) => Outcome::Defer { after },
                };
                self.log.note(scope, id, &outcome, message.attempts, None).await;
                return Ok(outcome);
            }
        };
        if let Some(limit) = endpoint.rate_limit {
            match self.paces.ask(&endpoint.id, limit) {
                Turn::After(wait) => tokio::time::sleep(wait).await,
                Turn::Back(after) => return Ok(Outcome::Defer { after }),
            }
        }
        let (_trying, attempts) = match (&self.exclusive, id) {
            (Some(exclusive), Some(id)) => match exclusive.begin(scope, id, message).await? {
                Begun::Go(trying, attempts) => (Some(trying), attempts),
                Begun::Over(outcome) => return Ok(outcome),
            },
            _ => (None, message.attempts),
        };
        let message = &Message { attempts, ..message.clone() };
        let (report, outcome, posted) = match self.post(&endpoint, attempt, message, place, pass.patience()).await {
            Ok((verdict, posted)) => {
                let outcome = self.conclude(scope, &endpoint, &verdict, message, &policy).await;
                (verdict.report(), outcome, Some(posted))
            }
            // Nothing was sent, so the endpoint is not to blame.
            Err(error) => (Report::Untried, again(error.to_string(), None, message, &policy), None),
        };
        let failure = report.failure().map(str::to_owned);
        Pass::report(pass, report);
        let attempts = message.attempts.saturating_add(u32::from(posted.is_some()));
        self.log.note(scope, id, &outcome, attempts, posted.as_ref()).await;
        match failure {
            None if posted.is_some() => self.log.succeeded(scope, &endpoint.id).await,
            None => {}
            Some(reason) => {
                let open_for = self.gates.open_for(&endpoint.id);
                let failing_since = self.log.failed(scope, &endpoint.id, &reason, open_for).await;
                if let Some(since) = failing_since.filter(|_| open_for.is_some()) {
                    return self.despair(scope, &endpoint, since, outcome, message).await;
                }
            }
        }
        Ok(outcome)
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        attempt: &Attempt,
        message: &Message,
        place: Option<SemaphorePermit<'_>>,
        patience: Duration,
    ) -> Result<(Verdict, delivery::Attempt), InvalidSecret> {
        let now = OffsetDateTime::now_utc();
        let request = Request {
            url: endpoint.url.clone(),
            headers: sign::headers(endpoint, attempt, now)?,
            body: attempt.body(),
        };
        let mut posting = self.sender.post(request);
        let posted = match tokio::time::timeout(patience, &mut posting).await {
            Ok(posted) => posted,
            Err(_) => {
                drop(place);
                posting.await
            }
        };
        let verdict = Verdict::of(&posted.result, OffsetDateTime::now_utc());
        WebhookPosted {
            endpoint: endpoint.id.as_str(),
            company: endpoint.company_id.as_str(),
            webhook_id: &attempt.webhook_id,
            attempts: message.attempts,
            outcome: verdict.label(),
            detail: verdict.detail(),
            took: posted.timing.total,
        }
        .emit();
        let number = message.attempts.saturating_add(1);
        let kept = log::attempt(&posted, number, now, verdict.label(), verdict.detail());
        Ok((verdict, kept))
    }

    async fn conclude(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        verdict: &Verdict,
        message: &Message,
        policy: &Policy,
    ) -> Outcome {
        match verdict {
            Verdict::Delivered => Outcome::Done(Vec::new()),
            Verdict::Gone => {
                let outcome = Outcome::Discarded(DiscardReason::EndpointSaidGone);
                let disabled = self.disable(scope, endpoint, "answered 410 Gone", message, outcome).await;
                // The try was made, and is written down as one.
                disabled.unwrap_or_else(|error| again(format!("answered 410 Gone; {error}"), None, message, policy))
            }
            Verdict::Busy { retry_after, reason } => again(reason.clone(), *retry_after, message, policy),
            Verdict::Failed { reason, .. } => again(reason.clone(), None, message, policy),
        }
    }

    /// Disables an endpoint that has failed for too long.
    async fn despair(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        since: OffsetDateTime,
        outcome: Outcome,
        message: &Message,
    ) -> Result<Outcome, Error> {
        let for_long = self.disable_after.is_some_and(|limit| OffsetDateTime::now_utc() - since >= limit);
        if !for_long {
            return Ok(outcome);
        }
        let since = since.replace_nanosecond(0).unwrap_or(since).format(&Rfc3339).unwrap_or_default();
        self.disable(scope, endpoint, &format!("every try since {since} failed"), message, outcome).await
    }

    /// Disables an endpoint because of how it answers. The message that this shows by comes again at once, and tells of it
    /// then: whatever happens in between, it finds that it was the one. Where another one was faster, it comes to its
    /// `outcome`.
    async fn disable(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        reason: &str,
        message: &Message,
        outcome: Outcome,
    ) -> Result<Outcome, Error> {
        let disabled = Disabled { by: Some(message.id), ..Disabled::now(reason) };
        if !self.directory.disable_endpoint(scope, &endpoint.id, &disabled).await? {
            return Ok(outcome);
        }
        EndpointDisabled { endpoint: endpoint.id.as_str(), company: scope.company().as_str(), reason }.emit();
        Ok(Outcome::Defer { after: AT_ONCE })
    }

    /// When an endpoint is tried again.
    fn policy_of(&self, endpoint: &Endpoint) -> Policy {
        let usual = &self.policy;
        let give_up = usual.give_up_after.unwrap_or(Duration::MAX);
        let (initial, max, give_up_after) = endpoint.retries.or((usual.initial, usual.max, give_up));
        Policy { initial, max, give_up_after: Some(give_up_after) }
    }
}

/// The event that says that an endpoint was disabled. Made again, it has the same id.
fn told_of(endpoint: &Endpoint, disabled: &Disabled) -> Result<Message, Error> {
    let subject = endpoint.id.to_string();
    let origin = Origin {
        source: WORKER,
        company_id: endpoint.company_id.clone(),
        conversation_id: ConversationId::of_subject(&endpoint.company_id, &subject),
        subject,
        traceparent: None,
    };
    let nanos = disabled.at.map(OffsetDateTime::unix_timestamp_nanos).unwrap_or_default();
    let data = told::EndpointDisabled::by_delivery(endpoint, disabled);
    let event = Event::new(EventType::EndpointDisabled, &origin, &nanos.to_string(), &data)?;
    Ok(Message::of_event(&event)?)
}

/// Another try after the time that the endpoint named or the policy says, or the end.
fn again(reason: String, named: Option<Duration>, message: &Message, policy: &Policy) -> Outcome {
    let age = age(message);
    if policy.gives_up(age) {
        return Outcome::Dead { reason: gave_up(age, &reason) };
    }
    let after = match named {
        Some(named) => named.min(policy.max),
        None => policy.delay(message.attempts),
    };
    Outcome::Retry { after: policy.within(after, age), reason }
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

fn gave_up(age: Duration, reason: &str) -> String {
    format!("gave up after {} s; at last: {reason}", age.as_secs())
}

#[cfg(test)]
mod tests;
