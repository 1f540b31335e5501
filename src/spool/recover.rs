//! What a start does before anything else: turns that the last process left unfinished are put into the log as
//! interrupted, exactly as far as they had been delivered.

use super::{Spool, journal, segment};
use crate::domain::event::EventType;
use crate::domain::{Event, TurnRecord};
use crate::ports::outbox::{Error, Outbox};

impl Spool {
    /// Puts the unfinished turns into the log and removes their journals. Returns them.
    ///
    /// # Errors
    /// When the log cannot be written; the journals stay.
    pub async fn recover(&self) -> Result<Vec<TurnRecord>, Error> {
        let dir = self.shared.dir.join("journals");
        let found = journal::unfinished(&dir).map_err(|error| Error::Disk(error.to_string()))?;
        let mut recovered = Vec::new();
        for (path, record) in found {
            if let Some(record) = record {
                let event = Event::turn_finished(&record, None).map_err(|error| Error::Disk(error.to_string()))?;
                self.commit(&event).await?;
                recovered.push(record);
            }
            std::fs::remove_file(&path).map_err(|error| Error::Disk(error.to_string()))?;
        }
        if !recovered.is_empty() {
            tracing::info!(turns = recovered.len(), "turns that were cut short are kept as they were delivered");
        }
        Ok(recovered)
    }

    /// The records of turns that are in the log and not yet confirmed by the bus.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn pending_turns(&self) -> std::io::Result<Vec<TurnRecord>> {
        let cursor = *self.shared.state.forwarded.borrow();
        let mut turns = Vec::new();
        for (path, _) in segment::list(&self.shared.dir)? {
            let file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            let mut offset = 0;
            while let Some(record) = segment::read_at(&file, offset, size)? {
                offset = record.end;
                if record.sequence <= cursor {
                    continue;
                }
                let turn = serde_json::from_slice::<Event>(&record.payload).ok().and_then(|event| {
                    let is_turn = matches!(event.event_type, EventType::TurnCompleted | EventType::TurnFailed);
                    is_turn.then(|| serde_json::from_str::<TurnRecord>(event.data.get()).ok()).flatten()
                });
                turns.extend(turn);
            }
        }
        Ok(turns)
    }
}
