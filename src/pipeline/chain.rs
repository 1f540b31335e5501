//! The models in the order in which they are asked: retries before the first token, time-outs, a breaker per provider,
//! and at the end the one that needs no provider.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::breaker::Breaker;
use crate::config::pipelines::ModelRef;
use crate::config::{Models, pipelines};
use crate::domain::turn::Degraded;
use crate::ports::model::{Chunk, ChunkStream, Error, FinishReason, Model, ModelId, Request, Usage};

/// The longest `Retry-After` that is waited for; a longer one means the next model.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Takes an answer as it comes.
pub trait Sink: Send {
    /// A piece of the answer. False ends it here, because it is long enough.
    fn content(&mut self, text: String) -> bool;
    /// A try begins. Nothing that an earlier one left behind may reach the answer; what was passed on is taken back.
    fn begin(&mut self);
    /// Whether anything was passed on.
    fn is_empty(&self) -> bool;
}

/// How an answer was made.
#[derive(Debug)]
pub struct Answered {
    /// The model that wrote it.
    pub model: ModelId,
    /// Why it stopped.
    pub finish_reason: FinishReason,
    /// Tokens, if the provider counted them.
    pub usage: Option<Usage>,
    /// What was missing.
    pub degraded: Option<Degraded>,
}

/// The models.
pub struct Chain {
    models: HashMap<String, Arc<dyn Model>>,
    order: Vec<String>,
    last_resort: Arc<dyn Model>,
    breakers: HashMap<String, Breaker>,
    /// Providers that have a patience of their own, for the first piece and for each further one.
    patience: HashMap<String, Duration>,
    settings: Models,
}

impl Chain {
    /// A chain of models in the order given; `last_resort` needs no provider and answers when all of them fail.
    pub fn new(models: Vec<Arc<dyn Model>>, last_resort: Arc<dyn Model>, settings: Models) -> Self {
        let order = if settings.chain.is_empty() {
            models.iter().map(|model| model.id().to_string()).collect()
        } else {
            settings.chain.clone()
        };
        let breakers = models
            .iter()
            .map(|model| {
                let breaker = Breaker::new(settings.breaker_failures, settings.breaker_cooldown);
                (model.id().provider.clone(), breaker)
            })
            .collect();
        let models = models.into_iter().map(|model| (model.id().to_string(), model)).collect();
        Self { models, order, last_resort, breakers, patience: HashMap::new(), settings }
    }

    /// Waits longer, or less long, for a provider than for the others.
    #[must_use]
    pub fn with_patience(mut self, provider: String, patience: Duration) -> Self {
        self.patience.insert(provider, patience);
        self
    }

    /// Whether any provider is configured.
    pub fn has_providers(&self) -> bool {
        self.order.iter().any(|id| self.models.contains_key(id))
    }

