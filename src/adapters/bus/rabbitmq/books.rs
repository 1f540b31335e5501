//! Accounts, dead letters, erasure and the search for what was lost: what is done to queues as a whole.

use std::collections::HashSet;

use futures::future::join_all;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::ShortString;
use time::OffsetDateTime;
use uuid::Uuid;

use super::delay::LEVELS;
use super::envelope::{Envelope, Outgoing, queued_now};
use super::error::Broker;
use super::events::Republished;
use super::ledger_error;
use super::shared::Shared;
use super::topology::look;
use crate::ports::bus::{Account, Error, Message, Queue};

/// Overdue messages that are taken out of the ledger at once, and how often in one sweep: many at once would hold up what
/// else is to be written there.
const OVERDUE: usize = 100;
const ROUNDS: usize = 5;
/// While so many messages wait in a queue, one that is overdue most likely waits among them.
const BACKLOG: u32 = 1_000;

/// What to do with a message that was found.
pub(super) enum Found {
    /// It stays where it is.
    Keep,
    /// It is removed.
    Remove,
}

impl Shared {
    /// Every queue's account; `held` says how many messages of a queue this process holds.
    pub(super) async fn accounts(&self, held: impl Fn(Queue) -> usize) -> Result<Vec<Account>, Error> {
        let known = self.ledger.accounts().await.map_err(ledger_error)?;
        let session = self.session().await?;
        let mut accounts = Vec::with_capacity(Queue::ALL.len());
        for queue in Queue::ALL {
            let of_ledger = known.iter().find(|account| account.queue == queue.name()).cloned();
            let mut account = of_ledger.unwrap_or(Account {
                queue: queue.name(),
                accepted: 0,
                done: 0,
                dead: 0,
                pending: 0,
                erased: 0,
                oldest_ms: None,
            });
            if queue != Queue::Deliver {
                let waiting = self.waiting(&session, &self.names.queue(queue)).await?;
                let pending = u64::from(waiting) + held(queue) as u64;
                let accepted = account.dead + pending;
                account = Account { accepted, pending, done: 0, erased: 0, oldest_ms: None, ..account };
            }
            accounts.push(account);
        }
        Ok(accounts)
    }

