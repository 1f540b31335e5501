//! What of a queue is in memory: due messages read ahead, and the numbers of those that someone works on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

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
}

impl State {
    fn clear(&mut self) {
        for row in std::mem::take(&mut self.rows).into_values() {
            self.claimed.remove(&row.number);
        }
        self.read_at = None;
    }
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
        Some(Claim { shelf: Arc::clone(shelf), row, generation, is_settled: false })
    }

    /// What a reader is to pass over. To be asked before the file is read: who is not in it then and is in the file
    /// cannot be settled before it is put on the shelf.
    pub(super) fn claimed(&self) -> (HashSet<i64>, u64) {
        let state = self.state.lock();
        (state.claimed.clone(), state.generation)
    }

    /// Puts on the shelf what was read since `claimed` gave `generation`. Says whether there is a reason to look.
    pub(super) fn put(&self, rows: Vec<Row>, generation: u64) -> bool {
        let mut state = self.state.lock();
        if state.generation != generation {
            return true;
        }
        state.read_at = Some(Instant::now());
        for row in rows {
            state.claimed.insert(row.number);
            state.rows.insert((row.due_at, row.number), row);
        }
        !state.rows.is_empty()
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
    is_settled: bool,
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

    /// From now on the file decides whether and when the message is given again.
    pub(super) fn leave_to_file(&mut self) {
        self.is_settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.shelf.state.lock();
        if self.is_settled || state.generation != self.generation {
            state.claimed.remove(&self.row.number);
        } else {
            state.rows.insert((self.row.due_at, self.row.number), self.row.clone());
        }
        drop(state);
        self.shelf.changed.notify_one();
    }
}
