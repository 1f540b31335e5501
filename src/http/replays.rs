//! Begins replays: for the administration and for the console.

use time::OffsetDateTime;

use super::App;
use super::problem::Problem;
use crate::domain::CompanyScope;
use crate::domain::delivery::{Filter, Replay, ReplayStep, State};
use crate::domain::event::GATEWAY;

/// Asks for deliveries to be made again: those of `filter` whose events are made until now, and that were given up or never
/// sent unless the filter names other states.
///
/// # Errors
/// When it cannot be written down or handed to the workers; nothing is made again then.
pub(super) async fn begin(app: &App, scope: &CompanyScope, mut filter: Filter) -> Result<Replay, Problem> {
    let now = OffsetDateTime::now_utc();
    if filter.states.is_empty() {
        filter.states = [State::Dead, State::Discarded].into();
    }
    filter.until = Some(filter.until.map_or(now, |until| until.min(now)));
    let replay = Replay::new(scope.company().clone(), filter, now);
    let keep_until = now + app.settings.webhooks.keep_deliveries;
    app.deliveries.add_replay(scope, &replay, keep_until).await?;
    // Nothing in it can fail to serialise.
    let step = ReplayStep::first(&replay).event(GATEWAY, scope.company());
    let step = step.map_err(|error| Problem::bad_request("invalid", error.to_string()))?;
    if let Err(refused) = app.engine.keep(&step).await {
        app.deliveries.cancel_replay(scope, replay.id, now).await?;
        return Err(refused.into());
    }
    Ok(replay)
}
