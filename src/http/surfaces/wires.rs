//! The native turn asked for by clients of other protocols: what the `ai` package posts, and what AG-UI's clients post.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::AuthMode;
use crate::domain::turn::UserInfo;
use crate::domain::{CompanyId, KeyScope};
use crate::http::asking::{self, Question};
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::wires::ag_ui::AgUi;
use crate::http::wires::ui_message::{self, UiMessage};
use crate::http::{App, accept, body, openapi, reading, wires};
use crate::pipeline::live::Reader;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(ask_by_ui_message)).routes(routes!(ask_by_ag_ui))
}

/// The company of clients that cannot put it into their bodies.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Named {
    /// The company; only without keys it has to be named.
    #[param(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// What the `ai` package's `DefaultChatTransport` posts.
#[derive(Deserialize, ToSchema)]
struct UiChat {
    /// The chat, which is the session.
    id: String,
    /// The messages that the client holds. The last one, which is the user's, is the question; what came before is known
    /// from the session.
    #[schema(min_items = 1)]
    messages: Vec<UiMessageIn>,
    /// The company, where the address does not name it. A key names it already, and has to be its own.
    company_id: Option<String>,
    /// The language to answer in.
    language: Option<String>,
    /// Who asks.
    user_info: Option<UserInfo>,
    /// Whatever is to be stored with the turn and shown to the model.
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
}

/// A message of the `ai` package.
#[derive(Deserialize, ToSchema)]
struct UiMessageIn {
    /// `user` or `assistant`.
    role: String,
    /// Its parts; those that are text count.
    #[serde(default)]
    parts: Vec<Part>,
}

/// A part of a message.
#[derive(Deserialize, ToSchema)]
struct Part {
    /// What it is; `text` counts.
    #[serde(rename = "type")]
    kind: String,
    /// The text.
    text: Option<String>,
}

/// What AG-UI calls `RunAgentInput`. Fields that are not named here are taken and not read.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunInput {
    /// The thread, which is the session.
    thread_id: String,
    /// The run; it comes back in the events.
    run_id: String,
    /// The messages that the client holds. The last one, which is the user's, is the question.
    #[schema(value_type = Vec<Object>, min_items = 1)]
    messages: Value,
    /// More of the request: `company_id`, `language`, `user_info`, `context`.
    forwarded_props: Option<Forwarded>,
}

/// What AG-UI's clients send besides the messages.
#[derive(Default, Deserialize, ToSchema)]
struct Forwarded {
    /// The company, where the address does not name it. A key names it already, and has to be its own.
    company_id: Option<String>,
    /// The language to answer in.
    language: Option<String>,
    /// Who asks.
    user_info: Option<UserInfo>,
    /// Whatever is to be stored with the turn and shown to the model.
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
}

/// A message as AG-UI has it.
#[derive(Deserialize)]
struct AgMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// Ask from `useChat`, and read a UI message stream
///
/// Takes what the `ai` package's `DefaultChatTransport` posts, and answers in its protocol, version 1.
#[utoipa::path(
    post, path = "/api/unified/chat-stream/ui-message", tag = "Chat",
    security(("bearer" = [])),
    params(Named),
    request_body(content = UiChat, example = json!({
        "id": "chat-1", "trigger": "submit-message",
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "When are you open?"}]}],
    })),
    responses(
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
        openapi::Admission, openapi::JsonBody, openapi::Unprocessable,
    ),
)]
async fn ask_by_ui_message(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: UiChat = read(&app, &headers, body).await?;
    let last = asked.messages.last().filter(|message| message.role == "user").ok_or_else(no_question)?;
    let question = Question {
        session_id: Some(asked.id),
        language: asked.language,
        user: asked.user_info.unwrap_or_default(),
        context: asked.context.unwrap_or_default(),
        ..Question::new(text_of(&last.parts))
    };
    let reader = begin(&app, &headers, named.company_id.or(asked.company_id), question).await?;
    Ok(ui_message_stream(&app, reader))
}

