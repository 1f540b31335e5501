//! The outbox: where a turn leaves what is to become of it, before its client is told `done`.

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::domain::{CompanyId, ConversationId, Event, TurnId, TurnRecord};

/// Why the outbox did not take something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// As much waits for the bus as may.
    #[error("{pending} bytes wait for the bus, of {limit} that may")]
    Full {
        /// Bytes waiting.
        pending: u64,
        /// Bytes that may wait.
        limit: u64,
    },
    /// The disk does not take it.
    #[error("the spool cannot be written: {0}")]
    Disk(String),
    /// It is larger than anything that a turn should leave.
    #[error("an event of {bytes} bytes is larger than the spool takes, {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that fits.
        limit: u64,
    },
    /// The service is going down.
    #[error("the spool is closed")]
    Closed,
}

/// Takes events, durably, and hands them to the bus in order.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Whether a new turn may begin: there is room for what it will leave.
    ///
    /// # Errors
    /// `Full` or `Disk`, with the reason.
    fn admit(&self) -> Result<(), Error>;

    /// Takes an event that need not be on disk before the turn goes on.
    fn publish(&self, event: &Event);

    /// Takes an event. It is on disk (fsync) when it returns.
    ///
    /// # Errors
    /// When it is not.
    async fn commit(&self, event: &Event) -> Result<(), Error>;

    /// Begins the journal of a running turn: what a crash in mid-answer is mended from.
    fn journal(&self, record: &TurnRecord) -> Box<dyn Journal>;
}

/// The journal of one running turn. Writing reaches the operating system before it returns, so it survives the death
/// of the process. A journal that cannot be written says so by `is_whole` and never stops the turn.
pub trait Journal: Send + Sync {
    /// Writes down what is known of the turn besides the answer.
    fn record(&self, record: &TurnRecord);

    /// Writes down a piece of the answer, before the client gets it.
    fn content(&self, text: &str);

    /// Writes down the turn as it ended, before it is committed: a crash in between keeps it as it is.
    fn finished(&self, record: &TurnRecord);

    /// The answer begins again from nothing.
    fn reset(&self);

    /// Nobody reads any more; this many bytes of the answer were handed to the last reader.
    fn left(&self, delivered_bytes: usize);

    /// Somebody reads again.
    fn resumed(&self);

    /// Whether all that was to be written is.
    fn is_whole(&self) -> bool;

    /// The turn's record is safe elsewhere; the journal is not needed any more.
    fn close(&self);
}

/// A turn's last event, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The event's id.
    pub event_id: uuid::Uuid,
    /// The company asked.
    pub company_id: CompanyId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The turn.
    pub turn_id: TurnId,
    /// When it ended.
    pub ended_at: OffsetDateTime,
}

/// Tells what became of turns behind the bus. A bus that may lose what it has taken, because a queue of it was deleted
/// or its disk was, is not believed: a turn's record is kept until its end has been seen.
#[async_trait]
pub trait Ends: Send + Sync {
    /// For each turn, whether it has come to its end: it is stored, was given up, or its company was removed.
    ///
    /// # Errors
    /// When that cannot be told now.
    async fn ended(&self, turns: &[Sent]) -> Result<Vec<End>, super::store::Error>;
}

/// What is known of a turn's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// None is seen so far.
    Open,
    /// It is stored, or lies among the dead letters.
    Kept,
    /// Its company or its conversation was removed, and nothing of it is to be kept.
    Erased,
}
