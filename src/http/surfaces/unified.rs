//! The native surface: a turn as a stream or as one document, taken up again, stopped.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wires::Wanted;
use crate::config::AuthMode;
use crate::domain::turn::{Degraded, FinishReason, IntentFound, Source, Usage, UserInfo};
use crate::domain::{CompanyId, CompanyScope, ConversationId, KeyScope, Language, SessionId, TurnId};
use crate::http::App;
use crate::http::asking::{self, Question};
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::http::wires::native::Native;
use crate::http::{body, openapi, reading, relay, wires};
use crate::pipeline::engine::Found;
use crate::pipeline::live::TurnHead;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(chat_stream))
        .routes(routes!(chat))
        .routes(routes!(resume))
        .routes(routes!(stop))
        .routes(routes!(companies))
}

/// A question to a company's chatbot.
#[derive(Deserialize, ToSchema)]
#[schema(as = TurnRequest)]
pub(super) struct ChatRequest {
    /// The question: 8,000 characters at most, unless the settings say otherwise.
    #[schema(min_length = 1, pattern = r"\S")]
    message: String,
    /// The company. A key names it already, and has to be its own.
    #[schema(value_type = Option<CompanyId>)]
    company_id: Option<String>,
    /// The industry, which chooses the pipeline of a company that has none.
    industry: Option<String>,
    /// The session: a conversation goes on as long as its session does. Without it, `user_info.user_id` is the session,
    /// and without both a new one begins.
    session_id: Option<String>,
    /// The language to answer in: a code, or `auto` for the question's own.
    #[schema(schema_with = openapi::language)]
    language: Option<String>,
    /// Who asks.
    user_info: Option<UserInfo>,
    /// Whatever is to be stored with the turn and shown to the model.
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
    /// The turn whose answer the user has read last.
    previous_turn_id: Option<TurnId>,
}

impl ChatRequest {
    /// The question that it asks.
    pub(super) fn question(self) -> Question {
        Question {
            session_id: self.session_id,
            previous_turn_id: self.previous_turn_id,
            language: self.language,
            industry: self.industry,
            user: self.user_info.unwrap_or_default(),
            context: self.context.unwrap_or_default(),
            ..Question::new(self.message)
        }
    }

    /// The company that it names.
    pub(super) fn company(&self) -> Option<&str> {
        self.company_id.as_deref()
    }
}

/// What a request without a body may say.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Named {
    /// The company; only without keys it has to be named.
    #[param(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// What a reader of a stream may say.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct From {
    /// The company; only without keys it has to be named.
    #[param(value_type = Option<CompanyId>)]
    company_id: Option<String>,
    /// The number of the last event that was read, for those who cannot send the header.
    last_event_id: Option<usize>,
}

/// A whole turn as one document.
#[derive(Serialize, ToSchema)]
struct Answer {
    /// The turn.
    turn_id: TurnId,
    /// The session it belongs to.
    session_id: SessionId,
    /// The conversation it belongs to.
    conversation_id: ConversationId,
    /// The question's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    language: Option<LanguageFound>,
    /// The question's intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    intent: Option<IntentFound>,
    /// The passages that the answer may cite as `[n]`.
    sources: Vec<Source>,
    /// The text.
    answer: String,
    /// How it ended.
    finish_reason: FinishReason,
    /// Tokens.
    usage: Usage,
    /// What a fallback stood in for.
    degraded: Vec<Degraded>,
}

/// The language as it was found.
#[derive(Serialize, ToSchema)]
struct LanguageFound {
    /// Its English name.
    #[schema(example = "vietnamese")]
    language: &'static str,
    /// Its ISO 639-1 code.
    code: Language,
    /// Calibrated probability, 0 to 1.
    confidence: f32,
}

/// What became of a wish to stop.
#[derive(Serialize, ToSchema)]
struct Stopped {
    /// The turn.
    turn_id: TurnId,
    /// Whether it was running.
    stopped: bool,
}

/// What a chat page needs to know to begin.
#[derive(Serialize, ToSchema)]
struct Begin {
    /// Whether a key is needed.
    auth: Auth,
    /// The companies that can be asked without a key.
    companies: Vec<Card>,
}

/// Whether a key is needed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Auth {
    /// No key.
    Open,
    /// A company's key.
    Keys,
}

/// A company as a chat page shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = CompanyCard)]
struct Card {
    /// Its id.
    id: CompanyId,
    /// What its customers call it.
    name: String,
    /// Its industry.
    industry: Option<String>,
    /// The languages that its customers write in.
    languages: Vec<Language>,
    /// Questions that the page suggests.
    questions: Vec<String>,
}

/// Ask, and read the answer as it is written
///
/// Who loses the connection reads on under `/api/unified/turns/{turn_id}/stream`. A turn that nobody has read for 20 s ends
/// as `interrupted`.
#[utoipa::path(
    post,
    path = "/api/unified/chat-stream",
    tag = "Chat",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request return the same turn: 1 \
        to 255 ASCII characters.", min_length = 1, max_length = 255, nullable = false, pattern = r"^[!-~]([\t -~]*[!-~])?$")),
    request_body(content = ChatRequest, example = json!({
        "message": "Lãi suất vay mua nhà cố định 12 tháng là bao nhiêu?", "session_id": "s-1", "language": "auto",
        "user_info": {"user_id": "user_123", "device_id": null, "source": "web_device"}, "context": {"page": "/loans"},
    })),
    responses(openapi::TurnStream, openapi::Admission, openapi::JsonBody, openapi::Unprocessable),
)]
async fn chat_stream(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let (scope, found) = begin(&app, &headers, body).await?;
    answer(&app, &scope, &headers, found, 0).await
}

