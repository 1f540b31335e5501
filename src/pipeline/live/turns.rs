//! All turns in memory: who may begin one, who finds one again, and what those that ended may take of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{LiveTurn, TurnEvent, TurnHead};
use crate::domain::{CompanyId, CompanyScope, TurnId, TurnRecord};
use crate::pipeline::gone::Gone;

/// What turns that ended may take of memory, in all and of one company, in bytes. Those that are let go are read from
/// the store.
const ENDED_BYTES: usize = 128 << 20;
const ENDED_BYTES_OF_COMPANY: usize = 16 << 20;

/// All turns in memory.
#[derive(Default)]
pub struct LiveTurns {
    turns: Arc<Mutex<Turns>>,
}

#[derive(Default)]
struct Turns {
    by_id: HashMap<TurnId, Arc<LiveTurn>>,
    by_key: HashMap<(CompanyId, String), (TurnId, String)>,
    running: usize,
    running_by_company: HashMap<CompanyId, usize>,
    /// Turns that ended, oldest first, with what they take of memory.
    ended: VecDeque<(TurnId, CompanyId, usize)>,
    ended_bytes: usize,
    ended_bytes_by_company: HashMap<CompanyId, usize>,
}

/// A place among the turns that run, free again when this is dropped.
pub struct Occupied {
    turns: Arc<Mutex<Turns>>,
    company_id: CompanyId,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.turns.lock().leave(&self.company_id);
    }
}

impl Turns {
    fn occupy(&mut self, company_id: &CompanyId, all: usize, company: usize) -> Result<(), Busy> {
        if self.running >= all {
            return Err(Busy::All);
        }
        let of_company = self.running_by_company.get(company_id).copied().unwrap_or(0);
        if of_company >= company {
            return Err(Busy::Company);
        }
        self.running += 1;
        self.running_by_company.insert(company_id.clone(), of_company + 1);
        metrics::gauge!("turnpike_streams_open").set(self.running as f64);
        Ok(())
    }

    fn leave(&mut self, company_id: &CompanyId) {
        self.running = self.running.saturating_sub(1);
        if let Some(count) = self.running_by_company.get_mut(company_id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.running_by_company.remove(company_id);
            }
        }
        metrics::gauge!("turnpike_streams_open").set(self.running as f64);
    }

    /// Lets go of the oldest turn that ended, of all or of one company.
    fn forget_oldest(&mut self, company: Option<&CompanyId>) {
        let oldest = self.ended.iter().position(|(_, of, _)| company.is_none_or(|company| of == company));
        if let Some(place) = oldest {
            self.forget_at(place);
        }
    }

    /// Lets go of a turn that ended.
    fn forget_at(&mut self, place: usize) {
        let Some((id, company, bytes)) = self.ended.remove(place) else { return };
        self.by_id.remove(&id);
        self.ended_bytes = self.ended_bytes.saturating_sub(bytes);
        if let Some(of_company) = self.ended_bytes_by_company.get_mut(&company) {
            *of_company = of_company.saturating_sub(bytes);
            if *of_company == 0 {
                self.ended_bytes_by_company.remove(&company);
            }
        }
    }

    /// Forgets the keys of turns that are forgotten.
    fn forget_keys(&mut self) {
        let Self { by_id, by_key, .. } = self;
        by_key.retain(|_, (id, _)| by_id.contains_key(id));
    }

    /// Keeps a turn that ended, and lets go of older ones when they take too much.
    fn keep_ended(&mut self, turn: &LiveTurn) {
        let bytes = 1024 + turn.state.lock().events.iter().map(TurnEvent::bytes).sum::<usize>();
        let TurnHead { turn_id, company_id, .. } = turn.head();
        self.ended.push_back((*turn_id, company_id.clone(), bytes));
        self.ended_bytes += bytes;
        *self.ended_bytes_by_company.entry(company_id.clone()).or_default() += bytes;
        while self.ended_bytes_by_company.get(company_id).is_some_and(|&bytes| bytes > ENDED_BYTES_OF_COMPANY) {
            self.forget_oldest(Some(company_id));
        }
        while self.ended_bytes > ENDED_BYTES {
            self.forget_oldest(None);
        }
    }
}

/// Why a turn was not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Busy {
    /// As many turns run as may.
    All,
    /// As many turns of the company run as may.
    Company,
    /// Another request used the `Idempotency-Key`.
    KeyReused,
}

/// A client's `Idempotency-Key` with the request that it stands for.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The key.
    pub key: &'a str,
    /// What the request asks.
    pub fingerprint: &'a str,
}

