//! Putting documents in: read, cut, encode, index, register.
//!
//! The register says which content of a document the index holds, so that what has not changed is passed over. It is told
//! before the index that a document is about to change, and after it what the document is now: whatever moment a crash
//! picks, the next run sees what is to be done again.

mod batch;
mod prepare;
mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use self::batch::Batch;
pub use self::prepare::{Attributes, Format};
use self::prepare::{Cut, Source};
use self::walk::Found;
use super::load::Loaders;
use super::sparse::SparseEncoder;
use super::{chunk, load};
use crate::domain::knowledge::{Document, EncodedPassage};
use crate::domain::told::Action;
use crate::domain::{CompanyScope, DocumentId, Language};
use crate::ports::curator::Listener;
use crate::ports::embedder::{self, Embedder};
use crate::ports::index::{self, KnowledgeIndex};
use crate::ports::store::{self, DocumentRegister};

/// Passages that are embedded and written at once.
const BATCH: usize = 256;
/// New passages after which the index is optimised.
const MANY: usize = 2_000;

/// Why documents could not be put.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document cannot be read.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The embedding model failed.
    #[error(transparent)]
    Embed(#[from] embedder::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The register failed.
    #[error("the register of documents: {0}")]
    Register(#[from] store::Error),
    /// A thread that read a file ended.
    #[error("reading stopped: {0}")]
    Stopped(String),
}

/// Tells a document's language from its text, or that it cannot.
pub type Detect = Arc<dyn Fn(&str) -> Option<Language> + Send + Sync>;

/// What putting one document came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not there before.
    Added,
    /// It was there with other content.
    Updated,
    /// It was there as it is.
    Unchanged,
}

/// How a folder run goes about it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether documents that the same collection brought before, and that are gone from it, are removed.
    pub prune: bool,
    /// The collection's name. Without one, it is the folder's full path.
    pub collection: Option<String>,
    /// The company's industry.
    pub industry: Option<String>,
    /// The documents' language, where they do not say.
    pub language: Option<Language>,
}

/// A file that could not be ingested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why, and what to do about it.
    pub reason: String,
}

impl Failure {
    fn new(path: &Path, reason: impl Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// What a folder run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Documents that were not there before.
    pub added: usize,
    /// Documents whose content, or the way it is cut, has changed.
    pub updated: usize,
    /// Documents that were passed over.
    pub unchanged: usize,
    /// Documents that were removed because their files are gone.
    pub removed: usize,
    /// Files that could not be read; the others were.
    pub failed: Vec<Failure>,
    /// Passages that were written.
    pub passages: usize,
}

/// Hears how a long run is getting on.
pub trait Progress: Send + Sync {
    /// So many files, or passages of an index that is encoded anew, are to be done.
    fn started(&self, total: usize);
    /// So many more of them are done.
    fn advanced(&self, by: usize);
}

/// Nobody is listening.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn started(&self, _total: usize) {}
    fn advanced(&self, _by: usize) {}
}

/// Puts documents into a company's knowledge.
#[derive(Clone)]
pub struct Ingester {
    /// Where passages go.
    pub index: Arc<dyn KnowledgeIndex>,
    /// Where it is written down what was put.
    pub register: Arc<dyn DocumentRegister>,
    /// The embedding model, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The encoder of keywords.
    pub sparse: SparseEncoder,
    /// The formats that can be read.
    pub loaders: Arc<Loaders>,
    /// How documents are cut.
    pub chunking: chunk::Settings,
    /// How a document's language is told when neither it nor the caller says.
    pub detect: Detect,
    /// Who is to hear what becomes of documents.
    pub listener: Option<Arc<dyn Listener>>,
}

