//! The register of documents.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use crate::adapters::sqlite::{self, from_json, to_json};
use crate::domain::knowledge::Document;
use crate::domain::{CompanyId, CompanyScope, DocumentId};
use crate::ports::store::{DocumentRegister, Error};

#[async_trait]
impl DocumentRegister for SqliteStore {
    async fn document(&self, scope: &CompanyScope, id: &DocumentId) -> Result<Option<Document>, Error> {
        let (company, id) = (scope.company().clone(), id.clone());
        let found = self.database.read(move |connection| {
            connection
                .prepare_cached("SELECT document FROM documents WHERE company_id = ? AND document_id = ?")?
                .query_row([company.as_str(), id.as_str()], |row| row.get::<_, String>(0))
                .optional()?
                .map(|json| from_json(&json))
                .transpose()
        });
        Ok(found.await?)
    }

    async fn documents(&self, scope: &CompanyScope) -> Result<Vec<Document>, Error> {
        let company = scope.company().clone();
        let found = self.database.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT document FROM documents WHERE company_id = ? ORDER BY document_id")?;
            let rows = statement.query_map([company.as_str()], |row| row.get::<_, String>(0))?;
            rows.map(|json| from_json(&json?)).collect()
        });
        Ok(found.await?)
    }

    async fn register(&self, scope: &CompanyScope, documents: &[Document]) -> Result<(), Error> {
        let company = scope.company().clone();
        let rows = documents
            .iter()
            .map(|document| Ok((document.id.clone(), to_json(document)?)))
            .collect::<Result<Vec<_>, sqlite::Error>>()?;
        let written = self.database.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO documents (company_id, document_id, document) VALUES (?, ?, ?) \
                 ON CONFLICT (company_id, document_id) DO UPDATE SET document = excluded.document",
            )?;
            for (id, json) in rows {
                statement.execute(params![company.as_str(), id.as_str(), json])?;
            }
            Ok(())
        });
        Ok(written.await?)
    }

    async fn forget(&self, scope: &CompanyScope, ids: &[DocumentId]) -> Result<(), Error> {
        let (company, ids) = (scope.company().clone(), ids.to_vec());
        let written = self.database.write(move |connection| {
            let mut statement =
                connection.prepare_cached("DELETE FROM documents WHERE company_id = ? AND document_id = ?")?;
            for id in ids {
                statement.execute([company.as_str(), id.as_str()])?;
            }
            Ok(())
        });
        Ok(written.await?)
    }
}

/// Deletes a company's documents from the register, and says how many.
pub(super) fn erase(connection: &Connection, company: &CompanyId) -> Result<u64, sqlite::Error> {
    Ok(connection.execute("DELETE FROM documents WHERE company_id = ?", [company.as_str()])? as u64)
}
