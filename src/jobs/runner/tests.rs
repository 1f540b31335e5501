//! Tests of the loop that jobs share.

use std::sync::atomic::AtomicUsize;

use super::super::testing::{MemoryBus, finished, record};
use super::*;

/// A job that does what its closure says.
struct Scripted<F> {
    concurrency: usize,
    policy: Policy,
    run: F,
}

impl<F> Scripted<F> {
    fn new(concurrency: usize, run: F) -> Arc<Self> {
        let policy = Policy::forever(Duration::from_secs(1), Duration::from_secs(60));
        Arc::new(Self { concurrency, policy, run })
    }
}

impl<F, R> Job for Scripted<F>
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send,
{
    const NAME: &'static str = "scripted";
    const QUEUE: Queue = Queue::Persist;

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    async fn run(&self, message: &Message) -> Outcome {
        (self.run)(message.clone()).await
    }
}

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|_| finished(&record("s", "q", "a"))).collect()
}

/// Runs a job beside `until`, then shuts it down.
async fn run_until<J: Job>(job: Arc<J>, bus: &Arc<MemoryBus>, until: impl Future<Output = ()>) {
    let shutdown = CancellationToken::new();
    let watch = async {
        tokio::time::timeout(Duration::from_secs(3600), until).await.expect("not reached");
        shutdown.cancel();
    };
    tokio::join!(run(job, Arc::clone(bus) as Arc<dyn Bus>, shutdown.clone()), watch);
}

#[tokio::test(start_paused = true)]
async fn no_message_is_taken_without_a_permit() {
    let bus = MemoryBus::with(messages(5));
    let job = Scripted::new(2, |_| std::future::pending());
    let watch = async {
        while bus.in_hand() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((bus.in_hand(), bus.waiting()), (2, 3));
    };
    run_until(job, &bus, watch).await;
    // The handlers never ended: after the drain their messages are in the queue again.
    assert_eq!((bus.in_hand(), bus.waiting()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_try() {
    let tries = Arc::new(AtomicUsize::new(0));
    let bus = MemoryBus::with(messages(1));
    let counter = Arc::clone(&tries);
    let job = Scripted::new(1, move |_| {
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(!first, "as told");
            Outcome::Done(Vec::new())
        }
    });
    run_until(job, &bus, bus.until(|settled| settled.len() == 2)).await;
    let settled = bus.settled();
    let Settlement::Retry { after, reason } = &settled[0].1 else { panic!("{settled:?}") };
    assert!(*after >= Duration::from_millis(800) && *after <= Duration::from_millis(1200), "{after:?}");
    assert!(reason.contains("as told"), "{reason}");
    assert_eq!(settled[1].0.attempts, 1);
    assert!(matches!(settled[1].1, Settlement::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_for_a_day_is_given_up() {
    let mut message = messages(1).remove(0);
    message.first_queued_at -= PANICS_END;
    let bus = MemoryBus::with([message]);
    let job = Scripted::new(1, |_| async { panic!("again") });
    run_until(job, &bus, bus.until(|settled| settled.len() == 1)).await;
    assert!(matches!(&bus.settled()[0].1, Settlement::Dead { reason } if reason.contains("again")));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_fails_is_waited_out() {
    let bus = MemoryBus::with(messages(3));
    bus.fail(50, 20);
    let job = Scripted::new(2, |_| async { Outcome::Done(Vec::new()) });
    let begun = Instant::now();
    run_until(job, &bus, bus.until(|settled| settled.len() == 3)).await;
    // Fifty failures in a row, mostly ten seconds apart, and not one after the other without a pause.
    assert!(begun.elapsed() > Duration::from_secs(300), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn handlers_at_work_finish_after_shutdown_began() {
    let bus = MemoryBus::with(messages(2));
    let job = Scripted::new(1, |_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Outcome::Done(Vec::new())
    });
    let watch = async {
        while bus.in_hand() < 1 {
            tokio::task::yield_now().await;
        }
    };
    run_until(job, &bus, watch).await;
    assert_eq!(bus.settled().len(), 1, "the one at work is done");
    assert_eq!(bus.waiting(), 1, "the other one was not begun");
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_settled_as_they_are() {
    let second = Duration::from_secs(1);
    let follow_up = messages(1);
    for (outcome, expected) in [
        (Outcome::Done(follow_up), "Done"),
        (Outcome::Discarded(DiscardReason::CompanyGone), "Done { follow_ups: [] }"),
        (Outcome::Retry { after: second, reason: "r".to_owned() }, "Retry { after: 1s, reason: \"r\" }"),
        (Outcome::Defer { after: second }, "Defer { after: 1s }"),
        (Outcome::Dead { reason: "r".to_owned() }, "Dead { reason: \"r\" }"),
    ] {
        assert!(format!("{:?}", Settlement::from(outcome)).starts_with(expected), "{expected}");
    }
}
