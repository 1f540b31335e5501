//! Opens the adapters that the settings name.

use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::data_dir::{DataDir, Lock};
use super::embedder;
use super::stores::Stores;
use crate::adapters::bus::embedded::EmbeddedBus;
use crate::adapters::bus::rabbitmq::{self, RabbitBus};
use crate::adapters::index::edge::{self, EdgeIndex};
use crate::adapters::index::qdrant::{self, QdrantIndex};
use crate::config::pipelines::PipelineSet;
use crate::config::{self, Settings};
use crate::domain::Company;
use crate::jobs::deliver;
use crate::knowledge::chunk;
use crate::knowledge::ingest::Ingester;
use crate::knowledge::load::Loaders;
use crate::knowledge::sparse::SparseEncoder;
use crate::pipeline::catalog::Catalog;
use crate::pipeline::stages::language::{Detector, Hints};
use crate::ports::bus::Bus;
use crate::ports::embedder::Embedder;
use crate::ports::index::{Encoder, KnowledgeIndex};
use crate::ports::store::DocumentRegister;
use crate::runtime::tasks;
use crate::spool::{self, Keep, Spool};

/// What a process that runs turns or works on the knowledge has open.
pub struct Parts {
    /// The data directory.
    pub dir: DataDir,
    /// Conversations, documents, companies, numbers.
    pub stores: Stores,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The knowledge.
    pub index: Arc<dyn KnowledgeIndex>,
    /// The embedding model, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// What makes the index's vectors.
    pub encoder: Encoder,
    /// The pipelines.
    pub catalog: Arc<Catalog>,
    _lock: Option<Lock>,
}

/// What the parts are opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To run turns: the data directory's spool is written.
    Turns,
    /// To read or write the knowledge.
    Knowledge,
}

/// The data directory of the settings.
///
/// # Errors
/// When it cannot be made.
pub fn data_dir(settings: &Settings) -> anyhow::Result<DataDir> {
    Ok(DataDir::open(&settings.data_dir)?)
}

/// The bus. A file may be open in other processes too, for looking into it; a server is not asked yet.
///
/// # Errors
/// When the file cannot be opened, or the bus and the store do not go together.
pub fn bus(settings: &Settings, stores: &Stores) -> anyhow::Result<Arc<dyn Bus>> {
    match &settings.bus {
        config::Bus::Embedded => {
            let path = data_dir(settings)?.bus();
            Ok(Arc::new(EmbeddedBus::open(&path).with_context(|| format!("opening {}", path.display()))?))
        }
        config::Bus::RabbitMq { .. } => {
            let shared = stores.shared.as_ref().context("RabbitMQ needs MongoDB, which keeps its books")?;
            let settings = rabbitmq(settings).context("RabbitMQ is not set")?;
            Ok(RabbitBus::open(settings, Arc::clone(&shared.ledger))?)
        }
    }
}

/// The settings of RabbitMQ's adapter, if RabbitMQ is the bus.
pub fn rabbitmq(settings: &Settings) -> Option<rabbitmq::Settings> {
    let config::Bus::RabbitMq { url, namespace, redeliver_after } = &settings.bus else { return None };
    Some(rabbitmq::Settings {
        namespace: namespace.clone(),
        redeliver_after: *redeliver_after,
        persist_prefetch: settings.jobs.persist_concurrency,
        deliver_prefetch: deliver::handlers(settings.webhooks.concurrency),
        analytics_prefetch: settings.jobs.analytics_concurrency,
        ..rabbitmq::Settings::new(url.clone())
    })
}

/// The knowledge index. A server is not asked yet.
///
/// # Errors
/// When the server's address is not one.
pub fn index(settings: &Settings, dir: &DataDir, encoder: &Encoder) -> anyhow::Result<Arc<dyn KnowledgeIndex>> {
    match &settings.index {
        config::Index::Embedded { open_shards } => {
            let edge = edge::Settings { open_shards: *open_shards };
            Ok(Arc::new(EdgeIndex::new(dir.index(), encoder.clone(), edge)))
        }
        config::Index::Qdrant { .. } => Ok(Arc::new(qdrant(settings, encoder)?.context("Qdrant is not set")?)),
    }
}

/// Qdrant's adapter, if Qdrant is the index.
///
/// # Errors
/// When the server's address is not one.
pub fn qdrant(settings: &Settings, encoder: &Encoder) -> anyhow::Result<Option<QdrantIndex>> {
    let config::Index::Qdrant { url, api_key, collection, timeout } = &settings.index else { return Ok(None) };
    let settings = qdrant::Settings {
        api_key: api_key.clone(),
        collection: collection.clone(),
        timeout: *timeout,
        ..qdrant::Settings::new(url.clone())
    };
    Ok(Some(QdrantIndex::open(&settings, encoder.clone()).context("QDRANT_URL, or `index.url`")?))
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
    /// Opens everything, and takes the data directory where it is needed. `what` says to others who has it.
    ///
    /// # Errors
    /// When another process has it, or a part cannot be opened.
    pub async fn open(settings: &Arc<Settings>, what: &str, purpose: Purpose) -> anyhow::Result<Self> {
        let dir = data_dir(settings)?;
        let has_index = matches!(settings.index, config::Index::Embedded { .. });
        let lock = match purpose == Purpose::Turns || has_index {
            true => Some(dir.lock(what)?),
            false => None,
        };
        let catalog = catalog(settings)?;
        let stores = Stores::open(settings)?;
        let bus = bus(settings, &stores)?;
        let loading = Arc::clone(settings);
        // Loading a model takes a while of one core.
        let embedder = tokio::task::spawn_blocking(move || embedder::open(&loading)).await??;
        let encoder = embedder::encoder(embedder.as_ref());
        let index = index(settings, &dir, &encoder)?;
        Ok(Self { dir, stores, bus, index, embedder, encoder, catalog, _lock: lock })
    }

    /// The spool.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn spool(&self, settings: &Settings) -> anyhow::Result<Spool> {
        let path = self.dir.spool();
        let keep = if settings.bus.is_shared() { Keep::UntilEnded } else { Keep::UntilForwarded };
        Spool::open(&path, settings.spool.segment_bytes, settings.spool.max_bytes, keep)
            .with_context(|| format!("opening the spool {}", path.display()))
    }

    /// What puts documents into the index.
    ///
    /// # Errors
    /// When the sizes of passages contradict each other.
    pub fn ingester(&self, settings: &Settings, company: &Company) -> anyhow::Result<Ingester> {
        let register = self.stores.documents.clone();
        ingester(settings, company, self.index.clone(), register, self.embedder.clone())
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

/// What puts documents of a company into an index.
///
/// # Errors
/// When the sizes of passages contradict each other.
pub fn ingester(
    settings: &Settings,
    company: &Company,
    index: Arc<dyn KnowledgeIndex>,
    register: Arc<dyn DocumentRegister>,
    embedder: Option<Arc<dyn Embedder>>,
) -> anyhow::Result<Ingester> {
    let sizes = &settings.knowledge;
    let detector = Detector::new();
    let allowed = company.languages.clone();
    Ok(Ingester {
        index,
        register,
        embedder,
        sparse: SparseEncoder::default(),
        loaders: Arc::new(Loaders::default().with_limit(settings.limits.document_bytes as u64)),
        chunking: chunk::Settings::new(sizes.chunk_chars, sizes.chunk_overlap_chars, sizes.chunk_min_chars)?,
        detect: Arc::new(move |text| Some(detector.detect(text, &Hints { allowed: &allowed, prior: None }).language)),
        listener: None,
    })
}
