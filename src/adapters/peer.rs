//! Other gateways over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use reqwest::{Client, redirect};

use crate::ports::peer::{Answer, Error, Peer, Question};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// A stream carries a comment every few seconds, so one that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// The client for all of them.
pub struct HttpPeer {
    client: Client,
}

impl HttpPeer {
    /// A client.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .tcp_nodelay(true)
            // A redirect would carry a company's key to where no one configured.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Peer for HttpPeer {
    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let method = if question.is_post { reqwest::Method::POST } else { reqwest::Method::GET };
        let mut request = self.client.request(method, &question.url);
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| Error::Unreachable(error.without_url().to_string()))?;
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        Ok(Answer {
            status: response.status().as_u16(),
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            body: response.bytes_stream().map_err(|error| Error::Broken(error.without_url().to_string())).boxed(),
        })
    }
}
