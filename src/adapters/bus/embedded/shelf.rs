//! What of a queue is in memory: due messages read ahead, and the numbers of those that someone works on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::tables::Due;
use crate::ports::bus::Message;

/// A message with its place in the queue.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The message's number in the file.
    pub(super) number: i64,
    /// When it is due.
    pub(super) due_at: i64,
    /// The message.
    pub(super) message: Message,
}

/// One queue's messages in memory.
#[derive(Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Held by the taker whose turn it is.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Told when there may be something new to take.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct State {
    /// Read ahead, in the order in which they are given.
    rows: BTreeMap<(i64, i64), Row>,
    /// Numbers of the messages on the shelf and of those that were taken.
    claimed: HashSet<i64>,
    /// Counts how often the shelf was cleared: what was read before that is not to be put any more.
    generation: u64,
    /// When the rows were read.
    read_at: Option<Instant>,
    /// Whether the file was read to the end of what is due, and nothing was put there since.
    is_exhausted: bool,
    /// When the next message comes due that was not when the file was read.
    next_due: Option<i64>,
}

impl State {
    fn clear(&mut self) {
        for row in std::mem::take(&mut self.rows).into_values() {
            self.claimed.remove(&row.number);
        }
        self.read_at = None;
        self.is_exhausted = false;
    }
}

/// Where the next message is to be had when the shelf is empty.
pub(super) enum Next {
    /// In the file. Who is in `claimed` is to be passed over; it was asked for before the file is read, so that who is not
    /// in it then and is in the file cannot be settled before it is put on the shelf.
    Read { claimed: HashSet<i64>, generation: u64 },
    /// Nowhere, before something changes or this one comes due.
    Wait { next_due: Option<i64> },
}

impl Shelf {
    /// The first message, if there is one that was read within `freshness`. Older ones are put away, to be read again:
    /// another process may have erased them.
    pub(super) fn pop(shelf: &Arc<Self>, freshness: Duration) -> Option<Claim> {
        let mut state = shelf.state.lock();
        if state.read_at.is_none_or(|at| at.elapsed() > freshness) {
            state.clear();
        }
        let (_, row) = state.rows.pop_first()?;
        let generation = state.generation;
        drop(state);
        Some(Claim { shelf: Arc::clone(shelf), row, generation, settled: None })
    }

    /// What is to be done for the next message.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if state.is_exhausted {
            return Next::Wait { next_due: state.next_due };
        }
        // From now on whoever changes the file says so.
        (state.is_exhausted, state.next_due) = (true, None);
        Next::Read { claimed: state.claimed.clone(), generation: state.generation }
    }

    /// Puts on the shelf what was read since `next` gave `generation`.
    pub(super) fn put(&self, found: Due, generation: u64) {
        let mut state = self.state.lock();
        if state.generation != generation {
            return;
        }
        state.read_at = Some(Instant::now());
        state.is_exhausted &= !found.has_more;
        state.next_due = state.next_due.into_iter().chain(found.next_due).min();
        for row in found.rows {
            state.claimed.insert(row.number);
            state.rows.insert((row.due_at, row.number), row);
        }
    }

    /// The file may hold what was not there when it was read.
    pub(super) fn look_again(&self) {
        self.state.lock().is_exhausted = false;
        self.changed.notify_one();
    }

    /// Empties the shelf. What is in the file is read again.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.clear();
        state.generation += 1;
        drop(state);
        self.changed.notify_one();
    }
}

/// The right to work on a message. Dropped, it gives the message back, unless the file says now what became of it.
pub(super) struct Claim {
    shelf: Arc<Shelf>,
    row: Row,
    generation: u64,
    settled: Option<Settled>,
}

/// What the file says of a message that was taken.
enum Settled {
    /// It is not there any more.
    Over,
    /// It is due again then.
    Again { due_at: i64 },
}

impl Claim {
    /// The message's number in the file.
    pub(super) fn number(&self) -> i64 {
        self.row.number
    }

    /// The message.
    pub(super) fn message(&self) -> &Message {
        &self.row.message
    }

