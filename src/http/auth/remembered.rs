//! What the directory said, remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::known::Row;
use crate::http::problem::Problem;
use crate::ports::store::Error;

/// How long a company or key is believed before the directory is asked again.
const FRESH: Duration = Duration::from_secs(5);
/// How long it is believed when the directory does not answer.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long a request waits for the directory when something is known, and when nothing is.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Companies and keys remembered.
const CAPACITY: u64 = 100_000;

/// Rows of the directory, believed for a while, and longer when the directory is away: a stalled database must not stop
/// streams.
pub(super) struct Remembered<T> {
    fresh: Cache<String, Option<Arc<T>>>,
    stale: Cache<String, Row<Arc<T>>>,
    /// How often something was forgotten.
    forgotten: AtomicU64,
    /// Told when there is something that was not known before, or something was forgotten.
    news: Arc<Notify>,
}

impl<T: PartialEq + Send + Sync + 'static> Remembered<T> {
    pub(super) fn new(news: Arc<Notify>) -> Self {
        Self {
            fresh: Cache::builder().max_capacity(CAPACITY).time_to_live(FRESH).build(),
            stale: Cache::builder().max_capacity(CAPACITY).time_to_live(STALE).build(),
            forgotten: AtomicU64::new(0),
            news,
        }
    }

    pub(super) async fn forget(&self, key: &str) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.fresh.invalidate(key).await;
        self.stale.invalidate(key).await;
        self.news.notify_one();
    }

    /// Forgets all that something holds for.
    pub(super) async fn forget_all(&self, is_gone: impl Fn(&T) -> bool) {
        let gone: Vec<Arc<String>> =
            self.stale.iter().filter(|(_, row)| is_gone(&row.value)).map(|(key, _)| key).collect();
        for key in gone {
            self.forget(&key).await;
        }
    }

    /// All that would be believed if the directory were away.
    pub(super) fn all(&self) -> Vec<Row<Arc<T>>> {
        self.stale.iter().map(|(_, row)| row).filter(is_believed).collect()
    }

    /// Believes what an earlier process knew, until the directory says otherwise.
    pub(super) async fn recall(&self, key: String, row: Row<Arc<T>>) {
        if is_believed(&row) {
            self.stale.insert(key, row).await;
        }
    }

    pub(super) async fn get(
        &self,
        key: &str,
        ask: impl Future<Output = Result<Option<T>, Error>> + Send,
    ) -> Result<Option<Arc<T>>, Problem> {
        if let Some(known) = self.fresh.get(key).await {
            return Ok(known);
        }
        let stale = self.stale.get(key).await.filter(is_believed);
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let patience = if stale.is_some() { PATIENCE.0 } else { PATIENCE.1 };
        let reason = match tokio::time::timeout(patience, ask).await {
            Ok(Ok(found)) => {
                let found = found.map(Arc::new);
                if forgotten != self.forgotten.load(Ordering::SeqCst) {
                    // It may have been read before the change that made it to be forgotten.
                    return Ok(found);
                }
                self.fresh.insert(key.to_owned(), found.clone()).await;
                let is_news = stale.map(|row| row.value) != found;
                match &found {
                    Some(found) => {
                        let row = Row { value: Arc::clone(found), confirmed_at: OffsetDateTime::now_utc() };
                        self.stale.insert(key.to_owned(), row).await;
                    }
                    None => self.stale.invalidate(key).await,
                }
                if is_news {
                    self.news.notify_one();
                }
                return Ok(found);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        tracing::warn!(reason, "the directory did not answer");
        match stale {
            Some(known) => {
                if forgotten == self.forgotten.load(Ordering::SeqCst) {
                    // Asked again after the usual while, not by every request.
                    self.fresh.insert(key.to_owned(), Some(Arc::clone(&known.value))).await;
                }
                Ok(Some(known.value))
            }
            None => {
                Err(Problem::unavailable("directory_unavailable", "companies and keys cannot be looked up right now"))
            }
        }
    }
}

fn is_believed<T>(row: &Row<T>) -> bool {
    OffsetDateTime::now_utc() - row.confirmed_at < STALE
}
