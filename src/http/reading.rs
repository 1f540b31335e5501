//! A turn to be read from its first event on, for surfaces that tell it in a form of their own.

use std::time::Duration;

use super::App;
use super::problem::Problem;
use crate::domain::{CompanyScope, TurnId};
use crate::pipeline::ask::{Ask, Refused};
use crate::pipeline::engine::Found;
use crate::pipeline::live::Reader;

/// Between two looks for a turn that is about to be stored.
const LOOK: Duration = Duration::from_millis(50);

/// Begins a turn, or finds the one that the same request began before. One that another gateway runs is waited for until
/// it is stored: its events come from there in the native form only.
///
/// # Errors
/// Why it does not begin, or that the other gateway's does not end.
pub(super) async fn begin(app: &App, ask: Ask) -> Result<Reader, Problem> {
    let scope = ask.scope.clone();
    match app.engine.begin(ask).await? {
        Found::Here(reader) => Ok(reader),
        Found::Elsewhere { turn_id, .. } => whole(app, &scope, turn_id).await,
    }
}

/// A turn of another gateway, once it is stored.
///
/// # Errors
/// That it does not end.
pub(super) async fn whole(app: &App, scope: &CompanyScope, id: TurnId) -> Result<Reader, Problem> {
    let stored = async {
        loop {
            if let Some(reader) = app.engine.stored(scope, id, 0).await {
                return reader;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(app.settings.models.total_timeout, stored).await;
    waited.map_err(|_| Refused::Unreachable.into())
}
