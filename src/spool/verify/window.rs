//! What of the log is followed at a time: its records in their order, and for each turn when it is looked for next.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::super::forward::Reader;
use super::super::segment::{self, HEADER};
use super::{LOOK, RESEND_MAX};
use crate::domain::{Event, TurnId};
use crate::ports::bus::Message;
use crate::ports::outbox::{End, Sent};

/// Turns that are followed at a time, and bytes of the log that they may be in.
const TURNS: usize = 1_024;
const BYTES: u64 = 16 << 20;
/// Turns that are looked for with one question.
const TOGETHER: usize = 256;

/// The records that were read and not let go of.
pub(super) struct Window {
    records: VecDeque<Record>,
    bytes: u64,
    /// Turns of them that have not come to their end.
    open: usize,
    resend_after: Duration,
}

/// A record of the log.
struct Record {
    sequence: u64,
    bytes: u64,
    ends_turn: bool,
    /// The turn, while it has not come to its end. None for the events of a turn's stages, which nobody keeps.
    turn: Option<Turn>,
}

/// A turn's last event and when it is to be looked for.
struct Turn {
    sent: Sent,
    message: Message,
    look_at: Instant,
    pause: Duration,
    resend_at: Instant,
    resend_after: Duration,
}

/// How much of the log has come to its end.
pub(super) struct Passed {
    /// The last record.
    pub(super) sequence: u64,
    /// Records, with their headers.
    pub(super) bytes: u64,
    /// Turns.
    pub(super) turns: u64,
}

impl Window {
    /// Nothing yet. What is followed is published again after that time.
    pub(super) fn new(resend_after: Duration) -> Self {
        Self { records: VecDeque::new(), bytes: 0, open: 0, resend_after }
    }

    /// Whether there is nothing to follow.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Reads on up to the sequence `written`. Says whether that was read, or there was no room for all of it.
    pub(super) fn fill(&mut self, reader: &mut Reader, written: u64) -> std::io::Result<bool> {
        while self.open < TURNS && (self.bytes < BYTES || self.records.is_empty()) {
            let batch = reader.next(written).inspect_err(|_| reader.back())?;
            reader.confirm();
            if batch.is_empty() {
                return Ok(true);
            }
            for record in &batch {
                self.push(record);
            }
        }
        Ok(false)
    }

    fn push(&mut self, record: &segment::Record) {
        let now = Instant::now();
        let turn = followed(&record.payload).map(|(sent, message)| Turn {
            sent,
            message,
            look_at: now,
            pause: LOOK.0,
            resend_at: now + self.resend_after,
            resend_after: self.resend_after,
        });
        let bytes = record.payload.len() as u64 + HEADER;
        self.bytes += bytes;
        self.open += usize::from(turn.is_some());
        self.records.push_back(Record { sequence: record.sequence, bytes, ends_turn: turn.is_some(), turn });
    }

    /// The turns that are to be looked for now, with their places.
    pub(super) fn due(&self, now: Instant) -> Vec<(usize, Sent)> {
        let open = self.records.iter().enumerate().filter_map(|(at, record)| Some((at, record.turn.as_ref()?)));
        let due = open.filter(|(_, turn)| turn.look_at <= now).take(TOGETHER);
        due.map(|(at, turn)| (at, turn.sent.clone())).collect()
    }

    /// When the next turn is due, if that is before `latest`.
    pub(super) fn next_look(&self, latest: Instant) -> Instant {
        let open = self.records.iter().filter_map(|record| record.turn.as_ref());
        open.map(|turn| turn.look_at).min().map_or(latest, |first| first.min(latest))
    }

    /// What became of turns. Gives those that are to be published again, and tells `ended` of each that has come to its end.
    pub(super) fn told(
        &mut self,
        ends: impl Iterator<Item = (usize, End)>,
        mut ended: impl FnMut(End),
    ) -> Vec<Message> {
        let now = Instant::now();
        let mut lost = Vec::new();
        for (at, end) in ends {
            let Some(turn) = self.records.get_mut(at).map(|record| &mut record.turn) else { continue };
            if end != End::Open {
                self.open -= usize::from(turn.take().is_some());
                ended(end);
            } else if let Some(turn) = turn {
                lost.extend(turn.missed(now));
            }
        }
        lost
    }

    /// Follows the oldest no longer, until so many bytes can go. Says how many turns that are.
    pub(super) fn let_go(&mut self, bytes: u64) -> u64 {
        let (mut passed, mut count) = (0, 0);
        for record in &mut self.records {
            if passed >= bytes {
                break;
            }
            passed += record.bytes;
            count += u64::from(record.turn.take().is_some());
        }
        self.open -= usize::try_from(count).unwrap_or(self.open);
        count
    }

    /// Lets go of the records before the first turn that has not come to its end, if there are any.
    pub(super) fn pass(&mut self) -> Option<Passed> {
        let mut passed = None::<Passed>;
        while let Some(record) = self.records.pop_front_if(|record| record.turn.is_none()) {
            let so_far = passed.get_or_insert(Passed { sequence: 0, bytes: 0, turns: 0 });
            so_far.sequence = record.sequence;
            so_far.bytes += record.bytes;
            so_far.turns += u64::from(record.ends_turn);
            self.bytes -= record.bytes;
        }
        passed
    }
}

impl Turn {
    /// It has not come to its end. Gives it to be published again, if it is time for that.
    fn missed(&mut self, now: Instant) -> Option<Message> {
        self.look_at = now + self.pause;
        self.pause = (self.pause * 2).min(LOOK.1);
        if now < self.resend_at {
            return None;
        }
        self.resend_after = (self.resend_after * 2).min(RESEND_MAX);
        self.resend_at = now + self.resend_after;
        Some(self.message.clone())
    }
}

/// The turn whose end an event is, and what says so.
fn followed(payload: &[u8]) -> Option<(Sent, Message)> {
    let event: Event = serde_json::from_slice(payload).ok()?;
    if !event.ends_turn() {
        return None;
    }
    let turn_id: TurnId = event.subject.parse().ok()?;
    let sent = Sent {
        event_id: event.id,
        company_id: event.companyid.clone(),
        conversation_id: event.conversationid,
        turn_id,
        ended_at: event.time,
    };
    Some((sent, Message::of_event(&event).ok()?))
}
