//! The models and providers that the settings describe.

use std::sync::Arc;

use anyhow::Context;

use crate::adapters::model::extractive::ExtractiveModel;
use crate::adapters::model::gemini::{self, GeminiModel};
use crate::adapters::model::http::{self, ClientOptions};
use crate::adapters::model::openai::{self, OpenAiModel};
use crate::adapters::model::scripted::{Script, ScriptedModel};
use crate::adapters::model::upstream::HttpUpstream;
use crate::config::{ProviderKind, Secret, Settings};
use crate::pipeline::chain::Chain;
use crate::ports::model::{Model, ModelId};
use crate::ports::upstream::Upstream;

/// Makes the chain. All providers share one client, and so their warm connections.
///
/// # Errors
/// When a provider's address, key or script is wrong.
pub fn chain(settings: &Settings) -> anyhow::Result<Chain> {
    let client = http::client(&ClientOptions::default()).context("setting up the client of the providers")?;
    let mut models: Vec<Arc<dyn Model>> = Vec::new();
    for provider in &settings.providers {
        let reveal = |key: &Option<Secret>| key.as_ref().map(|key| key.reveal().to_owned());
        for model in &provider.models {
            let id = ModelId { provider: provider.name.clone(), model: model.clone() };
            let model: Arc<dyn Model> = match &provider.kind {
                ProviderKind::OpenAi { base_url, api_key } => {
                    let options = openai::Options::new(id, base_url, reveal(api_key));
                    Arc::new(OpenAiModel::new(client.clone(), options)?)
                }
                ProviderKind::Gemini { base_url, api_key } => {
                    let api_key = reveal(api_key).unwrap_or_default();
                    let options = gemini::Options { id, base_url: base_url.clone(), api_key, thinking_budget: None };
                    Arc::new(GeminiModel::new(client.clone(), options)?)
                }
                ProviderKind::Scripted { script } => {
                    let text = std::fs::read_to_string(script)
                        .with_context(|| format!("reading the script {}", script.display()))?;
                    let script = Script::parse(&text).with_context(|| format!("the script {}", script.display()))?;
                    Arc::new(ScriptedModel::new(id, script))
                }
            };
            models.push(model);
        }
    }
    // Unless the settings say otherwise, each provider's preferred model stands in the chain, in the order of their names.
    let mut settings = settings.clone();
    if settings.models.chain.is_empty() {
        settings.models.chain = settings
            .providers
            .iter()
            .filter_map(|provider| Some(format!("{}/{}", provider.name, provider.models.first()?)))
            .collect();
    }
    let patience = settings.providers.iter().filter_map(|provider| Some((provider.name.clone(), provider.timeout?)));
    let chain = Chain::new(models, Arc::new(ExtractiveModel::new()), settings.models);
    Ok(patience.fold(chain, |chain, (provider, patience)| chain.with_patience(provider, patience)))
}

/// The providers that can be asked as they are, in the order of their names: those that speak OpenAI's API, Gemini by its
/// compatible face.
///
/// # Errors
/// When a provider's address or key is wrong.
pub fn upstreams(settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Upstream>>> {
    let client = http::client(&ClientOptions::default()).context("setting up the client of the providers")?;
    let mut upstreams: Vec<Arc<dyn Upstream>> = Vec::new();
    for provider in &settings.providers {
        let (base_url, api_key) = match &provider.kind {
            ProviderKind::OpenAi { base_url, api_key } => (base_url.clone(), api_key),
            ProviderKind::Gemini { base_url, api_key } => (format!("{base_url}/v1beta/openai"), api_key),
            ProviderKind::Scripted { .. } => continue,
        };
        let (name, models) = (&provider.name, provider.models.clone());
        let api_key = api_key.as_ref().map(Secret::reveal);
        upstreams.push(Arc::new(HttpUpstream::new(client.clone(), name, models, &base_url, api_key)?));
    }
    Ok(upstreams)
}
