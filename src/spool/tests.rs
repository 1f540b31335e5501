//! The spool against crashes, torn tails and a bus that is away.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::domain::event::{EventType, GATEWAY, Origin};
use crate::domain::{CompanyScope, FinishReason, TurnId};
use crate::ports::bus::{self, Bus, DeadLetter, Message, Queue, Taken};

pub(super) const SEGMENT: u64 = 64 * 1024;
pub(super) const LIMIT: u64 = 1 << 20;

fn record() -> TurnRecord {
    let (company, session) = ("c".parse().unwrap(), "s".parse().unwrap());
    TurnRecord {
        message: "câu hỏi".to_owned(),
        finish_reason: FinishReason::Stop,
        ..TurnRecord::begun(TurnId::generate(), company, session, OffsetDateTime::now_utc())
    }
}

pub(super) fn event(padding: usize) -> Event {
    let record = record();
    let origin = Origin {
        source: GATEWAY,
        subject: record.turn_id.to_string(),
        company_id: record.company_id,
        conversation_id: record.conversation_id,
        traceparent: None,
    };
    Event::new(EventType::TurnCompleted, &origin, "", &"x".repeat(padding)).unwrap()
}

/// A bus that keeps what it is given, or refuses everything.
#[derive(Default)]
pub(super) struct Memory {
    taken: Mutex<Vec<Uuid>>,
    is_away: std::sync::atomic::AtomicBool,
}

impl Memory {
    pub(super) fn taken(&self) -> Vec<Uuid> {
        self.taken.lock().clone()
    }

    pub(super) async fn has(&self, ids: &[Uuid]) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while *self.taken.lock() != ids {
            assert!(tokio::time::Instant::now() < deadline, "has {} of {}", self.taken.lock().len(), ids.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait]
impl Bus for Memory {
    async fn publish(&self, messages: &[Message]) -> Result<(), bus::Error> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(bus::Error::Unavailable("away".to_owned()));
        }
        self.taken.lock().extend(messages.iter().map(|message| message.id));
        Ok(())
    }

    async fn take(&self, _: Queue) -> Result<Box<dyn Taken>, bus::Error> {
        std::future::pending().await
    }

    async fn accounts(&self) -> Result<Vec<bus::Account>, bus::Error> {
        Ok(vec![])
    }

    async fn dead_letters(&self, _: Option<Queue>, _: usize) -> Result<Vec<DeadLetter>, bus::Error> {
        Ok(vec![])
    }

