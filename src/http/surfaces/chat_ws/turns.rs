//! The turns of a connection, as messages.

use std::sync::Arc;

use axum::http::HeaderMap;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Chat;
use crate::domain::{CompanyScope, KeyScope, TurnId};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::http::wires::native::Message;
use crate::http::{App, asking, reading, relay};
use crate::pipeline::ask::Refused;
use crate::pipeline::engine::Found;
use crate::pipeline::live::{Reader, TurnEvent};

/// What one turn says, until it has ended.
pub(super) type Frames = BoxStream<'static, Outgoing>;

/// Messages that are written together.
pub(super) struct Outgoing(pub(super) Vec<String>);

impl Outgoing {
    /// Something is refused. `about` is a field that says to what it belongs.
    pub(super) fn refusal(problem: &Problem, about: Option<(&str, String)>) -> Self {
        metrics::counter!("turnpike_http_problems_total", "code" => problem.code().to_owned()).increment(1);
        let is_retryable = matches!(problem.status().as_u16(), 429 | 503);
        let mut message = json!({
            "type": "error", "code": problem.code(), "message": problem.detail(), "retryable": is_retryable,
        });
        if let (Some((name, value)), Some(message)) = (about, message.as_object_mut()) {
            message.insert(name.to_owned(), Value::String(value));
        }
        Self(vec![message.to_string()])
    }
}

/// On whose behalf something is done. Each turn is admitted anew: keys are revoked, and requests are counted.
pub(super) struct Admission {
    pub(super) headers: HeaderMap,
    pub(super) company_id: Option<String>,
}

impl Admission {
    async fn admit(&self, app: &App) -> Result<Caller, Problem> {
        app.gate.admit(&self.headers, self.company_id.as_deref(), KeyScope::Publishable).await
    }
}

/// A turn that is asked for.
pub(super) fn asked(app: Arc<App>, admission: Admission, chat: Chat) -> Frames {
    let request_id = chat.request_id.clone();
    let about = request_id.clone().map(|id| ("request_id", id));
    let opened = async move {
        let caller = admission.admit(&app).await?;
        let scope = caller.scope.clone();
        let ask = asking::ask(&app, &admission.headers, caller, chat.request.question())?;
        let found = app.engine.begin(ask).await?;
        open(&app, &admission, &scope, found, 0, request_id).await
    };
    frames(opened, about)
}

/// A turn that is read on after an event.
pub(super) fn resumed(app: Arc<App>, admission: Admission, id: TurnId, after: usize) -> Frames {
    let opened = async move {
        let caller = admission.admit(&app).await?;
        let found = app.engine.resume(&caller.scope, id, after).await?.ok_or_else(|| Problem::not_found("turn"))?;
        open(&app, &admission, &caller.scope, found, after, None).await
    };
    frames(opened, Some(("turn_id", id.to_string())))
}

/// Stops a turn, wherever it runs. One that has ended is left as it is.
///
/// # Errors
/// Why not.
pub(super) async fn stop(app: &App, admission: &Admission, id: TurnId) -> Result<(), Problem> {
    let scope = admission.admit(app).await?.scope;
    if let Some(turn) = app.engine.turns().get(&scope, id) {
        turn.stop();
        return Ok(());
    }
    match app.engine.resume(&scope, id, 0).await? {
        Some(Found::Here(_)) => Ok(()),
        Some(Found::Elsewhere { url, .. }) => {
            let client = relay::Client { scope: &scope, headers: &admission.headers };
            relay::stop(app, client, &url, id).await.map(drop)
        }
        None => Err(Problem::not_found("turn")),
    }
}

fn frames(
    opened: impl Future<Output = Result<Frames, Problem>> + Send + 'static,
    about: Option<(&'static str, String)>,
) -> Frames {
    let opened = stream::once(opened).flat_map(move |opened| match opened {
        Ok(frames) => frames,
        Err(problem) => stream::once(ready(Outgoing::refusal(&problem, about.clone()))).boxed(),
    });
    opened.boxed()
}

async fn open(
    app: &App,
    admission: &Admission,
    scope: &CompanyScope,
    found: Found,
    after: usize,
    request_id: Option<String>,
) -> Result<Frames, Problem> {
    match found {
        Found::Here(reader) => Ok(here(reader, request_id)),
        Found::Elsewhere { turn_id, url } => {
            let client = relay::Client { scope, headers: &admission.headers };
            match relay::events(app, client, &url, turn_id, after).await {
                Some(events) => Ok(elsewhere(events, turn_id, request_id)),
                None => Ok(here(reading::stored_in_time(app, scope, turn_id, after).await?, request_id)),
            }
        }
    }
}

/// An event with its place.
#[derive(Serialize)]
struct Placed<'a> {
    id: usize,
    /// Where the event does not say it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    message: Message<'a>,
}

fn here(reader: Reader, request_id: Option<String>) -> Frames {
    let frames = stream::unfold((reader, request_id), async |(mut reader, request_id)| {
        let (first, events) = reader.next().await?;
        let head = reader.turn().head();
        let messages = (first..).zip(&events).map(|(id, event)| {
            let names_turn = matches!(event, TurnEvent::Start | TurnEvent::Done { .. });
            let placed = Placed {
                id,
                turn_id: (!names_turn).then_some(head.turn_id),
                request_id: request_id.as_deref().filter(|_| matches!(event, TurnEvent::Start)),
                message: Message::of(head, event),
            };
            // Nothing in an event can fail to serialise.
            serde_json::to_string(&placed).unwrap_or_default()
        });
        let messages = messages.collect();
        Some((Outgoing(messages), (reader, request_id)))
    });
    frames.boxed()
}

/// The events of a turn at another gateway. When that breaks off, the client is told to come back for the rest.
fn elsewhere(
    events: impl Stream<Item = (usize, Map<String, Value>)> + Send + 'static,
    turn_id: TurnId,
    request_id: Option<String>,
) -> Frames {
    let broken = stream::once(ready(None));
    let frames = events.map(Some).chain(broken).scan(false, move |has_ended, event| {
        let outgoing = match event {
            Some((id, mut event)) => {
                let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                *has_ended = *has_ended || matches!(kind.as_str(), "done" | "error");
                event.insert("id".to_owned(), json!(id));
                event.insert("turn_id".to_owned(), json!(turn_id));
                if let (Some(request_id), "start") = (&request_id, kind.as_str()) {
                    event.insert("request_id".to_owned(), json!(request_id));
                }
                Some(Outgoing(vec![Value::Object(event).to_string()]))
            }
            None if *has_ended => None,
            None => Some(Outgoing::refusal(&Refused::Unreachable.into(), Some(("turn_id", turn_id.to_string())))),
        };
        ready(outgoing)
    });
    frames.boxed()
}
