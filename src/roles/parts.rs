//! Opens the adapters that the settings name.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::data_dir::{DataDir, Lock};
use crate::adapters::bus::embedded::EmbeddedBus;
use crate::adapters::embed::fastembed::{self, FastEmbedder};
use crate::adapters::index::edge::{self, EdgeIndex};
use crate::adapters::store::sqlite::SqliteStore;
use crate::adapters::webhook::HttpSender;
use crate::config::Settings;
use crate::config::pipelines::PipelineSet;
use crate::domain::Company;
use crate::jobs::deliver::Deliver;
use crate::jobs::persist::Persist;
use crate::jobs::runner;
use crate::knowledge::chunk;
use crate::knowledge::ingest::Ingester;
use crate::knowledge::load::Loaders;
use crate::knowledge::sparse::{self, SparseEncoder};
use crate::pipeline::catalog::Catalog;
use crate::pipeline::stages::language::{Detector, Hints};
use crate::ports::embedder::Embedder;
use crate::ports::index::{DenseEncoder, Encoder, KnowledgeIndex};
use crate::runtime::tasks;
use crate::spool::{self, Spool};

/// Everything that one process with the data directory to itself has open.
pub struct Parts {
    /// The data directory.
    pub dir: DataDir,
    /// Conversations, documents, companies, keys, endpoints.
    pub store: Arc<SqliteStore>,
    /// The bus.
    pub bus: Arc<EmbeddedBus>,
    /// The knowledge.
    pub index: Arc<dyn KnowledgeIndex>,
    /// The embedding model, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// What makes the index's vectors.
    pub encoder: Encoder,
    /// The pipelines.
    pub catalog: Arc<Catalog>,
    _lock: Lock,
}

/// The data directory of the settings.
///
/// # Errors
/// When it cannot be made.
pub fn data_dir(settings: &Settings) -> anyhow::Result<DataDir> {
    Ok(DataDir::open(&settings.data_dir)?)
}

/// The store alone: other processes may have it open too.
///
/// # Errors
/// When it cannot be opened.
pub fn store(settings: &Settings) -> anyhow::Result<Arc<SqliteStore>> {
    let path = data_dir(settings)?.store();
    Ok(Arc::new(SqliteStore::open(&path).with_context(|| format!("opening {}", path.display()))?))
}

/// The bus alone, for looking into it: other processes may have it open too.
///
/// # Errors
/// When it cannot be opened.
pub fn bus(settings: &Settings) -> anyhow::Result<Arc<EmbeddedBus>> {
    let path = data_dir(settings)?.bus();
    Ok(Arc::new(EmbeddedBus::open(&path).with_context(|| format!("opening {}", path.display()))?))
}

/// The pipelines.
///
/// # Errors
/// Every mistake in their files.
pub fn catalog(settings: &Settings) -> anyhow::Result<Arc<Catalog>> {
    let set = PipelineSet::load(settings.pipelines_dir.as_deref()).map_err(|problems| {
        let list = problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
        anyhow::anyhow!("the pipelines are wrong:{list}")
    })?;
    Ok(Arc::new(Catalog::new(set)?))
}

impl Parts {
    /// Takes the data directory and opens everything in it. `what` says to others who has it.
    ///
    /// # Errors
    /// When another process has it, or a part cannot be opened.
    pub async fn open(settings: &Arc<Settings>, what: &str) -> anyhow::Result<Self> {
        let dir = data_dir(settings)?;
        let lock = dir.lock(what)?;
        let catalog = catalog(settings)?;
        let store = store(settings)?;
        let bus = bus(settings)?;
        let loading = Arc::clone(settings);
        // Loading a model takes a while of one core.
        let embedder = tokio::task::spawn_blocking(move || embedder(&loading)).await??;
        let encoder = encoder(embedder.as_ref());
        let edge = edge::Settings { open_shards: settings.index.open_shards };
        let index = Arc::new(EdgeIndex::new(dir.index(), encoder.clone(), edge));
        Ok(Self { dir, store, bus, index, embedder, encoder, catalog, _lock: lock })
    }

