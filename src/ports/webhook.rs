//! Posting webhooks: HTTP to addresses that companies chose, and that may be anything.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::webhook::Endpoint;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What.
    pub body: Bytes,
}

/// What the receiver answered. It is kept for people to read, so what looks like a secret in it is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status. Redirects are not followed.
    pub status: u16,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: &'static str,
    /// The header `Retry-After` as it came.
    pub retry_after: Option<String>,
    /// The first headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub body_start: Bytes,
}

/// How long the parts of an exchange took. Phases that did not happen are absent: with a connection that was kept from an
/// earlier request there is nothing to look up and to connect. A phase that was cut short counts until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// The look-up of the name.
    pub dns: Option<Duration>,
    /// The connection, TLS included.
    pub connect: Option<Duration>,
    /// From the beginning of all until the answer's headers were there.
    pub first_byte: Option<Duration>,
    /// From the beginning of all to the end, be it the answer's last byte or an error.
    pub total: Duration,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The answer, or why there is none. Addresses that are not allowed are refused at every connection.
    pub result: Result<Answer, Error>,
    /// How long it took.
    pub timing: Timing,
    /// Who was connected to, as far as it is known.
    pub remote_address: Option<SocketAddr>,
}

/// Why there is no answer. No text in here holds the request's headers or body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL cannot be a webhook's.
    #[error("not a webhook's URL: {0}")]
    Url(&'static str),
    /// The address is private, loopback, link-local or otherwise none of the internet's.
    #[error("refused to connect to {0}: not a public address")]
    Address(String),
    /// The name has no address, or could not be looked up.
    #[error("the name could not be resolved: {0}")]
    Dns(String),
    /// Nobody listens there.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The connection cannot be trusted or encrypted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The answer was not complete in time.
    #[error("no complete answer in {0:?}")]
    Timeout(Duration),
    /// What came is no HTTP, or ended early.
    #[error("no proper HTTP answer: {0}")]
    Protocol(String),
}

/// Posts webhooks.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Posts a request and waits for the answer, for as long as its deadline allows: it covers all from the look-up of
    /// the name to the last byte read.
    async fn post(&self, request: Request) -> Posted;

    /// Whether webhooks may go to a URL: its form, and the addresses that it leads to now. Gives the URL as it is asked
    /// for: hosts of other scripts in their ASCII form.
    ///
    /// # Errors
    /// `Url` and `Address` when they may not; `Dns` and `Timeout` when that cannot be said now.
    async fn check(&self, url: &str) -> Result<String, Error>;
}

/// Why no test can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint's secret cannot sign ({0}); rotate it")]
pub struct Unsigned(pub String);

/// Tries addresses and endpoints out, for those who administer them.
#[async_trait]
pub trait Trial: Send + Sync {
    /// As [`Sender::check`].
    ///
    /// # Errors
    /// As [`Sender::check`].
    async fn check(&self, url: &str) -> Result<String, Error>;

    /// Posts a webhook that says nothing but that it arrives, signed as all are, without a queue and only once.
    ///
    /// # Errors
    /// When it cannot be signed.
    async fn test(&self, endpoint: &Endpoint) -> Result<Posted, Unsigned>;
}
