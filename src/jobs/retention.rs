//! Removes what is not to be kept any longer, now and every so often.
//!
//! Several workers may do it at once: what one has removed the others do not find any more.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::events::{Expired, RetentionFailed};
use super::retry::Policy;
use crate::ports::deliveries::Deliveries;
use crate::ports::store::{ConversationStore, Error};

/// Before the first further try when the store fails.
const RETRY: Duration = Duration::from_secs(1);

/// Removes what is due until `shutdown`, again `every` so long after the last time, and sooner after a failure.
pub async fn run(
    store: Arc<dyn ConversationStore>,
    deliveries: Arc<dyn Deliveries>,
    every: Duration,
    shutdown: CancellationToken,
) {
    let policy = Policy::forever(RETRY.min(every), every);
    let mut failures: u32 = 0;
    let work = async {
        loop {
            let now = OffsetDateTime::now_utc();
            let expired =
                async { Ok::<_, Error>((store.expire(now).await?, deliveries.expire_deliveries(now).await?)) };
            let wait = match expired.await {
                Ok((erased, deliveries)) => {
                    failures = 0;
                    Expired { erased, deliveries }.emit();
                    every
                }
                Err(error) => {
                    RetentionFailed { error: &error }.emit();
                    failures = failures.saturating_add(1);
                    policy.delay(failures - 1)
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    // A removal that is cut off has lost nothing: the next one goes on with the rest.
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests;
