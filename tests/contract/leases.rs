//! The contract of leases of deliveries. `leases_contract!` runs all checks on an adapter, each on an empty log of its own.

use std::sync::Arc;

use futures::future::join_all;
use time::{Duration, OffsetDateTime};
use turnpike::domain::delivery::{Attempt, Standing, State, Timing};
use turnpike::ports::deliveries::{Lease, Leased, Leases};
use uuid::Uuid;

use crate::deliveries::{Log, parcel};
use crate::store::scope;

/// Runs every check on the log and the leases that an async function makes, or none where its server is missing.
macro_rules! leases_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            leases_contract! { @each $make;
                grants_a_delivery_to_one_of_many ends_with_its_time_or_with_what_is_written_of_a_try
                tells_what_was_tried_and_what_was_delivered grants_what_is_not_in_the_log
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            if let Some((log, leases)) = $make().await {
                super::$check(&log, leases).await;
            }
        }
    )*};
}

leases_contract!(on_mongodb, crate::store::mongodb::fresh_leases);

fn lease(attempts: u32) -> Lease {
    // A database's times may be coarser than ours.
    let at = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    Lease { holder: Uuid::new_v4(), attempts, at, until: at + Duration::seconds(20) }
}

async fn opened(log: &Log, n: i64) -> Uuid {
    let parcel = parcel("comp_a", n);
    let id = parcel.delivery.id;
    log.deliveries.open(&scope("comp_a"), &[parcel], OffsetDateTime::now_utc() + Duration::days(1)).await.unwrap();
    id
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        started_at: OffsetDateTime::now_utc(),
        outcome: "status".to_owned(),
        error: None,
        status: Some(500),
        http_version: None,
        remote_address: None,
        headers: Vec::new(),
        body_start: String::new(),
        timing: Timing::default(),
    }
}

fn standing(state: State, attempts: u32) -> Standing {
    let next = time::macros::datetime!(2026-11-20 11:00 UTC);
    let reason = Some("the endpoint answered 500".to_owned());
    Standing { state, attempts, reason, ..Standing::new(next) }
}

async fn grants_a_delivery_to_one_of_many(log: &Log, leases: Arc<dyn Leases>) {
    let company = scope("comp_a");
    for n in 0..5 {
        let id = opened(log, n).await;
        let asked: Vec<Lease> = (0..8).map(|_| lease(0)).collect();
        let answers = join_all(asked.iter().map(|it| leases.lease(&company, id, it))).await;
        let answers: Vec<Leased> = answers.into_iter().map(Result::unwrap).collect();
        let granted: Vec<usize> = (0..8).filter(|&n| answers[n] == Leased::Granted).collect();
        assert_eq!(granted.len(), 1, "{answers:?}");
        let holder = asked[granted[0]];
        for answer in answers.iter().filter(|&answer| *answer != Leased::Granted) {
            assert_eq!(*answer, Leased::Held { until: holder.until });
        }
        // Whoever holds it may ask once more, as when the answer was lost.
        assert_eq!(leases.lease(&company, id, &holder).await.unwrap(), Leased::Granted);
        // It is of this company's delivery.
        assert_eq!(leases.lease(&scope("comp_b"), id, &lease(0)).await.unwrap(), Leased::Granted);
        assert_eq!(leases.lease(&company, id, &lease(0)).await.unwrap(), Leased::Held { until: holder.until });
    }
}

async fn ends_with_its_time_or_with_what_is_written_of_a_try(log: &Log, leases: Arc<dyn Leases>) {
    let (company, id) = (scope("comp_a"), opened(log, 1).await);
    let (first, second) = (lease(0), lease(0));
    assert_eq!(leases.lease(&company, id, &first).await.unwrap(), Leased::Granted);
    let later = Lease { at: first.until, until: first.until + Duration::seconds(20), ..second };
    let sooner = Lease { at: first.until - Duration::seconds(1), ..second };
    assert_eq!(leases.lease(&company, id, &sooner).await.unwrap(), Leased::Held { until: first.until });
    assert_eq!(leases.lease(&company, id, &later).await.unwrap(), Leased::Granted);
    // What tells of no try does not end it, be it a copy's that found the endpoint's breaker open.
    log.deliveries.note(&company, id, &standing(State::Pending, 0), None).await.unwrap();
    assert_eq!(leases.lease(&company, id, &first).await.unwrap(), Leased::Held { until: later.until });
    log.deliveries.note(&company, id, &standing(State::Pending, 1), Some(&attempt(1))).await.unwrap();
    assert_eq!(leases.lease(&company, id, &lease(1)).await.unwrap(), Leased::Granted);
}

async fn tells_what_was_tried_and_what_was_delivered(log: &Log, leases: Arc<dyn Leases>) {
    let (company, id) = (scope("comp_a"), opened(log, 1).await);
    let tried = standing(State::Pending, 3);
    log.deliveries.note(&company, id, &tried, Some(&attempt(3))).await.unwrap();
    let Leased::Tried(known) = leases.lease(&company, id, &lease(2)).await.unwrap() else { panic!("it was tried") };
    assert_eq!((known.attempts, &known.reason, known.next_attempt_at), (3, &tried.reason, tried.next_attempt_at));
    // What was given up may have been redriven, with its tries forgotten.
    log.deliveries.note(&company, id, &standing(State::Dead, 4), Some(&attempt(4))).await.unwrap();
    assert_eq!(leases.lease(&company, id, &lease(0)).await.unwrap(), Leased::Granted);
    log.deliveries.note(&company, id, &standing(State::Delivered, 1), Some(&attempt(1))).await.unwrap();
    for attempts in [0, 9] {
        assert_eq!(leases.lease(&company, id, &lease(attempts)).await.unwrap(), Leased::Delivered);
    }
    let reopened = log.deliveries.reopen(&company, id, 1, Uuid::new_v4(), OffsetDateTime::now_utc()).await.unwrap();
    assert!(reopened);
    assert_eq!(leases.lease(&company, id, &lease(0)).await.unwrap(), Leased::Granted, "a replay sends it again");
}

async fn grants_what_is_not_in_the_log(log: &Log, leases: Arc<dyn Leases>) {
    let (company, id) = (scope("comp_a"), Uuid::new_v4());
    assert_eq!(leases.lease(&company, id, &lease(0)).await.unwrap(), Leased::Granted);
    assert!(log.deliveries.delivery(&company, id).await.unwrap().is_none());
}