/// Ask from an AG-UI client, and read its events
///
/// Takes a `RunAgentInput`. The thread is the session.
#[utoipa::path(
    post, path = "/api/unified/chat-stream/ag-ui", tag = "Chat",
    security(("bearer" = [])),
    params(Named),
    request_body(content = RunInput, example = json!({
        "threadId": "thread-1", "runId": "run-1", "state": {}, "tools": [], "context": [], "forwardedProps": {},
        "messages": [{"id": "m1", "role": "user", "content": "When are you open?"}],
    })),
    responses(
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
        openapi::Admission, openapi::JsonBody, openapi::Unprocessable,
    ),
)]
async fn ask_by_ag_ui(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: RunInput = read(&app, &headers, body).await?;
    let last = asked.messages.as_array().and_then(|messages| messages.last()).ok_or_else(no_question)?;
    let last = AgMessage::deserialize(last)
        .map_err(|error| Problem::bad_request("invalid_messages", format!("the last of `messages`: {error}")))?;
    let text = match last.content {
        Some(Content::Text(text)) if last.role == "user" => text,
        Some(Content::Parts(parts)) if last.role == "user" => text_of(&parts),
        _ => return Err(no_question()),
    };
    let more = asked.forwarded_props.unwrap_or_default();
    let question = Question {
        session_id: Some(asked.thread_id.clone()),
        language: more.language,
        user: more.user_info.unwrap_or_default(),
        context: more.context.unwrap_or_default(),
        ..Question::new(text)
    };
    let reader = begin(&app, &headers, named.company_id.or(more.company_id), question).await?;
    let wire = AgUi::of_run(asked.thread_id, asked.run_id, asked.messages);
    Ok(wires::stream(reader, app.settings.turn.heartbeat, wire))
}

/// The wire that a client of the native routes names in `Accept`, such as `text/event-stream; wire=ag-ui`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Native,
    UiMessage,
    AgUi,
}

impl Wanted {
    /// What a request names.
    ///
    /// # Errors
    /// 400 for a wire that there is not.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match accept::parameter(headers, "text/event-stream", "wire") {
            None | Some("native") => Ok(Self::Native),
            Some("ui-message") => Ok(Self::UiMessage),
            Some("ag-ui") => Ok(Self::AgUi),
            Some(_) => Err(Problem::bad_request("unknown_wire", "`wire` in Accept is native, ui-message or ag-ui")),
        }
    }

    /// A turn from its first event on, in a form that is not the native one.
    pub(super) fn stream(self, app: &App, reader: Reader) -> Response {
        match self {
            Self::Native => wires::stream(reader, app.settings.turn.heartbeat, wires::native::Native),
            Self::UiMessage => ui_message_stream(app, reader),
            Self::AgUi => wires::stream(reader, app.settings.turn.heartbeat, AgUi::default()),
        }
    }
}

fn ui_message_stream(app: &App, reader: Reader) -> Response {
    let mut response = wires::stream(reader, app.settings.turn.heartbeat, UiMessage::default());
    let (name, value) = ui_message::HEADER;
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    response
}

fn text_of(parts: &[Part]) -> String {
    let texts = parts.iter().filter(|part| part.kind == "text").filter_map(|part| part.text.as_deref());
    texts.collect::<Vec<_>>().join("\n")
}

fn no_question() -> Problem {
    Problem::bad_request("invalid_messages", "`messages` must end with a message of the user")
}

async fn read<T: serde::de::DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let (limit, patience) = (app.settings.limits.body_bytes, app.settings.server.body_timeout);
    body::json(headers, body, limit, patience, app.gate.mode() == AuthMode::Open).await
}

async fn begin(app: &App, headers: &HeaderMap, company: Option<String>, question: Question) -> Result<Reader, Problem> {
    let caller = app.gate.admit(headers, company.as_deref(), KeyScope::Publishable).await?;
    reading::begin(app, asking::ask(app, headers, caller, question)?).await
}