    /// Publishes again what is overdue. Says how many messages.
    pub(super) async fn sweep(&self) -> Result<u64, Error> {
        let mut all = 0;
        for queue in Queue::ALL {
            for _ in 0..ROUNDS {
                let session = self.session().await?;
                let waiting = self.waiting(&session, &self.names.queue(queue)).await?;
                metrics::gauge!("turnpike_bus_queue_messages", "queue" => queue.name()).set(f64::from(waiting));
                if waiting > BACKLOG {
                    break;
                }
                let (now, lease_until) = (OffsetDateTime::now_utc(), self.due_after(std::time::Duration::ZERO));
                let overdue = self.ledger.overdue(queue, now, lease_until, OVERDUE).await.map_err(ledger_error)?;
                if overdue.is_empty() {
                    break;
                }
                Republished { queue: queue.name(), messages: overdue.len() }.emit();
                self.put_back(overdue.iter().map(|message| (queue, message))).await?;
                all += overdue.len() as u64;
                if overdue.len() < OVERDUE {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Makes dead letters live again.
    pub(super) async fn redrive(&self, queue: Option<Queue>, id: Option<Uuid>) -> Result<u64, Error> {
        let due = self.due_after(std::time::Duration::ZERO);
        let letters = self.ledger.redrive(queue, id, due).await.map_err(ledger_error)?;
        // What is not published now is overdue in a while.
        let letters: Vec<(Queue, Message)> =
            letters.into_iter().map(|(queue, message)| (queue, queued_now(&message))).collect();
        self.put_back(letters.iter().map(|(queue, message)| (*queue, message))).await?;
        let ids: HashSet<Uuid> = letters.iter().map(|(_, message)| message.id).collect();
        let mut given_up: Vec<(Queue, Message)> = Vec::new();
        let dead = self.names.dead();
        self.scan(&dead, |envelope| {
            let message = &envelope.message;
            if ids.contains(&message.id) {
                return Found::Remove;
            }
            // What the server itself gave up is in no ledger.
            let from = envelope.given_up_by.as_deref().filter(|_| !envelope.is_buried);
            let is_wanted =
                |from: &Queue| queue.is_none_or(|queue| queue == *from) && id.is_none_or(|id| id == message.id);
            if let Some(from) = from.and_then(|from| self.names.parse(from)).filter(is_wanted) {
                given_up.push((from, Message { attempts: 0, ..queued_now(message) }));
            }
            Found::Keep
        })
        .await?;
        if !given_up.is_empty() {
            self.put_back(given_up.iter().map(|(queue, message)| (*queue, message))).await?;
            let ids: HashSet<Uuid> = given_up.iter().map(|(_, message)| message.id).collect();
            let is_ours = |envelope: &Envelope| !envelope.is_buried && ids.contains(&envelope.message.id);
            self.scan(&dead, |envelope| if is_ours(envelope) { Found::Remove } else { Found::Keep }).await?;
        }
        Ok((letters.len() + given_up.len()) as u64)
    }

    /// Removes dead letters that died before a moment. What the server itself gave up says no time and stays.
    pub(super) async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error> {
        let expired = self.ledger.expire(before).await.map_err(ledger_error)?;
        self.scan(&self.names.dead(), |envelope| match envelope.died_at {
            Some(died_at) if died_at < before => Found::Remove,
            _ => Found::Keep,
        })
        .await?;
        Ok(expired)
    }

    /// Removes messages, told by their company and body, from all queues. Says how many, each counted where it is known.
    pub(super) async fn erase_everywhere(&self, is_gone: &(dyn Fn(&str, &[u8]) -> bool + Sync)) -> Result<u64, Error> {
        let mut erased = 0;
        // From the top of the levels downwards, as messages move: what leaves one is met in the next.
        let levels = (0..LEVELS).rev().map(|level| (self.names.level(level), false));
        let queues = Queue::ALL.into_iter().map(|queue| (self.names.queue(queue), queue == Queue::Deliver));
        for (name, is_of_ledger) in levels.chain(queues).chain([(self.names.dead(), true)]) {
            self.scan(&name, |envelope| {
                if !is_gone(&envelope.company, &envelope.message.body) {
                    return Found::Keep;
                }
                let is_booked =
                    is_of_ledger || envelope.is_booked || Queue::Deliver.takes(&envelope.message.routing_key);
                erased += u64::from(!is_booked);
                Found::Remove
            })
            .await?;
        }
        Ok(erased)
    }

    async fn put_back(&self, messages: impl Iterator<Item = (Queue, &Message)>) -> Result<(), Error> {
        let outgoing: Vec<Outgoing> =
            messages.map(|(queue, message)| Outgoing::to_one(&self.names, queue, message)).collect::<Result<_, _>>()?;
        self.publisher().publish(&outgoing).await
    }

    /// Looks at each message of a queue once, removes some and leaves the others. Those that someone has in work are not
    /// seen.
    async fn scan(&self, queue: &str, mut judge: impl FnMut(&Envelope) -> Found) -> Result<(), Error> {
        let session = self.session().await?;
        let waiting = self.waiting(&session, queue).await?;
        if waiting == 0 {
            return Ok(());
        }
        let channel = session.channel().await?;
        let name = ShortString::try_new(queue).map_err(|_| Broker::name_too_long())?;
        let mut last_kept = None;
        let mut removed = Vec::new();
        for _ in 0..waiting {
            let got = session.ask(channel.basic_get(name.clone(), BasicGetOptions::default())).await?;
            let Some(mut got) = got else { break };
            match judge(&Envelope::open(&mut got.delivery)) {
                Found::Keep => last_kept = Some(got.delivery.delivery_tag),
                Found::Remove => removed.push(got.delivery.acker),
            }
        }
        // All are put in line at once; waiting for each to be written would cost a turn of the connection's loop for each.
        let acks = removed.iter().map(|acker| acker.ack(BasicAckOptions::default()));
        let acknowledged = session.ask(async { join_all(acks).await.into_iter().collect::<lapin::Result<Vec<_>>>() });
        let acknowledged = acknowledged.await?;
        if let Some(last) = last_kept {
            let options = BasicNackOptions { multiple: true, requeue: true };
            session.ask(channel.basic_nack(last, options)).await?;
        }
        if acknowledged.contains(&false) {
            return Err(Error::Unavailable("RabbitMQ: the channel was closed in the middle of a queue".to_owned()));
        }
        // Acknowledgements are not answered; an answer to what follows them says that they were read.
        look(&session, &channel, queue).await?;
        Ok(())
    }
}
