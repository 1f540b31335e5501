//! Tests of several workers on one bus, where a message can be there twice.

use super::*;

/// A worker beside others.
fn worker(store: &Arc<MemoryStore>, sender: &Arc<Scripted>, log: &Arc<MemoryLog>) -> Deliver {
    logging_job(store, sender, log).among_others(Arc::clone(log) as _)
}

/// The attempt that an event leaves for the only endpoint.
async fn attempt_of(job: &Deliver, subject: &str) -> Message {
    match job.run(&Message::of_event(&event(subject)).unwrap()).await {
        Outcome::Done(mut attempts) if attempts.len() == 1 => attempts.remove(0),
        other => panic!("{other:?}"),
    }
}

fn parts(
    script: impl Fn(&Request) -> Option<Result<Answer, PostError>> + Send + Sync + 'static,
) -> (Arc<MemoryStore>, Arc<Scripted>, Arc<MemoryLog>) {
    (MemoryStore::with([endpoint("ep_1", &UPDATED)]), sender(script), Arc::new(MemoryLog::default()))
}

#[tokio::test(start_paused = true)]
async fn a_copy_waits_while_another_worker_tries_and_is_done_when_it_arrived() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let (store, sender, log) = parts(move |_| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
        // It hangs until the deadline, and then fails.
        true => None,
        false => status(204, None),
    });
    let (one, other) = (worker(&store, &sender, &log), worker(&store, &sender, &log));
    let attempt = attempt_of(&one, "t").await;
    let copy = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        (other.run(&attempt).await, one.run(&attempt).await)
    };
    let (tried, (elsewhere, here)) = tokio::join!(one.run(&attempt), copy);
    let Outcome::Retry { .. } = tried else { panic!("{tried:?}") };
    let Outcome::Defer { after } = elsewhere else { panic!("{elsewhere:?}") };
    assert!(after > webhooks().deadline, "the lease is longer than a request may take, not {after:?}");
    let Outcome::Defer { after } = here else { panic!("{here:?}") };
    assert!(after < Duration::from_secs(1), "a copy in the same worker looks again soon, not after {after:?}");
    assert_eq!(sender.seen.lock().len(), 1);

    // The try is written down: a copy that knows nothing of it makes it no second time.
    let Outcome::Retry { after, .. } = other.run(&attempt).await else { panic!("it was tried") };
    assert!(after > Duration::from_secs(1), "it comes with the next try, not after {after:?}");
    assert_eq!(sender.seen.lock().len(), 1);
    let next = Message { attempts: 1, ..attempt.clone() };
    assert_eq!(other.run(&next).await, Outcome::Done(Vec::new()));
    for copy in [&attempt, &next] {
        assert_eq!(one.run(copy).await, Outcome::Done(Vec::new()));
    }
    assert_eq!(sender.seen.lock().len(), 2, "what was delivered is not sent again");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_held_is_tried_when_its_lease_is_over() {
    let (store, sender, log) = parts(|_| status(204, None));
    let (dead, other) = (worker(&store, &sender, &log), worker(&store, &sender, &log));
    let attempt = attempt_of(&dead, "t").await;
    let id = log.parcels.lock()[0].delivery.id;
    let scope = CompanyScope::granted(company());
    let held = dead.exclusive.as_ref().unwrap();
    assert!(matches!(held.begin(&scope, id, &attempt).await.unwrap(), std::ops::ControlFlow::Continue(_)));
    let Outcome::Defer { after } = other.run(&attempt).await else { panic!("it may be on its way") };
    // Leases are by the clock of the machine, which the test's does not move.
    log.leases.lock().get_mut(&id).unwrap().until -= after;
    assert_eq!(other.run(&attempt).await, Outcome::Done(Vec::new()));
    assert_eq!(sender.seen.lock().len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_while_nobody_can_be_asked() {
    let (store, sender, log) = parts(|_| panic!("another worker may be sending it"));
    let job = worker(&store, &sender, &log);
    let attempt = attempt_of(&job, "t").await;
    *log.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
    let Outcome::Retry { .. } = job.run(&attempt).await else { panic!("it is tried again") };
}

#[tokio::test]
async fn tries_that_a_message_does_not_know_of_are_caught_up_with_at_once() {
    let (store, sender, log) = parts(|_| status(500, None));
    let job = worker(&store, &sender, &log);
    let attempt = attempt_of(&job, "t").await;
    let tried = |next: Duration| {
        let now = OffsetDateTime::now_utc();
        let standing = &mut log.parcels.lock()[0].delivery.standing;
        (standing.attempts, standing.last_attempt_at, standing.next_attempt_at) = (7, Some(now), Some(now + next));
    };
    // As after a restart, when the broker gives what it knows of again.
    tried(Duration::ZERO);
    let Outcome::Retry { after, .. } = job.run(&attempt).await else { panic!("it fails") };
    assert!(after > Duration::from_secs(400), "the pause is that of the eighth try, not {after:?}");
    tried(HOUR);
    let Outcome::Retry { after, .. } = job.run(&attempt).await else { panic!("it is not due") };
    assert!(after > HOUR - Duration::from_secs(60) && after <= HOUR, "{after:?}");
    assert_eq!(sender.seen.lock().len(), 1);
    // Somebody wants it to be tried now.
    let redriven = Message { first_queued_at: OffsetDateTime::now_utc() + Duration::from_secs(1), ..attempt };
    job.run(&redriven).await;
    let numbers: Vec<u32> = log.attempts.lock().iter().map(|(_, it)| it.number).collect();
    assert_eq!((sender.seen.lock().len(), numbers), (2, vec![8, 8]));
}
