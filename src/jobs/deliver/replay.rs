//! Makes deliveries again that somebody asked for, some at a time.
//!
//! Each step is a message of its own, so a replay of a million goes on where it was when a worker dies, holds up nobody,
//! and can be stopped. The next step waits until the last delivery of this one was tried: a replay is never further ahead
//! of its endpoint than that. A delivery is reopened before its message is published, under the number of its round; a
//! step that is made again finds that it did it, and makes the same message. The end is a step of its own, so that a crash
//! before it loses nothing.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::super::runner::Outcome;
use super::{Attempt, Deliver, Error};
use crate::domain::delivery::{Parcel, Replay, ReplayState, ReplayStep, State};
use crate::domain::event::WORKER;
use crate::domain::webhook::Endpoint;
use crate::domain::{CompanyScope, EndpointId, Event};
use crate::ports::bus::Message;
use crate::ports::store::Page;

/// Deliveries of one step.
const STEP: usize = 100;
/// Until it is looked again whether the last step's were tried.
const LOOK: Duration = Duration::from_millis(500);

impl Deliver {
    /// Takes one step of a replay.
    pub(super) async fn replay(&self, scope: &CompanyScope, event: &Event) -> Result<Outcome, Error> {
        let step: ReplayStep = serde_json::from_str(event.data.get())?;
        let log = &self.log.deliveries;
        let Some(replay) = log.replay(scope, step.replay_id).await? else { return Ok(Outcome::Done(Vec::new())) };
        let goes_on = replay.state == ReplayState::Running;
        if goes_on
            && let Some(last) = step.last
            && let Some(last) = log.delivery(scope, last).await?
            && last.delivery.standing.state == State::Pending
            && last.delivery.standing.attempts == 0
        {
            return Ok(Outcome::Defer { after: LOOK });
        }
        let updated_at = OffsetDateTime::now_utc();
        if step.ends {
            log.put_replay(scope, &Replay { state: ReplayState::Done, updated_at, ..replay }).await?;
            return Ok(Outcome::Done(Vec::new()));
        }
        let endpoints = self.directory.endpoints(scope).await?;
        let endpoints: HashMap<&EndpointId, &Endpoint> = endpoints.iter().map(|it| (&it.id, it)).collect();
        let page = Page { limit: STEP, after: step.after.clone() };
        let (parcels, next) = log.parcels(scope, &replay.filter, &page).await?;
        let mut follow_ups = Vec::with_capacity(parcels.len() + 1);
        let mut on = ReplayStep { ends: next.is_none(), after: next, last: None, ..step };
        for parcel in parcels {
            let id = parcel.delivery.id;
            let is_open = endpoints.get(&parcel.delivery.endpoint_id).is_some_and(|it| it.disabled.is_none());
            // After the end of a replay only what this step has begun before is brought to its end.
            let is_due = goes_on || parcel.delivery.replay_id == Some(replay.id);
            match if is_open && is_due { self.again(scope, &replay, parcel).await? } else { Again::No } {
                Again::No => on.skipped += 1,
                Again::Was => on.replayed += 1,
                Again::Is(message) => {
                    on.replayed += 1;
                    on.last = Some(id);
                    follow_ups.push(*message);
                }
            }
        }
        if goes_on {
            let (replayed, skipped) = (on.replayed, on.skipped);
            log.put_replay(scope, &Replay { replayed, skipped, updated_at, ..replay }).await?;
            follow_ups.push(Message::of_event(&on.event(WORKER, scope.company())?)?);
        }
        Ok(Outcome::Done(follow_ups))
    }

    /// Makes a delivery pending again, and the message that brings it.
    async fn again(&self, scope: &CompanyScope, replay: &Replay, mut parcel: Parcel) -> Result<Again, Error> {
        let it = &mut parcel.delivery;
        let was_this_one = it.replay_id == Some(replay.id);
        if was_this_one && it.standing.state != State::Pending {
            return Ok(Again::Was);
        }
        it.round = if was_this_one { it.round } else { it.round.saturating_add(1) };
        let Some(attempt) = Attempt::of(&parcel) else { return Ok(Again::No) };
        let (it, now) = (&parcel.delivery, OffsetDateTime::now_utc());
        if !self.log.deliveries.reopen(scope, it.id, it.round, replay.id, now).await? {
            return Ok(Again::No);
        }
        let message = attempt.message(&parcel, None)?;
        Ok(Again::Is(Box::new(message)))
    }
}

/// What became of a delivery that was to be made again.
enum Again {
    /// It is left as it is.
    No,
    /// This replay has done it before.
    Was,
    /// It is on its way.
    Is(Box<Message>),
}
