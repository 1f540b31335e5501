//! The models that providers have: asked of them, remembered, and looked up by the names that clients give.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::ports::upstream::{Answer, Call, Upstream};
use crate::runtime::tasks;

/// How long one provider may take to list its models.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a provider that did not list them is left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// Most bytes of a list.
const LIST_BYTES: usize = 4 << 20;
/// Most models of one provider.
const MODELS: usize = 10_000;
/// The provider whose models are known without its saying so.
const QWEN: &str = "qwen";
/// Its models by family.
const QWEN_MODELS: &str = include_str!("listings/qwen.json");

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// By which name.
    pub id: String,
    /// Who has it.
    pub owned_by: String,
    /// When it was made, in seconds since 1970; 0 when its provider does not say.
    pub created: u64,
}

/// What all providers have.
pub struct Listings {
    providers: Vec<Arc<Provider>>,
    fresh_for: Duration,
}

/// One provider and what is known of it.
struct Provider {
    upstream: Arc<dyn Upstream>,
    known: Mutex<Known>,
    /// Held by whoever asks it.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// Its own list, as it was last told.
    models: Arc<[Entry]>,
    told_at: Option<Instant>,
    asked_at: Option<Instant>,
}

/// An entry of a provider's own list.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    created: Value,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

impl Listings {
    /// Of providers, whose lists are believed for a while.
    pub fn new(upstreams: &[Arc<dyn Upstream>], fresh_for: Duration) -> Self {
        let provider = |upstream: &Arc<dyn Upstream>| {
            let (known, asking) = (Mutex::default(), tokio::sync::Mutex::default());
            Arc::new(Provider { upstream: Arc::clone(upstream), known, asking })
        };
        Self { providers: upstreams.iter().map(provider).collect(), fresh_for }
    }

    /// All models, each under a name that finds it. With `force` every provider is asked again.
    pub async fn all(&self, force: bool) -> Vec<Listed> {
        self.refresh(force).await;
        let own = self.providers.iter().flat_map(|provider| {
            let upstream = &provider.upstream;
            upstream.models().iter().map(move |id| (upstream.name(), id.clone(), 0))
        });
        let mut all: Vec<(&str, String, u64)> = own.collect();
        let set = all.len();
        for provider in &self.providers {
            let models = Arc::clone(&provider.known.lock().models);
            for entry in models.iter() {
                let created = created(&entry.created);
                match all.iter_mut().find(|(name, id, _)| *name == provider.upstream.name() && *id == entry.id) {
                    Some(known) => known.2 = created,
                    None => all.push((provider.upstream.name(), entry.id.clone(), created)),
                }
            }
        }
        let mut taken = HashSet::new();
        all.into_iter()
            .enumerate()
            .map(|(n, (name, id, created))| {
                // The plain name is that of the first who has it, unless it would be read as a provider's name and more.
                let is_plain = (n < set || self.split(&id).is_none()) && taken.insert(id.clone());
                let id = if is_plain { id } else { format!("{name}/{id}") };
                Listed { id, owned_by: name.to_owned(), created }
            })
            .collect()
    }

    /// The provider that has a model, and the model's name there: `provider/model`, or the name alone of a model that is
    /// set or listed.
    pub async fn find(&self, model: &str) -> Option<(Arc<dyn Upstream>, String)> {
        let is_set = |provider: &&Arc<Provider>| provider.upstream.models().iter().any(|set| set == model);
        if let Some(provider) = self.providers.iter().find(is_set) {
            return Some((Arc::clone(&provider.upstream), model.to_owned()));
        }
        if let Some((upstream, model)) = self.split(model) {
            return Some((upstream, model.to_owned()));
        }
        self.refresh(false).await;
        let has_it = |provider: &&Arc<Provider>| provider.known.lock().models.iter().any(|entry| entry.id == model);
        let provider = self.providers.iter().find(has_it)?;
        Some((Arc::clone(&provider.upstream), model.to_owned()))
    }

    /// The only provider, if there is but one.
    pub fn only(&self) -> Option<&Arc<dyn Upstream>> {
        match self.providers.as_slice() {
            [only] => Some(&only.upstream),
            _ => None,
        }
    }

