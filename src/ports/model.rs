//! Language models: a prompt in, a stream of text out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::domain::Language;
use crate::domain::conversation::Message;

/// Why a model did not answer, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider refuses the key.
    #[error("the provider refuses the key")]
    Unauthorized,
    /// The provider wants fewer requests.
    #[error("the provider's rate limit is reached")]
    RateLimited {
        /// How long to wait, if it says so.
        retry_after: Option<Duration>,
    },
    /// The provider does not accept the request; another try would end the same.
    #[error("the provider refuses the request: {0}")]
    BadRequest(String),
    /// The provider cannot be reached, or says that it cannot answer now.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider took too long. The text says over what.
    #[error("the provider took too long: {0}")]
    Timeout(&'static str),
    /// The provider said something that is not of its protocol.
    #[error("the provider's answer is not understood: {0}")]
    Protocol(String),
    /// The answer broke off.
    #[error("the provider's answer broke off: {0}")]
    Interrupted(String),
}

impl Error {
    /// Whether the same request may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unauthorized | Self::BadRequest(_) => false,
            Self::RateLimited { .. }
            | Self::Unavailable(_)
            | Self::Timeout(_)
            | Self::Protocol(_)
            | Self::Interrupted(_) => true,
        }
    }

    /// A short name for metrics and events.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::BadRequest(_) => "bad_request",
            Self::Unavailable(_) => "unavailable",
            Self::Timeout(_) => "timeout",
            Self::Protocol(_) => "protocol",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// A model of a provider, written `provider/model`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    /// The provider's name in the settings.
    pub provider: String,
    /// The model's name at the provider.
    pub model: String,
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A passage that the answer may cite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The number to cite it by, from 1.
    pub n: usize,
    /// The document's title.
    pub title: String,
    /// The headings it stands under, joined by ` > `.
    pub heading: String,
    /// Its text.
    pub text: String,
}

/// How long a model thinks before it answers, for those that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// Whether it thinks.
    pub enabled: bool,
    /// Most tokens to think.
    pub budget_tokens: Option<u32>,
}

/// What a model is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The turn, for logs and for providers that take a request id.
    pub turn_id: String,
    /// The system prompt; it already contains the passages.
    pub system: String,
    /// The conversation so far, ending with the question.
    pub messages: Vec<Message>,
    /// Randomness, 0 to 2.
    pub temperature: Option<f32>,
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
    /// Whether it is to think, if that was said.
    pub thinking: Option<Thinking>,
    /// The language to answer in, for models that follow no prompt.
    pub language: Language,
    /// The question alone, for models that follow no prompt.
    pub question: String,
    /// The passages alone, for models that follow no prompt.
    pub passages: Vec<Passage>,
}

/// Tokens as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It came to its end.
    Stop,
    /// It reached `max_tokens`.
    Length,
    /// Its provider withholds the rest.
    ContentFilter,
}

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// Text for the client.
    Content(String),
    /// The model thinks; its thoughts are not passed on, but it is alive.
    Reasoning,
    /// Tokens counted so far.
    Usage(Usage),
    /// It ended.
    Finish(FinishReason),
}

/// An answer as it comes. Dropping it ends the request at the provider.
pub type ChunkStream = BoxStream<'static, Result<Chunk, Error>>;

/// A model that can be asked.
#[async_trait]
pub trait Model: Send + Sync {
    /// Which model.
    fn id(&self) -> &ModelId;

    /// Asks the model. Returns when the provider has accepted the request; the text comes by the stream, which ends
    /// with `Finish` or an error.
    ///
    /// # Errors
    /// When the provider did not accept the request.
    async fn stream(&self, request: &Request) -> Result<ChunkStream, Error>;

    /// Makes the first request faster, where there is something to do ahead, such as opening a connection.
    async fn warm(&self) {}
}
