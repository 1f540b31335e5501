//! Chat with Qwen first: the provider of that name answers, and what matters to its models can be said with each message.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::config::{AuthMode, Provider};
use crate::domain::turn::{Degraded, FinishReason, Source};
use crate::domain::{CompanyId, KeyScope, TurnId};
use crate::http::asking::{self, Question};
use crate::http::detail::Detail;
use crate::http::problem::Problem;
use crate::http::wires::chunks::{Chunks, Piece, openai_usage};
use crate::http::{App, body, openapi, reading, wires};
use crate::pipeline::ask::Options;
use crate::pipeline::live::Reader;
use crate::ports::model::Thinking;
use crate::ports::upstream::Call;

/// The provider's name in the settings.
const QWEN: &str = "qwen";
/// How long its server may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(qwen_chat))
        .routes(routes!(qwen_chat_stream))
        .routes(routes!(qwen_health))
        .routes(routes!(qwen_info))
}

/// A message, and how it is to be answered.
#[derive(Deserialize, ToSchema)]
#[schema(as = QwenMessage)]
struct Message {
    /// What is asked.
    #[schema(pattern = r"\S")]
    message: String,
    /// The conversation that goes on. Without one, one begins.
    #[schema(max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    conversation_id: Option<String>,
    /// Instructions that stand after those of the company's agent. Not with a publishable key.
    system_prompt: Option<String>,
    /// Randomness, 0 to 2.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// Most tokens to write.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    max_tokens: Option<u32>,
    /// Whether the model thinks before it answers. Its thoughts are not shown.
    enable_thinking: Option<bool>,
    /// Most tokens to think.
    #[schema(value_type = Option<u64>, maximum = 4_294_967_295_u64)]
    thinking_budget: Option<u32>,
    /// The company, where no keys are asked for.
    #[schema(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// An answer.
#[derive(Serialize, ToSchema)]
#[schema(as = QwenAnswer)]
struct Answer {
    /// The answer.
    response: String,
    /// The conversation, to go on in it.
    conversation_id: String,
    /// The model that was asked; null when another provider had to answer, which `degraded` says.
    model: Option<String>,
    /// Tokens, as `prompt_tokens`, `completion_tokens` and `total_tokens`.
    #[schema(value_type = Object)]
    usage: serde_json::Value,
    /// The turn.
    turn_id: TurnId,
    /// How the answer ended.
    finish_reason: FinishReason,
    /// The passages that the answer may cite.
    sources: Vec<Source>,
    /// What was missing.
    degraded: Vec<Degraded>,
}

/// That the model's server answers.
#[derive(Serialize, ToSchema)]
#[schema(as = QwenHealth)]
struct Healthy {
    /// Always `healthy`.
    status: &'static str,
    /// Always `qwen`.
    service: &'static str,
    /// The model that is asked first.
    model: Option<String>,
}

/// What the surface is.
#[derive(Serialize, ToSchema)]
#[schema(as = QwenInfo)]
struct Info {
    /// Always `qwen`.
    provider: &'static str,
    /// The model that is asked first.
    model: Option<String>,
    /// All its models that are set.
    models: Vec<String>,
    /// What can be asked of it.
    features: [&'static str; 4],
    /// Longest wait for a piece of an answer, in seconds, where it is set.
    timeout_s: Option<f64>,
}

/// Chat with Qwen, and get the whole answer
#[utoipa::path(
    post, path = "/qwen/chat", tag = "Qwen",
    request_body(content = Message, example = json!({
        "message": "Xin chào", "temperature": 0.7, "max_tokens": 2048, "enable_thinking": false,
    })),
    responses(
        (status = 200, description = "The answer.", body = Answer),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn qwen_chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Answer>, Detail> {
    let reader = begin(&app, &headers, body).await?;
    let whole = reading::to_end(reader).await?;
    let has_failed_over = [Degraded::Provider, Degraded::Llm].iter().any(|missing| whole.degraded.contains(missing));
    let model = provider(&app)?.models.first().filter(|_| !has_failed_over).cloned();
    Ok(Json(Answer {
        response: whole.answer,
        conversation_id: whole.head.session_id.to_string(),
        model,
        usage: openai_usage(whole.usage),
        turn_id: whole.head.turn_id,
        finish_reason: whole.finish_reason,
        sources: whole.sources.to_vec(),
        degraded: whole.degraded,
    }))
}

/// Chat with Qwen, and read the answer as it is written
///
/// Each line names the conversation.
#[utoipa::path(
    post, path = "/qwen/chat/stream", tag = "Qwen",
    request_body(content = Message, example = json!({
        "message": "Xin chào", "temperature": 0.7, "max_tokens": 2048, "enable_thinking": false,
    })),
    responses(
        (status = 200, description = "The answer as it is written.", body = Piece, content_type = "text/event-stream"),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn qwen_chat_stream(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Detail> {
    let reader = begin(&app, &headers, body).await?;
    Ok(wires::stream(reader, app.settings.turn.heartbeat, Chunks::named()))
}

/// Whether Qwen's server is well
///
/// It is when it answers within five seconds.
#[utoipa::path(
    get, path = "/qwen/health", tag = "Qwen",
    responses(
        (status = 200, description = "It does.", body = Healthy),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn qwen_health(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Healthy>, Detail> {
    app.gate.admit_anyone(&headers, None).await?;
    let model = provider(&app)?.models.first().cloned();
    let upstream = app.upstreams.iter().find(|upstream| upstream.name() == QWEN).ok_or_else(missing)?;
    let unwell =
        |reason: String| Problem::unavailable("qwen_unhealthy", format!("Qwen's server is not well: {reason}"));
    match upstream.call(Call::get("models", PATIENCE)).await {
        Ok(answer) if (200..300).contains(&answer.status) => {
            Ok(Json(Healthy { status: "healthy", service: QWEN, model }))
        }
        Ok(answer) => Err(unwell(format!("it answers with status {}", answer.status)).into()),
        Err(error) => {
            // Why it cannot be reached may name addresses of the inside.
            tracing::warn!(provider = QWEN, %error, "a provider is not well");
            Err(unwell("it does not answer".to_owned()).into())
        }
    }
}

/// Which Qwen answers
#[utoipa::path(
    get, path = "/qwen/info", tag = "Qwen",
    responses(
        (status = 200, description = "The model.", body = Info),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn qwen_info(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Info>, Detail> {
    app.gate.admit_anyone(&headers, None).await?;
    let provider = provider(&app)?;
    Ok(Json(Info {
        provider: QWEN,
        model: provider.models.first().cloned(),
        models: provider.models.clone(),
        features: ["chat", "streaming", "system_prompt", "thinking"],
        timeout_s: provider.timeout.map(|timeout| timeout.as_secs_f64()),
    }))
}

fn provider(app: &App) -> Result<&Provider, Problem> {
    app.settings.providers.iter().find(|provider| provider.name == QWEN).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "qwen_missing",
        "no provider \"qwen\" is set: set QWEN_BASE_URL to the address of its server, such as http://localhost:8000",
    )
}

async fn begin(app: &App, headers: &HeaderMap, body: Body) -> Result<Reader, Problem> {
    let limits = &app.settings.limits;
    let is_open = app.gate.mode() == AuthMode::Open;
    let asked: Message =
        body::json(headers, body, limits.body_bytes, app.settings.server.body_timeout, is_open).await?;
    let caller = app.gate.admit(headers, asked.company_id.as_deref(), KeyScope::Publishable).await?;
    provider(app)?;
    let models = asking::models_of(&app.settings, QWEN)?;
    let instructions = asked.system_prompt.filter(|text| !text.trim().is_empty());
    if instructions.is_some() && caller.is_public() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "system_prompt_not_allowed",
            "a publishable key, which everyone can read, may not instruct the company's chatbot",
        ));
    }
    if instructions.as_ref().is_some_and(|text| text.chars().count() > limits.message_chars) {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "system_prompt_too_long",
            format!("`system_prompt` has more than {} characters", limits.message_chars),
        ));
    }
    if asked.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(Problem::bad_request("invalid_temperature", "`temperature` must be between 0 and 2"));
    }
    if asked.max_tokens == Some(0) {
        return Err(Problem::bad_request("invalid_max_tokens", "`max_tokens` must be at least 1"));
    }
    let says_thinking = asked.enable_thinking.is_some() || asked.thinking_budget.is_some();
    let thinking = says_thinking
        .then(|| Thinking { enabled: asked.enable_thinking.unwrap_or(true), budget_tokens: asked.thinking_budget });
    let named = asked.conversation_id.filter(|id| !id.is_empty());
    let session_id = named.unwrap_or_else(|| format!("qwen_conv_{}", new_conversation(headers).simple()));
    let question = Question {
        session_id: Some(session_id),
        options: Options {
            models,
            instructions,
            temperature: asked.temperature,
            max_tokens: asked.max_tokens,
            thinking,
            ..Options::default()
        },
        ..Question::new(asked.message)
    };
    reading::begin(app, asking::ask(app, headers, caller, question)?).await
}

/// A new conversation's name: the same for a request that is sent again under its `Idempotency-Key`.
fn new_conversation(headers: &HeaderMap) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x3b6a_91c4_0d5e_4f27_a8e9_52d7_c31b_604f);
    let key = headers.get("idempotency-key");
    key.map_or_else(Uuid::new_v4, |key| Uuid::new_v5(&NAMESPACE, key.as_bytes()))
}
