//! A ledger in memory, for buses that keep no books of their own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;
use turnpike::domain::CompanyScope;
use turnpike::ports::bus::{Account, DeadLetter, Message, Queue, Turns};
use turnpike::ports::ledger::{Ledger, Standing};
use turnpike::ports::store::Error;
use uuid::Uuid;

/// Entries in the order in which they were written down.
#[derive(Default)]
pub(super) struct MemoryLedger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    erased: BTreeMap<&'static str, u64>,
    is_away: bool,
    deaths: usize,
}

struct Entry {
    queue: Queue,
    message: Message,
    standing: Standing,
    due_at: OffsetDateTime,
    /// When it died, counted up; why, and when by the clock.
    death: Option<(usize, String, OffsetDateTime)>,
}

impl State {
    fn here(&mut self) -> Result<&mut Self, Error> {
        if self.is_away { Err(Error::Unavailable("away".to_owned())) } else { Ok(self) }
    }

    fn find(&mut self, queue: Queue, id: Uuid) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.queue == queue && entry.message.id == id)
    }
}

impl MemoryLedger {
    /// Makes every call fail, or work again.
    pub(super) fn set_away(&self, is_away: bool) {
        self.state.lock().is_away = is_away;
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn open(&self, queue: Queue, messages: &[Message], due_at: OffsetDateTime) -> Result<(), Error> {
        let mut state = self.state.lock();
        let state = state.here()?;
        for message in messages {
            if state.find(queue, message.id).is_none() {
                let standing = Standing::Pending { attempts: message.attempts };
                state.entries.push(Entry { queue, message: message.clone(), standing, due_at, death: None });
            }
        }
        Ok(())
    }

    async fn standing(&self, queue: Queue, id: Uuid) -> Result<Standing, Error> {
        Ok(self.state.lock().here()?.find(queue, id).map_or(Standing::Unknown, |entry| entry.standing))
    }

    async fn standings(&self, queue: Queue, ids: &[Uuid]) -> Result<Vec<Standing>, Error> {
        let mut state = self.state.lock();
        let state = state.here()?;
        Ok(ids.iter().map(|id| state.find(queue, *id).map_or(Standing::Unknown, |entry| entry.standing)).collect())
    }

    async fn postpone(&self, queue: Queue, id: Uuid, attempts: u32, due_at: OffsetDateTime) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(entry) = state.here()?.find(queue, id)
            && matches!(entry.standing, Standing::Pending { attempts: known } if known <= attempts)
        {
            entry.standing = Standing::Pending { attempts };
            entry.message.attempts = attempts;
            entry.due_at = due_at;
        }
        Ok(())
    }

    async fn done(&self, queue: Queue, id: Uuid) -> Result<(), Error> {
        if let Some(entry) = self.state.lock().here()?.find(queue, id) {
            entry.standing = Standing::Done;
        }
        Ok(())
    }

    async fn dead(&self, queue: Queue, message: &Message, reason: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let state = state.here()?;
        state.deaths += 1;
        let now = OffsetDateTime::now_utc();
        let death = Some((state.deaths, reason.to_owned(), now));
        let standing = Standing::Dead;
        match state.find(queue, message.id) {
            Some(entry) => *entry = Entry { queue, message: message.clone(), standing, due_at: now, death },
            None => state.entries.push(Entry { queue, message: message.clone(), standing, due_at: now, death }),
        }
        Ok(())
    }