    async fn redrive(&self, _: Option<Queue>, _: Option<Uuid>) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn sweep(&self) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn expire(&self, _: OffsetDateTime) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn erase(&self, _: &CompanyScope) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn erase_turns(&self, _: &CompanyScope, _: bus::Turns) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn check(&self) -> Result<(), bus::Error> {
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
pub(super) fn forward(spool: &Spool, bus: &Arc<Memory>) -> CancellationToken {
    let shutdown = CancellationToken::new();
    tokio::spawn(forward::run(spool.clone(), Arc::clone(bus) as Arc<dyn Bus>, shutdown.clone()));
    shutdown
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_reaches_the_bus_in_order_over_many_segments_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Arc::new(Memory::default());
    let mut ids = Vec::new();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    for _ in 0..100 {
        let event = event(3000);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
    }
    // Nothing was forwarded yet: the next process finds all of it.
    spool.close();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    assert_eq!(spool.account().accepted, 100);
    let shutdown = forward(&spool, &bus);
    for _ in 0..100 {
        let event = event(3000);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
    }
    bus.has(&ids).await;
    spool.drained().await;
    let account = spool.account();
    assert_eq!((account.accepted, account.forwarded, account.pending_bytes), (200, 200, 0));
    assert!(segment::list(dir.path()).unwrap().len() <= 2, "segments that were forwarded are deleted");
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_costs_nothing_that_was_promised() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let event = event(100);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
    }
    spool.close();
    let (path, first) = segment::list(dir.path()).unwrap().pop().unwrap();
    let scan = segment::scan(&path, first).unwrap();
    let end = scan.bytes_after(0);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Half a record, as a power cut leaves it.
    file.write_all_at(&[200, 1, 0, 0, 9, 9, 9, 9, 4, 0, 0, 0, 0, 0, 0, 0, b'{', b'"'], end).unwrap();

    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    assert!(path.with_extension("torn").exists());
    let event = event(100);
    ids.push(event.id);
    spool.commit(&event).await.unwrap();
    let bus = Arc::new(Memory::default());
    let shutdown = forward(&spool, &bus);
    bus.has(&ids).await;
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_bus_is_away_the_spool_fills_then_refuses_then_drains() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, 100_000, Keep::UntilForwarded).unwrap();
    let bus = Arc::new(Memory::default());
    bus.is_away.store(true, Ordering::Relaxed);
    let shutdown = forward(&spool, &bus);
    let mut ids = Vec::new();
    while spool.admit().is_ok() {
        let event = event(5000);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
        assert!(ids.len() < 100, "the limit is never reached");
    }
    assert!(matches!(spool.admit(), Err(Error::Full { .. })));
    bus.is_away.store(false, Ordering::Relaxed);
    bus.has(&ids).await;
    spool.drained().await;
    assert!(spool.admit().is_ok());
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_gives_back_the_turn_as_far_as_it_was_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let (read, left, closed) = (record(), record(), record());
    let journal = spool.journal(&read);
    journal.content("lost");
    journal.reset();
    journal.content("Chào ");
    journal.content("bạn");
    let journal = spool.journal(&left);
    journal.content("Chào ");
    journal.left("Chào ".len());
    journal.content("bạn");
    assert!(journal.is_whole());
    spool.journal(&closed).close();
    assert_eq!(spool.account().unfinished_turns, 2);
    spool.close();

    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let recovered = spool.recover().await.unwrap();
    let answers: Vec<_> = recovered.iter().map(|turn| (turn.turn_id, turn.answer.as_str())).collect();
    assert_eq!(answers, [(read.turn_id, "Chào bạn"), (left.turn_id, "Chào ")]);
    assert!(recovered.iter().all(|turn| turn.finish_reason == FinishReason::Interrupted));
    assert_eq!(spool.account().unfinished_turns, 0);
    assert_eq!(spool.pending_turns().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_a_segment_gets_its_own_and_one_beyond_the_limit_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let too_large = event(usize::try_from(MAX_EVENT_BYTES).unwrap());
    assert!(matches!(spool.commit(&too_large).await, Err(Error::TooLarge { .. })));
    let mut ids = Vec::new();
    // The first one takes the place of a segment that is still empty.
    for padding in [100_000, 10, 100_000, 100_000, 10] {
        let event = event(padding);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
    }
    spool.close();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let bus = Arc::new(Memory::default());
    let shutdown = forward(&spool, &bus);
    let event = event(100_000);
    ids.push(event.id);
    spool.commit(&event).await.unwrap();
    bus.has(&ids).await;
    spool.drained().await;
    assert_eq!((spool.account().pending_bytes, spool.account().lost), (0, 0));
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_its_own_record_and_none_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let event = event(100);
        ids.push(event.id);
        spool.commit(&event).await.unwrap();
    }
    spool.close();
    let (path, _) = segment::list(dir.path()).unwrap().pop().unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, segment::HEADER + 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], segment::HEADER + 20).unwrap();

    assert_eq!(Spool::inspect(dir.path()).unwrap().lost, 1);
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let account = spool.account();
    assert_eq!((account.accepted, account.lost), (5, 1));
    assert!(path.with_extension("damaged").exists());
    assert!(!path.with_extension("torn").exists(), "nothing is cut off that records follow");
    let bus = Arc::new(Memory::default());
    let shutdown = forward(&spool, &bus);
    bus.has(&ids[1..]).await;
    spool.drained().await;
    assert_eq!(spool.account().pending_bytes, 0);
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_end_of_an_earlier_segment_is_counted_and_a_gap_between_segments_is_not() {
    let dir = tempfile::tempdir().unwrap();
    // Sequences 3 and 4 failed and were cut off; 6 is damaged.
    for (first, sequences) in [(1, 1..3), (5, 5..7), (7, 7..9)] {
        let mut bytes = Vec::new();
        for sequence in sequences {
            let payload = serde_json::to_vec(&event(10)).unwrap();
            segment::encode(&mut bytes, sequence, &payload);
        }
        if first == 5 {
            *bytes.last_mut().unwrap() ^= 1;
        }
        std::fs::write(dir.path().join(format!("{first:020}.seg")), bytes).unwrap();
    }
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    assert_eq!(spool.account().lost, 1);
    let mut reader = forward::Reader::new(dir.path().to_owned(), 0);
    let sequences = |records: Vec<segment::Record>| records.iter().map(|record| record.sequence).collect::<Vec<_>>();
    // What is not known to be written is not read.
    assert_eq!(sequences(reader.next(7).unwrap()), [1, 2, 5, 7]);
    assert_eq!(sequences(reader.next(7).unwrap()), [0u64; 0]);
    assert_eq!(sequences(reader.next(8).unwrap()), [8]);
}

#[test]
fn records_that_could_not_be_synced_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(dir.path(), 1, SEGMENT).unwrap();
    for sequence in 1..3 {
        let mut bytes = Vec::new();
        segment::encode(&mut bytes, sequence, b"payload");
        segment.write(&bytes).unwrap();
    }
    segment.cut_last(23).unwrap();
    let (path, first) = segment::list(dir.path()).unwrap().pop().unwrap();
    let scan = segment::scan(&path, first).unwrap();
    assert_eq!((scan.last, scan.bytes_after(0)), (1, 23));
    assert!(scan.torn.is_none() && scan.damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_is_set_aside_and_the_others_are_mended() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SEGMENT, LIMIT, Keep::UntilForwarded).unwrap();
    let good = record();
    spool.journal(&good).content("Chào");
    let journals = dir.path().join("journals");
    std::fs::write(journals.join("0.turn"), [0xff, 0, b'\n', 7]).unwrap();
    // A folder cannot be read as a file.
    std::fs::create_dir(journals.join("1.turn")).unwrap();
    let recovered = spool.recover().await.unwrap();
    assert_eq!(recovered.iter().map(|turn| turn.turn_id).collect::<Vec<_>>(), [good.turn_id]);
    assert!(journals.join("0.bad").exists() && journals.join("1.bad").exists());
    assert_eq!(spool.account().unfinished_turns, 0);
}
