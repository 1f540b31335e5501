//! Lets what an endpoint wants in order go one after the other.
//!
//! The log says what is on its way before a delivery. It is looked at again until nothing is, for a moment here and then
//! by way of the bus. What is missing in between, because two events changed places on the bus, is waited for as well,
//! but not for long: it may never come.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::domain::delivery::Place;
use crate::domain::{CompanyScope, EndpointId};
use crate::ports::deliveries::Deliveries;
use crate::ports::store::Error;

/// How long a delivery waits here.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Until it comes back when it did not wait long enough.
const SOON: Duration = Duration::from_millis(250);
/// What should have been tried so long ago has been lost on its way, and is not waited for.
const LOST: Duration = Duration::from_secs(3600);
/// How long a delivery waits for word of the turn before its own.
const MISSING: Duration = Duration::from_secs(10);

/// Waits until a delivery that has waited for `age` is the first of its conversation. Says when it is to come back
/// instead, if it is not soon.
pub(super) async fn wait(
    deliveries: &dyn Deliveries,
    scope: &CompanyScope,
    endpoint: &EndpointId,
    place: Place,
    age: Duration,
) -> Result<Option<Duration>, Error> {
    let patience = Instant::now() + PATIENCE;
    loop {
        let now = OffsetDateTime::now_utc();
        let ahead = deliveries.ahead(scope, endpoint, place, now - LOST).await?;
        let is_missing = place.sequence > 1 && !ahead.knows_last_turn && age < MISSING;
        if ahead.pending.is_none() && !is_missing {
            return Ok(None);
        }
        // One that failed has a time; before that there is nothing to look for.
        let due = ahead.pending.map_or(SOON, |due| Duration::try_from(due - now).unwrap_or_default());
        if due > PATIENCE || Instant::now() > patience {
            return Ok(Some(due.max(SOON)));
        }
        tokio::time::sleep(LOOK).await;
    }
}