impl LiveTurns {
    /// Lets a turn in, unless too many run, or gives the one that the same request made before.
    ///
    /// # Errors
    /// Which limit is reached, or that the key stands for another request.
    pub fn admit(
        &self,
        turn: &Arc<LiveTurn>,
        key: Option<RequestKey<'_>>,
        all: usize,
        company: usize,
    ) -> Result<Option<Arc<LiveTurn>>, Busy> {
        let mut turns = self.turns.lock();
        let head = turn.head();
        if let Some(known) = known(&turns, &head.company_id, key)? {
            return Ok(Some(known));
        }
        turns.occupy(&head.company_id, all, company)?;
        insert(&mut turns, turn, key);
        Ok(None)
    }

    /// Takes the place of a turn for something else that streams.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn occupy(&self, scope: &CompanyScope, all: usize, company: usize) -> Result<Occupied, Busy> {
        let company_id = scope.company().clone();
        self.turns.lock().occupy(&company_id, all, company)?;
        Ok(Occupied { turns: Arc::clone(&self.turns), company_id })
    }

    /// Takes in a turn that ended and may not be stored yet, so that its client finds it.
    pub fn restore(&self, record: &TurnRecord) {
        let turn = LiveTurn::of_record(record, false);
        let key = record.idempotency_key.as_deref().zip(record.request_fingerprint.as_deref());
        let mut turns = self.turns.lock();
        insert(&mut turns, &turn, key.map(|(key, fingerprint)| RequestKey { key, fingerprint }));
        turns.keep_ended(&turn);
    }

    /// A turn does not run any more; it stays readable.
    pub fn release(&self, head: &TurnHead) {
        let mut turns = self.turns.lock();
        turns.leave(&head.company_id);
        if let Some(turn) = turns.by_id.get(&head.turn_id).cloned() {
            turns.keep_ended(&turn);
        }
    }

    /// A turn of the company, if it is in memory.
    pub fn get(&self, scope: &CompanyScope, id: TurnId) -> Option<Arc<LiveTurn>> {
        let turn = self.turns.lock().by_id.get(&id).cloned()?;
        (turn.head().company_id == *scope.company()).then_some(turn)
    }

    /// The turn that the same request made before, if it is in memory.
    ///
    /// # Errors
    /// `KeyReused` when another request used the key.
    pub fn known(&self, scope: &CompanyScope, key: RequestKey<'_>) -> Result<Option<Arc<LiveTurn>>, Busy> {
        known(&self.turns.lock(), scope.company(), Some(key))
    }

    /// Turns that run now.
    pub fn running(&self) -> usize {
        self.turns.lock().running
    }

    /// Ends all running turns, because the service goes down: what was delivered is kept.
    pub fn interrupt_all(&self) {
        for turn in self.turns.lock().by_id.values() {
            turn.interrupt();
        }
    }

    /// Ends the running turns that are to be gone: what was delivered is kept until it is removed. Says whether there are
    /// any left.
    pub fn interrupt(&self, gone: &Gone) -> bool {
        let turns = self.turns.lock();
        let running = turns.by_id.values().filter(|turn| is_gone(gone, turn) && turn.state.lock().ended_at.is_none());
        running.inspect(|turn| turn.interrupt()).count() > 0
    }

    /// Forgets turns that ended and are gone.
    pub fn forget(&self, gone: &Gone) {
        let mut turns = self.turns.lock();
        let Turns { by_id, ended, .. } = &*turns;
        let is_gone = |id: &TurnId| by_id.get(id).is_some_and(|turn| is_gone(gone, turn));
        let places: Vec<usize> =
            (0..ended.len()).rev().filter(|&at| ended.get(at).is_some_and(|it| is_gone(&it.0))).collect();
        // From the end on, so that those before it stay in their places.
        for place in places {
            turns.forget_at(place);
        }
        turns.forget_keys();
    }

    /// Forgets the turns that ended longer than `retain` ago.
    pub fn forget_ended(&self, retain: Duration) {
        let mut turns = self.turns.lock();
        while let Some((oldest, ..)) = turns.ended.front() {
            let ended = turns.by_id.get(oldest).and_then(|turn| turn.state.lock().ended_at);
            if ended.is_some_and(|ended| ended.elapsed() < retain) {
                break;
            }
            turns.forget_oldest(None);
        }
        turns.forget_keys();
    }
}

fn is_gone(gone: &Gone, turn: &LiveTurn) -> bool {
    let head = turn.head();
    gone.has(&head.company_id, head.conversation_id, head.turn_id)
}

fn known(turns: &Turns, company: &CompanyId, key: Option<RequestKey<'_>>) -> Result<Option<Arc<LiveTurn>>, Busy> {
    let Some(RequestKey { key, fingerprint }) = key else { return Ok(None) };
    match turns.by_key.get(&(company.clone(), key.to_owned())) {
        Some((_, found)) if found != fingerprint => Err(Busy::KeyReused),
        Some((id, _)) => Ok(turns.by_id.get(id).cloned()),
        None => Ok(None),
    }
}