    /// A name that begins with a provider's, in its two parts.
    fn split<'a>(&self, model: &'a str) -> Option<(Arc<dyn Upstream>, &'a str)> {
        let (name, model) = model.split_once('/').filter(|(_, model)| !model.is_empty())?;
        let provider = self.providers.iter().find(|provider| provider.upstream.name() == name)?;
        Some((Arc::clone(&provider.upstream), model))
    }

    /// Asks all whose lists are too old, side by side. Whoever has told one before is asked behind the caller's back.
    async fn refresh(&self, force: bool) {
        let waited = self.providers.iter().filter_map(|provider| {
            let is_known = match provider.state(self.fresh_for) {
                State::Fresh if !force => return None,
                State::Fresh | State::Stale => true,
                State::Unknown => false,
            };
            if is_known && !force {
                if provider.asking.try_lock().is_err() {
                    return None;
                }
                let provider = Arc::clone(provider);
                tasks::spawn("list models", async move { provider.ask().await });
                return None;
            }
            Some(provider.ask())
        });
        join_all(waited).await;
    }
}

/// What is known of a provider's list.
enum State {
    /// It needs not be asked for now.
    Fresh,
    /// It is old.
    Stale,
    /// There is none.
    Unknown,
}

impl Provider {
    fn state(&self, fresh_for: Duration) -> State {
        let known = self.known.lock();
        let within = |at: Option<Instant>, time: Duration| at.is_some_and(|at| at.elapsed() < time);
        match known.told_at {
            _ if within(known.told_at, fresh_for) || within(known.asked_at, PAUSE.min(fresh_for)) => State::Fresh,
            Some(_) => State::Stale,
            None => State::Unknown,
        }
    }

    /// Asks for the list, unless somebody else does so now: then theirs is as good.
    async fn ask(&self) {
        let came = Instant::now();
        let _asking = self.asking.lock().await;
        if self.known.lock().asked_at.is_some_and(|asked| asked > came) {
            return;
        }
        let told =
            tokio::time::timeout(PATIENCE, self.told()).await.unwrap_or_else(|_| Err("no answer in time".into()));
        let mut known = self.known.lock();
        known.asked_at = Some(Instant::now());
        match told {
            Ok(models) => {
                known.models = models.into();
                known.told_at = known.asked_at;
            }
            Err(reason) => {
                tracing::warn!(provider = self.upstream.name(), reason, "a provider does not list its models");
            }
        }
    }

    async fn told(&self) -> Result<Vec<Entry>, String> {
        let answer = self.upstream.call(Call::get("models", PATIENCE)).await.map_err(|error| error.to_string())?;
        let status = answer.status;
        let told = read(answer).await;
        match told {
            Ok(models) if !models.is_empty() => Ok(models),
            // It answers, and has no list.
            _ if self.upstream.name() == QWEN && status < 500 => Ok(qwen()),
            Ok(models) => Ok(models),
            Err(reason) => Err(reason),
        }
    }
}

/// A provider's list, without what no client should see twice or at all.
async fn read(mut answer: Answer) -> Result<Vec<Entry>, String> {
    if let Some(refusal) = answer.refusal {
        return Err(refusal.message);
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        if bytes.len() > LIST_BYTES {
            return Err(format!("its list is larger than {LIST_BYTES} bytes"));
        }
    }
    let list: List = serde_json::from_slice(&bytes).map_err(|error| format!("its list is not understood: {error}"))?;
    let mut seen = HashSet::new();
    let models = list.data.into_iter().filter(|entry| !entry.id.is_empty() && seen.insert(entry.id.clone()));
    Ok(models.take(MODELS).collect())
}

/// When a model was made; some write that with a fraction, or not at all.
fn created(value: &Value) -> u64 {
    value.as_u64().or_else(|| u64::try_from(value.as_f64()? as i64).ok()).unwrap_or_default()
}

/// The families of Qwen's own service, which does not list them.
fn qwen() -> Vec<Entry> {
    let families: Vec<Vec<String>> = serde_json::from_str(QWEN_MODELS).unwrap_or_default();
    families.into_iter().flatten().map(|id| Entry { id, created: Value::Null }).collect()
}
