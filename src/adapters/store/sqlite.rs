//! Conversations, the document register, the directory and the analytics in one SQLite file.

mod analytics;
mod carry;
mod deliveries;
mod directory;
mod documents;
mod heads;
mod removal;
mod retention;
mod turns;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::adapters::sqlite::{self, Database, Options, nanos_of};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{CompanyScope, ConversationId, TurnId, TurnRecord};
use crate::ports::store::{Appended, ConversationStore, Erased, Error, Filter, Page, REMOVED_FOR, Removed};

/// The store of a single machine. Clones share the file.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
    /// A permit for each report that may be made at a time.
    reports: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the store's file, making it if need be. Other processes may have it open too.
    ///
    /// # Errors
    /// When the file cannot be opened, or a newer version has changed it.
    pub fn open(path: &Path) -> Result<Self, sqlite::Error> {
        let options = Options { secure_delete: true, ..Options::default() };
        let database = Database::open(path, &migrations(), options)?;
        Ok(Self { database, reports: Arc::new(Semaphore::new(1)) })
    }
}

/// The steps that bring the store's file to the schema that this version works with.
pub fn migrations() -> Migrations<'static> {
    Migrations::new(vec![
        M::up(include_str!("../../../migrations/sqlite/store-0001.sql")),
        M::up(include_str!("../../../migrations/sqlite/store-0002.sql")),
        M::up(include_str!("../../../migrations/sqlite/store-0003.sql")),
        M::up(include_str!("../../../migrations/sqlite/store-0004.sql")),
    ])
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn append(
        &self,
        scope: &CompanyScope,
        record: &TurnRecord,
        keep_until: Option<OffsetDateTime>,
    ) -> Result<Appended, Error> {
        if record.company_id != *scope.company() {
            return Err(Error::Invalid(format!("turn {} is not of company {}", record.turn_id, scope.company())));
        }
        let (record, keep_until) = (record.clone(), keep_until.map(nanos_of).transpose()?);
        let appended = self.database.write(move |connection| turns::append(connection, record, keep_until)).await?;
        appended.ok_or(Error::Removed)
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

    async fn turns_after(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        let company = scope.company().clone();
        let read = move |connection: &Connection| turns::after(connection, &company, conversation, after, limit);
        Ok(self.database.read(read).await?)
    }

    async fn conversations(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error> {
        let after = page.after.as_deref().map(heads::Cursor::parse).transpose()?;
        let company = scope.company().clone();
        let (filter, limit) = (filter.clone(), page.limit);
        let read = move |connection: &Connection| heads::conversations(connection, &company, &filter, limit, after);
        let (conversations, next) = self.database.read(read).await?;
        Ok((conversations, next.map(|cursor| cursor.to_string())))
    }

    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<Option<Conversation>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| heads::conversation(connection, &company, id)).await?)
    }

    async fn end(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
        at: OffsetDateTime,
    ) -> Result<Option<Conversation>, Error> {
        let company = scope.company().clone();
        Ok(self.database.write(move |connection| removal::end(connection, &company, id, at)).await?)
    }

    async fn remove(&self, scope: &CompanyScope, id: ConversationId, until: OffsetDateTime) -> Result<Erased, Error> {
        let company = scope.company().clone();
        let (until, keep_until) = (nanos_of(until)?, nanos_of(OffsetDateTime::now_utc() + REMOVED_FOR)?);
        let remove = move |connection: &Connection| removal::remove(connection, &company, id, until, keep_until);
        let removed = self.database.write(remove).await?;
        self.database.scrub().await?;
        Ok(removed)
    }

    async fn removed(&self, scope: &CompanyScope, ids: &[ConversationId]) -> Result<Vec<Removed>, Error> {
        let (company, ids) = (scope.company().clone(), ids.to_vec());
        Ok(self.database.read(move |connection| removal::removed(connection, &company, &ids)).await?)
    }

    async fn turn(&self, scope: &CompanyScope, id: TurnId) -> Result<Option<StoredTurn>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| turns::turn(connection, &company, id)).await?)
    }

    async fn turn_by_idempotency_key(&self, scope: &CompanyScope, key: &str) -> Result<Option<StoredTurn>, Error> {
        let (company, key) = (scope.company().clone(), key.to_owned());
        Ok(self.database.read(move |connection| turns::turn_by_idempotency_key(connection, &company, &key)).await?)
    }

    async fn stored(&self, scope: &CompanyScope, turns: &[TurnId]) -> Result<Vec<TurnId>, Error> {
        let (company, turns) = (scope.company().clone(), turns.to_vec());
        Ok(self.database.read(move |connection| turns::stored(connection, &company, &turns)).await?)
    }

    async fn turns(&self, scope: &CompanyScope, page: &Page) -> Result<(Vec<StoredTurn>, Option<String>), Error> {
        let after = page.after.as_deref().map(carry::Cursor::parse).transpose()?;
        let (company, limit) = (scope.company().clone(), page.limit);
        let (turns, next) =
            self.database.read(move |connection| carry::turns(connection, &company, limit, after)).await?;
        Ok((turns, next.map(|cursor| cursor.to_string())))
    }

    async fn restore(
        &self,
        scope: &CompanyScope,
        conversation: &Conversation,
        turns: &[StoredTurn],
        keep_until: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        carry::belong_together(scope, conversation, turns)?;
        let (head, turns, keep_until) = (conversation.clone(), turns.to_vec(), keep_until.map(nanos_of).transpose()?);
        Ok(self.database.write(move |connection| carry::restore(connection, &head, turns, keep_until)).await?)
    }

    async fn expire(&self, now: OffsetDateTime) -> Result<Erased, Error> {
        let now = nanos_of(now)?;
        let mut erased = Erased::default();
        loop {
            // Each go is a write of its own, so that turns are stored in between.
            let removed = self.database.write(move |connection| retention::expire(connection, now)).await?;
            erased.turns += removed.turns;
            erased.conversations += removed.conversations;
            if !removed.is_partial {
                return Ok(erased);
            }
        }
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
