//! From the spool to the bus, in order. While the bus is away the records wait; nothing else does.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::segment::{self, HEADER};
use super::{Keep, Spool, State};
use crate::domain::Event;
use crate::ports::bus::{Bus, Message};

/// Records published at a time.
const BATCH: usize = 256;
/// Bytes published at a time.
const BATCH_BYTES: u64 = 4 << 20;
/// First and longest wait while the bus is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Forwards until `shutdown`, and then what is still there if the bus takes it at once.
pub async fn run(spool: Spool, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    let state = Arc::clone(&spool.shared.state);
    let mut reader = Reader::new(spool.shared.dir.clone(), *state.forwarded.borrow());
    let mut written = state.written.subscribe();
    let mut retry = RETRY.0;
    loop {
        let upto = *written.borrow_and_update();
        let batch = tokio::task::block_in_place(|| reader.next(upto));
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                // What was read before the error has not been handed to the bus.
                reader.back();
                if wait(&shutdown, RETRY.1).await {
                    return;
                }
                continue;
            }
        };
        if batch.is_empty() {
            *state.caught_up.lock() = Instant::now();
            tokio::select! {
                changed = written.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            continue;
        }
        let messages: Vec<Message> = batch.iter().filter_map(|record| message(&record.payload)).collect();
        match bus.publish(&messages).await {
            Ok(()) => {
                retry = RETRY.0;
                tokio::task::block_in_place(|| confirm(&spool, &state, &mut reader, &batch));
            }
            Err(error) => {
                metrics::counter!("turnpike_spool_publish_failures_total").increment(1);
                tracing::warn!(%error, retry_ms = retry.as_millis(), "the bus does not take events; they wait in the spool");
                reader.back();
                if wait(&shutdown, retry).await {
                    return;
                }
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}

/// Waits; says whether the service is going down.
pub(super) async fn wait(shutdown: &CancellationToken, time: Duration) -> bool {
    tokio::time::timeout(time, shutdown.cancelled()).await.is_ok()
}

fn message(payload: &[u8]) -> Option<Message> {
    let message = serde_json::from_slice::<Event>(payload)
        .map_err(|error| error.to_string())
        .and_then(|event| Message::of_event(&event).map_err(|error| error.to_string()));
    // A record whose checksum is right and that is no event can only come from another version.
    message.inspect_err(|error| tracing::error!(error, "a record of the spool is not an event and is passed over")).ok()
}

fn confirm(spool: &Spool, state: &State, reader: &mut Reader, batch: &[segment::Record]) {
    let Some(last) = batch.last() else { return };
    let bytes: u64 = batch.iter().map(|record| record.payload.len() as u64 + HEADER).sum();
    // Without the cursor the same records are published again after a restart, and told apart by their ids.
    if let Err(error) = segment::write_cursor(&spool.shared.dir, last.sequence) {
        tracing::warn!(%error, "the spool's cursor cannot be written");
    }
    reader.confirm();
    state.release(bytes);
    match spool.shared.keep {
        Keep::UntilForwarded => spool.release(last.sequence),
        Keep::UntilEnded => drop(state.held_bytes.fetch_add(bytes, Ordering::Relaxed)),
    }
    state.forwarded.send_replace(last.sequence);
}

/// Reads records behind the cursor, segment by segment.
pub(super) struct Reader {
    dir: PathBuf,
    /// The last sequence confirmed.
    confirmed: u64,
    /// The last sequence handed out.
    handed: u64,
    open: Option<Open>,
}

/// The segment being read.
struct Open {
    file: File,
    path: PathBuf,
    /// The sequence that it begins with.
    first: u64,
    offset: u64,
}

impl Reader {
    pub(super) fn new(dir: PathBuf, confirmed: u64) -> Self {
        Self { dir, confirmed, handed: confirmed, open: None }
    }

    /// The next records up to the sequence `written`, none when there are no more yet. What lies behind it is being
    /// written, or has failed.
    pub(super) fn next(&mut self, written: u64) -> std::io::Result<Vec<segment::Record>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while self.handed < written && batch.len() < BATCH && bytes < BATCH_BYTES {
            if self.open.is_none() && !self.open_segment()? {
                break;
            }
            let Some(open) = self.open.as_mut() else { break };
            let size = open.file.metadata()?.len();
            if let Some(record) = segment::read_at(&open.file, open.offset, size)? {
                if record.sequence > written {
                    break;
                }
                bytes += record.payload.len() as u64;
                open.offset = record.end;
                if record.sequence > self.handed {
                    self.handed = record.sequence;
                    batch.push(record);
                }
            } else if !self.pass(written)? {
                break;
            }
        }
        Ok(batch)
    }

    /// Passes over bytes that are no record, to the next one in this segment, or else to the next segment. Says whether
    /// there is either.
    fn pass(&mut self, written: u64) -> std::io::Result<bool> {
        let Some(open) = self.open.as_mut() else { return Ok(false) };
        // The writer leaves a segment only when it is complete. Whether it has left this one must be known before the
        // search, for what it still writes there meanwhile would be passed over.
        let later = segment::list(&self.dir)?.into_iter().find(|(path, _)| *path > open.path);
        let last = self.handed.max(open.first.saturating_sub(1));
        let size = open.file.metadata()?.len();
        match (segment::next_after_damage(&open.file, open.offset, size, last)?, later) {
            (Some(next), _) => {
                // Behind `written` a record may be found before the one in front of it is complete: it is looked for
                // again when it has been written.
                let record = segment::read_at(&open.file, next, size)?;
                if record.is_none_or(|record| record.sequence > written) {
                    return Ok(false);
                }
                open.offset = next;
            }
            (None, Some((path, first))) => {
                self.open = Some(Open { file: File::open(&path)?, path, first, offset: 0 });
            }
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// Begins again after what was confirmed last.
    pub(super) fn back(&mut self) {
        self.handed = self.confirmed;
        self.open = None;
    }

    /// What was handed out is confirmed.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.handed;
    }

    /// Opens the segment that holds the next record.
    fn open_segment(&mut self) -> std::io::Result<bool> {
        let next = self.handed + 1;
        let found = segment::list(&self.dir)?;
        // The last one that begins at or before the next record; when the records in between are gone, the first after.
        let holding = found.iter().rposition(|(_, first)| *first <= next).unwrap_or(0);
        let Some((path, first)) = found.get(holding) else { return Ok(false) };
        self.open = Some(Open { file: File::open(path)?, path: path.clone(), first: *first, offset: 0 });
        Ok(true)
    }
}
