//! The log of deliveries: every webhook for every endpoint, with its tries, and replays of them.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::store::{Error, Page};
use crate::domain::delivery::{Attempt, Delivery, Filter, Health, Parcel, Place, Replay, Standing};
use crate::domain::{CompanyScope, ConversationId, EndpointId};

/// More than a turn has deliveries to one endpoint.
pub const MOST_SIBLINGS: usize = 16;

/// What one delivery of a conversation may have to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// When the one that is next in line before it is to be tried, if one is on its way.
    pub pending: Option<OffsetDateTime>,
    /// How many turns before its own that one is.
    pub behind: u64,
    /// The last turn before its own of which anything is known. It is told when nothing is on its way.
    pub last_known: Option<u64>,
    /// How much is known of its own turn that comes before it. It is told when nothing is on its way.
    pub siblings: u64,
}

impl Ahead {
    /// When nothing is on its way, and the turns of the last `MOST_SIBLINGS` deliveries before its own are these, backwards.
    pub fn free(place: Place, sequences: &[u64]) -> Self {
        let siblings = sequences.iter().filter(|&&sequence| sequence == place.sequence).count() as u64;
        let last_known = sequences.iter().copied().find(|&sequence| sequence < place.sequence);
        Self { pending: None, behind: 0, last_known, siblings }
    }
}

/// Where a page of deliveries ended: pages are cut by key, so that what comes in between moves none to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the event of the last delivery was made, in nanoseconds since 1970.
    pub happened_ns: i64,
    /// The last delivery.
    pub id: Uuid,
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split_once('-')
            .and_then(|(happened, id)| {
                let happened_ns = u64::from_str_radix(happened, 16).ok()?.cast_signed();
                Some(Self { happened_ns, id: id.parse().ok()? })
            })
            .ok_or_else(|| Error::Invalid(format!("{text:?} is not the cursor of a page")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.happened_ns, self.id)
    }
}

/// The right to try a delivery, as a worker asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker.
    pub holder: Uuid,
    /// Tries that its message knows of.
    pub attempts: u32,
    /// When it asks.
    pub at: OffsetDateTime,
    /// Until when nobody else is to try, unless the try is written down before.
    pub until: OffsetDateTime,
}

/// Whether a worker may try a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Leased {
    /// It may. It also may when the delivery is not in the log.
    Granted,
    /// There is nothing to try: it was delivered.
    Delivered,
    /// The try was made before, by whoever had the message then, and this came of it.
    Tried(Standing),
    /// Another worker is at it.
    Held {
        /// Until then at the latest.
        until: OffsetDateTime,
    },
}

/// Keeps two workers from trying one delivery: with a bus that several share, a message can be there twice.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Asks for a delivery. The lease is over when `Deliveries::note` writes a try down, or when its time is.
    ///
    /// # Errors
    /// When the log cannot be written. The lease may have been granted all the same.
    async fn lease(&self, scope: &CompanyScope, id: Uuid, lease: &Lease) -> Result<Leased, Error>;
}

/// The log.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Writes deliveries down, until `keep_until`; those that are there stay as they are.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn open(&self, scope: &CompanyScope, parcels: &[Parcel], keep_until: OffsetDateTime) -> Result<(), Error>;

    /// Writes down how a delivery stands, and a try if one was made. A standing that tells of no try leaves the status and
    /// time of the last one as they are. What was delivered stays so, whatever another copy of its message comes to, until
    /// it is reopened. A delivery that is not in the log stays out of it.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn note(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        standing: &Standing,
        attempt: Option<&Attempt>,
    ) -> Result<(), Error>;

    /// A delivery with its body.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn delivery(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Parcel>, Error>;

    /// The tries of a delivery, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn attempts(&self, scope: &CompanyScope, id: Uuid) -> Result<Vec<Attempt>, Error>;

    /// Deliveries, the newest first, and where the page ended if there are more.
    ///
    /// # Errors
    /// When the log cannot be read, and `Invalid` when the page begins after what is none.
    async fn deliveries(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Delivery>, Option<String>), Error>;

    /// The same with their bodies and the oldest first, as a replay goes through them.
    ///
    /// # Errors
    /// When the log cannot be read, and `Invalid` when the page begins after what is none.
    async fn parcels(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Parcel>, Option<String>), Error>;

    /// What a delivery has to wait for whose endpoint wants each conversation in order: those of the same conversation
    /// to the same endpoint with a lower place, that were to be tried after `since`.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn ahead(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        place: Place,
        since: OffsetDateTime,
    ) -> Result<Ahead, Error>;

    /// Makes a delivery pending again for a replay, as its `round` th time, unless it is pending or was replayed since.
    /// Says whether it is now pending for this replay, which it also is when that was done before.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn reopen(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        round: u32,
        replay: Uuid,
        at: OffsetDateTime,
    ) -> Result<bool, Error>;

    /// How an endpoint does.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn health(&self, scope: &CompanyScope, endpoint: &EndpointId) -> Result<Health, Error>;

    /// A try of an endpoint failed. Says since when all have.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn failed(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        at: OffsetDateTime,
        reason: &str,
        open_until: Option<OffsetDateTime>,
    ) -> Result<OffsetDateTime, Error>;

    /// A try of an endpoint succeeded.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn succeeded(&self, scope: &CompanyScope, endpoint: &EndpointId, at: OffsetDateTime) -> Result<(), Error>;

    /// Writes a replay down.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn add_replay(&self, scope: &CompanyScope, replay: &Replay, keep_until: OffsetDateTime) -> Result<(), Error>;

    /// Says how far a replay is. One that was cancelled stays so.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn put_replay(&self, scope: &CompanyScope, replay: &Replay) -> Result<(), Error>;

    /// Stops a replay that goes on. Says whether it did.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn cancel_replay(&self, scope: &CompanyScope, id: Uuid, at: OffsetDateTime) -> Result<bool, Error>;

    /// A replay.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn replay(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Replay>, Error>;

    /// The replays that were asked for last, the newest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn replays(&self, scope: &CompanyScope, limit: usize) -> Result<Vec<Replay>, Error>;

    /// Removes what is not to be kept after `now`. Says how many deliveries.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn expire_deliveries(&self, now: OffsetDateTime) -> Result<u64, Error>;

    /// Removes everything of the company. Says how many deliveries.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn erase_deliveries(&self, scope: &CompanyScope) -> Result<u64, Error>;

    /// Removes what tells of a conversation's turns that began until a moment. Says how many deliveries.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn erase_conversation(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        until: OffsetDateTime,
    ) -> Result<u64, Error>;
}

/// Adds to the health of an endpoint how long its last tries took, of which `took` has the milliseconds.
pub fn latencies(health: &mut Health, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    // Nearest rank: the smallest that so many per cent are not above.
    let at = |percent: usize| {
        let rank = (took.len() * percent).div_ceil(100);
        took.get(rank.saturating_sub(1)).copied()
    };
    (health.p50_ms, health.p95_ms, health.p99_ms) = (at(50), at(95), at(99));
}
