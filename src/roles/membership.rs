//! Tells the other processes, every few seconds, that this one is there and what its spool owes.

use std::time::Duration;

use anyhow::Context;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::data_dir::DataDir;
use crate::pipeline::engine::Engine;
use crate::ports::cluster::{Cluster, Member, TurnAccount};
use crate::spool::Spool;

/// Between two reports.
const EVERY: Duration = Duration::from_secs(1);

/// The member that a data directory is, however often its process starts; a process without one is a member of its own.
///
/// # Errors
/// When the directory cannot be read or written.
pub(super) fn id(dir: Option<&DataDir>) -> anyhow::Result<String> {
    let Some(path) = dir.map(|dir| dir.root().join("member")) else { return Ok(Uuid::new_v4().to_string()) };
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id = Uuid::new_v4().to_string();
            std::fs::write(&path, &id).with_context(|| format!("writing {}", path.display()))?;
            Ok(id)
        }
    }
}

/// Reports until `stop`, and once more then.
pub(super) async fn report(
    cluster: Arc<dyn Cluster>,
    mut member: Member,
    gateway: Option<(Spool, Arc<Engine>)>,
    stop: CancellationToken,
) {
    loop {
        let is_last = stop.is_cancelled();
        member.seen_at = OffsetDateTime::now_utc();
        if let Some((spool, engine)) = &gateway {
            let account = spool.account();
            let (accepted, ended, lost) = (account.turns_accepted, account.turns_ended, account.lost);
            member.turns = Some(TurnAccount { accepted, ended, lost });
            member.streams = Some(engine.turns().running() as u64);
        }
        if let Err(error) = cluster.report(&member).await {
            tracing::debug!(%error, "the other processes were not told of this one");
        }
        if is_last {
            return;
        }
        // Whichever it is, there is a report to be made.
        let _ = tokio::time::timeout(EVERY, stop.cancelled()).await;
    }
}