impl Ingester {
    /// Puts one document. Putting it again changes nothing and costs next to nothing.
    ///
    /// # Errors
    /// When it cannot be read, or when the embedder, the index or the register fail.
    pub async fn put(
        &self,
        scope: &CompanyScope,
        id: DocumentId,
        format: Format,
        content: Vec<u8>,
        attributes: Attributes,
    ) -> Result<(Outcome, Document), Error> {
        let known = self.register.document(scope, &id).await?;
        let source = Source { id, format, content, attributes };
        let fingerprint = source.fingerprint(&self.chunking);
        let (outcome, action) = match known {
            Some(known) if known.fingerprint == fingerprint => return Ok((Outcome::Unchanged, known)),
            Some(_) => (Outcome::Updated, Action::Updated),
            None => (Outcome::Added, Action::Added),
        };
        let cut = self.cut(source).await?;
        let document = cut.document.clone();
        let mut batch = Batch::default();
        batch.push(cut, action);
        self.write(scope, batch).await?;
        Ok((outcome, document))
    }

    /// Puts one document of plain text.
    ///
    /// # Errors
    /// As [`Ingester::put`].
    pub async fn put_text(
        &self,
        scope: &CompanyScope,
        id: DocumentId,
        text: String,
        attributes: Attributes,
    ) -> Result<(Outcome, Document), Error> {
        self.put(scope, id, Format::Media("text/plain".into()), text.into_bytes(), attributes).await
    }

    /// Removes documents, and says how many of them were there.
    ///
    /// # Errors
    /// When the index or the register fail.
    pub async fn remove(&self, scope: &CompanyScope, ids: &[DocumentId]) -> Result<usize, Error> {
        let mut known = Vec::new();
        for id in ids {
            known.extend(self.register.document(scope, id).await?);
        }
        self.register.register(scope, &known.iter().map(unsettled).collect::<Vec<_>>()).await?;
        // Those that the register does not know are removed too: it may have been lost.
        self.index.remove(scope, ids).await?;
        let count = known.len();
        self.tell(scope, known.into_iter().map(|document| (document, Action::Removed)).collect()).await;
        self.register.forget(scope, ids).await?;
        Ok(count)
    }

