//! Lets what an endpoint wants in order go one after the other.
//!
//! The log says what is on its way before a delivery. It is looked at again until nothing is, for a moment here and then
//! by way of the bus. What is missing in between, because two events changed places on the bus, is waited for as well,
//! but not for long: it may never come.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::domain::delivery::Place;
use crate::domain::webhook::Endpoint;
use crate::domain::{CompanyScope, EndpointId, EventType};
use crate::ports::deliveries::Deliveries;
use crate::ports::store::Error;

/// How long a delivery waits here.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between the first two looks; each time twice as long.
const LOOK: Duration = Duration::from_millis(15);
/// Until it comes back when it did not wait long enough, and for each turn more before its own as much again: in a long line
/// few come at a time, and leave the job's permits to those whose turn it is.
const SOON: Duration = Duration::from_millis(250);
/// It comes back after so long at the latest, unless the one before it has a later time.
const LATEST: Duration = Duration::from_secs(30);
/// What should have been tried so long ago has been lost on its way, and is not waited for.
const LOST: Duration = Duration::from_secs(3600);
/// How long a delivery waits for word of a turn that is missing between its own and one that is known.
const MISSING: Duration = Duration::from_secs(60);
/// How long it waits where nothing is known that came before: most likely there was nothing for this endpoint.
const FIRST: Duration = Duration::from_secs(10);
/// How long it waits for what else its turn brings. All of a turn is put on its way at once, but not all turns have an
/// answer.
const SIBLING: Duration = Duration::from_secs(5);

/// A delivery that is to wait for its turn.
pub(super) struct Waiting<'a> {
    pub(super) endpoint: &'a EndpointId,
    pub(super) place: Place,
    /// How long it has been on its way.
    pub(super) age: Duration,
    /// Whether the endpoint hears of every turn, so that a missing one is about to come.
    pub(super) hears_all: bool,
    /// How much of its own turn comes before it, as far as that is known beforehand.
    pub(super) siblings: u64,
}

impl<'a> Waiting<'a> {
    /// A delivery of this place and age to an endpoint.
    pub(super) fn at(endpoint: &'a Endpoint, place: Place, age: Duration) -> Self {
        let hears = |event_type| endpoint.event_types.contains(&event_type);
        let (of_messages, of_turns) = (hears(EventType::MessageCreated), hears(EventType::ConversationUpdated));
        let messages = if of_messages { u64::from(place.rank.saturating_sub(1).min(2)) } else { 0 };
        let beginning = place.rank > 0 && place.sequence == 1 && hears(EventType::ConversationCreated);
        let siblings = messages + u64::from(beginning);
        Self { endpoint: &endpoint.id, place, age, hears_all: of_messages || of_turns, siblings }
    }
}

/// Waits until a delivery is the first of its conversation. Says when it is to come back instead, if it is not soon.
pub(super) async fn wait(
    deliveries: &dyn Deliveries,
    scope: &CompanyScope,
    it: Waiting<'_>,
) -> Result<Option<Duration>, Error> {
    let (patience, mut look) = (Instant::now() + PATIENCE, LOOK);
    loop {
        let now = OffsetDateTime::now_utc();
        let ahead = deliveries.ahead(scope, it.endpoint, it.place, now - LOST).await?;
        let before = it.place.sequence.saturating_sub(1);
        let is_missing = it.hears_all
            && match ahead.last_known {
                Some(known) => known < before && it.age < MISSING,
                None => before > 0 && it.age < FIRST,
            };
        let is_first = ahead.siblings >= it.siblings || it.age >= SIBLING;
        if ahead.pending.is_none() && !is_missing && is_first {
            return Ok(None);
        }
        // One that failed has a time; before that there is nothing to look for.
        let due = ahead.pending.map_or(SOON, |due| Duration::try_from(due - now).unwrap_or_default());
        if due > PATIENCE || ahead.behind > 1 || Instant::now() > patience {
            let behind = u32::try_from(ahead.behind).unwrap_or(u32::MAX).max(1);
            return Ok(Some(due.max(SOON.saturating_mul(behind).min(LATEST))));
        }
        tokio::time::sleep(look).await;
        look *= 2;
    }
}
