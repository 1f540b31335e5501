//! A company's conversations as they go into files: turns as the store gives them, and each conversation's head when its
//! last turn is known.
//!
//! The source may be at work meanwhile. Nothing here stops it, but every head fits the turns that are written with it:
//! it counts them and no others. Otherwise the target would give the next turn a number that is taken, or leave one out.

use std::time::Duration;

use time::OffsetDateTime;

use super::files::Writer;
use super::{Backends, Error, Kind, Progress};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{Company, CompanyScope, TurnRecord};
use crate::ports::store::Page;

/// Turns in one page.
const PAGE: usize = 200;
/// How often turns are asked for that a head counts and that are not there yet, and how long it waits in between: a
/// store may count a turn a moment before it has it.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// What is walked through, and what is left out.
pub(super) struct Walk<'a> {
    pub(super) from: &'a Backends,
    pub(super) scope: &'a CompanyScope,
    pub(super) company: &'a Company,
    /// Turns that are to be removed until then are left out: a store takes its time to remove them.
    pub(super) kept_at: OffsetDateTime,
    /// What the walk is for, for `Progress`.
    pub(super) purpose: &'static str,
}

/// A conversation so far, by its turns.
struct Seen {
    head: Conversation,
    /// Sequences that are missing before the last one.
    gaps: u64,
}

impl Walk<'_> {
    /// Writes heads and turns. Says how many sequences are missing of conversations whose turns are never removed: those
    /// of turns that the source was storing just then.
    pub(super) async fn write(
        &self,
        heads: &mut Writer,
        turns: &mut Writer,
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let mut page = Page { limit: PAGE, after: None };
        let mut seen: Option<Seen> = None;
        let mut gaps = 0;
        loop {
            let (some, next) = self.from.conversations.turns(self.scope, &page).await?;
            for turn in some.iter().filter(|turn| is_kept(self.company, &turn.record, self.kept_at)) {
                let id = turn.record.conversation_id;
                match &mut seen {
                    Some(seen) if seen.head.conversation_id == id => seen.add(turn)?,
                    _ => {
                        let before = seen.replace(Seen::begun_by(turn));
                        if let Some(before) = before {
                            if before.head.conversation_id > id {
                                return Err(Error::Disorder(turn.record.turn_id));
                            }
                            gaps += self.end(before, heads, turns).await?;
                        }
                    }
                }
                turns.row(turn)?;
            }
            progress.at(self.scope.company(), self.purpose, Kind::Turns, turns.rows());
            if next.is_none() {
                break;
            }
            page.after = next;
        }
        if let Some(last) = seen {
            gaps += self.end(last, heads, turns).await?;
        }
        Ok(gaps)
    }

    /// Writes the head of a conversation whose turns were read, and first the turns that came in after they were.
    async fn end(&self, mut seen: Seen, heads: &mut Writer, turns: &mut Writer) -> Result<u64, Error> {
        let id = seen.head.conversation_id;
        let is_kept_for_ever = self.company.retention_days.is_none();
        let mut stored = self.from.conversations.conversation(self.scope, id).await?;
        for attempt in 1..=TRIES {
            let Some(head) = &stored else { break };
            let Some(behind) = head.last_sequence.checked_sub(seen.head.last_sequence).filter(|&behind| behind > 0)
            else {
                break;
            };
            // Room for those that come in meanwhile, since the last ones are what is given.
            let most = usize::try_from(behind).unwrap_or(usize::MAX).saturating_add(PAGE);
            for turn in self.from.conversations.history(self.scope, id, most).await? {
                if turn.sequence == seen.head.last_sequence + 1 && is_kept(self.company, &turn.record, self.kept_at) {
                    seen.add(&turn)?;
                    turns.row(&turn)?;
                }
            }
            // What was removed for its age will not come any more.
            if attempt == TRIES || !is_kept_for_ever {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            stored = self.from.conversations.conversation(self.scope, id).await?;
        }
        let gaps = if is_kept_for_ever { seen.gaps } else { 0 };
        heads.row(&seen.fitted(stored, is_kept_for_ever))?;
        Ok(gaps)
    }
}

impl Seen {
    fn begun_by(turn: &StoredTurn) -> Self {
        let head = Conversation::begun_by(&turn.record).with(&turn.record);
        Self { head: Conversation { last_sequence: turn.sequence, ..head }, gaps: turn.sequence.saturating_sub(1) }
    }

    fn add(&mut self, turn: &StoredTurn) -> Result<(), Error> {
        let last = self.head.last_sequence;
        let Some(skipped) = turn.sequence.checked_sub(last + 1) else {
            return Err(Error::Disorder(turn.record.turn_id));
        };
        self.gaps += skipped;
        let head = self.head.clone().with(&turn.record);
        self.head = Conversation { last_sequence: turn.sequence, ..head };
        Ok(())
    }

    /// The head that the store has, when it counts the turns that were read. Otherwise it is ahead, by turns that are
    /// not there to be read, and is taken back to those that are; unless they were removed for their age, for then
    /// their numbers are taken for good.
    fn fitted(self, stored: Option<Conversation>, is_kept_for_ever: bool) -> Conversation {
        let Some(head) = stored else { return self.head };
        if head.last_sequence == self.head.last_sequence || !is_kept_for_ever {
            return head;
        }
        let ahead = head.last_sequence.saturating_sub(self.head.last_sequence);
        let message_count = if self.gaps == 0 {
            self.head.message_count
        } else {
            // A question and an answer each, which is all but always so.
            head.message_count.saturating_sub(2 * ahead)
        };
        Conversation { message_count, last_sequence: self.head.last_sequence, updated_at: self.head.updated_at, ..head }
    }
}

/// Whether a turn is to be kept beyond `at`.
pub(super) fn is_kept(company: &Company, record: &TurnRecord, at: OffsetDateTime) -> bool {
    company.keep_until(record.finished_at).is_none_or(|end| end > at)
}
