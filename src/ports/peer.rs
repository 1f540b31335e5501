//! Another gateway, asked on behalf of a client that came to this one.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Why the other gateway gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached.
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(String),
    /// It broke off.
    #[error("the gateway broke off: {0}")]
    Broken(String),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whether it changes something.
    pub is_post: bool,
    /// The whole address.
    pub url: String,
    /// Headers, the client's authorisation among them.
    pub headers: Vec<(&'static str, String)>,
}

/// What the other gateway answers, as it comes.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's media type.
    pub content_type: Option<String>,
    /// The body.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

/// A way to other gateways.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Asks one.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn ask(&self, question: Question) -> Result<Answer, Error>;
}
