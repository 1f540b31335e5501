//! Conversations, the document register and the directory in one SQLite file.

mod directory;
mod documents;
mod turns;

use std::path::Path;

use async_trait::async_trait;
use rusqlite_migration::{M, Migrations};

use crate::adapters::sqlite::{self, Database, Options, to_json};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{CompanyScope, ConversationId, TurnId, TurnRecord};
use crate::ports::store::{Appended, ConversationStore, Erased, Error, Page};

/// The store of a single machine. Clones share the file.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// Opens the store's file, making it if need be. Other processes may have it open too.
    ///
    /// # Errors
    /// When the file cannot be opened, or a newer version has changed it.
    pub fn open(path: &Path) -> Result<Self, sqlite::Error> {
        let options = Options { secure_delete: true, ..Options::default() };
        Ok(Self { database: Database::open(path, &migrations(), options)? })
    }
}

/// The steps that bring the store's file to the schema that this version works with.
pub fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(include_str!("../../../migrations/sqlite/store-0001.sql"))])
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn append(&self, scope: &CompanyScope, record: &TurnRecord) -> Result<Appended, Error> {
        if record.company_id != *scope.company() {
            return Err(Error::Invalid(format!("turn {} is not of company {}", record.turn_id, scope.company())));
        }
        let json = to_json(record)?;
        let record = record.clone();
        Ok(self.database.write(move |connection| turns::append(connection, &record, &json)).await?)
    }

    async fn history(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| turns::history(connection, &company, conversation, limit)).await?)
    }

    async fn conversations(
        &self,
        scope: &CompanyScope,
        page: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error> {
        let after = page.after.as_deref().map(turns::Cursor::parse).transpose()?;
        let company = scope.company().clone();
        let limit = page.limit;
        let (conversations, next) =
            self.database.read(move |connection| turns::conversations(connection, &company, limit, after)).await?;
        Ok((conversations, next.map(|cursor| cursor.to_string())))
    }

    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<Option<Conversation>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| turns::conversation(connection, &company, id)).await?)
    }

    async fn turn(&self, scope: &CompanyScope, id: TurnId) -> Result<Option<StoredTurn>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| turns::turn(connection, &company, id)).await?)
    }

    async fn turn_by_idempotency_key(&self, scope: &CompanyScope, key: &str) -> Result<Option<StoredTurn>, Error> {
        let (company, key) = (scope.company().clone(), key.to_owned());
        Ok(self.database.read(move |connection| turns::turn_by_idempotency_key(connection, &company, &key)).await?)
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<Erased, Error> {
        let company = scope.company().clone();
        let erased = self
            .database
            .write(move |connection| {
                let (conversations, turns) = turns::erase(connection, &company)?;
                Ok(Erased { conversations, turns, documents: documents::erase(connection, &company)? })
            })
            .await?;
        self.database.scrub().await?;
        Ok(erased)
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(self.database.check().await?)
    }
}

impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        if error.is_permanent() { Self::Invalid(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}
