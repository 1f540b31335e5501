//! The knowledge index: passages in, the nearest ones out, each company behind its own wall.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::knowledge::{EncodedPassage, Passage, SparseVector};
use crate::domain::{CompanyScope, DocumentId, Language};

/// Why the index did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index was made by another encoder than the one in use.
    #[error(
        "the index of company {company} was made with {index}, but {current} is in use; run `turnpike reindex --company {company}`"
    )]
    EncoderMismatch {
        /// Whose index.
        company: String,
        /// What made it.
        index: Box<Encoder>,
        /// What would read or write it.
        current: Box<Encoder>,
    },
    /// The index cannot be reached or opened.
    #[error("the knowledge index is unavailable: {0}")]
    Unavailable(String),
    /// The index was asked and failed.
    #[error("the knowledge index failed: {0}")]
    Failed(String),
}

/// What made the vectors of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoder {
    /// Version of the sparse encoder.
    pub sparse: u32,
    /// The embedding model, none for keyword search alone.
    pub dense: Option<DenseEncoder>,
}

/// The embedding model behind an index's dense vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenseEncoder {
    /// Its name.
    pub model: String,
    /// Changes whenever its vectors do.
    pub fingerprint: String,
    /// Length of its vectors.
    pub dimensions: usize,
}

impl std::fmt::Display for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.dense {
            Some(dense) => write!(f, "sparse v{} and {} ({})", self.sparse, dense.model, dense.fingerprint),
            None => write!(f, "sparse v{} and no embedding model", self.sparse),
        }
    }
}

/// Which passages may be found at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only passages of this industry.
    pub industry: Option<String>,
    /// Only passages in this language.
    pub language: Option<Language>,
}

/// A search by both vectors, fused by weighted reciprocal ranks.
#[derive(Clone, Debug)]
pub struct Query {
    /// The question's dense vector; without it keywords decide alone.
    pub dense: Option<Vec<f32>>,
    /// The question's sparse vector.
    pub sparse: SparseVector,
    /// Weight of the dense ranks in the fusion.
    pub dense_weight: f32,
    /// Weight of the sparse ranks in the fusion.
    pub sparse_weight: f32,
    /// Which passages may be found.
    pub filter: Filter,
    /// Passages taken from each side before the fusion.
    pub candidates: usize,
    /// Passages returned.
    pub limit: usize,
}

/// A place in one side's ranking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rank {
    /// From 1.
    pub rank: usize,
    /// That side's own score: cosine for dense, BM25 for sparse.
    pub score: f32,
}

/// A passage found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// The fused score; it orders the hits and means nothing else.
    pub score: f32,
    /// Its place by meaning.
    pub dense: Option<Rank>,
    /// Its place by keywords.
    pub sparse: Option<Rank>,
}

/// What is in a company's index.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// What made it, none when it is empty.
    pub encoder: Option<Encoder>,
    /// Passages.
    pub passages: usize,
}

/// Passages by company.
#[async_trait]
pub trait KnowledgeIndex: Send + Sync {
    /// Puts documents' passages in place of what the same documents had. Durable when it returns.
    ///
    /// # Errors
    /// `EncoderMismatch` when the index was made by another encoder.
    async fn replace(
        &self,
        scope: &CompanyScope,
        documents: Vec<(DocumentId, Vec<EncodedPassage>)>,
    ) -> Result<(), Error>;

    /// Takes documents' passages out; those that are not there are passed over. Durable when it returns.
    ///
    /// # Errors
    /// When the index cannot be written.
    async fn remove(&self, scope: &CompanyScope, documents: &[DocumentId]) -> Result<(), Error>;

    /// The best passages, best first; equal scores in the order of the passages' ids, so that the same question has
    /// the same answer. A company without knowledge has none.
    ///
    /// # Errors
    /// `EncoderMismatch` when the index was made by another encoder.
    async fn search(&self, scope: &CompanyScope, query: &Query) -> Result<Vec<Hit>, Error>;

    /// What is in the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    async fn contents(&self, scope: &CompanyScope) -> Result<Contents, Error>;

    /// All passages, document by document in order.
    ///
    /// # Errors
    /// When the index cannot be read.
    async fn passages(&self, scope: &CompanyScope) -> Result<Vec<Passage>, Error>;

    /// All passages with their vectors, document by document in order: for carrying them elsewhere.
    ///
    /// # Errors
    /// When the index cannot be read.
    async fn encoded(&self, scope: &CompanyScope) -> Result<Vec<EncodedPassage>, Error>;

    /// Makes searches fast after much was put: builds what is built from many passages at once.
    ///
    /// # Errors
    /// When the index cannot be written.
    async fn optimize(&self, scope: &CompanyScope) -> Result<(), Error>;

    /// Puts a new index in place of the company's, whatever made the old one. Durable when it returns.
    ///
    /// # Errors
    /// When the index cannot be written.
    async fn rebuild(&self, scope: &CompanyScope, passages: Vec<EncodedPassage>) -> Result<(), Error>;

    /// Removes everything of the company, and says how many passages that were.
    ///
    /// # Errors
    /// When the index cannot be written.
    async fn erase(&self, scope: &CompanyScope) -> Result<usize, Error>;

    /// Whether another company's documents leave a company's scores as they are, to the last bit.
    ///
    /// # Errors
    /// When the index cannot be asked.
    async fn is_isolated(&self) -> Result<bool, Error>;

    /// Whether the index can be asked.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    async fn check(&self) -> Result<(), Error>;
}
