//! What of a queue this process holds: messages that were given and that nobody works on yet, those that wait here for
//! less than a second, and the marks of those in work.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::BasicAckOptions;
use lapin::{Acker, Channel};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::error::Broker;
use crate::ports::bus::{Error, Message};

/// Longest wait for an acknowledgement to be written.
const ACK: Duration = Duration::from_secs(5);

/// A message that the server gave and that is not settled.
pub(super) struct Held {
    /// The message.
    pub(super) message: Message,
    /// Whose it is.
    pub(super) company: String,
    /// Whether the ledger knows it.
    pub(super) is_booked: bool,
    /// Tries that had failed when the server gave it. It does not know of those that were made here.
    pub(super) attempts_before: u32,
    /// When the ledger last heard of it, as far as this process knows.
    pub(super) heard_at: Instant,
    /// Says to the server what became of it.
    pub(super) acker: Acker,
    /// Without its channel a message cannot be acknowledged; a consumer that was cancelled no longer holds it.
    pub(super) _channel: Channel,
}

impl Held {
    /// Tells the server that the message can go.
    ///
    /// # Errors
    /// When the channel is gone. The server gives the message again.
    pub(super) async fn ack(&self) -> Result<(), Error> {
        match timeout(ACK, self.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::Unavailable("RabbitMQ: the channel of a message is gone".to_owned())),
            Ok(Err(error)) => Err(Broker::from(error).into()),
            Err(_) => Err(Broker::Silent(ACK).into()),
        }
    }
}

/// One queue's messages in this process.
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Told when there may be something to take.
    changed: Notify,
    /// Takes messages that only need to be acknowledged.
    finished: mpsc::UnboundedSender<Held>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Held>,
    /// By when they are due.
    later: BTreeMap<(Instant, u64), Held>,
    /// By number.
    in_work: HashMap<u64, InWork>,
    last: u64,
}

struct InWork {
    id: Uuid,
    company: String,
    body: Bytes,
    is_booked: bool,
    is_erased: bool,
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Moves what is due to the end of what is ready. Says when the next is.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                return Some(first.key().0);
            }
            self.ready.push_back(first.remove());
        }
        None
    }
}

