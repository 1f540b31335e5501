//! Streams by provider: the client says which provider is to answer, and reads chunk lines. The only surface that is asked
//! by `GET` too, so that a browser's `EventSource` can read it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::AuthMode;
use crate::domain::turn::{Degraded, FinishReason, Source, Usage};
use crate::domain::{CompanyId, KeyScope, SessionId, TurnId};
use crate::http::asking::{self, Question};
use crate::http::auth::Caller;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::wires::chunks::{self, Chunks, Failed, Piece};
use crate::http::{App, accept, body, openapi, reading, wires};
use crate::pipeline::ask::Options;
use crate::pipeline::live::Reader;

/// What the demonstration says, word by word.
const DEMONSTRATION: &str = "Đây là một luồng thử: mỗi từ là một dòng. This is a test stream: each word is a line.";
/// Between two words of it.
const WORD: Duration = Duration::from_millis(100);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(stream_of_provider))
        .routes(routes!(stream_by_address))
        .routes(routes!(stream_demonstration))
        .routes(routes!(ask_flow))
}

/// A question, and who is to answer it.
#[derive(Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[schema(as = ProviderQuestion)]
struct Asked {
    /// What is asked.
    #[schema(pattern = r"\S")]
    #[param(pattern = r"\S")]
    user_input: String,
    /// A provider by its name in the settings, such as `gemini` or `openai`. Without one the usual models answer.
    provider: Option<String>,
    /// The session that it belongs to. Without one it stands alone.
    session_id: Option<String>,
    /// The company, where no keys are asked for.
    #[schema(value_type = Option<CompanyId>)]
    #[param(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// A publishable key, for browsers that cannot send headers.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Keyed {
    /// A publishable key.
    key: Option<String>,
}

/// The answer as one document.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderAnswer)]
struct Answer {
    /// The answer.
    response: String,
    /// The turn.
    turn_id: TurnId,
    /// The session that it belongs to.
    session_id: SessionId,
    /// How the answer ended.
    finish_reason: FinishReason,
    /// Tokens.
    usage: Usage,
    /// The passages that the answer may cite.
    sources: Vec<Source>,
    /// What was missing; `provider` when another one answered than was asked for.
    degraded: Vec<Degraded>,
}

/// Ask a provider
///
/// Streams the answer of the provider that the body names.
/// When that one fails, another answers, and the last line says so in `degraded`. A client that names
/// `text/event-stream` in `Accept` is told errors in the stream too, with status 200.
#[utoipa::path(
    post, path = "/api/stream/chat", tag = "Streams by provider",
    request_body(content = Asked, example = json!({"user_input": "Xin chào, bạn có khỏe không?", "provider": "gemini"})),
    responses(
        (status = 200, description = "The answer as it is written.", body = Piece, content_type = "text/event-stream"),
        openapi::InLine,
    ),
    security(("bearer" = [])),
)]
async fn stream_of_provider(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let opened = async {
        let asked = read(&app, &headers, body).await?;
        let caller = app.gate.admit(&headers, asked.company_id.as_deref(), KeyScope::Publishable).await?;
        begin(&app, &headers, caller, asked).await
    };
    match opened.await {
        Ok(reader) => wires::stream(reader, app.settings.turn.heartbeat, Chunks::default()),
        Err(problem) => refused(&headers, problem),
    }
}

/// Ask a provider by an address
///
/// For the browser's `EventSource`.
/// Lines have ids: a browser that reconnects sends the last one as `Last-Event-ID`, and reads on in the same turn.
#[utoipa::path(
    get, path = "/api/stream/chat-get", tag = "Streams by provider",
    params(Asked, Keyed),
    responses(
        (status = 200, description = "The answer as it is written.", body = Piece, content_type = "text/event-stream"),
        openapi::InLine,
    ),
    security(("bearer" = []), ()),
)]
async fn stream_by_address(
    State(app): State<Arc<App>>,
    asked: Result<Query<Asked>, Problem>,
    keyed: Result<Query<Keyed>, Problem>,
    headers: HeaderMap,
) -> Response {
    let opened = async {
        let (Query(asked), Query(keyed)) = (asked?, keyed?);
        let company = asked.company_id.as_deref();
        let caller = app.gate.admit_page(&headers, keyed.key.as_deref(), company).await?;
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(chunks::place_of);
        let Some((turn, after)) = last else { return begin(&app, &headers, caller, asked).await };
        let found = app.engine.resume(&caller.scope, turn, after).await?;
        reading::reader(&app, &caller.scope, found.ok_or_else(|| Problem::not_found("turn"))?).await
    };
    match opened.await {
        Ok(reader) => wires::stream(reader, app.settings.turn.heartbeat, Chunks::numbered()),
        Err(problem) => refused(&headers, problem),
    }
}

