//! Works on the knowledge of a gateway that runs.

use std::sync::Arc;

use async_trait::async_trait;

use super::parts::{Parts, ingester};
use super::tidings::{Tidings, Way};
use crate::config::Settings;
use crate::domain::knowledge::{Document, Passage};
use crate::domain::{Company, CompanyScope, DocumentId};
use crate::knowledge::ingest::{self, Attributes, Ingester};
use crate::knowledge::load;
use crate::ports::curator::{Curator, Error, Format, Listener, NewDocument, Outcome};
use crate::ports::embedder::Embedder;
use crate::ports::index::KnowledgeIndex;
use crate::ports::outbox::Outbox;
use crate::ports::store::DocumentRegister;

/// Puts documents with an [`Ingester`] made for their company.
pub struct Knowledge {
    settings: Arc<Settings>,
    index: Arc<dyn KnowledgeIndex>,
    register: Arc<dyn DocumentRegister>,
    embedder: Option<Arc<dyn Embedder>>,
    listener: Arc<dyn Listener>,
}

impl Knowledge {
    /// Works on the knowledge that a gateway has open, and leaves in its outbox what became of documents.
    pub fn of(settings: &Arc<Settings>, parts: &Parts, outbox: Arc<dyn Outbox>) -> Self {
        Self {
            settings: Arc::clone(settings),
            index: parts.index.clone(),
            register: parts.stores.documents.clone(),
            embedder: parts.embedder.clone(),
            listener: Arc::new(Tidings { directory: parts.stores.directory.clone(), way: Way::Outbox(outbox) }),
        }
    }

    fn ingester(&self, company: &Company) -> Result<Ingester, Error> {
        let (index, register) = (self.index.clone(), self.register.clone());
        let ingester = ingester(&self.settings, company, index, register, self.embedder.clone())
            .map_err(|error| Error::Unavailable(format!("{error:#}")))?;
        Ok(Ingester { listener: Some(Arc::clone(&self.listener)), ..ingester })
    }
}

#[async_trait]
impl Curator for Knowledge {
    async fn put(&self, scope: &CompanyScope, company: &Company, document: NewDocument) -> Result<Outcome, Error> {
        let NewDocument { id, format, content, title, url, language } = document;
        let format = match format {
            Format::Media(media) => ingest::Format::Media(media),
            Format::Name(name) => ingest::Format::File(name.into()),
        };
        let attributes =
            Attributes { title, url, language, industry: company.industry.clone(), ..Attributes::default() };
        let (outcome, _) =
            self.ingester(company)?.put(scope, id, format, content, attributes).await.map_err(refused)?;
        Ok(match outcome {
            ingest::Outcome::Added => Outcome::Added,
            ingest::Outcome::Updated => Outcome::Updated,
            ingest::Outcome::Unchanged => Outcome::Unchanged,
        })
    }

    async fn remove(&self, scope: &CompanyScope, company: &Company, id: &DocumentId) -> Result<Outcome, Error> {
        let ingester = self.ingester(company)?;
        let count = ingester.remove(scope, std::slice::from_ref(id)).await.map_err(refused)?;
        Ok(if count > 0 { Outcome::Removed } else { Outcome::Absent })
    }

    async fn documents(&self, scope: &CompanyScope) -> Result<Vec<Document>, Error> {
        self.register.documents(scope).await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    async fn document(&self, scope: &CompanyScope, id: &DocumentId) -> Result<Option<(Document, Vec<Passage>)>, Error> {
        let away = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        let Some(document) = self.register.document(scope, id).await.map_err(|error| away(&error))? else {
            return Ok(None);
        };
        let mut passages = self.index.passages(scope).await.map_err(|error| away(&error))?;
        passages.retain(|passage| passage.document_id == *id);
        Ok(Some((document, passages)))
    }
}

fn refused(error: ingest::Error) -> Error {
    let reason = error.to_string();
    let code = match error {
        ingest::Error::Load(error) => match error {
            load::Error::Binary => "binary",
            load::Error::Empty => "empty",
            load::Error::NotUtf8 { .. } => "invalid_utf8",
            load::Error::TooLarge { .. } => "document_too_large",
            load::Error::Unsupported { .. } | load::Error::UnsupportedMediaType { .. } => "unsupported_format",
        },
        other => return Error::Unavailable(other.to_string()),
    };
    Error::Unreadable { code, reason }
}
