//! The durable log between the streams and the bus.
//!
//! A turn's last act is to append its record here and wait for the disk (`writer`: one thread, one `fdatasync` for
//! all that arrived meanwhile). [`forward`] hands the records to the bus in order. What the bus has confirmed is
//! forgotten, unless the bus is one that may lose it: then [`verify`] keeps it until the turn is seen to be stored, and
//! publishes it again if need be. While an answer still streams, its pieces go to a [`journal`], which is only written, not synced: enough
//! for the death of the process, and it costs a stream next to nothing.
//!
//! **Invariants.** A record is published before its segment is deleted. Nothing is ever appended to a segment that was
//! found at start. After a failed sync nothing is appended to a segment again: what the kernel still holds of it is
//! unknown. What failed is not forwarded, and its sequences are not used again. A damaged record costs itself, not
//! those behind it.

pub mod forward;
pub mod journal;
pub mod recover;
mod segment;
pub mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::domain::{Event, TurnRecord};
use crate::ports::outbox::{Error, Journal, Outbox};
use segment::Segment;
use writer::{Append, Writer};

/// The largest event that is taken. One that is larger than a segment gets a segment of its own.
const MAX_EVENT_BYTES: u64 = 64 << 20;

/// How long a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until the bus has confirmed it: for a bus that loses nothing.
    UntilForwarded,
    /// Until the turn is seen to have come to its end.
    UntilEnded,
}

/// The spool of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    journals: journal::Journals,
    limit: u64,
    keep: Keep,
    appends: Mutex<Option<std::sync::mpsc::Sender<writer::Order>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    state: Arc<State>,
}

/// What the writer, the forwarder and admission know of each other.
pub(crate) struct State {
    /// Bytes appended and not yet forwarded, those still in memory included.
    pending_bytes: AtomicU64,
    /// Why the disk takes nothing more, if so.
    trouble: Mutex<Option<String>>,
    /// Sequence of the last record written.
    written: watch::Sender<u64>,
    /// Sequence of the last record that the bus has confirmed.
    forwarded: watch::Sender<u64>,
    /// Sequence of the last record that is not needed any more.
    released: watch::Sender<u64>,
    /// Bytes that the bus has confirmed and that are still kept.
    held_bytes: AtomicU64,
    /// Turns put on the disk, and those of them that have come to their end.
    turns_accepted: AtomicU64,
    turns_ended: AtomicU64,
    /// When nothing waited last: what waits now is no older.
    caught_up: Mutex<Instant>,
    /// Records that damage had cost when the spool was opened.
    lost: u64,
}

impl State {
    /// So many bytes wait no longer.
    fn release(&self, bytes: u64) {
        let release = |pending: u64| Some(pending.saturating_sub(bytes));
        // The closure always gives a value, so this cannot fail.
        let _ = self.pending_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, release);
    }
}

/// A spool's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Events ever appended.
    pub accepted: u64,
    /// Events that the bus has confirmed.
    pub forwarded: u64,
    /// Bytes waiting.
    pub pending_bytes: u64,
    /// Turns whose answer was under way when the process died, to be mended at the next start.
    pub unfinished_turns: u64,
    /// Events that wait no longer because their records on the disk were damaged, as found when the spool was opened.
    pub lost: u64,
    /// Bytes that the bus has confirmed, kept until their turns have come to their end.
    pub held_bytes: u64,
    /// Turns put on the disk, as far as they are counted: only where they are followed to their end.
    pub turns_accepted: u64,
    /// Those of them that have come to their end.
    pub turns_ended: u64,
}

