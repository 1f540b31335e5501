//! Embeddings computed in this process: `fastembed` over ONNX Runtime, which is loaded when it is needed.
//!
//! Questions and passages never share a session. A question runs on a thread and a session of its own, so the
//! longest ingestion delays it by the shared processor and no more. Passages run on a second
//! thread, whose session exists only while there is something to ingest.
//!
//! - `library`: finds and loads ONNX Runtime.
//! - `card`: what is known about a model: its size, pooling, prefixes and languages.
//! - `encoder`: a loaded model, from texts to unit vectors.
//! - `worker`: the two threads and their bounded queues.
//!
//! This is the only module that knows `fastembed` and `ort`.

mod card;
mod encoder;
mod library;
mod worker;

use std::error::Error as StdError;
use std::path::PathBuf;

use crate::ports::embedder::{self, Embedder, EmbeddingModel};
use encoder::{Encode, Loader};
use worker::{Passages, Queries};

/// Where the model and the library are, and how much of the machine they may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A directory with `model.onnx`, `model.toml` and the tokenizer's files. Goes before `hub_model`.
    pub model_dir: Option<PathBuf>,
    /// The name of a model on the hub, such as `multilingual-e5-small`, downloaded at the first start.
    /// With neither this nor `model_dir`, the model that `turnpike models pull` put into `cache_dir` is used.
    pub hub_model: Option<String>,
    /// The directory that `turnpike models pull` fills; the hub's downloads go there as well.
    pub cache_dir: PathBuf,
    /// ONNX Runtime's library, as `ORT_DYLIB_PATH` names it. Without it, `cache_dir/onnxruntime` is searched.
    pub ort_library: Option<PathBuf>,
    /// How many passages go through the model at a time, at most. Long ones go in smaller batches.
    pub batch_size: usize,
    /// Threads that a question runs on. Passages take half as many, so that streams keep the rest of the machine.
    pub threads: usize,
}

/// Why texts cannot be embedded here. Every message ends with what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// ONNX Runtime is nowhere to be found.
    #[error(
        "ONNX Runtime is missing (looked for {}): run `turnpike models pull`, or set ORT_DYLIB_PATH to the library",
        paths(looked_in)
    )]
    LibraryMissing { looked_in: Vec<PathBuf> },
    /// ONNX Runtime was found, but does not load: damaged, too old, or for another platform.
    #[error("ONNX Runtime at {} does not load: run `turnpike models pull --force`, or set ORT_DYLIB_PATH to another library", path.display())]
    BadLibrary { path: PathBuf, source: Source },
    /// The model's directory lacks a file.
    #[error("the embedding model in {} lacks {file}: run `turnpike models pull`", dir.display())]
    ModelMissing { dir: PathBuf, file: String },
    /// The name is none of those that can be loaded from the hub.
    #[error(
        "no embedding model is called {name}: use multilingual-e5-small, or run `turnpike models pull` and name no model"
    )]
    UnknownModel { name: String },
    /// The hub did not give the model.
    #[error("the hub did not give {name}: check the network, or run `turnpike models pull` and name no model")]
    Hub { name: String, source: Source },
    /// The files are there, but are no usable model.
    #[error("the embedding model cannot be used: run `turnpike models pull --force`")]
    BadModel(#[source] Source),
    /// The model's files were replaced after the start: passages and questions would not fit together.
    #[error("the embedding model was replaced while the service ran (`turnpike models pull`): restart the service")]
    ModelChanged,
    /// A loaded model failed on a text.
    #[error("embedding failed: try again, and if it stays so run `turnpike models pull --force`")]
    Encode(#[source] Source),
    /// The thread that embeds has ended or could not be started.
    #[error("the embedding thread is gone: restart the service, and if it stays so run `turnpike models pull --force`")]
    Stopped,
}

/// What lies beneath an error.
pub type Source = Box<dyn StdError + Send + Sync>;

impl From<Error> for embedder::Error {
    /// The message with everything beneath it, the advice last.
    fn from(error: Error) -> Self {
        let mut causes = Vec::new();
        let mut next = StdError::source(&error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let text = if causes.is_empty() { error.to_string() } else { format!("{}: {error}", causes.join(": ")) };
        match error {
            Error::Encode(_) => Self::Failed(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// An embedding model that runs in this process.
///
/// Dropping it ends its threads and waits for them: not at all when they are idle, else for the batch at hand (some
/// tenths of a second). Drop it before the process exits.
pub struct FastEmbedder {
    model: EmbeddingModel,
    queries: Queries,
    passages: Passages,
}

impl FastEmbedder {
    /// Loads the library and the model, and runs it once to see that it works.
    ///
    /// Blocks for a second or so, and for as long as a download takes when the model comes from the hub: call
    /// it off the async threads.
    ///
    /// # Errors
    /// All of [`Error`] but `Encode` and `ModelChanged`.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let environment = library::load(settings.ort_library.as_deref(), &settings.cache_dir)?;
        let threads = settings.threads.max(1);
        let loader = Loader::find(settings, environment)?;
        let (mut encoder, fingerprint) = loader.load(threads)?;
        let card = loader.card();
        let model = EmbeddingModel {
            name: card.name.clone(),
            dimensions: card.dimensions,
            languages: card.languages.clone(),
            fingerprint: fingerprint.clone(),
        };
        encoder.encode(&[card.query_prefix.as_str()]).map_err(|error| match error {
            Error::Encode(source) => Error::BadModel(source),
            other => other,
        })?;
        let query_prefix = card.query_prefix.clone();
        let passage_prefix = card.passage_prefix.clone();
        Ok(Self {
            model,
            queries: Queries::start(encoder, query_prefix)?,
            passages: Passages::start(
                move || match loader.load(threads.div_ceil(2))? {
                    (encoder, now) if now == fingerprint => Ok(encoder),
                    _ => Err(Error::ModelChanged),
                },
                passage_prefix,
                settings.batch_size,
            )?,
        })
    }
}

#[async_trait::async_trait]
impl Embedder for FastEmbedder {
    fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, embedder::Error> {
        Ok(self.queries.embed(text).await?)
    }

    async fn embed_passages(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, embedder::Error> {
        Ok(self.passages.embed(texts).await?)
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_says_what_to_do() {
        let source = || -> Source { "cause".into() };
        let all = [
            Error::LibraryMissing { looked_in: vec!["a".into(), "b".into()] },
            Error::BadLibrary { path: "a".into(), source: source() },
            Error::ModelMissing { dir: "a".into(), file: "model.onnx".into() },
            Error::UnknownModel { name: "x".into() },
            Error::Hub { name: "x".into(), source: source() },
            Error::BadModel(source()),
            Error::ModelChanged,
            Error::Encode(source()),
            Error::Stopped,
        ];
        for error in all {
            assert!(error.to_string().contains("`turnpike models pull"), "{error}");
        }
    }

    #[test]
    fn the_port_is_told_the_cause_and_the_advice() {
        let failed = embedder::Error::from(Error::Encode("the tensor is odd".into()));
        assert!(matches!(&failed, embedder::Error::Failed(text)
            if text.starts_with("the tensor is odd: ") && text.contains("turnpike models pull")));
        assert!(matches!(embedder::Error::from(Error::BadModel("x".into())), embedder::Error::Unavailable(_)));
    }
}