    async fn overdue(
        &self,
        queue: Queue,
        now: OffsetDateTime,
        lease_until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let mut state = self.state.lock();
        let is_pending = |entry: &&mut Entry| matches!(entry.standing, Standing::Pending { .. });
        let mut due: Vec<&mut Entry> = state
            .here()?
            .entries
            .iter_mut()
            .filter(is_pending)
            .filter(|entry| entry.queue == queue && entry.due_at < now)
            .collect();
        due.sort_by_key(|entry| entry.due_at);
        due.truncate(limit);
        Ok(due
            .into_iter()
            .map(|entry| {
                entry.due_at = lease_until;
                entry.message.clone()
            })
            .collect())
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut state = self.state.lock();
        let State { entries, erased, .. } = state.here()?;
        let now = OffsetDateTime::now_utc();
        let account = |queue: Queue| {
            let of = |is_it: &dyn Fn(Standing) -> bool| {
                entries.iter().filter(|entry| entry.queue == queue && is_it(entry.standing)).count() as u64
            };
            let (done, dead) = (of(&|it| it == Standing::Done), of(&|it| it == Standing::Dead));
            let pending = of(&|it| matches!(it, Standing::Pending { .. }));
            let erased = erased.get(queue.name()).copied().unwrap_or_default();
            let accepted = done + dead + pending + erased;
            let oldest = entries
                .iter()
                .filter(|entry| entry.queue == queue && matches!(entry.standing, Standing::Pending { .. }))
                .map(|entry| (now - entry.message.first_queued_at).whole_milliseconds().max(0) as u64);
            Account { queue: queue.name(), accepted, done, dead, pending, erased, oldest_ms: oldest.max() }
        };
        Ok(Queue::ALL.map(account).into_iter().filter(|account| account.accepted > 0).collect())
    }

    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut state = self.state.lock();
        let mut dead: Vec<(&Entry, &(usize, String, OffsetDateTime))> = state
            .here()?
            .entries
            .iter()
            .filter(|entry| entry.standing == Standing::Dead && queue.is_none_or(|queue| queue == entry.queue))
            .filter_map(|entry| Some((entry, entry.death.as_ref()?)))
            .collect();
        dead.sort_by_key(|(_, (number, ..))| *number);
        Ok(dead
            .into_iter()
            .take(limit)
            .map(|(entry, (_, reason, died_at))| DeadLetter {
                queue: entry.queue.name().to_owned(),
                message: entry.message.clone(),
                reason: reason.clone(),
                died_at: *died_at,
            })
            .collect())
    }

    async fn redrive(
        &self,
        queue: Option<Queue>,
        id: Option<Uuid>,
        due_at: OffsetDateTime,
    ) -> Result<Vec<(Queue, Message)>, Error> {
        let mut state = self.state.lock();
        let wanted = state.here()?.entries.iter_mut().filter(|entry| {
            entry.standing == Standing::Dead
                && queue.is_none_or(|queue| queue == entry.queue)
                && id.is_none_or(|id| id == entry.message.id)
        });
        Ok(wanted
            .map(|entry| {
                entry.standing = Standing::Pending { attempts: 0 };
                entry.message.attempts = 0;
                entry.due_at = due_at;
                (entry.queue, entry.message.clone())
            })
            .collect())
    }

    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error> {
        let mut state = self.state.lock();
        let State { entries, erased, .. } = state.here()?;
        let is_over = |entry: &mut Entry| entry.death.as_ref().is_some_and(|(_, _, at)| *at < before);
        let gone = entries.extract_if(.., is_over).inspect(|entry| {
            *erased.entry(entry.queue.name()).or_default() += 1;
        });
        Ok(gone.count() as u64)
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let mut state = self.state.lock();
        let State { entries, erased, .. } = state.here()?;
        let suffix = format!(".{}", scope.company());
        let (gone, left) =
            std::mem::take(entries).into_iter().partition(|entry| entry.message.routing_key.ends_with(&suffix));
        *entries = left;
        let gone: Vec<Entry> = gone;
        let mut count = 0;
        for entry in gone {
            let counter = erased.entry(entry.queue.name()).or_default();
            if entry.standing == Standing::Done {
                // Kept in the account: what is done stays done.
                entries
                    .push(Entry { message: Message { routing_key: "erased.".to_owned(), ..entry.message }, ..entry });
            } else {
                *counter += 1;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error> {
        let mut state = self.state.lock();
        let State { entries, erased, .. } = state.here()?;
        let suffix = format!(".{}", scope.company());
        let is_gone = |entry: &mut Entry| {
            entry.standing != Standing::Done
                && entry.message.routing_key.ends_with(&suffix)
                && turns.have(&entry.message.body)
        };
        let gone = entries.extract_if(.., is_gone).inspect(|entry| {
            *erased.entry(entry.queue.name()).or_default() += 1;
        });
        Ok(gone.count() as u64)
    }
}
