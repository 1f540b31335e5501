//! Following turns to their end: kept until then, published again, let go of.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::super::tests::{LIMIT, Memory, SEGMENT, event, forward};
use super::super::{Keep, segment};
use super::*;
use crate::domain::{Event, TurnId};
use crate::ports::outbox::Outbox;
use crate::ports::store;

/// Says of turns what it was told to.
#[derive(Default)]
struct Told(Mutex<HashMap<TurnId, End>>);

impl Told {
    fn tell(&self, event: &Event, end: End) {
        self.0.lock().insert(event.subject.parse().unwrap(), end);
    }
}

#[async_trait]
impl Ends for Told {
    async fn ended(&self, turns: &[Sent]) -> Result<Vec<End>, store::Error> {
        let told = self.0.lock();
        Ok(turns.iter().map(|turn| told.get(&turn.turn_id).copied().unwrap_or(End::Open)).collect())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
fn follow_with(spool: &Spool, ends: &Arc<Told>, bus: &Arc<Memory>, resend_after: Duration) -> CancellationToken {
    let shutdown = CancellationToken::new();
    let (ends, bus) = (Arc::clone(ends) as Arc<dyn Ends>, Arc::clone(bus) as Arc<dyn Bus>);
    tokio::spawn(run(spool.clone(), ends, bus, resend_after, shutdown.clone()));
    shutdown
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_kept_and_published_again_until_it_is_seen_to_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, ends) = (Arc::new(Memory::default()), Arc::new(Told::default()));
    let (stored, lost) = (event(10), event(10));
    ends.tell(&stored, End::Kept);
    {
        let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
        spool.commit(&stored).await.unwrap();
        spool.commit(&lost).await.unwrap();
        let stop = forward(&spool, &bus);
        bus.has(&[stored.id, lost.id]).await;
        let following = follow_with(&spool, &ends, &bus, Duration::from_millis(50));
        // The one that is stored is not published again.
        until("the lost one came again", || bus.taken().get(2..4) == Some(&[lost.id, lost.id])).await;
        let account = spool.account();
        assert_eq!((account.turns_accepted, account.turns_ended), (2, 1));
        following.cancel();
        stop.cancel();
        spool.close();
    }
    // The bus has confirmed both, and a restart still knows them.
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
    assert_eq!(spool.account().turns_accepted, 2);
    assert!(spool.account().held_bytes > 0 && spool.account().pending_bytes == 0);
    let _following = follow_with(&spool, &ends, &bus, Duration::from_millis(50));
    ends.tell(&lost, End::Kept);
    until("both have ended", || spool.account().turns_ended == 2).await;
    until("nothing is held", || spool.account().held_bytes == 0).await;
    spool.close();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
    assert_eq!((spool.account().turns_accepted, spool.account().turns_ended), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_does_not_end_holds_up_no_other_and_stays_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, ends) = (Arc::new(Memory::default()), Arc::new(Told::default()));
    let slow = event(10);
    // More than are read at once, and more than are asked for at once.
    let others: Vec<Event> = (0..700).map(|_| event(10)).collect();
    others.iter().for_each(|event| ends.tell(event, End::Kept));
    {
        let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
        let _forwarding = forward(&spool, &bus);
        let following = follow_with(&spool, &ends, &bus, Duration::from_secs(3600));
        spool.commit(&slow).await.unwrap();
        for event in &others {
            spool.commit(event).await.unwrap();
        }
        until("the others have ended", || spool.account().turns_ended == 700).await;
        following.cancel();
        spool.close();
    }
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
    let account = spool.account();
    assert_eq!(
        (account.turns_accepted, account.turns_ended),
        (701, 0),
        "they are behind it in the log, and asked for again"
    );
    let _following = follow_with(&spool, &ends, &bus, Duration::from_millis(50));
    until("the slow one came again", || bus.taken().iter().filter(|id| **id == slow.id).count() > 1).await;
    let once = bus.taken().into_iter().filter(|id| *id != slow.id).count();
    assert_eq!(once, others.len(), "the others are not published again");
    ends.tell(&slow, End::Kept);
    until("all have ended", || spool.account().turns_ended == 701 && spool.account().held_bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_never_end_do_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, ends) = (Arc::new(Memory::default()), Arc::new(Told::default()));
    let limit = 4 * SEGMENT;
    let spool = Spool::open(dir.path(), SEGMENT, limit, Keep::UntilEnded).unwrap();
    let _forwarding = forward(&spool, &bus);
    let _following = follow_with(&spool, &ends, &bus, Duration::from_secs(3600));
    for _ in 0..40 {
        spool.commit(&event(20_000)).await.unwrap();
    }
    spool.drained().await;
    until("the oldest were let go of", || spool.account().held_bytes <= limit).await;
    assert!(spool.admit().is_ok());
    until("their files are gone", || segment::list(dir.path()).unwrap().len() < 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_removed_company_stays_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, ends) = (Arc::new(Memory::default()), Arc::new(Told::default()));
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilEnded).unwrap();
    let _forwarding = forward(&spool, &bus);
    let event = event(100);
    ends.tell(&event, End::Erased);
    spool.commit(&event).await.unwrap();
    let _following = follow_with(&spool, &ends, &bus, Duration::from_secs(3600));
    let is_on_disk = || {
        let files = segment::list(dir.path()).unwrap();
        files.iter().any(|(path, _)| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(36).any(|part| part == event.subject.as_bytes())
        })
    };
    until("it is gone", || spool.account().turns_ended == 1 && !is_on_disk()).await;
}
