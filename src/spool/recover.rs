//! What a start does before anything else: turns that the last process left unfinished are put into the log as
//! interrupted, exactly as far as they had been delivered.

use super::{Spool, journal, segment};
use crate::domain::{Event, TurnRecord};
use crate::ports::outbox::{Error, Outbox};

impl Spool {
    /// Puts the unfinished turns into the log and removes their journals. Returns them. A journal that cannot be read,
    /// or whose turn is too large, is set aside as `<turn>.bad` and keeps nothing else from being mended.
    ///
    /// # Errors
    /// When the log cannot be written; the journals stay.
    pub async fn recover(&self) -> Result<Vec<TurnRecord>, Error> {
        let dir = self.shared.dir.join("journals");
        let found = journal::unfinished(&dir).map_err(|error| Error::Disk(error.to_string()))?;
        let mut recovered = Vec::new();
        for (path, record) in found {
            match record {
                Ok(Some(record)) => match self.keep(&record).await {
                    Ok(()) => recovered.push(record),
                    Err(error @ Error::TooLarge { .. }) => {
                        journal::set_aside(&path, &error);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                Ok(None) => {}
                Err(error) => {
                    journal::set_aside(&path, &error);
                    continue;
                }
            }
            if let Err(error) = std::fs::remove_file(&path) {
                // The turn is in the log. At the next start it is put there again and recognised by its id.
                tracing::error!(journal = %path.display(), %error, "a mended turn's journal cannot be removed");
            }
        }
        if !recovered.is_empty() {
            tracing::info!(turns = recovered.len(), "turns that were cut short are kept as they were delivered");
        }
        Ok(recovered)
    }

    /// Puts an unfinished turn into the log.
    async fn keep(&self, record: &TurnRecord) -> Result<(), Error> {
        let event = Event::turn_finished(record, None).map_err(|error| Error::Disk(error.to_string()))?;
        self.commit(&event).await
    }

    /// The records of turns that are in the log and not yet known to have reached the bus, or their end where they are
    /// followed to it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn pending_turns(&self) -> std::io::Result<Vec<TurnRecord>> {
        let ends = turn_ends_after(&self.shared.dir, *self.shared.state.released.borrow())?;
        Ok(ends.iter().filter_map(|event| serde_json::from_str(event.data.get()).ok()).collect())
    }
}

/// The events behind a sequence with which turns end.
pub(super) fn turn_ends_after(dir: &std::path::Path, sequence: u64) -> std::io::Result<Vec<Event>> {
    let mut ends = Vec::new();
    for (path, first) in segment::list(dir)? {
        let file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let (mut offset, mut last) = (0, first.saturating_sub(1));
        loop {
            let Some(record) = segment::read_at(&file, offset, size)? else {
                let Some(next) = segment::next_after_damage(&file, offset, size, last)? else { break };
                offset = next;
                continue;
            };
            (offset, last) = (record.end, record.sequence);
            if record.sequence <= sequence {
                continue;
            }
            let event = serde_json::from_slice::<Event>(&record.payload).ok();
            ends.extend(event.filter(Event::ends_turn));
        }
    }
    Ok(ends)
}
