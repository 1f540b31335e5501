//! Google's Gemini by its own protocol, `streamGenerateContent` as server-sent events.
//!
//! Protocol: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>.

use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::{Client, Url};

use super::http::{self, Error};
use super::sse;
use crate::ports::model::{self, ChunkStream, Model, ModelId, Request};

mod wire;

#[cfg(test)]
mod tests;

/// One Gemini model.
#[derive(Clone)]
pub struct Options {
    /// Its id; the model part is Google's name, with or without `models/` before it.
    pub id: ModelId,
    /// The address before `/v1beta`, such as `https://generativelanguage.googleapis.com`.
    pub base_url: String,
    /// The key.
    pub api_key: String,
    /// Most tokens to think with: 0 turns thinking off where the model allows it, None leaves it to the model.
    pub thinking_budget: Option<u32>,
}

/// A Gemini model.
pub struct GeminiModel {
    client: Client,
    options: Options,
    base_url: Url,
    endpoint: Url,
    key: HeaderValue,
}

impl GeminiModel {
    /// Sets the model up; nothing is sent yet.
    ///
    /// # Errors
    /// When the base URL is none or the key cannot be a header.
    pub fn new(client: Client, options: Options) -> Result<Self, Error> {
        let provider = &options.id.provider;
        let mut base_url = http::base_url(provider, &options.base_url)?;
        // People set the address with the version as often as without.
        if let Some(path) = base_url.path().strip_suffix("/v1beta").map(str::to_owned) {
            base_url.set_path(&path);
        }
        let key = http::secret_header(provider, options.api_key.trim())?;
        let model = options.id.model.strip_prefix("models/").unwrap_or(&options.id.model);
        let mut endpoint = http::join(&base_url, &["v1beta", "models", &format!("{model}:streamGenerateContent")]);
        endpoint.set_query(Some("alt=sse"));
        Ok(Self { client, options, base_url, endpoint, key })
    }
}

#[async_trait]
impl Model for GeminiModel {
    fn id(&self) -> &ModelId {
        &self.options.id
    }

    async fn stream(&self, request: &Request) -> Result<ChunkStream, model::Error> {
        let call = self
            .client
            .post(self.endpoint.clone())
            // In a header, not in the query: addresses end up in logs.
            .header("x-goog-api-key", self.key.clone())
            .json(&wire::Body::new(request, self.options.thinking_budget));
        let response = http::open(call, Some(self.options.api_key.trim())).await?;
        Ok(sse::chunks(response, wire::read))
    }

    async fn warm(&self) {
        http::warm(&self.client, &self.base_url).await;
    }
}
