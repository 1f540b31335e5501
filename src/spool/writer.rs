//! The writer's thread: takes all that has arrived, writes it with one call, syncs once, and tells everyone who waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::State;
use super::segment::{HEADER, Segment, encode};
use crate::ports::outbox::Error;

/// Records written by one call at most.
const BATCH_RECORDS: usize = 1024;
/// What the size of a segment for one large record is rounded up to.
const BLOCK: u64 = 4096;
/// How often a disk that takes nothing is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// An append on its way.
pub(super) struct Append {
    pub(super) payload: Vec<u8>,
    /// Who waits for the disk, if anyone does.
    pub(super) committed: Option<oneshot::Sender<Result<u64, Error>>>,
}

/// What the writer is asked to do.
pub(super) enum Order {
    /// Write a record.
    Append(Append),
    /// Begin a new segment, and say so.
    Roll(oneshot::Sender<()>),
}

pub(super) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    /// The segment in use; none after it failed, until a new one can be made.
    current: Option<Segment>,
    /// The next segment, allocated ahead: while there is one, the turns under way have room.
    spare: Option<Segment>,
    sequence: u64,
    state: Arc<State>,
    buffer: Vec<u8>,
    waiting: Vec<(u64, oneshot::Sender<Result<u64, Error>>)>,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, segment_bytes: u64, first: Segment, sequence: u64, state: Arc<State>) -> Self {
        Self {
            dir,
            segment_bytes,
            current: Some(first),
            spare: None,
            sequence,
            state,
            buffer: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Runs until every sender is gone.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            self.keep_spare();
            let first = if self.state.trouble.lock().is_some() {
                match orders.recv_timeout(RETRY) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    other => other.ok(),
                }
            } else {
                orders.recv().ok()
            };
            let Some(first) = first else { break };
            self.obey(first);
            while self.buffer.len() < 1 << 20 && self.waiting.len() < BATCH_RECORDS {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(_) => break,
                }
            }
            self.flush();
        }
        for unused in [self.spare, self.current].into_iter().flatten().filter(Segment::is_empty) {
            // An empty segment that stays behind is read as empty at the next start.
            let _ = unused.remove();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Append(append) => self.take(append),
            Order::Roll(rolled) => {
                self.flush();
                if self.current.as_ref().is_some_and(|segment| !segment.is_empty()) {
                    self.leave(0);
                }
                // Whoever asked may have gone.
                let _ = rolled.send(());
            }
        }
    }

    /// Leaves a segment for the next one, which takes a record of so many bytes.
    fn leave(&mut self, bytes: u64) {
        if let Some(Err(error)) = self.current.as_ref().map(Segment::sync) {
            tracing::error!(%error, "a full segment of the spool cannot be synced");
        }
        self.roll(bytes);
    }

    fn take(&mut self, append: Append) {
        let bytes = append.payload.len() as u64 + HEADER;
        if !self.fits(bytes) {
            self.flush();
            // A flush that failed has begun a new segment.
            if !self.fits(bytes) {
                self.leave(bytes);
            }
        }
        self.sequence += 1;
        encode(&mut self.buffer, self.sequence, &append.payload);
        if let Some(committed) = append.committed {
            self.waiting.push((self.sequence, committed));
        }
    }

    /// Whether a record of so many bytes fits behind those in the buffer.
    fn fits(&self, bytes: u64) -> bool {
        self.current.as_ref().is_some_and(|segment| segment.fits(self.buffer.len() as u64 + bytes))
    }

    /// Writes the buffer, syncs if anyone waits for it, and answers.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let result = match self.current.as_mut() {
            Some(segment) => {
                segment.write(&self.buffer).and_then(|()| if self.waiting.is_empty() { Ok(()) } else { segment.sync() })
            }
            None => Err(std::io::Error::other(self.trouble())),
        };
        match result {
            Ok(()) => {
                metrics::histogram!("turnpike_spool_batch_records").record(self.waiting.len() as f64);
                self.state.written.send_replace(self.sequence);
                for (sequence, committed) in self.waiting.drain(..) {
                    // Whoever waited may have gone; the record is safe all the same.
                    let _ = committed.send(Ok(sequence));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be written");
                self.fail(&error.to_string());
            }
        }
        self.buffer.clear();
    }

    /// Gives the segment up: what the kernel still holds of it after an error is unknown, so nothing is
    /// appended to it again. The records that failed are cut off, as far as the disk lets us: whoever waited for them
    /// is told that they failed. Their sequences are not used again.
    fn fail(&mut self, reason: &str) {
        if let Some(Err(error)) = self.current.take().map(|segment| segment.cut_last(self.buffer.len())) {
            tracing::error!(%error, "records that could not be synced cannot be cut off the spool either");
        }
        *self.state.trouble.lock() = Some(reason.to_owned());
        self.state.release(self.buffer.len() as u64);
        for (_, committed) in self.waiting.drain(..) {
            let _ = committed.send(Err(Error::Disk(reason.to_owned())));
        }
        self.roll(0);
    }

    /// Goes on in the next segment, which takes a record of so many bytes: one that is too large for the usual segment
    /// gets its own.
    fn roll(&mut self, bytes: u64) {
        let first = self.sequence + 1;
        self.current = if bytes > self.segment_bytes {
            Segment::create(&self.dir, first, bytes.next_multiple_of(BLOCK)).ok()
        } else if let Some(spare) = self.spare.take() {
            spare.rename(&self.dir, first).ok()
        } else {
            Segment::create(&self.dir, first, self.segment_bytes).ok()
        };
    }

    /// Allocates the next segment ahead, or says that the disk has no room for it.
    fn keep_spare(&mut self) {
        if self.current.is_none() {
            self.roll(0);
        }
        if self.spare.is_none() {
            match Segment::create_spare(&self.dir, self.segment_bytes) {
                Ok(spare) => self.spare = Some(spare),
                Err(error) => {
                    let mut trouble = self.state.trouble.lock();
                    if trouble.is_none() {
                        tracing::error!(%error, "there is no room on the disk for the spool; new turns are refused");
                    }
                    *trouble = Some(error.to_string());
                    return;
                }
            }
        }
        if self.current.is_some() && self.state.trouble.lock().take().is_some() {
            tracing::info!("the spool can be written again");
        }
    }

    fn trouble(&self) -> String {
        self.state.trouble.lock().clone().unwrap_or_else(|| "no segment could be made".to_owned())
    }
}