fn insert(turns: &mut Turns, turn: &Arc<LiveTurn>, key: Option<RequestKey<'_>>) {
    let head = turn.head();
    turns.by_id.insert(head.turn_id, Arc::clone(turn));
    if let Some(RequestKey { key, fingerprint }) = key {
        turns.by_key.insert((head.company_id.clone(), key.to_owned()), (head.turn_id, fingerprint.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{content, done, turn};
    use super::*;

    #[test]
    fn a_turn_of_another_company_is_not_found() {
        let turns = LiveTurns::default();
        let turn = turn();
        let key = |fingerprint| RequestKey { key: "key", fingerprint };
        assert!(turns.admit(&turn, Some(key("1")), 10, 10).unwrap().is_none());
        let again = turns.admit(&self::turn(), Some(key("1")), 10, 10).unwrap();
        assert!(again.is_some_and(|known| known.head().turn_id == turn.head().turn_id));
        let own = CompanyScope::granted(turn.head().company_id.clone());
        let other = CompanyScope::granted("other".parse().unwrap());
        assert!(turns.get(&own, turn.head().turn_id).is_some());
        assert!(turns.get(&other, turn.head().turn_id).is_none());
        assert!(turns.known(&own, key("1")).unwrap().is_some());
        assert!(matches!(turns.known(&own, key("2")), Err(Busy::KeyReused)));
        assert!(turns.known(&other, key("1")).unwrap().is_none());
    }

    #[test]
    fn what_is_gone_is_ended_and_forgotten_and_nothing_else() {
        let turns = LiveTurns::default();
        let (ended, running) = (turn(), turn());
        for turn in [&ended, &running] {
            assert!(turns.admit(turn, Some(RequestKey { key: "key", fingerprint: "1" }), 10, 10).is_ok());
        }
        let own = CompanyScope::granted(ended.head().company_id.clone());
        ended.push(done());
        turns.release(ended.head());
        let of = |company: &str| Gone { company: company.parse().unwrap(), conversation: None };
        let other = of("other");
        assert!(!turns.interrupt(&other));
        turns.forget(&other);
        assert!(turns.get(&own, ended.head().turn_id).is_some());
        let id = ended.head().conversation_id;
        let before = Gone { conversation: Some((id, time::OffsetDateTime::UNIX_EPOCH)), ..of("c") };
        turns.forget(&before);
        assert!(turns.get(&own, ended.head().turn_id).is_some(), "it began later");
        let until = time::OffsetDateTime::now_utc() + time::Duration::SECOND;
        turns.forget(&Gone { conversation: Some((id, until)), ..of("c") });
        assert!(turns.get(&own, ended.head().turn_id).is_none());
        let left = turns.turns.lock();
        assert_eq!((left.ended_bytes, left.ended.len()), (0, 0));
    }

    #[test]
    fn limits_hold_for_all_and_for_one_company() {
        let turns = LiveTurns::default();
        assert!(turns.admit(&turn(), None, 2, 1).is_ok());
        assert_eq!(turns.admit(&turn(), None, 2, 1).err(), Some(Busy::Company));
        assert_eq!(turns.admit(&turn(), None, 1, 9).err(), Some(Busy::All));
    }

    #[test]
    fn a_place_that_something_else_takes_is_free_when_that_is_over() {
        let turns = LiveTurns::default();
        let scope = CompanyScope::granted("c".parse().unwrap());
        let place = turns.occupy(&scope, 9, 1).unwrap();
        assert_eq!(turns.admit(&turn(), None, 9, 1).err(), Some(Busy::Company));
        assert_eq!(turns.running(), 1);
        drop(place);
        assert!(turns.admit(&turn(), None, 9, 1).is_ok());
    }

    #[test]
    fn turns_that_ended_take_a_bounded_part_of_memory() {
        let turns = LiveTurns::default();
        let text = "x".repeat(1 << 20);
        let ids: Vec<TurnId> = (0..20)
            .map(|_| {
                let turn = turn();
                assert!(turns.admit(&turn, None, 100, 100).is_ok());
                turn.push(content(&text));
                turn.push(done());
                turns.release(turn.head());
                turn.head().turn_id
            })
            .collect();
        let scope = CompanyScope::granted("c".parse().unwrap());
        let kept: Vec<bool> = ids.iter().map(|id| turns.get(&scope, *id).is_some()).collect();
        assert!(!kept[0] && kept[19], "{kept:?}");
        assert!(kept.iter().filter(|kept| **kept).count() <= 16);
    }
}