impl Spool {
    /// Opens the spool in `dir` and starts its writer. What a crash left is read, checked and kept.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn open(dir: &Path, segment_bytes: u64, limit: u64, keep: Keep) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut last = segment::read_cursor(dir);
        let cursor = last;
        let ended = match keep {
            Keep::UntilForwarded => segment::Ended { sequence: cursor, turns: 0 },
            Keep::UntilEnded => segment::read_ended(dir, cursor)?,
        };
        // Sequences whose records failed are behind the last one written, and are not used again.
        let mut written = cursor;
        let (mut pending_bytes, mut held_bytes, mut lost) = (0u64, 0u64, 0u64);
        for (path, scan) in &segment::scan_all(dir)? {
            report(path, scan, cursor);
            if let Some(torn) = &scan.torn {
                segment::keep_torn(path, torn)?;
            }
            last = last.max(scan.last);
            written = written.max(scan.last_record().unwrap_or(0));
            if scan.last <= ended.sequence {
                // Nothing of it is needed, and so nothing of it should lie here any longer.
                std::fs::remove_file(path)?;
            }
            pending_bytes += scan.bytes_after(cursor);
            held_bytes += scan.bytes_after(ended.sequence) - scan.bytes_after(cursor);
            lost += scan.lost_after(cursor);
        }
        metrics::gauge!("turnpike_spool_lost_events").set(lost as f64);
        let followed = match keep {
            Keep::UntilForwarded => 0,
            Keep::UntilEnded => recover::turn_ends_after(dir, ended.sequence)?.len() as u64,
        };
        let state = Arc::new(State {
            released: watch::Sender::new(ended.sequence),
            held_bytes: AtomicU64::new(held_bytes),
            turns_accepted: AtomicU64::new(ended.turns + followed),
            turns_ended: AtomicU64::new(ended.turns),
            pending_bytes: AtomicU64::new(pending_bytes),
            trouble: Mutex::new(None),
            written: watch::Sender::new(written),
            forwarded: watch::Sender::new(cursor),
            caught_up: Mutex::new(Instant::now()),
            lost,
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        let first = Segment::create(dir, last + 1, segment_bytes)?;
        let writer = Writer::new(dir.to_owned(), segment_bytes, first, last, Arc::clone(&state));
        let thread =
            std::thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                journals: journal::Journals::open(&dir.join("journals"))?,
                limit,
                keep,
                appends: Mutex::new(Some(sender)),
                thread: Mutex::new(Some(thread)),
                state,
            }),
        })
    }

    /// The account of a spool that this or another process has open.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn inspect(dir: &Path) -> std::io::Result<Account> {
        if !dir.exists() {
            // No service has run here yet.
            return Ok(Account::default());
        }
        let forwarded = segment::read_cursor(dir);
        let mut account = Account { accepted: forwarded, forwarded, ..Account::default() };
        for (_, scan) in segment::scan_all(dir)? {
            account.accepted = account.accepted.max(scan.last_record().unwrap_or(0));
            account.pending_bytes += scan.bytes_after(forwarded);
            account.lost += scan.lost_after(forwarded);
        }
        account.unfinished_turns = journal::count(&dir.join("journals"));
        Ok(account)
    }

    /// The account of this spool.
    pub fn account(&self) -> Account {
        let state = &self.shared.state;
        Account {
            accepted: *state.written.borrow(),
            forwarded: *state.forwarded.borrow(),
            pending_bytes: state.pending_bytes.load(Ordering::Relaxed),
            unfinished_turns: journal::count(&self.shared.dir.join("journals")),
            lost: state.lost,
            held_bytes: state.held_bytes.load(Ordering::Relaxed),
            turns_accepted: state.turns_accepted.load(Ordering::Relaxed),
            turns_ended: state.turns_ended.load(Ordering::Relaxed),
        }
    }

    /// How long the oldest event has waited for the bus, at most; zero when none waits.
    pub fn oldest_age(&self) -> Duration {
        let state = &self.shared.state;
        let waits = *state.forwarded.borrow() < *state.written.borrow();
        if waits { state.caught_up.lock().elapsed() } else { Duration::ZERO }
    }

    /// Waits until everything that was appended before has reached the bus.
    pub async fn drained(&self) {
        let target = *self.shared.state.written.borrow();
        let mut forwarded = self.shared.state.forwarded.subscribe();
        // The sender lives as long as `self`.
        let _ = forwarded.wait_for(|&sequence| sequence >= target).await;
    }

    /// Forgets what stands up to a sequence, and removes the segments that hold nothing else.
    fn release(&self, sequence: u64) {
        if let Ok(found) = segment::list(&self.shared.dir) {
            for pair in found.windows(2) {
                let [(path, _), (_, next)] = pair else { continue };
                if *next <= sequence + 1 {
                    // One that cannot be deleted now is met again at the next time.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        self.shared.state.released.send_replace(sequence);
    }

    /// Removes what is not needed any more from the disk now. Without this it goes together with its segment.
    pub async fn forget(&self) {
        self.roll().await;
        let released = *self.shared.state.released.borrow();
        self.release(released);
    }

    /// Begins a new segment, so that what stands in the current one can be removed as soon as it is not needed.
    async fn roll(&self) {
        let (sender, rolled) = oneshot::channel();
        // A spool that is closed has no current segment, and nobody answers.
        if let Some(orders) = self.shared.appends.lock().as_ref() {
            let _ = orders.send(writer::Order::Roll(sender));
        }
        let _ = rolled.await;
    }

    /// Removes what has reached the bus, and what was set aside because it cannot be read: nothing of it is needed any
    /// more, and whoever is to be forgotten must not stay in it. The spool must be closed and drained.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn purge(&self) -> std::io::Result<()> {
        let cursor = *self.shared.state.forwarded.borrow();
        for (path, first) in segment::list(&self.shared.dir)? {
            if segment::scan(&path, first)?.last <= cursor {
                std::fs::remove_file(path)?;
            }
        }
        for dir in [self.shared.dir.clone(), self.shared.dir.join("journals")] {
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                let is_aside = ["torn", "damaged", "bad"].iter().any(|&aside| path.extension() == Some(aside.as_ref()));
                if path.is_file() && (is_aside || path.ends_with("spare")) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is still in memory and closes. Later appends are refused.
    pub fn close(&self) {
        self.shared.appends.lock().take();
        if let Some(thread) = self.shared.thread.lock().take() {
            // The writer does not panic; if it did, there is nothing left to write.
            let _ = thread.join();
        }
    }

    fn append(&self, payload: Vec<u8>, committed: Option<oneshot::Sender<Result<u64, Error>>>) -> Result<(), Error> {
        if payload.len() as u64 > MAX_EVENT_BYTES {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_EVENT_BYTES });
        }
        let bytes = payload.len() as u64 + segment::HEADER;
        let sender = self.shared.appends.lock();
        self.shared.state.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        let append = Append { payload, committed };
        sender.as_ref().and_then(|sender| sender.send(writer::Order::Append(append)).ok()).ok_or_else(|| {
            self.shared.state.release(bytes);
            Error::Closed
        })
    }
}

/// Says what is wrong with a segment that was found, and sets damaged bytes aside.
fn report(path: &Path, scan: &segment::Scan, cursor: u64) {
    for damage in &scan.damaged {
        tracing::error!(
            spool.segment = %path.display(), spool.offset_bytes = damage.offset, spool.damaged_bytes = damage.bytes,
            spool.lost_events = damage.lost_after(cursor),
            "a segment of the spool is damaged; the records behind it are kept"
        );
    }
    if !scan.damaged.is_empty()
        && let Err(error) = segment::keep_damaged(path, &scan.damaged)
    {
        tracing::warn!(spool.segment = %path.display(), %error, "damaged bytes of the spool cannot be copied");
    }
    if let Some(torn) = &scan.torn {
        tracing::warn!(
            spool.segment = %path.display(), spool.offset_bytes = torn.offset, spool.torn_bytes = torn.bytes,
            "the spool's tail was torn by a crash; what had been promised stands before it"
        );
    }
}

#[async_trait]
impl Outbox for Spool {
    fn admit(&self) -> Result<(), Error> {
        if let Some(trouble) = self.shared.state.trouble.lock().clone() {
            return Err(Error::Disk(trouble));
        }
        let pending = self.shared.state.pending_bytes.load(Ordering::Relaxed);
        if pending >= self.shared.limit {
            return Err(Error::Full { pending, limit: self.shared.limit });
        }
        Ok(())
    }

    fn publish(&self, event: &Event) {
        let appended = serde_json::to_vec(event)
            .map_err(|error| error.to_string())
            .and_then(|payload| self.append(payload, None).map_err(|error| error.to_string()));
        if let Err(error) = appended {
            metrics::counter!("turnpike_spool_rejected_total").increment(1);
            tracing::error!(turn.id = %event.subject, event.kind = event.event_type.as_str(), error, "an event was not taken");
        }
    }

    async fn commit(&self, event: &Event) -> Result<(), Error> {
        let payload = serde_json::to_vec(event).map_err(|error| Error::Disk(error.to_string()))?;
        let (sender, receiver) = oneshot::channel();
        self.append(payload, Some(sender))?;
        receiver.await.map_err(|_| Error::Closed)??;
        if event.ends_turn() {
            self.shared.state.turns_accepted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn journal(&self, record: &TurnRecord) -> Box<dyn Journal> {
        Box::new(self.shared.journals.begin(record))
    }
}

#[cfg(test)]
mod tests;
