//! Tests of counting turns.

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::super::testing::{MemoryStore, company, finished, jobs, record};
use super::*;
use crate::domain::analytics::{Cell, Grain, UsageCell};
use crate::domain::turn::{Degraded, FinishReason, IntentFound, Usage};

/// What was counted, in memory. With `error` set, counting fails by it.
#[derive(Default)]
struct MemoryCounters {
    counted: Mutex<Vec<(CompanyScope, Fact, OffsetDateTime)>>,
    error: Mutex<Option<fn() -> store::Error>>,
}

#[async_trait]
impl Counters for MemoryCounters {
    async fn record(&self, scope: &CompanyScope, fact: &Fact, until: OffsetDateTime) -> Result<(), store::Error> {
        self.error.lock().map_or(Ok(()), |make| Err(make()))?;
        self.counted.lock().push((scope.clone(), fact.clone(), until));
        Ok(())
    }

    async fn cells(
        &self,
        _: &CompanyScope,
        _: OffsetDateTime,
        _: OffsetDateTime,
        _: Grain,
    ) -> Result<Vec<Cell>, store::Error> {
        Ok(Vec::new())
    }

    async fn cells_of_several(
        &self,
        _: &[CompanyScope],
        _: OffsetDateTime,
        _: OffsetDateTime,
        _: Grain,
    ) -> Result<Vec<Cell>, store::Error> {
        Ok(Vec::new())
    }

    async fn usage(
        &self,
        _: &CompanyScope,
        _: OffsetDateTime,
        _: OffsetDateTime,
    ) -> Result<Vec<UsageCell>, store::Error> {
        Ok(Vec::new())
    }

    async fn erase_analytics(&self, _: &CompanyScope) -> Result<u64, store::Error> {
        Ok(0)
    }
}

fn job(counters: &Arc<MemoryCounters>, directory: &Arc<MemoryStore>) -> Analytics {
    Analytics::new(Arc::clone(counters) as _, Arc::clone(directory) as _, &jobs())
}

#[tokio::test]
async fn a_finished_turn_is_counted_without_its_text() {
    let (counters, directory) = (Arc::default(), MemoryStore::with([]));
    let mut record = record("s-1", "Lãi suất?", "6%");
    record.intent = Some(IntentFound { intent: "information".to_owned(), confidence: 0.9, agent: "a".to_owned() });
    record.degraded = vec![Degraded::Embedder];
    record.timings.first_content_ms = Some(80.0);
    record.model = Some("mock/plain".to_owned());
    record.usage = Usage { input_tokens: 11, output_tokens: 7, estimated: true };
    let outcome = job(&counters, &directory).run(&finished(&record)).await;
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    let fact = Fact {
        turn_id: record.turn_id,
        at: record.finished_at,
        intent: Some("information".to_owned()),
        language: Some("vi".to_owned()),
        finish_reason: FinishReason::Stop,
        is_degraded: true,
        first_token_class: Some(11),
        model: Some("mock/plain".to_owned()),
        input_tokens: 11,
        output_tokens: 7,
        is_estimated: true,
    };
    let kept = record.finished_at + time::Duration::days(400);
    assert_eq!(*counters.counted.lock(), [(CompanyScope::granted(company()), fact, kept)]);
}

#[tokio::test]
async fn a_turn_that_failed_is_counted_too() {
    let (counters, directory) = (Arc::default(), MemoryStore::with([]));
    let mut record = record("s", "q", "");
    record.finish_reason = FinishReason::Failed;
    record.language = None;
    assert_eq!(job(&counters, &directory).run(&finished(&record)).await, Outcome::Done(Vec::new()));
    let counted = counters.counted.lock();
    let fact = &counted[0].1;
    assert_eq!((fact.finish_reason, fact.first_token_class), (FinishReason::Failed, None));
    assert_eq!((fact.is_degraded, &fact.intent, &fact.language), (false, &None, &None));
}

#[tokio::test]
async fn a_store_that_is_away_is_tried_for_ever_and_one_that_refuses_is_not() {
    let (counters, directory) = (Arc::<MemoryCounters>::default(), MemoryStore::with([]));
    let job = job(&counters, &directory);
    let mut message = finished(&record("s", "q", "a"));
    message.first_queued_at -= time::Duration::days(1_000);
    message.attempts = 5_000;
    let away = || store::Error::Unavailable("away".to_owned());
    *counters.error.lock() = Some(away);
    assert!(matches!(job.run(&message).await, Outcome::Retry { .. }));
    *counters.error.lock() = None;
    *directory.error.lock() = Some(away);
    assert!(matches!(job.run(&message).await, Outcome::Retry { .. }));
    *directory.error.lock() = None;
    *counters.error.lock() = Some(|| store::Error::Invalid("no".to_owned()));
    assert!(matches!(job.run(&message).await, Outcome::Dead { .. }));
}

#[tokio::test]
async fn a_turn_of_a_removed_company_is_not_counted() {
    let (counters, directory) = (Arc::<MemoryCounters>::default(), MemoryStore::with([]));
    *directory.is_removed.lock() = true;
    let outcome = job(&counters, &directory).run(&finished(&record("s", "q", "a"))).await;
    assert_eq!(outcome, Outcome::Discarded(DiscardReason::CompanyGone));
    assert!(counters.counted.lock().is_empty());
}

#[tokio::test]
async fn poison_dies_at_once() {
    let (counters, directory) = (Arc::<MemoryCounters>::default(), MemoryStore::with([]));
    let good = finished(&record("s", "q", "a"));
    let text = String::from_utf8(good.body.to_vec()).unwrap();
    let foreign = text.replace(r#""companyid":"comp_1""#, r#""companyid":"comp_2""#);
    assert_ne!(foreign, text);
    let mut timeless = record("s", "q", "a");
    timeless.finished_at = time::macros::datetime!(9999-12-31 23:59 UTC);
    let timeless = String::from_utf8(finished(&timeless).body.to_vec()).unwrap();
    let broken = text.replace("turn_id", "turm_id");
    for body in [String::new(), "\u{0}".to_owned(), "{}".to_owned(), broken, foreign, timeless] {
        let message = Message { body: body.clone().into(), ..good.clone() };
        let outcome = job(&counters, &directory).run(&message).await;
        assert!(matches!(outcome, Outcome::Dead { .. }), "{body}: {outcome:?}");
    }
    assert!(counters.counted.lock().is_empty());
}
