//! What several gateways and workers know of each other: who is there, where a turn runs, and whose an
//! `Idempotency-Key` is. Records live as long as they are of use, and nothing on a stream's path waits for them being
//! written, a claim excepted.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::store::Error;
use crate::domain::{CompanyScope, ConversationId, TurnId};

/// A process of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Of its data directory, so that a process that starts again is the same member.
    pub id: String,
    /// `gateway`, `worker`.
    pub roles: Vec<String>,
    /// The jobs of a worker: `persist`, `deliver`, `analytics`.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Where other gateways reach it.
    pub url: Option<String>,
    /// Its version.
    pub version: String,
    /// When it started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was heard of last.
    #[serde(with = "time::serde::rfc3339")]
    pub seen_at: OffsetDateTime,
    /// The account of its spool, for a gateway.
    pub turns: Option<TurnAccount>,
    /// Turns that run at it, for a gateway.
    #[serde(default)]
    pub streams: Option<u64>,
}

/// What became of the turns that a gateway promised to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnAccount {
    /// Turns put on its disk.
    pub accepted: u64,
    /// Turns seen to have come to their end: stored, given up, or erased.
    pub ended: u64,
    /// Turns that damage to its disk has cost.
    pub lost: u64,
}

/// Where a turn runs or ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The turn.
    pub turn_id: TurnId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Where the gateway that runs it is reached by others.
    pub url: Option<String>,
    /// Whether it has ended.
    pub has_ended: bool,
}

/// A turn's claim to an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The key, as the client sent it.
    pub key: String,
    /// Tells the request from another under the same key.
    pub fingerprint: String,
    /// The turn.
    pub turn_id: TurnId,
}

/// The other processes.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Says that a process is there and how it is. One that is not heard of for ten minutes is forgotten, unless it
    /// has turns that have not come to their end.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn report(&self, member: &Member) -> Result<(), Error>;

    /// The processes heard of.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn members(&self) -> Result<Vec<Member>, Error>;

    /// Says where a turn runs, or that it has ended. Later words of one turn replace earlier ones.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn announce(&self, scope: &CompanyScope, turn: &Whereabouts) -> Result<(), Error>;

    /// Where a turn runs or ran.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn whereabouts(&self, scope: &CompanyScope, turn: TurnId) -> Result<Option<Whereabouts>, Error>;

    /// The turn of a conversation that began last before a turn of it.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn turn_before(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Result<Option<Whereabouts>, Error>;

    /// Claims an `Idempotency-Key` for a turn. Gives the claim that holds: this one, or the one that came first.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn claim(&self, scope: &CompanyScope, claim: &Claim) -> Result<Claim, Error>;

    /// Gives a claim up for a turn that did not begin after all.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn disclaim(&self, scope: &CompanyScope, claim: &Claim) -> Result<(), Error>;

    /// Removes everything of the company.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn erase(&self, scope: &CompanyScope) -> Result<(), Error>;
}
