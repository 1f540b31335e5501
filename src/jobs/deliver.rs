//! Tells companies' webhooks what happened.
//!
//! Two kinds of messages share the queue. An event of a conversation is spread: one `webhook.attempt` for each endpoint
//! that listens. An attempt is posted to its endpoint, again and again by the policy until the endpoint takes it, so one
//! endpoint's troubles are its own. The body is made when the event is spread and is the same bytes in every try.

mod attempt;
mod gate;
mod sign;
mod verdict;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;

pub use self::attempt::Attempt;
use self::gate::{Entry, Gates, Pass, Report};
use self::verdict::Verdict;
use super::events::{EndpointDisabled, WebhookPosted};
use super::retry::Policy;
use super::runner::{DiscardReason, Job, Outcome, age};
use crate::config;
use crate::domain::event::{Origin, WORKER};
use crate::domain::webhook::{Disabled, Endpoint, InvalidSecret};
use crate::domain::{CompanyScope, ConversationId, Event, EventType, SessionId};
use crate::ports::bus::{Message, Queue};
use crate::ports::directory::Directory;
use crate::ports::webhook::{Request, Sender};
use crate::ports::{bus, store};

/// The `user-agent` of webhooks.
pub const USER_AGENT: &str = concat!("Turnpike/", env!("CARGO_PKG_VERSION"));

/// Why a message could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is no event, or its data is not what its type says.
    #[error("not an event that can be delivered: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Events of this type are not delivered.
    #[error("events of type {0} are not delivered")]
    Type(&'static str),
    /// The directory failed.
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
    let attempt = Attempt::of_event(&event, endpoint)?;
    let headers = sign::headers(endpoint, &attempt, now)?;
    Ok(Request { url: endpoint.url.clone(), headers, body: attempt.body() })
}

/// What an event is about, as far as endpoints choose by it.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    intent: Option<Cow<'a, str>>,
}

/// The job.
pub struct Deliver {
    directory: Arc<dyn Directory>,
    sender: Arc<dyn Sender>,
    gates: Gates,
    /// For endpoints that fail.
    policy: Policy,
    /// For our own directory when it fails.
    directory_policy: Policy,
    concurrency: usize,
}

impl Deliver {
    /// The job, for a directory of endpoints and a way to post.
    pub fn new(
        directory: Arc<dyn Directory>,
        sender: Arc<dyn Sender>,
        settings: &config::Webhooks,
        jobs: &config::Jobs,
    ) -> Self {
        Self {
            directory,
            sender,
            gates: Gates::new(settings.concurrency, settings.concurrency_per_endpoint, settings.max_delay),
            policy: Policy {
                initial: settings.initial_delay,
                max: settings.max_delay,
                give_up_after: Some(settings.give_up_after),
            },
            directory_policy: Policy::forever(jobs.initial_delay, jobs.max_delay),
            concurrency: settings.concurrency,
        }
    }

    async fn work(&self, message: &Message) -> Result<Outcome, Error> {
        let event: Event = serde_json::from_slice(&message.body)?;
        let scope = CompanyScope::granted(event.companyid.clone());
        match event.event_type {
            EventType::ConversationUpdated | EventType::ConversationCreated | EventType::MessageCreated => {
                self.spread(&scope, &event).await
            }
            EventType::WebhookAttempt => {
                let attempt: Attempt = serde_json::from_str(event.data.get())?;
                self.attempt(&scope, &attempt, message).await
            }
            other => Err(Error::Type(other.as_str())),
        }
    }

    /// Makes an attempt for each endpoint that listens.
    async fn spread(&self, scope: &CompanyScope, event: &Event) -> Result<Outcome, Error> {
        let endpoints = self.directory.endpoints(scope).await?;
        let about: About<'_> = serde_json::from_str(event.data.get())?;
        let listening = endpoints.iter().filter(|it| {
            it.disabled.is_none()
                && it.event_types.contains(&event.event_type)
                && it.filter.passes(about.channel.as_deref(), about.intent.as_deref())
        });
        let attempts: Result<Vec<Message>, Error> =
            listening.map(|endpoint| Ok(Attempt::message(event, endpoint)?)).collect();
        attempts.map(Outcome::Done)
    }

    /// Posts an attempt, if its endpoint is still there and has room.
    async fn attempt(&self, scope: &CompanyScope, attempt: &Attempt, message: &Message) -> Result<Outcome, Error> {
        let Some(endpoint) = self.directory.endpoint(scope, &attempt.endpoint_id).await? else {
            return Ok(Outcome::Discarded(DiscardReason::EndpointGone));
        };
        if endpoint.disabled.is_some() {
            return Ok(Outcome::Discarded(DiscardReason::EndpointDisabled));
        }
        let policy = self.policy_of(&endpoint);
        let pass = match self.gates.enter(&endpoint.id).await {
            Entry::Go(pass) => pass,
            Entry::Full(after) => return Ok(Outcome::Defer { after }),
            Entry::Open { after, reason } => {
                let age = age(message);
                // One that was never tried, such as one that was just redriven, waits for a first try.
                let had_its_chance = message.attempts > 0 || age > gate::LONGEST_BREAK;
                return Ok(match (had_its_chance, policy.gives_up(age)) {
                    (true, true) => Outcome::Dead { reason: gave_up(age, &reason) },
                    // The pause may be hours long; its end is not to come after that of the message.
                    (true, false) => Outcome::Defer { after: policy.within(after, age) },
                    (false, _) => Outcome::Defer { after },
                });
            }
        };
        let (verdict, outcome) = match self.post(&endpoint, attempt, message).await {
            Ok(verdict) => (verdict.report(), self.conclude(scope, &endpoint, verdict, message, &policy).await?),
            // Nothing was sent, so the endpoint is not to blame.
            Err(error) => (Report::Untried, again(error.to_string(), None, message, &policy)),
        };
        Pass::report(pass, verdict);
        Ok(outcome)
    }

    async fn post(&self, endpoint: &Endpoint, attempt: &Attempt, message: &Message) -> Result<Verdict, InvalidSecret> {
        let now = OffsetDateTime::now_utc();
        let request = Request {
            url: endpoint.url.clone(),
            headers: sign::headers(endpoint, attempt, now)?,
            body: attempt.body(),
        };
        let posted = self.sender.post(request).await;
        let verdict = Verdict::of(posted.result, OffsetDateTime::now_utc());
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
        Ok(verdict)
    }

    async fn conclude(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        verdict: Verdict,
        message: &Message,
        policy: &Policy,
    ) -> Result<Outcome, Error> {
        match verdict {
            Verdict::Delivered => Ok(Outcome::Done(Vec::new())),
            Verdict::Gone => {
                let disabled = Disabled { by: Some(message.id), ..Disabled::now("answered 410 Gone") };
                self.directory.disable_endpoint(scope, &endpoint.id, &disabled).await?;
                EndpointDisabled { endpoint: endpoint.id.as_str(), company: scope.company().as_str() }.emit();
                Ok(Outcome::Discarded(DiscardReason::EndpointSaidGone))
            }
            Verdict::Busy { retry_after, reason } => Ok(again(reason, retry_after, message, policy)),
            Verdict::Failed { reason, .. } => Ok(again(reason, None, message, policy)),
        }
    }

    /// When an endpoint is tried again.
    fn policy_of(&self, endpoint: &Endpoint) -> Policy {
        let usual = &self.policy;
        let give_up = usual.give_up_after.unwrap_or(Duration::MAX);
        let (initial, max, give_up_after) = endpoint.retries.or((usual.initial, usual.max, give_up));
        Policy { initial, max, give_up_after: Some(give_up_after) }
    }
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
