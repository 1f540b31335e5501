//! Providers that speak OpenAI's API, asked as they are: requests that are no turn of ours are passed on to them, and what
//! they answer is passed back.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Why a provider gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("the provider did not answer in time")]
    Timeout,
    /// It broke off.
    #[error("the provider broke off: {0}")]
    Broken(String),
}

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It is read.
    Get,
    /// Something is sent to it.
    Post,
    /// It is removed.
    Delete,
}

/// A request to a provider.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is done.
    pub method: Method,
    /// The path after the provider's base, such as `chat/completions`.
    pub path: String,
    /// The body's media type, if there is a body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    /// How long to wait for the head of the answer.
    pub patience: Duration,
}

impl Call {
    /// A resource to read.
    pub fn get(path: impl Into<String>, patience: Duration) -> Self {
        Self { method: Method::Get, path: path.into(), content_type: None, body: Bytes::new(), patience }
    }
}

/// What a provider answers, as it comes. Dropping it ends the request there.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers that matter to a client: media type, request id, limits, when to come back.
    pub headers: Vec<(String, String)>,
    /// The body; nothing where there is a refusal.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
    /// What it says with a status that is no success.
    pub refusal: Option<Refusal>,
}

/// What a provider says when it does not do it: short, and without anything that looks like a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// OpenAI's `error.type`.
    pub kind: Option<String>,
    /// OpenAI's `error.param`.
    pub param: Option<String>,
    /// OpenAI's `error.code`.
    pub code: Option<String>,
    /// Whether it said so in a form that is known. What has none, such as a page that is not found, is not of the API.
    pub is_of_the_api: bool,
}

/// A provider that speaks OpenAI's API.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Its name in the settings.
    fn name(&self) -> &str;

    /// Its models as they are set, the preferred one first.
    fn models(&self) -> &[String];

    /// Asks it, with its own key.
    ///
    /// # Errors
    /// `Unreachable` or `Timeout`.
    async fn call(&self, call: Call) -> Result<Answer, Error>;
}
