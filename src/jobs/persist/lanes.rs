//! Who goes first: the turns of one conversation are stored one after the other, oldest first.
//!
//! This orders the turns that one worker process has taken; of those that another process has, or that are still on
//! their way to the queue, it knows nothing. A turn that waits for its next try keeps its place, unless it may come
//! again to another worker: nothing here would tell that it did.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{ConversationId, TurnId};

/// A turn that waits for one at work comes back so much later, and for each turn more that is before it as much again, where
/// that does not cost it its place.
const SOON: Duration = Duration::from_millis(50);
/// Turns before it that are counted.
const COUNTED: usize = 100;
/// A turn that was to come back so long ago is not waited for: it was erased.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// With other workers: one that comes back later than this may come to any of them, and one that is so late has.
const STRAY: Duration = Duration::from_secs(1);

/// Where a message comes again that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returning {
    /// To this process, which alone takes messages.
    Here,
    /// To any of several workers, unless it is due within a second.
    Anywhere,
}

/// The turns taken and not finished, by conversation.
pub(super) struct Lanes {
    state: Mutex<State>,
    returning: Returning,
}

struct State {
    /// Turn ids sort by time. With each turn, when it comes back; none while it is here.
    lanes: HashMap<ConversationId, BTreeMap<TurnId, Option<Instant>>>,
    next_sweep: Instant,
}

/// The right to store a turn. Dropped, the turn counts as finished.
pub(super) struct Place<'a> {
    lanes: &'a Lanes,
    conversation: ConversationId,
    turn: TurnId,
    kept_for: Option<Duration>,
}

impl Lanes {
    /// Nothing taken.
    pub(super) fn new(returning: Returning) -> Self {
        let state = State { lanes: HashMap::new(), next_sweep: Instant::now() + FORGOTTEN };
        Self { state: Mutex::new(state), returning }
    }

    /// Puts a turn in its place.
    pub(super) fn arrive(&self, conversation: ConversationId, turn: TurnId) {
        self.state.lock().lanes.entry(conversation).or_default().insert(turn, None);
    }

    /// Asks to store a turn, or says when to come back.
    pub(super) fn enter(&self, conversation: ConversationId, turn: TurnId) -> Result<Place<'_>, Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if now >= state.next_sweep {
            state.sweep(now);
        }
        let lane = state.lanes.entry(conversation).or_default();
        lane.insert(turn, None);
        if self.returning == Returning::Anywhere {
            lane.retain(|_, expected| expected.is_none_or(|at| now < at + STRAY));
        }
        match lane.first_key_value().map(|(first, expected)| (*first, *expected)) {
            Some((first, expected)) if first < turn => {
                // There is no use in coming back before the one that is waited for does.
                let before = match self.returning {
                    Returning::Here => lane.range(..turn).take(COUNTED).count(),
                    Returning::Anywhere => 1,
                };
                let soon = SOON * u32::try_from(before).unwrap_or(1);
                let after = expected.map_or(soon, |at| at.saturating_duration_since(now).max(soon));
                lane.insert(turn, Some(now + after));
                Err(after)
            }
            _ => Ok(Place { lanes: self, conversation, turn, kept_for: None }),
        }
    }
}

impl State {
    fn sweep(&mut self, now: Instant) {
        self.lanes.retain(|_, lane| {
            lane.retain(|_, expected| expected.is_none_or(|at| now < at + FORGOTTEN));
            !lane.is_empty()
        });
        self.next_sweep = now + FORGOTTEN;
    }
}

impl Place<'_> {
    /// Keeps the place for a turn that comes back so much later, if it comes here.
    pub(super) fn keep(mut self, after: Duration) {
        let comes_here = self.lanes.returning == Returning::Here || after < STRAY;
        self.kept_for = comes_here.then_some(after);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.lanes.state.lock();
        let Some(lane) = state.lanes.get_mut(&self.conversation) else { return };
        match self.kept_for {
            Some(after) => {
                lane.insert(self.turn, Some(Instant::now() + after));
            }
            None => {
                lane.remove(&self.turn);
                if lane.is_empty() {
                    state.lanes.remove(&self.conversation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CompanyId, SessionId};

    fn conversation(session: &str) -> ConversationId {
        let company: CompanyId = "comp_1".parse().unwrap();
        let session: SessionId = session.parse().unwrap();
        ConversationId::of_session(&company, &session)
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_turn_waits_for_an_earlier_one_and_no_other_conversation_does() {
        let lanes = Lanes::new(Returning::Here);
        let (here, elsewhere) = (conversation("a"), conversation("b"));
        let (first, second) = (TurnId::generate(), TurnId::generate());
        let place = lanes.enter(here, first).ok().unwrap();
        assert_eq!(lanes.enter(here, second).err(), Some(SOON));
        assert!(lanes.enter(elsewhere, second).is_ok());
        place.keep(Duration::from_secs(7));
        assert_eq!(lanes.enter(here, second).err(), Some(Duration::from_secs(7)));
        drop(lanes.enter(here, first).ok().unwrap());
        drop(lanes.enter(here, second).ok().unwrap());
        assert!(lanes.state.lock().lanes.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_only_arrived_is_waited_for() {
        let lanes = Lanes::new(Returning::Here);
        let (first, second) = (TurnId::generate(), TurnId::generate());
        lanes.arrive(conversation("a"), first);
        lanes.arrive(conversation("a"), second);
        assert!(lanes.enter(conversation("a"), second).is_err());
        drop(lanes.enter(conversation("a"), first).ok().unwrap());
        assert!(lanes.enter(conversation("a"), second).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_never_comes_back_holds_up_nobody_for_ever() {
        let lanes = Lanes::new(Returning::Here);
        let (first, second) = (TurnId::generate(), TurnId::generate());
        lanes.enter(conversation("a"), first).ok().unwrap().keep(Duration::from_secs(1));
        tokio::time::advance(FORGOTTEN).await;
        assert!(lanes.enter(conversation("a"), second).is_err(), "it is waited for a while");
        tokio::time::advance(FORGOTTEN).await;
        assert!(lanes.enter(conversation("a"), second).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn with_other_workers_a_turn_that_may_have_gone_to_one_is_not_waited_for() {
        let lanes = Lanes::new(Returning::Anywhere);
        let (first, second) = (TurnId::generate(), TurnId::generate());
        lanes.enter(conversation("a"), first).ok().unwrap().keep(Duration::from_secs(1));
        assert!(lanes.enter(conversation("a"), second).is_ok());
        // Within a second it comes back here, unless the connection is lost meanwhile.
        lanes.enter(conversation("a"), first).ok().unwrap().keep(Duration::from_millis(500));
        assert!(lanes.enter(conversation("a"), second).is_err());
        tokio::time::advance(Duration::from_millis(500) + STRAY).await;
        assert!(lanes.enter(conversation("a"), second).is_ok());
    }
}