/// See a stream
///
/// It says some words and ends, to see that streams arrive as they are sent. Nobody is asked.
#[utoipa::path(
    get, path = "/api/stream/sse", tag = "Streams by provider",
    params(Keyed),
    responses(
        (status = 200, description = "Some lines, a tenth of a second apart.", body = Piece, content_type = "text/event-stream"),
        openapi::InLine,
    ),
    security(("bearer" = []), ()),
)]
async fn stream_demonstration(
    State(app): State<Arc<App>>,
    keyed: Result<Query<Keyed>, Problem>,
    headers: HeaderMap,
) -> Response {
    let admitted = async { app.gate.admit_anyone(&headers, keyed?.0.key.as_deref()).await };
    if let Err(problem) = admitted.await {
        return refused(&headers, problem);
    }
    let words = DEMONSTRATION.split_inclusive(' ').map(|word| line(&serde_json::json!({"chunk": word, "done": false})));
    let end = line(&serde_json::json!({"chunk": "", "done": true}));
    let lines = futures::stream::iter(words.chain([end])).then(async |line| {
        tokio::time::sleep(WORD).await;
        Ok::<_, std::convert::Infallible>(line)
    });
    wires::event_stream(Body::from_stream(lines))
}

/// Ask, and get one document
#[utoipa::path(
    post, path = "/api/flows/ask", tag = "Streams by provider",
    request_body(content = Asked, example = json!({"user_input": "Xin chào, bạn có khỏe không?", "provider": "gemini"})),
    responses(
        (status = 200, description = "The answer.", body = Answer),
        openapi::InLine,
    ),
    security(("bearer" = [])),
)]
async fn ask_flow(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let answered = async {
        let asked = read(&app, &headers, body).await?;
        let caller = app.gate.admit(&headers, asked.company_id.as_deref(), KeyScope::Publishable).await?;
        reading::to_end(begin(&app, &headers, caller, asked).await?).await
    };
    match answered.await {
        Ok(whole) => Json(Answer {
            response: whole.answer,
            turn_id: whole.head.turn_id,
            session_id: whole.head.session_id,
            finish_reason: whole.finish_reason,
            usage: whole.usage,
            sources: whole.sources.to_vec(),
            degraded: whole.degraded,
        })
        .into_response(),
        Err(problem) => failed(problem),
    }
}

async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Asked, Problem> {
    let (limit, patience) = (app.settings.limits.body_bytes, app.settings.server.body_timeout);
    body::json(headers, body, limit, patience, app.gate.mode() == AuthMode::Open).await
}

async fn begin(app: &App, headers: &HeaderMap, caller: Caller, asked: Asked) -> Result<Reader, Problem> {
    if asked.user_input.trim().is_empty() {
        return Err(Problem::bad_request("empty_input", "`user_input` is empty"));
    }
    let provider = asked.provider.as_deref().filter(|name| !name.is_empty());
    let models = provider.map(|name| asking::models_of(&app.settings, name)).transpose()?.unwrap_or_default();
    let question = Question {
        session_id: asked.session_id,
        options: Options { models, ..Options::default() },
        ..Question::new(asked.user_input)
    };
    reading::begin(app, asking::ask(app, headers, caller, question)?).await
}

/// A refusal in this surface's form. An `EventSource` shows its page nothing of an answer that is no stream, so a client
/// that names the type gets one.
fn refused(headers: &HeaderMap, problem: Problem) -> Response {
    if !accept::names(headers, "text/event-stream") {
        return failed(problem);
    }
    metrics::counter!("turnpike_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    let told = Failed { error: problem.detail(), done: true, code: problem.code() };
    wires::event_stream(Body::from(line(&told)))
}

fn failed(problem: Problem) -> Response {
    let (error, code) = (problem.detail().to_owned(), problem.code().to_owned());
    problem.respond(&Failed { error: &error, done: true, code: &code })
}

fn line(value: &impl Serialize) -> Bytes {
    let mut out = Vec::new();
    wires::data(&mut out, value);
    out.into()
}
