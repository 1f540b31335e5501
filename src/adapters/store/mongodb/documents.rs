//! The register of documents.

use ::mongodb::bson::{Bson, Document as Fields, doc};
use async_trait::async_trait;
use futures::TryStreamExt;

use super::MongoStore;
use super::codec::{from_document, key, to_document};
use crate::domain::knowledge::Document;
use crate::domain::{CompanyScope, DocumentId};
use crate::ports::store::{DocumentRegister, Error};

/// The collection.
pub(super) const DOCUMENTS: &str = "documents";

/// Documents written with one command.
const BATCH: usize = 500;

#[async_trait]
impl DocumentRegister for MongoStore {
    async fn document(&self, scope: &CompanyScope, id: &DocumentId) -> Result<Option<Document>, Error> {
        let filter = key(scope.company(), id.as_str());
        let found = self.call("document", async { Ok(self.collection(DOCUMENTS).await?.find_one(filter).await?) });
        found.await?.map(read).transpose()
    }

    async fn documents(&self, scope: &CompanyScope) -> Result<Vec<Document>, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        let found = self.call("documents", async {
            let found = self.collection(DOCUMENTS).await?.find(filter).sort(doc! { "document_id": 1 }).await?;
            Ok(found.try_collect::<Vec<Fields>>().await?)
        });
        found.await?.into_iter().map(read).collect()
    }

    async fn register(&self, scope: &CompanyScope, documents: &[Document]) -> Result<(), Error> {
        let statements = documents.iter().map(|document| {
            Ok(doc! {
                "q": key(scope.company(), document.id.as_str()),
                "u": { "$set": { "document_id": document.id.as_str(), "document": to_document(document)? } },
                "upsert": true,
            })
        });
        let statements = statements.collect::<Result<Vec<_>, Error>>()?;
        for statements in statements.chunks(BATCH) {
            self.call("register", self.update(DOCUMENTS, statements)).await?;
        }
        Ok(())
    }

    async fn forget(&self, scope: &CompanyScope, ids: &[DocumentId]) -> Result<(), Error> {
        for ids in ids.chunks(BATCH) {
            let ids: Vec<&str> = ids.iter().map(DocumentId::as_str).collect();
            let filter = doc! { "company_id": scope.company().as_str(), "document_id": { "$in": ids } };
            self.call("forget", async { Ok(self.collection(DOCUMENTS).await?.delete_many(filter).await?) }).await?;
        }
        Ok(())
    }
}

fn read(mut fields: Fields) -> Result<Document, Error> {
    match fields.remove("document") {
        Some(Bson::Document(document)) => from_document(document),
        _ => Err(Error::Invalid("a document in the database is empty".to_owned())),
    }
}