/// Ask, and get the whole answer
///
/// The same turn as `/api/unified/chat-stream`, when it is complete.
#[utoipa::path(
    post,
    path = "/api/unified/chat",
    tag = "Chat",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request return the same turn: 1 \
        to 255 ASCII characters.", min_length = 1, max_length = 255, nullable = false, pattern = r"^[!-~]([\t -~]*[!-~])?$")),
    request_body(content = ChatRequest, example = json!({"message": "When are you open?", "session_id": "s-1"})),
    responses(
        (status = 200, description = "The turn.", body = Answer),
        openapi::Admission, openapi::JsonBody, openapi::Unprocessable,
    ),
)]
async fn chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Answer>, Problem> {
    let (scope, found) = begin(&app, &headers, body).await?;
    // It is one document, so it is as good from the store, when the other gateway is done with it.
    let whole = reading::to_end(reading::reader(&app, &scope, found).await?).await?;
    let TurnHead { turn_id, session_id, conversation_id, .. } = whole.head;
    Ok(Json(Answer {
        turn_id,
        session_id,
        conversation_id,
        language: whole.language.map(|(code, confidence)| LanguageFound { language: code.name(), code, confidence }),
        intent: whole.intent,
        sources: whole.sources.to_vec(),
        answer: whole.answer,
        finish_reason: whole.finish_reason,
        usage: whole.usage,
        degraded: whole.degraded,
    }))
}

/// Read a turn on
///
/// From the event after the last one that was read, or from the first. A turn that has ended can be read again: for some
/// minutes event by event, and later as it is stored.
#[utoipa::path(
    get,
    path = "/api/unified/turns/{turn_id}/stream",
    tag = "Chat",
    security(("bearer" = [])),
    params(
        ("turn_id" = TurnId, Path, description = "The turn."),
        From,
        ("Last-Event-ID" = Option<usize>, Header, nullable = false, description = "The number of the last event that was read."),
    ),
    responses(openapi::TurnStream, openapi::Admission),
)]
async fn resume(
    State(app): State<Arc<App>>,
    Path(turn_id): Path<String>,
    Query(query): Query<From>,
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
    let found = app.engine.resume(&caller.scope, id, after).await?.ok_or_else(|| Problem::not_found("turn"))?;
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
    let wanted = Wanted::of(headers)?;
    if wanted != Wanted::Native {
        // Other protocols have no numbers to read on from: they get the turn from its beginning.
        let reader = reading::reader(app, scope, found).await?;
        let whole = reader.turn().read(0);
        return Ok(wanted.stream(app, whole));
    }
    match found {
        Found::Here(reader) => Ok(wires::stream(reader, app.settings.turn.heartbeat, Native)),
        Found::Elsewhere { turn_id, url } => {
            let client = relay::Client { scope, headers };
            if let Some(response) = relay::stream(app, client, &url, turn_id, after).await {
                return Ok(response);
            }
            let reader = reading::stored_in_time(app, scope, turn_id, after).await?;
            Ok(wires::stream(reader, app.settings.turn.heartbeat, Native))
        }
    }
}

/// Stop a turn
///
/// What was delivered is kept, and its stream ends with the finish reason `stopped`.
#[utoipa::path(
    post,
    path = "/api/unified/turns/{turn_id}/stop",
    tag = "Chat",
    security(("bearer" = [])),
    params(("turn_id" = TurnId, Path, description = "The turn."), Named),
    responses((status = 202, description = "Whether it was running.", body = Stopped), openapi::Admission),
)]
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
        None => match app.engine.resume(&caller.scope, id, 0).await? {
            Some(Found::Here(_)) => false,
            Some(Found::Elsewhere { url, .. }) => {
                let client = relay::Client { scope: &caller.scope, headers: &headers };
                return relay::stop(&app, client, &url, id).await;
            }
            None => return Err(Problem::not_found("turn")),
        },
    };
    Ok((StatusCode::ACCEPTED, Json(Stopped { turn_id: id, stopped: was_running })).into_response())
}

/// What a chat page needs to begin
///
/// Whether a key is needed and, where none is, the companies. Needs no key.
#[utoipa::path(
    get,
    path = "/api/unified/companies",
    tag = "Chat",
    security(()),
    responses(
        (status = 200, description = "Whether a key is needed, and the companies where none is.", body = Begin),
        openapi::Forbidden, openapi::Unavailable,
    ),
)]
async fn companies(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Begin>, Problem> {
    app.gate.refuse_foreign_pages(&headers)?;
    let (auth, companies) = match app.gate.mode() {
        AuthMode::Open => (Auth::Open, app.gate.companies().await?),
        AuthMode::Keys => (Auth::Keys, Vec::new()),
    };
    let companies = companies.into_iter().map(|company| Card {
        questions: app.questions.get(&company.id).cloned().unwrap_or_default(),
        id: company.id,
        name: company.name,
        industry: company.industry,
        languages: company.languages,
    });
    Ok(Json(Begin { auth, companies: companies.collect() }))
}

async fn begin(app: &App, headers: &HeaderMap, body: Body) -> Result<(CompanyScope, Found), Problem> {
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    let is_open = app.gate.mode() == AuthMode::Open;
    let request: ChatRequest = body::json(headers, body, limits.body_bytes, server.body_timeout, is_open).await?;
    let caller = app.gate.admit(headers, request.company(), KeyScope::Publishable).await?;
    let scope = caller.scope.clone();
    Ok((scope, app.engine.begin(asking::ask(app, headers, caller, request.question())?).await?))
}
