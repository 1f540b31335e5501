//! Chat completions as a turn reads and writes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::turn::Degraded;
use crate::domain::{ConversationId, FinishReason, TurnId};
use crate::http::wires::openai::{Annotation, Tokens};

/// A chat to be completed. Fields that are not named here go to the provider as they are; a turn has no use for them.
#[derive(Deserialize, ToSchema)]
pub(super) struct ChatRequest {
    /// `turnpike`, `turnpike/<pipeline>`, or a model that `/v1/models` lists.
    #[schema(min_length = 1)]
    #[expect(dead_code, reason = "it was read before")]
    pub(super) model: String,
    /// The conversation; its last message is the question.
    #[schema(min_items = 1)]
    pub(super) messages: Vec<ChatMessage>,
    /// Whether the answer comes in pieces.
    #[serde(default)]
    pub(super) stream: Option<bool>,
    /// What the stream tells besides.
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    /// Randomness.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    pub(super) temperature: Option<f32>,
    /// Most tokens to write.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    pub(super) max_tokens: Option<u32>,
    /// The same by its newer name, which wins.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    pub(super) max_completion_tokens: Option<u32>,
    /// Whether the model thinks before it answers.
    #[serde(default)]
    pub(super) enable_thinking: Option<bool>,
    /// Most tokens to think.
    #[serde(default)]
    #[schema(value_type = Option<u64>, maximum = 4_294_967_295_u64)]
    pub(super) thinking_budget: Option<u32>,
    /// Who asks, in the client's system: the turn's session, unless `metadata` names one.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub(super) user: Option<String>,
    /// What a turn is told besides.
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
    /// Tools, for models other than `turnpike`.
    #[serde(default)]
    pub(super) tools: Option<Vec<ToolDefinition>>,
    /// Answers wanted, more than one by models other than `turnpike` alone.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(super) n: Option<u32>,
    /// The form of the answer's text.
    #[serde(default)]
    pub(super) response_format: Option<ResponseFormat>,
    /// Whether tokens come with their probabilities, by models other than `turnpike` alone.
    #[serde(default)]
    pub(super) logprobs: Option<bool>,
    /// Where the answer ends, for models other than `turnpike`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(super) stop: Option<Value>,
}

/// A message.
#[derive(Deserialize, ToSchema)]
pub(super) struct ChatMessage {
    /// `user`, `assistant`, `system` or `developer`; models other than `turnpike` may know others.
    pub(super) role: String,
    /// Its text.
    #[serde(default)]
    pub(super) content: Option<Content>,
}

/// A message's text.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Content {
    /// In one piece.
    Text(String),
    /// In parts; others than text are for models other than `turnpike`.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Deserialize, ToSchema)]
#[schema(as = ContentPart)]
pub(super) struct Part {
    /// `text`, or another kind such as `image_url`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The text.
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// What a stream tells besides.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
pub(super) struct StreamOptions {
    /// Whether the last chunk tells the tokens.
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}

/// What a turn is told besides.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct Metadata {
    /// The session; what was said in it before is known, unless `messages` says it.
    #[serde(default)]
    pub(super) session_id: Option<String>,
    /// The company, where no key says it.
    #[serde(default)]
    #[expect(dead_code, reason = "it was read before")]
    pub(super) company_id: Option<String>,
    /// The language to answer in: a code, or `auto` for the question's.
    #[serde(default)]
    pub(super) language: Option<String>,
}

/// A tool.
#[derive(Deserialize, ToSchema)]
pub(super) struct ToolDefinition {
    /// `function`, or a kind that the provider knows.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "it was read before")]
    kind: String,
}

/// The form of an answer's text.
#[derive(Deserialize, ToSchema)]
pub(super) struct ResponseFormat {
    /// `text`; others by models other than `turnpike` alone.
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A completed chat.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatCompletion {
    /// `chatcmpl-` and the turn's id.
    pub(super) id: String,
    /// Always `chat.completion`.
    pub(super) object: &'static str,
    /// When it began, in seconds since 1970.
    pub(super) created: u64,
    /// The model as it was asked for.
    pub(super) model: String,
    /// Never told by a turn.
    #[serde(default)]
    pub(super) system_fingerprint: Option<String>,
    /// The answer.
    pub(super) choices: Vec<Choice>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Tokens>,
    /// What a turn tells besides; providers' answers have none of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turnpike: Option<TurnDetails>,
}

/// An answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Choice {
    /// Its place among the answers.
    pub(super) index: u32,
    /// What the assistant says.
    pub(super) message: Reply,
    /// Never told by a turn.
    #[schema(value_type = Option<Object>)]
    pub(super) logprobs: Option<Value>,
    /// `stop`, `length`, `content_filter`, or of a provider's `tool_calls`.
    pub(super) finish_reason: String,
}

/// What the assistant says.
#[derive(Serialize, ToSchema)]
pub(super) struct Reply {
    /// Always `assistant`.
    pub(super) role: &'static str,
    /// The text.
    pub(super) content: Option<String>,
    /// Never told by a turn.
    pub(super) refusal: Option<String>,
    /// The sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) annotations: Vec<Annotation>,
}

/// What a turn tells besides.
#[derive(Serialize, ToSchema)]
pub(super) struct TurnDetails {
    /// The turn.
    #[schema(value_type = String)]
    pub(super) turn_id: TurnId,
    /// Its session.
    pub(super) session_id: String,
    /// Its conversation.
    #[schema(value_type = String)]
    pub(super) conversation_id: ConversationId,
    /// The question's language, as a code.
    pub(super) language: Option<String>,
    /// The question's intent.
    pub(super) intent: Option<String>,
    /// How the answer ended, by its own name: `stop`, `length`, `content_filter`, `stopped` or `interrupted`.
    #[schema(value_type = String)]
    pub(super) finish_reason: FinishReason,
    /// What a fallback stood in for.
    #[schema(value_type = Vec<String>)]
    pub(super) degraded: Vec<Degraded>,
}
