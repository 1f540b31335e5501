//! Opens the embedding model, and says what an index's vectors are made by.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use crate::adapters::embed::fastembed::{self, FastEmbedder};
use crate::config::Settings;
use crate::knowledge::sparse;
use crate::ports::embedder::Embedder;
use crate::ports::index::{DenseEncoder, Encoder};

/// The embedding model. One that is set and cannot be loaded is an error; without one that is set, what `models pull`
/// brought is used, and if there is none, keywords decide alone.
///
/// # Errors
/// When a model that is set cannot be loaded.
pub fn open(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
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