    /// From now on the file says that the message is over.
    pub(super) fn is_over(&mut self) {
        self.settled = Some(Settled::Over);
    }

    /// From now on the file says that the message is to be given again then.
    pub(super) fn comes_again(&mut self, due_at: i64) {
        self.settled = Some(Settled::Again { due_at });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.shelf.state.lock();
        match self.settled {
            // Who waits has nothing to look for, and the file need not be read.
            Some(Settled::Over) => {
                state.claimed.remove(&self.row.number);
                return;
            }
            Some(Settled::Again { due_at }) => {
                state.claimed.remove(&self.row.number);
                state.next_due = state.next_due.into_iter().chain([due_at]).min();
            }
            None if state.generation != self.generation => {
                state.claimed.remove(&self.row.number);
                state.is_exhausted = false;
            }
            None => drop(state.rows.insert((self.row.due_at, self.row.number), self.row.clone())),
        }
        drop(state);
        self.shelf.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn row(number: i64) -> Row {
        let message = Message {
            id: Uuid::new_v4(),
            routing_key: "webhook.attempt.comp_a".to_owned(),
            body: "{}".into(),
            attempts: 0,
            first_queued_at: OffsetDateTime::now_utc(),
        };
        Row { number, due_at: 1, message }
    }

    fn read(shelf: &Shelf, found: Due) {
        let Next::Read { generation, .. } = shelf.next() else { panic!("there is nothing to read") };
        shelf.put(found, generation);
    }

    fn waits_until(shelf: &Shelf) -> Option<i64> {
        let Next::Wait { next_due } = shelf.next() else { panic!("the file is to be read") };
        next_due
    }

    fn is_woken(shelf: &Shelf) -> bool {
        shelf.changed.notified().now_or_never().is_some()
    }

    #[test]
    fn the_file_is_read_again_when_it_may_have_something_and_not_for_what_is_over() {
        let shelf = Arc::new(Shelf::default());
        read(&shelf, Due { rows: vec![row(1), row(2)], has_more: true, next_due: Some(90) });
        let take = || Shelf::pop(&shelf, Duration::from_secs(60)).unwrap();
        let (mut first, mut second) = (take(), take());
        read(&shelf, Due { rows: Vec::new(), has_more: false, next_due: Some(90) });
        assert_eq!(waits_until(&shelf), Some(90));
        first.is_over();
        drop(first);
        assert!(!is_woken(&shelf) && waits_until(&shelf) == Some(90));
        second.comes_again(50);
        drop(second);
        assert!(is_woken(&shelf) && waits_until(&shelf) == Some(50));
        shelf.look_again();
        assert!(is_woken(&shelf));
        read(&shelf, Due { rows: vec![row(3)], has_more: false, next_due: None });
        let unsettled = take();
        shelf.clear();
        read(&shelf, Due { rows: Vec::new(), has_more: false, next_due: None });
        drop(unsettled);
        assert!(matches!(shelf.next(), Next::Read { claimed, .. } if claimed.is_empty()), "nobody saw it in the file");
    }

    #[test]
    fn what_changes_while_the_file_is_read_is_not_missed() {
        let shelf = Arc::new(Shelf::default());
        read(&shelf, Due { rows: vec![row(1)], has_more: true, next_due: None });
        let mut claim = Shelf::pop(&shelf, Duration::from_secs(60)).unwrap();
        let Next::Read { generation, .. } = shelf.next() else { panic!("there is more") };
        claim.comes_again(50);
        drop(claim);
        shelf.put(Due { rows: Vec::new(), has_more: false, next_due: Some(90) }, generation);
        assert_eq!(waits_until(&shelf), Some(50));
        shelf.look_again();
        let Next::Read { generation, .. } = shelf.next() else { panic!("somebody wrote") };
        shelf.look_again();
        shelf.put(Due { rows: Vec::new(), has_more: false, next_due: None }, generation);
        assert!(matches!(shelf.next(), Next::Read { .. }));
    }
}
