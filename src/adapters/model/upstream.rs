//! Providers asked as they are, over the same connections as their models.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};

use super::http::{self, root_cause};
use crate::ports::upstream::{Answer, Call, Error, Method, Upstream};

/// Headers of an answer that a client can use. What else a provider says is between it and us: what is left of its
/// limits would tell one company how much the others ask.
const PASSED_BACK: &[&str] = &["content-type", "retry-after", "retry-after-ms", "x-request-id"];

/// A provider that speaks OpenAI's API.
pub struct HttpUpstream {
    client: Client,
    name: String,
    models: Vec<String>,
    base_url: Url,
    authorization: Option<HeaderValue>,
    /// The key once more, to be taken out of what the provider says.
    api_key: Option<String>,
}

impl HttpUpstream {
    /// A provider under `base_url`, which ends before `/chat/completions`.
    ///
    /// # Errors
    /// When the base URL is none or the key cannot be a header.
    pub fn new(
        client: Client,
        name: &str,
        models: Vec<String>,
        base_url: &str,
        api_key: Option<&str>,
    ) -> Result<Self, http::Error> {
        let api_key = api_key.map(str::trim).filter(|key| !key.is_empty());
        let authorization = match api_key {
            Some(key) => Some(http::secret_header(name, &format!("Bearer {key}"))?),
            None => None,
        };
        let (name, base_url) = (name.to_owned(), http::base_url(name, base_url)?);
        Ok(Self { client, name, models, base_url, authorization, api_key: api_key.map(str::to_owned) })
    }
}

#[async_trait]
impl Upstream for HttpUpstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn models(&self) -> &[String] {
        &self.models
    }

    async fn call(&self, call: Call) -> Result<Answer, Error> {
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let segments: Vec<&str> = call.path.split('/').collect();
        let mut request = self.client.request(method, http::join(&self.base_url, &segments)).body(call.body);
        if let Some(content_type) = &call.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = tokio::time::timeout(call.patience, request.send())
            .await
            .map_err(|_| Error::Timeout)?
            .map_err(|error| Error::Unreachable(root_cause(&error)))?;
        let headers = response.headers().iter().filter(|(name, _)| PASSED_BACK.contains(&name.as_str()));
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        if response.status().is_success() {
            let body = response.bytes_stream().map_err(|error| Error::Broken(root_cause(&error))).boxed();
            return Ok(Answer { status, headers, body, refusal: None });
        }
        let refusal = http::refusal(response, self.api_key.as_deref()).await;
        Ok(Answer { status, headers, body: futures::stream::empty().boxed(), refusal: Some(refusal) })
    }
}
