//! The other gateways, as a turn sees them: whose an `Idempotency-Key` is, where a turn runs, and which turn came last in
//! a conversation. With one process there are none, and nothing is asked.
//!
//! What is written is written behind the stream, on tasks of its own; what is read has a bound, and is read beside what
//! a turn waits for anyway. Only a request that carries an `Idempotency-Key` waits for its claim.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::{CompanyScope, ConversationId, TurnId};
use crate::ports::cluster::{Claim, Cluster, Whereabouts};
use crate::runtime::tasks;

use super::live::{RequestKey, TurnHead};

/// How long a question to the others may take.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a search for a turn may take that somebody wants to read on: nothing else is waiting for it.
const SEARCH: Duration = Duration::from_secs(2);
/// Announcements under way at most. With a database that answers there are a few; beyond these it is no help to ask more of
/// it, and another gateway that asks for the turn does not find it.
const ANNOUNCEMENTS: usize = 256;

/// The other gateways are not heard of.
#[derive(Debug)]
pub(super) struct Unheard;

/// The other gateways.
#[derive(Clone)]
pub struct Neighbours {
    cluster: Option<Arc<dyn Cluster>>,
    own_url: Option<String>,
    announcements: Arc<Semaphore>,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::of(None, None)
    }
}

impl Neighbours {
    /// The gateways of a cluster; `own_url` is where they reach this one.
    pub fn of(cluster: Option<Arc<dyn Cluster>>, own_url: Option<String>) -> Self {
        Self { cluster, own_url, announcements: Arc::new(Semaphore::new(ANNOUNCEMENTS)) }
    }

    /// Whether there may be any.
    pub(super) fn exist(&self) -> bool {
        self.cluster.is_some()
    }

    /// Says, behind the stream, that a turn runs here or has ended.
    pub(super) fn announce(&self, scope: &CompanyScope, head: &TurnHead, has_ended: bool) {
        let Some(cluster) = self.cluster.clone() else { return };
        let Ok(permit) = Arc::clone(&self.announcements).try_acquire_owned() else {
            metrics::counter!("turnpike_cluster_errors_total", "operation" => "announce").increment(1);
            return;
        };
        let turn = Whereabouts {
            turn_id: head.turn_id,
            conversation_id: head.conversation_id,
            url: self.own_url.clone(),
            has_ended,
        };
        let scope = scope.clone();
        tasks::spawn("announce", async move {
            if let Err(error) = cluster.announce(&scope, &turn).await {
                metrics::counter!("turnpike_cluster_errors_total", "operation" => "announce").increment(1);
                tracing::debug!(turn.id = %turn.turn_id, %error, "the other gateways were not told of a turn");
            }
            drop(permit);
        });
    }

    /// Claims an `Idempotency-Key` for a turn, and gives the claim that holds; none when nobody can tell.
    pub(super) async fn claim(&self, scope: &CompanyScope, key: RequestKey<'_>, turn_id: TurnId) -> Option<Claim> {
        let cluster = self.cluster.as_ref()?;
        let claim = Claim { key: key.key.to_owned(), fingerprint: key.fingerprint.to_owned(), turn_id };
        within(PATIENCE, "claim", cluster.claim(scope, &claim)).await
    }

    /// Gives a claim up, behind the answer, for a turn that did not begin.
    pub(super) fn disclaim(&self, scope: &CompanyScope, claim: Claim) {
        let Some(cluster) = self.cluster.clone() else { return };
        let scope = scope.clone();
        tasks::spawn("disclaim", async move {
            if let Err(error) = cluster.disclaim(&scope, &claim).await {
                tracing::warn!(turn.id = %claim.turn_id, %error, "a claim of a turn that did not begin stands");
            }
        });
    }

    /// Where another gateway is asked for a turn, if one has it.
    ///
    /// # Errors
    /// When the others are not heard of in time.
    pub(super) async fn holder(&self, scope: &CompanyScope, turn: TurnId) -> Result<Option<String>, Unheard> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        let found = within(SEARCH, "whereabouts", cluster.whereabouts(scope, turn)).await.ok_or(Unheard)?;
        Ok(found.and_then(|found| found.url).filter(|url| self.own_url.as_ref() != Some(url)))
    }

    /// The turn of a conversation that began last before a turn of it, anywhere.
    ///
    /// # Errors
    /// When the others are not heard of in time.
    pub(super) async fn turn_before(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Result<Option<Whereabouts>, Unheard> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        within(PATIENCE, "turn_before", cluster.turn_before(scope, conversation, turn)).await.ok_or(Unheard)
    }
}

async fn within<T>(
    patience: Duration,
    operation: &'static str,
    asked: impl Future<Output = Result<T, crate::ports::store::Error>>,
) -> Option<T> {
    let reason = match tokio::time::timeout(patience, asked).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", patience.as_millis()),
    };
    metrics::counter!("turnpike_cluster_errors_total", "operation" => operation).increment(1);
    tracing::debug!(operation, reason, "the other gateways are not heard of");
    None
}
