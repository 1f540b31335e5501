//! Putting documents into a company's knowledge and taking them out, as a service that runs does it.

use async_trait::async_trait;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::knowledge::{Document, Passage};
use crate::domain::told::Action;
use crate::domain::{Company, CompanyScope, DocumentId, Language};

/// Why a document was not put or taken out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The document cannot be read: it would end the same again.
    #[error("{reason}")]
    Unreadable {
        /// A short name for programs.
        code: &'static str,
        /// What is wrong with it, for people.
        reason: String,
    },
    /// Something is away; a later try may succeed.
    #[error("{0}")]
    Unavailable(String),
}

/// What says how a document is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A media type.
    Media(String),
    /// A file's name, by its extension.
    Name(String),
}

/// A document to be put.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDocument {
    /// Its id: what has the same is replaced.
    pub id: DocumentId,
    /// How it is to be read.
    pub format: Format,
    /// Its content.
    pub content: Vec<u8>,
    /// Its title, instead of the one it gives itself.
    pub title: Option<String>,
    /// Where it can be read, instead of the address it gives itself.
    pub url: Option<String>,
    /// Its language, whatever it says itself.
    pub language: Option<Language>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not there before.
    Added,
    /// It was there with other content.
    Updated,
    /// It was there as it is, and nothing was to do.
    Unchanged,
    /// It was taken out.
    Removed,
    /// It was to be taken out, and was not there.
    Absent,
}

/// Works on companies' knowledge. What it has done can be found when it returns.
#[async_trait]
pub trait Curator: Send + Sync {
    /// Puts a document. Putting it again changes nothing.
    ///
    /// # Errors
    /// When it cannot be read, or a part of the knowledge is away.
    async fn put(&self, scope: &CompanyScope, company: &Company, document: NewDocument) -> Result<Outcome, Error>;

    /// Takes a document out.
    ///
    /// # Errors
    /// When a part of the knowledge is away.
    async fn remove(&self, scope: &CompanyScope, company: &Company, id: &DocumentId) -> Result<Outcome, Error>;

    /// The company's documents, by id.
    ///
    /// # Errors
    /// When the register cannot be read.
    async fn documents(&self, scope: &CompanyScope) -> Result<Vec<Document>, Error>;

    /// A document with the passages that are found of it, in order.
    ///
    /// # Errors
    /// When a part of the knowledge is away.
    async fn document(&self, scope: &CompanyScope, id: &DocumentId) -> Result<Option<(Document, Vec<Passage>)>, Error>;
}

/// Hears what becomes of documents.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Documents were put or taken out, and can be found, or not any more. Told before it is written down that this is
    /// done: after a crash it may be told again. What cannot be told is let go.
    async fn changed(&self, scope: &CompanyScope, changes: &[(Document, Action)]);
}
