//! Companies on their way from one backend to another: a folder of files, written by `export` and read by `import`.
//!
//! ```text
//! DIR/
//!   manifest.json            version, and of each company's files the rows, bytes and SHA-256; written last
//!   progress.json            the same while the export is under way; gone when it is whole
//!   companies/ID/
//!     company.json           the company
//!     keys.jsonl             its API keys, of which hashes are all there is
//!     endpoints.jsonl        its webhook endpoints with their secrets
//!     documents.jsonl        the register of its documents
//!     passages.jsonl         the encoder on the first line, then the passages with their vectors
//!     conversations.jsonl    the heads of its conversations
//!     turns.jsonl            its turns, in the order of the conversations
//! ```
//!
//! All of it goes through the ports, so that each backend can be the source and each the target. Files are read and
//! written on the thread that asks: this is work of the command line, and nobody else waits for it.

mod archive;
mod compare;
mod export;
mod files;
mod import;
mod manifest;
mod read;
mod rows;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

pub use self::archive::Archive;
pub use self::compare::Comparison;
pub use self::export::{Exported, export};
pub use self::import::{Imported, import};
pub use self::manifest::{CompanyFiles, Entry, Kind, Manifest};
use crate::domain::CompanyId;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::ports::directory::Directory;
use crate::ports::index::{self, Encoder, KnowledgeIndex};
use crate::ports::store::{self, ConversationStore, DocumentRegister};

/// Why companies could not be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The folder holds something else.
    #[error("{0} holds other files; name an empty folder, or one that does not exist")]
    Foreign(String),
    /// The folder holds an export already.
    #[error("{0} holds an export that is complete; name another folder")]
    Complete(String),
    /// Another process exports into the folder.
    #[error("{0} is being exported into by another process")]
    Busy(String),
    /// The folder holds no export.
    #[error("{0} holds no export: it has no manifest.json")]
    NoManifest(String),
    /// The export was interrupted.
    #[error("the export in {0} is not complete; run `turnpike export` with the same folder again")]
    Incomplete(String),
    /// Another version of Turnpike wrote the export.
    #[error("{path} has version {found} of the format, and this program reads version {known}")]
    Version {
        /// The manifest.
        path: String,
        /// Its version.
        found: u64,
        /// The one known here.
        known: u64,
    },
    /// The manifest, or the progress of an export, is no such thing.
    #[error("{path} cannot be understood: {reason}")]
    Manifest {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The export lacks a company that was asked for.
    #[error("the export holds no company {company}; it holds {held}")]
    NotHeld {
        /// The company asked for.
        company: CompanyId,
        /// Those that there are.
        held: String,
    },
    /// The export lacks a file.
    #[error("{0} is missing; bring the whole export once more")]
    Missing(String),
    /// A file was cut short, or something was added to it.
    #[error("{path} has {found} bytes instead of {expected}; bring it once more")]
    Size {
        /// The file.
        path: String,
        /// Its bytes by the manifest.
        expected: u64,
        /// Its bytes.
        found: u64,
    },
    /// A file is not what was written.
    #[error("{0} is damaged: its SHA-256 is not the one in the manifest; bring it once more")]
    Damaged(String),
    /// A row of a file that is whole says something that cannot be.
    #[error("{path}, line {line}: {reason}")]
    Row {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The company is not there, or no longer.
    #[error("there is no company {0}")]
    NoCompany(CompanyId),
    /// The target has a company of the same name that is not this one.
    #[error(
        "another company {0} is there already, made at another time than the exported one; \
         to put the exported one in its place, remove it: turnpike company remove {0} --yes"
    )]
    OtherCompany(CompanyId),
    /// The source's rows do not come in the order that its port promises.
    #[error("the store gives turns out of order, at turn {0}")]
    Disorder(crate::domain::TurnId),
    /// The index is being changed faster than it can be read.
    #[error("the knowledge of company {0} is being encoded anew; try again when that is done")]
    Changing(CompanyId),
    /// Passages could not be encoded anew.
    #[error("encoding passages: {0}")]
    Encode(String),
    /// A row cannot be written as JSON.
    #[error("a row cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] index::Error),
}

impl Error {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::Io { path, source }
    }
}

/// What companies are read from, or written to.
#[derive(Clone)]
pub struct Backends {
    /// Companies, keys, endpoints.
    pub directory: Arc<dyn Directory>,
    /// Conversations.
    pub conversations: Arc<dyn ConversationStore>,
    /// The register of documents.
    pub documents: Arc<dyn DocumentRegister>,
    /// The knowledge.
    pub index: Arc<dyn KnowledgeIndex>,
}

/// The encoder in use where companies are brought to.
#[async_trait]
pub trait Encode: Send + Sync {
    /// What it is.
    fn encoder(&self) -> &Encoder;

    /// Gives passages their vectors.
    ///
    /// # Errors
    /// When the embedding model fails, with the reason.
    async fn encode(&self, passages: Vec<Passage>) -> Result<Vec<EncodedPassage>, String>;
}

/// Hears how long work is getting on.
pub trait Progress: Send + Sync {
    /// So many rows of a company's file are written, or read back.
    fn at(&self, company: &CompanyId, what: &'static str, kind: Kind, rows: u64);
}

/// Where a company's file is.
fn path_of(dir: &Path, company: &CompanyId, kind: Kind) -> PathBuf {
    dir.join("companies").join(company.as_str()).join(kind.file_name())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
