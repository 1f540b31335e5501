//! The embedder: text in, vectors of unit length out.

use async_trait::async_trait;

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be asked now.
    #[error("the embedding model is unavailable: {0}")]
    Unavailable(String),
    /// The model was asked and failed.
    #[error("the embedding model failed: {0}")]
    Failed(String),
}

/// An embedding model: what an index must know to tell whether its vectors fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// Its name.
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
    /// ISO 639-1 codes of the languages it knows; `*` means all.
    pub languages: Vec<String>,
    /// Changes whenever the model's vectors do.
    pub fingerprint: String,
}

impl EmbeddingModel {
    /// Whether the model was trained on a language. Vectors of a language that it does not know mislead.
    pub fn knows(&self, language_code: &str) -> bool {
        self.languages.iter().any(|code| code == "*" || code == language_code)
    }
}

/// Makes vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Which model makes the vectors.
    fn model(&self) -> &EmbeddingModel;

    /// The vector of a question, unit length. Never waits behind passages.
    ///
    /// # Errors
    /// When the model cannot be asked or fails.
    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, Error>;

    /// The vectors of passages, in the order given.
    ///
    /// # Errors
    /// When the model cannot be asked or fails.
    async fn embed_passages(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error>;
}
