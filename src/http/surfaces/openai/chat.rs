//! Chat completions: a turn for models named `turnpike`, and for all others what their provider answers.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::schema::{ChatCompletion, ChatRequest};
use super::{Entrance, Named, OWN, pass, refused, turn};
use crate::config::AuthMode;
use crate::domain::KeyScope;
use crate::http::App;
use crate::http::body;
use crate::http::extract::Query;
use crate::http::problem::Problem;

/// The provider whose models on vLLM and SGLang are told by another field whether to think.
const QWEN: &str = "qwen";

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(complete))
}

/// What has to be known of a request, whoever answers it.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    tools: Option<Vec<Tool<'a>>>,
    #[serde(default)]
    metadata: Option<Metadata<'a>>,
    #[serde(default)]
    enable_thinking: Option<bool>,
    #[serde(borrow, default)]
    chat_template_kwargs: Option<&'a RawValue>,
    #[serde(default)]
    continue_final_message: Option<bool>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(default)]
    prefix: Option<bool>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    company_id: Option<Cow<'a, str>>,
}

/// Complete a chat
///
/// A model named `turnpike` or `turnpike/<pipeline>` answers as a whole turn, from the company's knowledge, which is
/// stored and told by webhook like any other. The last message is the question. Every other model is asked at the
/// provider that has it: the request goes there as it is, with whatever fields it has, and so does the answer come back.
/// That is no turn, and nothing of it is stored.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "complete_chat", tag = "OpenAI", params(Named), 
    request_body(content = ChatRequest, example = json!({
        "model": "turnpike", "messages": [{"role": "user", "content": "Lãi suất vay mua nhà là bao nhiêu?"}],
        "metadata": {"session_id": "s-1"}, "stream": true,
    })),
    security(("bearer" = [])), responses(
        (status = 200, description = "The answer: one document, or with `stream` its chunks and `[DONE]`.",
            content((ChatCompletion = "application/json"), (String = "text/event-stream"))),
        Errors))]
async fn complete(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let entrance = Entrance::open(&app, &headers, named).await?;
    let bytes = json_body(&app, &headers, body).await?;
    let shape: Shape<'_> = body::parse(&bytes)?;
    let Some(raw) = shape.model else {
        return Err(refused("missing_required_parameter", "model", "`model` is missing"));
    };
    let model = pass::name_of(raw)?;
    check(&shape)?;
    let company = shape.metadata.as_ref().and_then(|metadata| metadata.company_id.as_deref());
    if let Some(pipeline) = own_pipeline(&model) {
        let caller = entrance.caller(&app, &headers, company, KeyScope::Publishable).await?;
        return turn::complete(&app, &headers, caller, &model, pipeline, &bytes).await;
    }
    let caller = entrance.caller(&app, &headers, company, KeyScope::Backend).await?;
    let target = pass::target(&app, Some(&model)).await?;
    let place = app.engine.occupy(&caller.scope)?;
    let bytes = readied(&bytes, &shape, raw, &model, &target);
    pass::json(&app, place, target.upstream.as_ref(), "chat/completions", bytes).await
}

/// A JSON body below `/v1`.
pub(super) async fn json_body(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let is_open = app.gate.mode() == AuthMode::Open;
    let (limit, patience) = (app.settings.limits.upload_bytes, app.settings.server.body_timeout);
    body::json_bytes(headers, body, limit, patience, is_open).await
}

/// The pipeline that a model of our own names: nothing within means the company's own.
fn own_pipeline(model: &str) -> Option<Option<&str>> {
    match model.strip_prefix(OWN)? {
        "" => Some(None),
        rest => rest.strip_prefix('/').map(Some),
    }
}

/// What no model can do anything with.
fn check(shape: &Shape<'_>) -> Result<(), Problem> {
    match shape.messages.last() {
        None => return Err(refused("empty_array", "messages", "`messages` is empty")),
        // Some providers write on what the assistant has begun, when they are told to.
        Some(last)
            if last.role == "assistant" && last.prefix != Some(true) && shape.continue_final_message != Some(true) =>
        {
            return Err(refused(
                "last_message_is_assistants",
                "messages",
                "the last of `messages` is the assistant's: there is nothing to answer",
            ));
        }
        Some(_) => {}
    }
    for (n, tool) in shape.tools.iter().flatten().enumerate() {
        if tool.kind != "function" {
            continue;
        }
        let function = tool.function.and_then(|raw| serde_json::from_str::<Function<'_>>(raw.get()).ok());
        if function.is_none_or(|function| function.name.is_empty()) {
            return Err(refused(
                "invalid_tool",
                &format!("tools[{n}].function"),
                format!("`tools[{n}]` is a function, so `function` has to be an object with a `name`"),
            ));
        }
    }
    Ok(())
}

/// The request as it goes to the provider: as it came, but for the model's name where that names the provider too, and
/// for what Qwen's models are told on servers that know them by their template alone.
fn readied(bytes: &Bytes, shape: &Shape<'_>, raw: &RawValue, model: &str, target: &pass::Target) -> Bytes {
    let bytes = match target.model.as_deref() {
        Some(named) if named != model => pass::replaced(bytes, raw, named),
        _ => bytes.clone(),
    };
    match (shape.enable_thinking, shape.chat_template_kwargs) {
        (Some(thinks), None) if target.upstream.name() == QWEN => {
            let start = bytes.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
            let told = format!("\"chat_template_kwargs\":{{\"enable_thinking\":{thinks}}},");
            pass::spliced(&bytes, start..start, told.as_bytes())
        }
        _ => bytes,
    }
}
