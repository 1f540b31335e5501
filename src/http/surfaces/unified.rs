//! The native surface: a turn as a stream or as one document, taken up again, stopped.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;

use crate::config::AuthMode;
use crate::domain::turn::UserInfo;
use crate::domain::{CompanyScope, KeyScope, TurnId};
use crate::http::App;
use crate::http::asking::{self, Question};
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::http::wires::native::{self, Native};
use crate::http::{body, relay, wires};
use crate::pipeline::ask::Refused;
use crate::pipeline::engine::Found;
use crate::pipeline::live::{LiveTurn, Reader, TurnEvent};

/// Between two looks for a turn that is about to be stored.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .route("/api/unified/chat-stream", post(chat_stream))
        .route("/api/unified/chat", post(chat))
        .route("/api/unified/turns/{turn_id}/stream", get(resume))
        .route("/api/unified/turns/{turn_id}/stop", post(stop))
        .route("/api/unified/companies", get(companies))
}

#[derive(Deserialize)]
struct ChatRequest {
    message: String,
    company_id: Option<String>,
    industry: Option<String>,
    session_id: Option<String>,
    language: Option<String>,
    user_info: Option<UserInfo>,
    context: Option<Map<String, Value>>,
    previous_turn_id: Option<TurnId>,
}

/// The company of requests without a body, in open mode.
#[derive(Deserialize)]
struct Named {
    company_id: Option<String>,
    last_event_id: Option<usize>,
}

async fn chat_stream(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let (scope, found) = begin(&app, &headers, body).await?;
    answer(&app, &scope, &headers, found, 0).await
}

async fn chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let (scope, found) = begin(&app, &headers, body).await?;
    let mut reader = match found {
        Found::Here(reader) => reader,
        // It is one document, so it is as good from the store, when the other gateway is done with it.
        Found::Elsewhere { turn_id, .. } => {
            let whole = app.settings.models.total_timeout;
            let waited = tokio::time::timeout(whole, until_stored(&app, &scope, turn_id)).await;
            waited.map_err(|_| Problem::from(Refused::Unreachable))?
        }
    };
    let mut events = Vec::new();
    while let Some((_, more)) = reader.next().await {
        events.extend(more);
    }
    document(reader.turn(), &events)
}

async fn until_stored(app: &App, scope: &CompanyScope, id: TurnId) -> Reader {
    loop {
        if let Some(reader) = app.engine.stored(scope, id, 0).await {
            return reader;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The whole turn as one document.
fn document(turn: &LiveTurn, events: &[TurnEvent]) -> Result<Response, Problem> {
    let head = turn.head();
    let mut answer = String::new();
    let mut document = json!({
        "turn_id": head.turn_id,
        "session_id": head.session_id,
        "conversation_id": head.conversation_id,
    });
    for event in events {
        match event {
            TurnEvent::Content(text) => answer.push_str(text),
            TurnEvent::Reset { .. } => answer.clear(),
            TurnEvent::Error { code, message, .. } => return Err(Problem::unavailable(code.clone(), message.clone())),
            TurnEvent::Start => {}
            TurnEvent::Language { .. } | TurnEvent::Intent(_) | TurnEvent::Sources(_) | TurnEvent::Done { .. } => {
                // The wire form of an event, without its type, is its part of the document.
                let wire = serde_json::to_value(native::Message::of(head, event)).unwrap_or_default();
                merge(&mut document, event, wire);
            }
        }
    }
    if let Some(document) = document.as_object_mut() {
        document.insert("answer".to_owned(), Value::String(answer));
    }
    Ok(Json(document).into_response())
}

fn merge(document: &mut Value, event: &TurnEvent, wire: Value) {
    let (Some(document), Value::Object(mut wire)) = (document.as_object_mut(), wire) else { return };
    wire.remove("type");
    match event {
        TurnEvent::Language { .. } => drop(document.insert("language".to_owned(), Value::Object(wire))),
        TurnEvent::Intent(_) => drop(document.insert("intent".to_owned(), Value::Object(wire))),
        _ => document.extend(wire),
    }
}

async fn resume(
    State(app): State<Arc<App>>,
    Path(turn_id): Path<String>,
    Query(query): Query<Named>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, query.company_id.as_deref(), KeyScope::Publishable).await?;
    let after = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|id| id.parse().ok()));
    let after = match after {
        Some(None) => {
            return Err(Problem::bad_request("invalid_last_event_id", "Last-Event-ID must be an event's number"));
        }
        Some(Some(after)) => after,
        None => query.last_event_id.unwrap_or(0),
    };
    let id: TurnId = turn_id.parse().map_err(|_| Problem::not_found("turn"))?;
    let found = app.engine.resume(&caller.scope, id, after).await.ok_or_else(|| Problem::not_found("turn"))?;
    answer(&app, &caller.scope, &headers, found, after).await
}

