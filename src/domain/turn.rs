//! A turn: what was asked, what was found, what was answered, and how it ended.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::id::{CompanyId, ConversationId, DocumentId, SessionId, TurnId};
use super::language::Language;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model came to its end.
    Stop,
    /// The answer reached the length allowed.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The user pressed stop; what had been delivered is kept.
    Stopped,
    /// The client went away and did not come back, or the process died; what had been delivered is kept.
    Interrupted,
    /// Nothing could answer.
    Failed,
}

impl FinishReason {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// A part that was missing while a turn ran, and that a fallback stood in for. Named in `done.degraded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// No embedding model: keyword search alone.
    Embedder,
    /// The knowledge index could not be asked: answered without knowledge.
    Index,
    /// No provider could answer: passages were quoted instead.
    Llm,
    /// A provider failed and a later one of the chain answered.
    Provider,
    /// History came from this process's own memory.
    Store,
    /// The answer was not journaled while it streamed; after a crash in mid-answer it would have been lost.
    Journal,
}

impl Degraded {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedder => "embedder",
            Self::Index => "index",
            Self::Llm => "llm",
            Self::Provider => "provider",
            Self::Store => "store",
            Self::Journal => "journal",
        }
    }
}

/// Who asked, as the client says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UserInfo {
    /// The user's id in the client's system.
    pub user_id: Option<String>,
    /// The device's id.
    pub device_id: Option<String>,
    /// Where the message was written, such as `web_device`.
    pub source: Option<String>,
}

impl UserInfo {
    /// The channel that a source belongs to: `web`, `mobile`, a messenger's name, or `api` when none is named.
    pub fn channel(&self) -> String {
        match self.source.as_deref() {
            None | Some("") => "api".to_owned(),
            Some("web_device" | "web" | "website") => "web".to_owned(),
            Some("app_device" | "mobile" | "ios" | "android") => "mobile".to_owned(),
            Some(other) => other.chars().take(64).collect(),
        }
    }
}

/// A passage that stood in the prompt and that the answer may cite as `[n]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Source {
    /// The number that citations name, from 1.
    pub n: usize,
    /// The document.
    pub document_id: DocumentId,
    /// The document's title.
    pub title: String,
    /// Where the document can be read, if it says so.
    pub url: Option<String>,
    /// Relevance, 0 to 1.
    pub score: f32,
    /// The passage's beginning.
    pub snippet: String,
}

/// Tokens counted for a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens read by the model.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
    /// Whether the provider counted them (otherwise they are estimated from the text's length).
    pub estimated: bool,
}

/// Milliseconds from the turn's start to the end of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timings {
    /// Language known.
    pub language_ms: Option<f64>,
    /// Intent known.
    pub intent_ms: Option<f64>,
    /// Passages found.
    pub sources_ms: Option<f64>,
    /// Prompt handed to the first provider.
    pub generation_ms: Option<f64>,
    /// First piece of the answer ready for the client.
    pub first_content_ms: Option<f64>,
    /// Answer complete.
    pub total_ms: Option<f64>,
}

/// A time in milliseconds, to the microsecond: its decimals are few enough to be written and read back the same.
pub fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// The intent as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IntentFound {
    /// The pipeline's name for it.
    pub intent: String,
    /// Calibrated probability, 0 to 1.
    pub confidence: f32,
    /// The agent that answers.
    pub agent: String,
}

/// Everything that is kept of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnRecord {
    /// The turn.
    pub turn_id: TurnId,
    /// The company asked.
    pub company_id: CompanyId,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Where the user wrote.
    pub channel: String,
    /// Who asked.
    pub user: UserInfo,
    /// What the client sent along.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub context: serde_json::Map<String, serde_json::Value>,
    /// The question, NFC.
    pub message: String,
    /// The answer exactly as it was delivered.
    pub answer: String,
    /// How the answer ended.
    pub finish_reason: FinishReason,
    /// The question's language.
    pub language: Option<Language>,
    /// The question's intent.
    pub intent: Option<IntentFound>,
    /// The passages in the prompt.
    pub sources: Vec<Source>,
    /// The model that wrote the answer, `provider/model`.
    pub model: Option<String>,
    /// Tokens.
    pub usage: Usage,
    /// What was missing.
    pub degraded: Vec<Degraded>,
    /// How long each stage took.
    pub timings: Timings,
    /// The error that ended it, as a short code.
    pub error: Option<String>,
    /// The client's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Tells the request from another under the same key.
    #[serde(default)]
    pub request_fingerprint: Option<String>,
    /// The turn that came before it in its conversation, as far as the gateway knew: it is to be stored first.
    #[serde(default)]
    pub previous_turn_id: Option<TurnId>,
    /// When the request was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When the answer ended.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
}

impl TurnRecord {
    /// A turn that was just asked for, of which nothing is known but the question. Unless it is said how it ended, it has
    /// failed.
    pub fn begun(turn_id: TurnId, company_id: CompanyId, session_id: SessionId, at: OffsetDateTime) -> Self {
        let user = UserInfo::default();
        Self {
            turn_id,
            conversation_id: ConversationId::of_session(&company_id, &session_id),
            company_id,
            session_id,
            channel: user.channel(),
            user,
            context: serde_json::Map::new(),
            message: String::new(),
            answer: String::new(),
            finish_reason: FinishReason::Failed,
            language: None,
            intent: None,
            sources: Vec::new(),
            model: None,
            usage: Usage::default(),
            degraded: Vec::new(),
            timings: Timings::default(),
            error: None,
            idempotency_key: None,
            request_fingerprint: None,
            previous_turn_id: None,
            started_at: at,
            finished_at: at,
        }
    }
}
