//! Tests of the loop that removes what is due.

use super::super::testing::{MemoryLog, MemoryStore};
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn log() -> Arc<dyn Deliveries> {
    Arc::new(MemoryLog::default())
}

/// Runs the loop for so long, by a clock that does not wait, and says how often it asked the store.
async fn asked_within(store: &Arc<MemoryStore>, time: Duration) -> usize {
    store.expiries.lock().clear();
    let shutdown = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(time).await;
        shutdown.cancel();
    };
    let ended = async { tokio::join!(run(Arc::clone(store) as _, log(), HOUR, shutdown.clone()), stop) };
    tokio::time::timeout(time + HOUR, ended).await.expect("the loop does not end with the shutdown");
    store.expiries.lock().len()
}

#[tokio::test(start_paused = true)]
async fn removes_now_and_every_so_often() {
    let store = MemoryStore::with([]);
    let begun = OffsetDateTime::now_utc();
    assert_eq!(asked_within(&store, Duration::from_secs(1)).await, 1);
    assert_eq!(asked_within(&store, HOUR * 5 / 2).await, 3);
    let asked = store.expiries.lock().clone();
    assert!(asked.iter().all(|now| (begun..=OffsetDateTime::now_utc()).contains(now)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_sooner_and_then_less_and_less() {
    let store = MemoryStore::with([]);
    *store.error.lock() = Some(|| Error::Unavailable("away".to_owned()));
    let within_a_minute = asked_within(&store, Duration::from_secs(60)).await;
    assert!((5..=8).contains(&within_a_minute), "{within_a_minute} tries");
    let within_a_day = asked_within(&store, HOUR * 24).await;
    assert!((30..=50).contains(&within_a_day), "{within_a_day} tries");
}

#[tokio::test(start_paused = true)]
async fn ends_at_once_when_it_is_told_to() {
    let store = MemoryStore::with([]);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    run(Arc::clone(&store) as _, log(), HOUR, shutdown).await;
    assert!(store.expiries.lock().is_empty());
}