    /// Puts files and folders. What cannot be read is reported, and the rest goes on.
    ///
    /// # Errors
    /// When the embedder, the index or the register fail; what was put until then stays.
    pub async fn ingest_paths(
        &self,
        scope: &CompanyScope,
        paths: &[PathBuf],
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Report, Error> {
        let paths = paths.to_vec();
        let walked = on_a_thread(move || walk::walk(&paths)).await?;
        let mut report = Report { failed: walked.failed, ..Report::default() };
        let known = self.settled(scope).await?;
        progress.started(walked.files.len());
        let mut batch = Batch::default();
        for found in &walked.files {
            match self.read(found.clone(), options, &known).await? {
                Err(failure) => report.failed.push(failure),
                Ok(None) => report.unchanged += 1,
                Ok(Some(cut)) => {
                    let (count, action) = match known.contains_key(&found.id) {
                        true => (&mut report.updated, Action::Updated),
                        false => (&mut report.added, Action::Added),
                    };
                    *count += 1;
                    report.passages += cut.passages.len();
                    batch.push(cut, action);
                }
            }
            if batch.passages() >= BATCH {
                self.write(scope, std::mem::take(&mut batch)).await?;
            }
            progress.advanced(1);
        }
        self.write(scope, batch).await?;
        if options.prune {
            let there = walked.files.iter().map(|found| &found.id).collect();
            let collections = match &options.collection {
                // A named collection is all of its folders: if one could not be read, nothing is known to be gone.
                Some(name) => {
                    if walked.is_whole {
                        vec![name.clone()]
                    } else {
                        Vec::new()
                    }
                }
                None => walked.whole_roots,
            };
            report.removed = self.prune(scope, &known, &there, &collections).await?;
        }
        if report.passages > MANY {
            self.index.optimize(scope).await?;
        }
        Ok(report)
    }

    /// Encodes everything anew, after the embedding model or the sparse encoder has changed.
    ///
    /// # Errors
    /// When the embedder or the index fail; the old index stays then.
    pub async fn reindex(&self, scope: &CompanyScope, progress: &dyn Progress) -> Result<usize, Error> {
        let passages = self.index.passages(scope).await?;
        progress.started(passages.len());
        let mut encoded: Vec<EncodedPassage> = Vec::with_capacity(passages.len());
        for some in passages.chunks(BATCH) {
            encoded.extend(self.encode(some.to_vec()).await?);
            progress.advanced(some.len());
        }
        let count = encoded.len();
        self.index.rebuild(scope, encoded).await?;
        if count > MANY {
            self.index.optimize(scope).await?;
        }
        Ok(count)
    }

    /// The documents that are known. Those that the index does not hold as the register says, because one of the two was
    /// lost or restored, have no fingerprint and are put again.
    async fn settled(&self, scope: &CompanyScope) -> Result<BTreeMap<DocumentId, Document>, Error> {
        let mut documents = self.register.documents(scope).await?;
        let registered: usize = documents.iter().map(|document| document.passages).sum();
        if self.index.contents(scope).await?.passages != registered {
            let mut held: HashMap<DocumentId, usize> = HashMap::new();
            for passage in self.index.passages(scope).await? {
                *held.entry(passage.document_id).or_default() += 1;
            }
            for document in &mut documents {
                if held.get(&document.id).copied().unwrap_or_default() != document.passages {
                    *document = unsettled(document);
                }
            }
        }
        Ok(documents.into_iter().map(|document| (document.id.clone(), document)).collect())
    }

    /// Reads a file and cuts it up, unless it has not changed.
    async fn read(
        &self,
        found: Found,
        options: &Options,
        known: &BTreeMap<DocumentId, Document>,
    ) -> Result<Result<Option<Cut>, Failure>, Error> {
        let Found { id, path, root } = found;
        let before = known.get(&id).map(|document| document.fingerprint.clone());
        let attributes = Attributes {
            industry: options.industry.clone(),
            default_language: options.language,
            collection: options.collection.clone().or(root),
            ..Attributes::default()
        };
        let this = self.clone();
        on_a_thread(move || {
            let content = std::fs::metadata(&path)
                .map_err(|error| Failure::new(&path, error))
                .and_then(|file| this.loaders.check_size(file.len()).map_err(|error| Failure::new(&path, error)))
                .and_then(|()| std::fs::read(&path).map_err(|error| Failure::new(&path, error)))?;
            let source = Source { id, format: Format::File(path.clone()), content, attributes };
            if before.is_some_and(|before| before == source.fingerprint(&this.chunking)) {
                return Ok(None);
            }
            let cut = source.cut(&this.loaders, &this.chunking, &*this.detect);
            cut.map(Some).map_err(|error| Failure::new(&path, error))
        })
        .await
    }

    /// Tells whoever listens what became of documents.
    async fn tell(&self, scope: &CompanyScope, changes: Vec<(Document, Action)>) {
        if let Some(listener) = self.listener.as_ref().filter(|_| !changes.is_empty()) {
            listener.changed(scope, &changes).await;
        }
    }

    async fn cut(&self, source: Source) -> Result<Cut, Error> {
        let this = self.clone();
        Ok(on_a_thread(move || source.cut(&this.loaders, &this.chunking, &*this.detect)).await??)
    }

    async fn prune(
        &self,
        scope: &CompanyScope,
        known: &BTreeMap<DocumentId, Document>,
        there: &HashSet<&DocumentId>,
        collections: &[String],
    ) -> Result<usize, Error> {
        let gone: Vec<DocumentId> = known
            .values()
            .filter(|document| document.collection.as_ref().is_some_and(|name| collections.contains(name)))
            .filter(|document| !there.contains(&document.id))
            .map(|document| document.id.clone())
            .collect();
        if gone.is_empty() { Ok(0) } else { self.remove(scope, &gone).await }
    }
}

/// A document that is about to change: no content has this fingerprint.
fn unsettled(document: &Document) -> Document {
    Document { fingerprint: String::new(), ..document.clone() }
}

async fn on_a_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(job).await.map_err(|error| Error::Stopped(error.to_string()))
}

#[cfg(test)]
mod tests;