/// The turn's events, from here or from the gateway that has it.
async fn answer(
    app: &App,
    scope: &CompanyScope,
    headers: &HeaderMap,
    found: Found,
    after: usize,
) -> Result<Response, Problem> {
    match found {
        Found::Here(reader) => Ok(wires::stream(reader, app.settings.turn.heartbeat, Native)),
        Found::Elsewhere { turn_id, url } => {
            let client = relay::Client { scope, headers };
            if let Some(response) = relay::stream(app, client, &url, turn_id, after).await {
                return Ok(response);
            }
            let reader = stored_in_time(app, scope, turn_id, after).await?;
            Ok(wires::stream(reader, app.settings.turn.heartbeat, Native))
        }
    }
}

/// A turn whose gateway does not answer: it may be stored, or about to be.
async fn stored_in_time(app: &App, scope: &CompanyScope, id: TurnId, after: usize) -> Result<Reader, Problem> {
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

async fn stop(
    State(app): State<Arc<App>>,
    Path(turn_id): Path<String>,
    Query(query): Query<Named>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, query.company_id.as_deref(), KeyScope::Publishable).await?;
    let id: TurnId = turn_id.parse().map_err(|_| Problem::not_found("turn"))?;
    let was_running = match app.engine.turns().get(&caller.scope, id) {
        Some(turn) => turn.stop(),
        None => match app.engine.resume(&caller.scope, id, 0).await {
            Some(Found::Here(_)) => false,
            Some(Found::Elsewhere { url, .. }) => {
                let client = relay::Client { scope: &caller.scope, headers: &headers };
                return relay::stop(&app, client, &url, id).await;
            }
            None => return Err(Problem::not_found("turn")),
        },
    };
    Ok((StatusCode::ACCEPTED, Json(json!({"turn_id": id, "stopped": was_running}))).into_response())
}

/// What the chat page needs to know to begin: in open mode the companies, else that a key is needed.
async fn companies(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    app.gate.refuse_foreign_pages(&headers)?;
    let (mode, companies) = match app.gate.mode() {
        AuthMode::Open => ("open", app.gate.companies().await?),
        AuthMode::Keys => ("keys", Vec::new()),
    };
    let companies: Vec<Value> = companies
        .into_iter()
        .map(|company| {
            let questions = app.questions.get(&company.id).cloned().unwrap_or_default();
            json!({
                "id": company.id, "name": company.name, "industry": company.industry,
                "languages": company.languages, "questions": questions,
            })
        })
        .collect();
    Ok(Json(json!({"auth": mode, "companies": companies})).into_response())
}

async fn begin(app: &App, headers: &HeaderMap, body: Body) -> Result<(CompanyScope, Found), Problem> {
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    let is_open = app.gate.mode() == AuthMode::Open;
    let request: ChatRequest = body::json(headers, body, limits.body_bytes, server.body_timeout, is_open).await?;
    let caller = app.gate.admit(headers, request.company_id.as_deref(), KeyScope::Publishable).await?;
    let question = Question {
        session_id: request.session_id,
        previous_turn_id: request.previous_turn_id,
        language: request.language,
        industry: request.industry,
        user: request.user_info.unwrap_or_default(),
        context: request.context.unwrap_or_default(),
        ..Question::new(request.message)
    };
    let scope = caller.scope.clone();
    Ok((scope, app.engine.begin(asking::ask(app, headers, caller, question)?).await?))
}
