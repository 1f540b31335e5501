//! The conversation store, and the register of documents that lives beside it.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::domain::conversation::{Conversation, Status, StoredTurn};
use crate::domain::knowledge::Document;
use crate::domain::{CompanyScope, ConversationId, DocumentId, Language, SessionId, TurnId, TurnRecord};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached; a later try may succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store holds or was given something it cannot understand; a later try would end the same.
    #[error("the store does not understand: {0}")]
    Invalid(String),
    /// The turn began before its conversation was removed, and is not stored any more.
    #[error("the conversation was removed after the turn began")]
    Removed,
}

/// How long it is remembered that a conversation was removed: no turn of it comes later than that.
pub const REMOVED_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// What storing a turn came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// The turn's number in its conversation, from 1 without gaps: the same when the turn was stored before.
    pub sequence: u64,
    /// Messages of the conversation up to and with this turn.
    pub message_count: u64,
    /// Whether it is the conversation's first turn.
    pub is_first: bool,
    /// The conversation as it is now.
    pub conversation: Conversation,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Conversations.
    pub conversations: u64,
    /// Turns.
    pub turns: u64,
    /// Registered documents.
    pub documents: u64,
}

/// A conversation that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its turns that began until then are gone.
    pub until: OffsetDateTime,
}

/// Which conversations are wanted: those that fit all that is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Where the user writes.
    pub channel: Option<String>,
    /// Whether it goes on.
    pub status: Option<Status>,
    /// The language of the last turn of which it is known.
    pub language: Option<Language>,
    /// The intent of the last turn of which it is known.
    pub intent: Option<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// Updated then or later.
    pub from: Option<OffsetDateTime>,
    /// Updated before.
    pub until: Option<OffsetDateTime>,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Most rows.
    pub limit: usize,
    /// The cursor that the page before ended with.
    pub after: Option<String>,
}

/// Conversations by company.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Stores a turn exactly once, however often it is asked to, and gives it its sequence. Durable when it returns.
    /// After `keep_until` the turn is removed, and its conversation when its last turn is.
    ///
    /// # Errors
    /// When the store cannot be written, and `Removed` for a turn of a conversation that was removed after it began.
    async fn append(
        &self,
        scope: &CompanyScope,
        record: &TurnRecord,
        keep_until: Option<OffsetDateTime>,
    ) -> Result<Appended, Error>;

    /// Those of the turns that are stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stored(&self, scope: &CompanyScope, turns: &[TurnId]) -> Result<Vec<TurnId>, Error>;

    /// The last turns of a conversation, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn history(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error>;

    /// Turns of a conversation with sequences above `after`, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn turns_after(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error>;

    /// Conversations that are wanted, the last updated first, and the next page's cursor.
    ///
    /// # Errors
    /// When the store cannot be read, or `Invalid` for a cursor that is not one.
    async fn conversations(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error>;

    /// One conversation's head.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<Option<Conversation>, Error>;

    /// Ends a conversation, unless it has ended, and gives it as it is then; none that is not there. A turn that begins
    /// later begins it again.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn end(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
        at: OffsetDateTime,
    ) -> Result<Option<Conversation>, Error>;

    /// Removes a conversation with its turns that began until `until`; those that come later than this are not stored
    /// any more, and `append` says so. Nothing of them is left on a disk of ours when it returns. A conversation that was
    /// begun again meanwhile keeps its later turns.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn remove(&self, scope: &CompanyScope, id: ConversationId, until: OffsetDateTime) -> Result<Erased, Error>;

    /// Those of the conversations that were removed.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn removed(&self, scope: &CompanyScope, ids: &[ConversationId]) -> Result<Vec<Removed>, Error>;

    /// One turn.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn turn(&self, scope: &CompanyScope, id: TurnId) -> Result<Option<StoredTurn>, Error>;

    /// The turn that was made under an `Idempotency-Key`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn turn_by_idempotency_key(&self, scope: &CompanyScope, key: &str) -> Result<Option<StoredTurn>, Error>;

    /// All turns of a company, by conversation and sequence, and the next page's cursor: for carrying them elsewhere.
    ///
    /// # Errors
    /// When the store cannot be read, or `Invalid` for a cursor that is not one.
    async fn turns(&self, scope: &CompanyScope, page: &Page) -> Result<(Vec<StoredTurn>, Option<String>), Error>;

    /// Writes a conversation's head and turns of it as they were in another store, sequences included; what is there
    /// already stays as it is, but for the counters and the last moment of a head, which come up to those given and never
    /// go back. Durable when it returns. Doing it again changes nothing.
    ///
    /// # Errors
    /// When the store cannot be written, or `Invalid` when another turn has one of the sequences.
    async fn restore(
        &self,
        scope: &CompanyScope,
        conversation: &Conversation,
        turns: &[StoredTurn],
        keep_until: Option<OffsetDateTime>,
    ) -> Result<(), Error>;

    /// Removes what was to be kept until `now` at the longest, unless the store does so by itself.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn expire(&self, now: OffsetDateTime) -> Result<Erased, Error>;

    /// Removes everything of the company.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn erase(&self, scope: &CompanyScope) -> Result<Erased, Error>;

    /// Whether the store can be asked.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    async fn check(&self) -> Result<(), Error>;
}

/// Documents by company: what is in the index, and by which content.
#[async_trait]
pub trait DocumentRegister: Send + Sync {
    /// One document.
    ///
    /// # Errors
    /// When the register cannot be read.
    async fn document(&self, scope: &CompanyScope, id: &DocumentId) -> Result<Option<Document>, Error>;

    /// All documents, by id.
    ///
    /// # Errors
    /// When the register cannot be read.
    async fn documents(&self, scope: &CompanyScope) -> Result<Vec<Document>, Error>;

    /// Writes documents down, in place of what was known of them.
    ///
    /// # Errors
    /// When the register cannot be written.
    async fn register(&self, scope: &CompanyScope, documents: &[Document]) -> Result<(), Error>;

    /// Forgets documents.
    ///
    /// # Errors
    /// When the register cannot be written.
    async fn forget(&self, scope: &CompanyScope, ids: &[DocumentId]) -> Result<(), Error>;
}
