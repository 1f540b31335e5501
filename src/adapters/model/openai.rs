//! Services that speak OpenAI's chat completions: OpenAI, DeepSeek, Qwen on vLLM, Ollama and many others.
//!
//! Protocol: <https://platform.openai.com/docs/api-reference/chat-streaming>. Fields that only some of them know
//! (`reasoning_content`, `reasoning`) are read too; what a provider needs beyond that goes into [`Options::extra`].

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Map, Value};

use super::http::{self, Error};
use super::sse;
use crate::ports::model::{self, ChunkStream, Model, ModelId, Request};

mod wire;

#[cfg(test)]
mod tests;

/// The name by which a service takes the most tokens to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenLimit {
    /// `max_tokens`, which nearly all know.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which OpenAI's reasoning models want instead.
    MaxCompletionTokens,
}

/// One model of one service.
#[derive(Clone)]
pub struct Options {
    /// Its id; the model part goes to the service as it is.
    pub id: ModelId,
    /// The address before `/chat/completions`, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// The key, if the service wants one.
    pub api_key: Option<String>,
    /// Whether to ask for the tokens counted. A few old servers refuse the question; the engine then estimates.
    pub include_usage: bool,
    /// The name by which it takes the most tokens to write.
    pub token_limit: TokenLimit,
    /// Further fields of every request, such as `chat_template_kwargs` for vLLM. They replace those of the same name;
    /// null removes one, such as `temperature` for models that refuse it.
    pub extra: Map<String, Value>,
}

impl Options {
    /// A model with what nearly all services want.
    pub fn new(id: ModelId, base_url: impl Into<String>, api_key: Option<String>) -> Self {
        Self {
            id,
            base_url: base_url.into(),
            api_key,
            include_usage: true,
            token_limit: TokenLimit::default(),
            extra: Map::new(),
        }
    }
}

/// A model of an OpenAI-compatible service.
pub struct OpenAiModel {
    client: Client,
    options: Options,
    base_url: Url,
    endpoint: Url,
    authorization: Option<HeaderValue>,
}

impl OpenAiModel {
    /// Sets the model up; nothing is sent yet.
    ///
    /// # Errors
    /// When the base URL is none or the key cannot be a header.
    pub fn new(client: Client, options: Options) -> Result<Self, Error> {
        let provider = &options.id.provider;
        let base_url = http::base_url(provider, &options.base_url)?;
        let authorization = match options.api_key.as_deref().map(str::trim).filter(|key| !key.is_empty()) {
            Some(key) => Some(http::secret_header(provider, &format!("Bearer {key}"))?),
            None => None,
        };
        let endpoint = http::join(&base_url, &["chat", "completions"]);
        Ok(Self { client, options, base_url, endpoint, authorization })
    }
}

#[async_trait]
impl Model for OpenAiModel {
    fn id(&self) -> &ModelId {
        &self.options.id
    }

    async fn stream(&self, request: &Request) -> Result<ChunkStream, model::Error> {
        let body = wire::body(&self.options, request);
        let mut call = self.client.post(self.endpoint.clone()).json(&body);
        if let Some(authorization) = &self.authorization {
            call = call.header(AUTHORIZATION, authorization.clone());
        }
        // vLLM and most gateways write this id into their logs.
        if let Ok(id) = HeaderValue::from_str(&request.turn_id) {
            call = call.header("x-request-id", id);
        }
        let response = http::open(call, self.options.api_key.as_deref()).await?;
        Ok(sse::chunks(response, wire::read))
    }

    async fn warm(&self) {
        http::warm(&self.client, &self.base_url).await;
    }
}