impl Shelf {
    /// An empty shelf, and where what is finished comes out.
    pub(super) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Held>) {
        let (finished, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { state: Mutex::default(), changed: Notify::new(), finished }), receiver)
    }

    /// Puts a message at the end.
    pub(super) fn put(&self, held: Held) {
        self.state.lock().ready.push_back(held);
        self.changed.notify_one();
    }

    /// Puts a message away for a while.
    pub(super) fn put_later(&self, held: Held, after: Duration) {
        let mut state = self.state.lock();
        let number = state.number();
        state.later.insert((Instant::now() + after, number), held);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for a message. Whoever goes away while waiting takes none along.
    pub(super) async fn take(self: &Arc<Self>) -> Claim {
        loop {
            let told = self.changed.notified();
            let mut told = std::pin::pin!(told);
            // Registered before the look, so that nothing is missed in between.
            told.as_mut().enable();
            let next = match self.pop() {
                Ok(claim) => return claim,
                Err(next) => next,
            };
            match next {
                Some(due) => tokio::select! {
                    () = told => {}
                    () = sleep_until(due) => {}
                },
                None => told.await,
            }
        }
    }

    /// The first message, or when there may be one.
    fn pop(self: &Arc<Self>) -> Result<Claim, Option<Instant>> {
        let mut state = self.state.lock();
        let next = state.advance();
        while let Some(held) = state.ready.pop_front() {
            // The server has taken back what came over a channel that is gone, and gives it again.
            if !held.acker.usable() {
                continue;
            }
            let number = state.number();
            let (id, company, body) = (held.message.id, held.company.clone(), held.message.body.clone());
            let mark = InWork { id, company, body, is_booked: held.is_booked, is_erased: false };
            state.in_work.insert(number, mark);
            let has_more = !state.ready.is_empty();
            drop(state);
            if has_more {
                // Another taker may have been told of this one only.
                self.changed.notify_one();
            }
            return Ok(Claim { shelf: Arc::clone(self), number, held: Some(held) });
        }
        Err(next)
    }

    /// Whether a message with an id is here, in work or not.
    pub(super) fn holds(&self, id: Uuid) -> bool {
        let state = self.state.lock();
        let is_it = |held: &Held| held.message.id == id && held.acker.usable();
        state.in_work.values().any(|mark| mark.id == id)
            || state.ready.iter().any(is_it)
            || state.later.values().any(is_it)
    }

    /// How many messages are here, and how many of them wait to become due.
    pub(super) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.ready.len() + state.later.len() + state.in_work.len(), state.later.len())
    }

    /// Forgets what came over channels that are gone.
    pub(super) fn forget_lost(&self) {
        let mut state = self.state.lock();
        state.ready.retain(|held| held.acker.usable());
        state.later.retain(|_, held| held.acker.usable());
    }

    /// Removes messages, told by their company and body; those in work are not given again and have no effect any more.
    /// Says how many there were that the ledger does not know.
    pub(super) fn erase(&self, is_gone: &dyn Fn(&str, &[u8]) -> bool) -> u64 {
        let is_gone_held = |held: &Held| is_gone(&held.company, &held.message.body);
        let mut state = self.state.lock();
        let State { ready, later, in_work, .. } = &mut *state;
        let mut gone: Vec<Held> = Vec::new();
        let (ours, theirs) = std::mem::take(ready).into_iter().partition(|held| is_gone_held(held));
        *ready = theirs;
        gone.extend::<VecDeque<Held>>(ours);
        gone.extend(later.extract_if(.., |_, held| is_gone_held(held)).map(|(_, held)| held));
        let mut erased = gone.iter().filter(|held| !held.is_booked).count();
        for mark in in_work.values_mut().filter(|mark| is_gone(&mark.company, &mark.body) && !mark.is_erased) {
            mark.is_erased = true;
            erased += usize::from(!mark.is_booked);
        }
        drop(state);
        for held in gone {
            self.finish(held);
        }
        erased as u64
    }

    /// Has a message acknowledged, soon.
    fn finish(&self, held: Held) {
        // Nobody listens any more when the bus is closed, and then the server takes everything back.
        let _ = self.finished.send(held);
    }
}

/// The right to work on a message. Dropped, it gives the message back.
pub(super) struct Claim {
    shelf: Arc<Shelf>,
    number: u64,
    held: Option<Held>,
}

impl Claim {
    /// The message that is held; none after it was given away.
    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Whether the company of the message was erased meanwhile.
    pub(super) fn is_erased(&self) -> bool {
        self.shelf.state.lock().in_work.get(&self.number).is_some_and(|mark| mark.is_erased)
    }

    /// Ends the claim: the server has been told.
    pub(super) fn end(mut self) {
        self.held = None;
    }

    /// Gives the message back, changed or not, to be taken after a while.
    pub(super) fn give_back(mut self, after: Duration, change: impl FnOnce(&mut Held)) {
        let Some(mut held) = self.held.take() else { return };
        change(&mut held);
        let mut state = self.shelf.state.lock();
        if state.in_work.remove(&self.number).is_some_and(|mark| mark.is_erased) {
            drop(state);
            self.shelf.finish(held);
        } else {
            let number = state.number();
            state.later.insert((Instant::now() + after, number), held);
            drop(state);
            self.shelf.changed.notify_one();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.shelf.state.lock();
        let mark = state.in_work.remove(&self.number);
        let Some(held) = self.held.take() else { return };
        if mark.is_some_and(|mark| mark.is_erased) {
            drop(state);
            self.shelf.finish(held);
        } else {
            state.ready.push_front(held);
            drop(state);
            self.shelf.changed.notify_one();
        }
    }
}