    /// The spool.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn spool(&self, settings: &Settings) -> anyhow::Result<Spool> {
        let path = self.dir.spool();
        Spool::open(&path, settings.spool.segment_bytes, settings.spool.max_bytes)
            .with_context(|| format!("opening the spool {}", path.display()))
    }

    /// Starts the jobs; they run until `stop`.
    ///
    /// # Errors
    /// When the HTTP client of webhooks cannot be set up.
    pub fn start_jobs(
        &self,
        settings: &Settings,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<JoinHandle<Option<()>>>> {
        let sender = HttpSender::new(&settings.webhooks).context("setting up the client of webhooks")?;
        let persist = Persist::new(self.store.clone(), self.store.clone(), &settings.jobs);
        let deliver = Deliver::new(self.store.clone(), Arc::new(sender), &settings.webhooks, &settings.jobs);
        Ok(vec![
            tasks::spawn("persist", runner::run(Arc::new(persist), self.bus.clone(), stop.clone())),
            tasks::spawn("deliver", runner::run(Arc::new(deliver), self.bus.clone(), stop.clone())),
        ])
    }

    /// What puts documents into the index.
    ///
    /// # Errors
    /// When the sizes of passages contradict each other.
    pub fn ingester(&self, settings: &Settings, company: &Company) -> anyhow::Result<Ingester> {
        let sizes = &settings.knowledge;
        let detector = Detector::new();
        let allowed = company.languages.clone();
        Ok(Ingester {
            index: self.index.clone(),
            register: self.store.clone(),
            embedder: self.embedder.clone(),
            sparse: SparseEncoder::default(),
            loaders: Arc::new(Loaders::default().with_limit(settings.limits.document_bytes as u64)),
            chunking: chunk::Settings::new(sizes.chunk_chars, sizes.chunk_overlap_chars, sizes.chunk_min_chars)?,
            detect: Arc::new(move |text| {
                Some(detector.detect(text, &Hints { allowed: &allowed, prior: None }).language)
            }),
        })
    }

    /// Sends what waits in the spool on to the bus, unfinished turns included, and leaves nothing of it in the spool.
    ///
    /// # Errors
    /// When the spool cannot be read or written.
    pub async fn settle_spool(&self, settings: &Settings) -> anyhow::Result<()> {
        let spool = self.spool(settings)?;
        spool.recover().await?;
        let stop = CancellationToken::new();
        let forwarder = tasks::spawn("forward", spool::forward::run(spool.clone(), self.bus.clone(), stop.clone()));
        spool.drained().await;
        stop.cancel();
        // A task that panicked has been logged.
        let _ = forwarder.await;
        tokio::task::spawn_blocking(move || {
            spool.close();
            spool.purge()
        })
        .await??;
        Ok(())
    }
}

/// The embedding model. One that is set and cannot be loaded is an error; without one that is set, what `models pull`
/// brought is used, and if there is none, keywords decide alone.
///
/// # Errors
/// When a model that is set cannot be loaded.
pub fn embedder(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    let set = &settings.embedder;
    if !set.enabled {
        return Ok(None);
    }
    let cache_dir = models_dir(settings);
    let is_set = set.model_dir.is_some() || set.hub_model.is_some();
    let opened = FastEmbedder::open(&fastembed::Settings {
        model_dir: set.model_dir.clone(),
        hub_model: set.hub_model.clone(),
        cache_dir,
        ort_library: set.ort_library.clone(),
        batch_size: set.batch_size,
        threads: set.threads,
    });
    match opened {
        Ok(embedder) => Ok(Some(Arc::new(embedder))),
        Err(error) if is_set => Err(error).context("loading the embedding model"),
        Err(error @ (fastembed::Error::ModelMissing { .. } | fastembed::Error::LibraryMissing { .. })) => {
            tracing::info!(%error, "keyword search alone");
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(%error, "the embedding model cannot be loaded: keyword search alone");
            Ok(None)
        }
    }
}

/// What makes an index's vectors with a model, or without.
pub fn encoder(embedder: Option<&Arc<dyn Embedder>>) -> Encoder {
    let dense = embedder.map(|embedder| {
        let model = embedder.model();
        DenseEncoder { model: model.name.clone(), fingerprint: model.fingerprint.clone(), dimensions: model.dimensions }
    });
    Encoder { sparse: sparse::VERSION, dense }
}

/// Where models are pulled to and looked for.
pub fn models_dir(settings: &Settings) -> PathBuf {
    settings.embedder.models_dir.clone().unwrap_or_else(|| settings.data_dir.join("models"))
}
