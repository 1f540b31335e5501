//! One attempt: whether it is to be made now, the request, and what follows from the answer.

use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::SemaphorePermit;

use super::super::events::WebhookPosted;
use super::super::retry::Policy;
use super::super::runner::{DiscardReason, Outcome, age};
use super::attempt::Attempt;
use super::disabling::told_of;
use super::gate::{self, Entry, Pass, Report};
use super::line::Waiting;
use super::pace::Turn;
use super::verdict::Verdict;
use super::{Deliver, Error, line, log, sign};
use crate::domain::CompanyScope;
use crate::domain::delivery;
use crate::domain::webhook::{Endpoint, InvalidSecret, Order};
use crate::ports::bus::Message;
use crate::ports::webhook::Request;

/// An attempt with its endpoint.
struct Try<'a> {
    scope: &'a CompanyScope,
    endpoint: &'a Endpoint,
    attempt: &'a Attempt,
    message: &'a Message,
    policy: Policy,
}

impl Deliver {
    /// Posts an attempt, if its endpoint is still there and has room.
    pub(super) async fn attempt(
        &self,
        scope: &CompanyScope,
        attempt: &Attempt,
        message: &Message,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Outcome, Error> {
        let endpoint = match self.addressee(scope, attempt, message).await? {
            Continue(endpoint) => endpoint,
            Break(outcome) => return Ok(outcome),
        };
        let it = Try { scope, endpoint: &endpoint, attempt, message, policy: self.policy_of(&endpoint) };
        let pass = match self.admit(&it).await? {
            Continue(pass) => pass,
            Break(outcome) => return Ok(outcome),
        };
        let (_trying, attempts) = match (&self.exclusive, attempt.delivery_id) {
            (Some(exclusive), Some(id)) => match exclusive.begin(scope, id, message).await? {
                Continue((trying, attempts)) => (Some(trying), attempts),
                Break(outcome) => return Ok(outcome),
            },
            _ => (None, message.attempts),
        };
        let message = &Message { attempts, ..message.clone() };
        self.make(&Try { message, ..it }, pass, place).await
    }

    /// The endpoint, unless it is gone or disabled.
    async fn addressee(
        &self,
        scope: &CompanyScope,
        attempt: &Attempt,
        message: &Message,
    ) -> Result<ControlFlow<Outcome, Endpoint>, Error> {
        let discard = async |reason| {
            let outcome = Outcome::Discarded(reason);
            self.log.note(scope, attempt.delivery_id, &outcome, message.attempts, None).await;
            outcome
        };
        let Some(endpoint) = self.directory.endpoint(scope, &attempt.endpoint_id).await? else {
            return Ok(Break(discard(DiscardReason::EndpointGone).await));
        };
        let Some(disabled) = &endpoint.disabled else { return Ok(Continue(endpoint)) };
        let outcome = discard(DiscardReason::EndpointDisabled).await;
        Ok(Break(match disabled.by == Some(message.id) {
            true => Outcome::Done(vec![told_of(&endpoint, disabled)?]),
            false => outcome,
        }))
    }

    /// Waits for a place in line, for room and for the endpoint's rate, as long as that is a moment.
    async fn admit(&self, it: &Try<'_>) -> Result<ControlFlow<Outcome, Pass<'_>>, Error> {
        if let (Order::Ordered, Some(place)) = (it.endpoint.order, it.attempt.place) {
            let waiting = Waiting::at(it.endpoint, place, age(it.message));
            if let Some(after) = line::wait(self.log.deliveries.as_ref(), it.scope, waiting).await? {
                return Ok(Break(Outcome::Defer { after }));
            }
        }
        let pass = match self.gates.enter(&it.endpoint.id).await {
            Entry::Go(pass) => pass,
            Entry::Full(after) => return Ok(Break(Outcome::Defer { after })),
            Entry::Open { after, reason } => return self.untried(it, after, &reason).await.map(Break),
        };
        if let Some(limit) = it.endpoint.rate_limit {
            match self.paces.ask(&it.endpoint.id, limit) {
                Turn::After(wait) => tokio::time::sleep(wait).await,
                Turn::Back(after) => return Ok(Break(Outcome::Defer { after })),
            }
        }
        Ok(Continue(pass))
    }

    /// What an attempt comes to whose endpoint is left alone.
    async fn untried(&self, it: &Try<'_>, after: Duration, reason: &str) -> Result<Outcome, Error> {
        let (id, age) = (it.attempt.delivery_id, age(it.message));
        // One that was never tried, such as one that was just redriven, waits for a first try.
        let had_its_chance = it.message.attempts > 0 || age > gate::LONGEST_BREAK;
        let outcome = match (had_its_chance, it.policy.gives_up(age)) {
            (true, true) if self.log.is_delivered(it.scope, id).await? => Outcome::Done(Vec::new()),
            (true, true) => Outcome::Dead { reason: gave_up(age, reason) },
            // The pause may be hours long; its end is not to come after that of the message.
            (true, false) => Outcome::Defer { after: it.policy.within(after, age) },
            (false, _) => Outcome::Defer { after },
        };
        self.log.note(it.scope, id, &outcome, it.message.attempts, None).await;
        Ok(outcome)
    }

    /// Makes the request, and writes down what came of it.
    async fn make(&self, it: &Try<'_>, pass: Pass<'_>, place: Option<SemaphorePermit<'_>>) -> Result<Outcome, Error> {
        let (scope, endpoint, message) = (it.scope, it.endpoint, it.message);
        let (report, outcome, posted) = match self.post(it, place, pass.patience()).await {
            Ok((verdict, posted)) => (verdict.report(), self.conclude(it, &verdict).await, Some(posted)),
            // Nothing was sent, so the endpoint is not to blame.
            Err(error) => (Report::Untried, again(error.to_string(), None, it), None),
        };
        let failure = report.failure().map(str::to_owned);
        Pass::report(pass, report);
        let attempts = message.attempts.saturating_add(u32::from(posted.is_some()));
        self.log.note(scope, it.attempt.delivery_id, &outcome, attempts, posted.as_ref()).await;
        match failure {
            None if posted.is_some() => self.log.succeeded(scope, &endpoint.id).await,
            None => {}
            Some(reason) => {
                let open_for = self.gates.open_for(&endpoint.id);
                let failing_since = self.log.failed(scope, &endpoint.id, &reason, open_for).await;
                if let Some(since) = failing_since.filter(|_| open_for.is_some()) {
                    return self.despair(scope, endpoint, since, outcome, message).await;
                }
            }
        }
        Ok(outcome)
    }

    async fn post(
        &self,
        it: &Try<'_>,
        place: Option<SemaphorePermit<'_>>,
        patience: Duration,
    ) -> Result<(Verdict, delivery::Attempt), InvalidSecret> {
        let (endpoint, attempt, now) = (it.endpoint, it.attempt, OffsetDateTime::now_utc());
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
            attempts: it.message.attempts,
            outcome: verdict.label(),
            detail: verdict.detail(),
            took: posted.timing.total,
        }
        .emit();
        let number = it.message.attempts.saturating_add(1);
        let kept = log::attempt(&posted, number, now, verdict.label(), verdict.detail());
        Ok((verdict, kept))
    }

    async fn conclude(&self, it: &Try<'_>, verdict: &Verdict) -> Outcome {
        match verdict {
            Verdict::Delivered => Outcome::Done(Vec::new()),
            Verdict::Gone => {
                let outcome = Outcome::Discarded(DiscardReason::EndpointSaidGone);
                let disabled = self.disable(it.scope, it.endpoint, "answered 410 Gone", it.message, outcome).await;
                // The try was made, and is written down as one.
                disabled.unwrap_or_else(|error| again(format!("answered 410 Gone; {error}"), None, it))
            }
            Verdict::Busy { retry_after, reason } => again(reason.clone(), *retry_after, it),
            Verdict::Failed { reason, .. } => again(reason.clone(), None, it),
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
fn again(reason: String, named: Option<Duration>, it: &Try<'_>) -> Outcome {
    let age = age(it.message);
    if it.policy.gives_up(age) {
        return Outcome::Dead { reason: gave_up(age, &reason) };
    }
    let after = match named {
        Some(named) => named.min(it.policy.max),
        None => it.policy.delay(it.message.attempts),
    };
    Outcome::Retry { after: it.policy.within(after, age), reason }
}

fn gave_up(age: Duration, reason: &str) -> String {
    format!("gave up after {} s; at last: {reason}", age.as_secs())
}