    /// Models that are named by settings or a pipeline and that no provider has.
    pub fn unknown<'a>(&'a self, named: impl Iterator<Item = &'a pipelines::ModelRef>) -> Vec<String> {
        let named = named.map(ToString::to_string).chain(self.order.iter().cloned());
        let mut unknown: Vec<String> = named.filter(|id| !self.models.contains_key(id)).collect();
        unknown.sort();
        unknown.dedup();
        unknown
    }

    /// Providers that are out.
    pub fn open_breakers(&self) -> Vec<&str> {
        self.breakers.iter().filter(|(_, breaker)| breaker.is_open()).map(|(name, _)| name.as_str()).collect()
    }

    /// Opens connections ahead.
    pub async fn warm(&self) {
        for model in self.models.values() {
            model.warm().await;
        }
    }

    /// The first provider's model, for small questions on the side.
    pub fn first(&self) -> Option<&Arc<dyn Model>> {
        let id = self.order.iter().find(|id| self.models.contains_key(*id))?;
        let model = self.models.get(id)?;
        (!self.breakers.get(&model.id().provider).is_some_and(Breaker::is_open)).then_some(model)
    }

    /// Answers a request: by the agent's own models, then by the common ones, then by the last resort, which does not
    /// fail for want of a provider.
    ///
    /// # Errors
    /// When even the last resort fails.
    pub async fn answer(&self, own: &[ModelRef], request: &Request, sink: &mut dyn Sink) -> Result<Answered, Error> {
        let deadline = Instant::now() + self.settings.total_timeout;
        let own: Vec<String> = own.iter().map(ToString::to_string).collect();
        let mut asked = Vec::new();
        let mut failed = false;
        for id in own.iter().chain(&self.order) {
            let Some(model) = self.models.get(id).filter(|_| !asked.contains(&id)) else { continue };
            asked.push(id);
            let breaker = self.breakers.get(&model.id().provider);
            if breaker.is_some_and(|breaker| !breaker.allows()) {
                failed = true;
                continue;
            }
            match self.ask_until(model, request, sink, deadline).await {
                Ok((finish_reason, usage)) => {
                    if let Some(breaker) = breaker {
                        breaker.succeeded();
                    }
                    let degraded = failed.then_some(Degraded::Provider);
                    return Ok(Answered { model: model.id().clone(), finish_reason, usage, degraded });
                }
                Err(error) => {
                    failed = true;
                    // A request that the provider does not accept says nothing about its health.
                    if let (Some(breaker), false) = (breaker, matches!(error, Error::BadRequest(_))) {
                        breaker.failed();
                    }
                    report(model.id(), &error, &request.turn_id);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        sink.begin();
        let mut stream = self.last_resort.stream(request).await?;
        let deadline = Instant::now() + self.settings.total_timeout;
        let waits = Waits { first_token: None, idle: self.settings.idle_timeout, deadline };
        let (finish_reason, _) = relay(&mut stream, sink, waits).await?;
        let model = self.last_resort.id().clone();
        Ok(Answered { model, finish_reason, usage: None, degraded: Some(Degraded::Llm) })
    }

    /// Asks one model, again before its first token if that may help.
    async fn ask_until(
        &self,
        model: &Arc<dyn Model>,
        request: &Request,
        sink: &mut dyn Sink,
        deadline: Instant,
    ) -> Result<(FinishReason, Option<Usage>), Error> {
        let mut delay = self.settings.retry_delay;
        for tries_left in (0..=self.settings.retries).rev() {
            let error = match self.ask(model, request, sink, deadline).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            let wait = match &error {
                Error::RateLimited { retry_after: Some(wait) } => *wait,
                _ => delay,
            };
            if tries_left == 0 || !error.is_retryable() || !sink.is_empty() || wait > LONGEST_WAIT {
                return Err(error);
            }
            report(model.id(), &error, &request.turn_id);
            tokio::time::sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
            delay *= 2;
        }
        Err(Error::Timeout("all tries"))
    }

    async fn ask(
        &self,
        model: &Arc<dyn Model>,
        request: &Request,
        sink: &mut dyn Sink,
        deadline: Instant,
    ) -> Result<(FinishReason, Option<Usage>), Error> {
        sink.begin();
        let own = self.patience.get(&model.id().provider).copied();
        let first_token = (Instant::now() + own.unwrap_or(self.settings.first_token_timeout)).min(deadline);
        let mut stream = tokio::time::timeout_at(first_token, model.stream(request))
            .await
            .map_err(|_| Error::Timeout("no answer began"))??;
        let waits = Waits { first_token: Some(first_token), idle: own.unwrap_or(self.settings.idle_timeout), deadline };
        relay(&mut stream, sink, waits).await
    }
}

/// How long an answer is waited for.
#[derive(Clone, Copy)]
struct Waits {
    first_token: Option<Instant>,
    /// For each further piece.
    idle: Duration,
    deadline: Instant,
}

/// Passes an answer on, piece by piece.
async fn relay(
    stream: &mut ChunkStream,
    sink: &mut dyn Sink,
    waits: Waits,
) -> Result<(FinishReason, Option<Usage>), Error> {
    let Waits { first_token, idle, deadline } = waits;
    let mut usage = None;
    let mut finish = None;
    let mut patience = first_token.unwrap_or(deadline);
    loop {
        let chunk = match tokio::time::timeout_at(patience, stream.next()).await {
            Ok(Some(chunk)) => chunk?,
            Ok(None) => break,
            // All of the answer is there; only what some providers send after it is not.
            Err(_) if finish.is_some() => break,
            Err(_) if Instant::now() >= deadline => return Err(Error::Timeout("the answer did not end")),
            Err(_) if sink.is_empty() => return Err(Error::Timeout("no first token")),
            Err(_) => return Err(Error::Timeout("the answer stalled")),
        };
        match chunk {
            Chunk::Content(text) => {
                if !sink.content(text) {
                    return Ok((FinishReason::Length, usage));
                }
            }
            Chunk::Reasoning => {}
            Chunk::Usage(counted) => usage = Some(counted),
            Chunk::Finish(reason) => finish = Some(reason),
        }
        patience = (Instant::now() + idle).min(deadline);
    }
    finish.map(|finish| (finish, usage)).ok_or_else(|| Error::Interrupted("it ended without a finish".to_owned()))
}

fn report(model: &ModelId, error: &Error, turn_id: &str) {
    metrics::counter!("turnpike_provider_errors_total", "provider" => model.provider.clone(), "code" => error.code())
        .increment(1);
    tracing::warn!(turn.id = turn_id, model = %model, error.code = error.code(), %error, "a provider failed");
}
