//! Turns read to their end, and turns whose events are to be written in a form of this gateway's choice wherever they run.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use super::problem::Problem;
use crate::domain::turn::{Degraded, FinishReason, IntentFound, Source, Usage};
use crate::domain::{CompanyScope, Language, TurnId};
use crate::pipeline::ask::{Ask, Refused};
use crate::pipeline::engine::Found;
use crate::pipeline::live::{Reader, TurnEvent, TurnHead};

/// Between two looks for a turn that is about to be stored.
const LOOK: Duration = Duration::from_millis(50);

/// Begins a turn, or finds the one that the same request began before.
///
/// # Errors
/// Why it does not begin, or that the other gateway's does not end.
pub(super) async fn begin(app: &App, ask: Ask) -> Result<Reader, Problem> {
    let scope = ask.scope.clone();
    let found = app.engine.begin(ask).await?;
    reader(app, &scope, found).await
}

/// A reader of a turn. One that another gateway has is read from the store when that gateway is done with it: it only
/// comes to that when a request is repeated elsewhere while its turn still runs.
///
/// # Errors
/// 503 when it does not end in time.
pub(super) async fn reader(app: &App, scope: &CompanyScope, found: Found) -> Result<Reader, Problem> {
    match found {
        Found::Here(reader) => Ok(reader),
        Found::Elsewhere { turn_id, .. } => {
            let whole = app.settings.models.total_timeout;
            let waited = tokio::time::timeout(whole, until_stored(app, scope, turn_id)).await;
            waited.map_err(|_| Problem::from(Refused::Unreachable))
        }
    }
}

async fn until_stored(app: &App, scope: &CompanyScope, id: TurnId) -> Reader {
    loop {
        if let Some(reader) = app.engine.stored(scope, id, 0).await {
            return reader;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A turn whose gateway does not answer: it may be stored, or about to be.
pub(super) async fn stored_in_time(
    app: &App,
    scope: &CompanyScope,
    id: TurnId,
    after: usize,
) -> Result<Reader, Problem> {
    let deadline = tokio::time::Instant::now() + app.settings.turn.history_wait;
    loop {
        if let Some(reader) = app.engine.stored(scope, id, after).await {
            return Ok(reader);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Refused::Unreachable.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A turn that has ended with an answer.
pub(super) struct Whole {
    /// Which turn.
    pub(super) head: TurnHead,
    /// The question's language, with its probability.
    pub(super) language: Option<(Language, f32)>,
    /// The question's intent.
    pub(super) intent: Option<IntentFound>,
    /// The answer.
    pub(super) answer: String,
    /// The passages that it may cite.
    pub(super) sources: Arc<[Source]>,
    /// How it ended.
    pub(super) finish_reason: FinishReason,
    /// Tokens.
    pub(super) usage: Usage,
    /// What was missing.
    pub(super) degraded: Vec<Degraded>,
}

/// Reads a turn to its end.
///
/// # Errors
/// 503 for a turn that ended without an answer.
pub(super) async fn to_end(mut reader: Reader) -> Result<Whole, Problem> {
    let (mut language, mut intent, mut answer) = (None, None, String::new());
    let mut sources: Arc<[Source]> = Arc::default();
    while let Some((_, events)) = reader.next().await {
        for event in events {
            match event {
                TurnEvent::Content(text) => answer.push_str(&text),
                TurnEvent::Reset { .. } => answer.clear(),
                TurnEvent::Sources(found) => sources = found,
                TurnEvent::Start => {}
                TurnEvent::Language { language: found, confidence } => language = Some((found, confidence)),
                TurnEvent::Intent(found) => intent = Some(found),
                TurnEvent::Error { code, message, .. } => return Err(Problem::unavailable(code, message)),
                TurnEvent::Done { finish_reason, usage, degraded } => {
                    let head = reader.turn().head().clone();
                    return Ok(Whole { head, language, intent, answer, sources, finish_reason, usage, degraded });
                }
            }
        }
    }
    // Every turn ends with one or the other.
    Err(Refused::Unreachable.into())
}
