//! The bus's tables: every change of a message together with the counters that account for it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use time::OffsetDateTime;
use uuid::Uuid;

use super::shelf::Row;
use crate::adapters::sqlite::{Error, nanos_of, time_of, unsigned};
use crate::domain::CompanyId;
use crate::ports::bus::{Account, DeadLetter, Message, Queue, Turns};

/// Most messages read ahead at once.
const READ_AHEAD: usize = 256;
/// Most bytes of bodies read ahead at once; one message is read whatever its size.
const READ_AHEAD_BYTES: usize = 8 * 1_024 * 1_024;

/// A message on its way into a queue.
pub(super) struct Entry {
    /// The queue that takes it.
    pub(super) queue: Queue,
    /// The company whose message it is.
    pub(super) company: String,
    /// The message.
    pub(super) message: Message,
}

/// What is due in a queue.
pub(super) struct Due {
    /// The first messages, in order.
    pub(super) rows: Vec<Row>,
    /// Whether there are more of them.
    pub(super) has_more: bool,
    /// When the next one comes due that is not yet.
    pub(super) next_due: Option<i64>,
}

/// The time at which messages come in. It never goes back, so that a clock that is set does not reorder them.
#[derive(Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    fn now(&self) -> Result<i64, Error> {
        let now = now()?;
        Ok(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// How long until a time, nothing if it is over.
pub(super) fn until(due_at: i64) -> Duration {
    now().map_or(Duration::ZERO, |now| Duration::from_nanos(due_at.saturating_sub(now).max(0).cast_unsigned()))
}

/// Adds messages to their queues, due at once. One that its queue holds already is passed over. One that the queue gave
/// up comes back to life instead of being accepted a second time.
pub(super) fn insert(connection: &Connection, clock: &Clock, entries: &[Entry]) -> Result<(), Error> {
    let now = clock.now()?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages (queue, id, company_id, routing_key, attempts, first_queued_at, due_at, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (queue, id) DO NOTHING",
    )?;
    let mut revive = connection.prepare_cached("DELETE FROM dead_letters WHERE queue = ? AND id = ?")?;
    for queue in Queue::ALL {
        let mut accepted = 0;
        for Entry { company, message, .. } in entries.iter().filter(|entry| entry.queue == queue) {
            let added = insert.execute(params![
                queue.name(),
                message.id.as_bytes(),
                company,
                message.routing_key,
                message.attempts,
                now,
                now,
                &*message.body,
            ])?;
            if added == 1 && revive.execute(params![queue.name(), message.id.as_bytes()])? == 0 {
                accepted += 1;
            }
        }
        count(connection, queue, Counts { accepted, ..Counts::default() })?;
    }
    Ok(())
}

/// The first messages of a queue that are due and not claimed.
pub(super) fn due(connection: &Connection, queue: Queue, claimed: &HashSet<i64>) -> Result<Due, Error> {
    let now = now()?;
    let mut places = connection.prepare_cached(
        "SELECT number, due_at FROM messages WHERE queue = ? AND due_at <= ? ORDER BY due_at, number",
    )?;
    let mut contents = connection
        .prepare_cached("SELECT id, routing_key, body, attempts, first_queued_at FROM messages WHERE number = ?")?;
    let mut rows = Vec::new();
    let (mut bytes, mut has_more) = (0, false);
    let mut found = places.query(params![queue.name(), now])?;
    while let Some(place) = found.next()? {
        let (number, due_at) = (place.get(0)?, place.get(1)?);
        if claimed.contains(&number) {
            continue;
        }
        let message = contents.query_row([number], |row| Ok(message(row)))??;
        bytes += message.body.len();
        rows.push(Row { number, due_at, message });
        has_more = rows.len() >= READ_AHEAD || bytes >= READ_AHEAD_BYTES;
        if has_more {
            break;
        }
    }
    let next_due = connection
        .prepare_cached("SELECT due_at FROM messages WHERE queue = ? AND due_at > ? ORDER BY due_at LIMIT 1")?
        .query_row(params![queue.name(), now], |row| row.get(0))
        .optional()?;
    Ok(Due { rows, has_more, next_due })
}

/// Takes a message whose effect is done out of its queue, and puts in what follows from it. One that was erased
/// meanwhile has no effect any more, and nothing follows from it.
pub(super) fn done(
    connection: &Connection,
    clock: &Clock,
    queue: Queue,
    number: i64,
    follow_ups: &[Entry],
) -> Result<(), Error> {
    if connection.prepare_cached("DELETE FROM messages WHERE number = ?")?.execute([number])? == 0 {
        return Ok(());
    }
    count(connection, queue, Counts { done: 1, ..Counts::default() })?;
    if follow_ups.is_empty() { Ok(()) } else { insert(connection, clock, follow_ups) }
}

/// Makes a message due later, and says when.
pub(super) fn postpone(connection: &Connection, number: i64, after: Duration, failed_tries: u32) -> Result<i64, Error> {
    let due_at = now()?.saturating_add(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
    connection
        .prepare_cached("UPDATE messages SET attempts = attempts + ?, due_at = ? WHERE number = ?")?
        .execute(params![failed_tries, due_at, number])?;
    Ok(due_at)
}

/// Gives a message up.
pub(super) fn bury(connection: &Connection, number: i64, reason: &str) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO dead_letters (queue, id, company_id, routing_key, attempts, first_queued_at, died_at, reason, \
             body) SELECT queue, id, company_id, routing_key, attempts, first_queued_at, ?, ?, body FROM messages \
             WHERE number = ?",
        )?
        .execute(params![now()?, reason, number])?;
    connection.prepare_cached("DELETE FROM messages WHERE number = ?")?.execute([number])?;
    Ok(())
}

/// A queue's account.
pub(super) fn account(connection: &Connection, queue: Queue) -> Result<Account, Error> {
    let number = |sql: &str| -> Result<u64, Error> {
        unsigned(connection.prepare_cached(sql)?.query_row([queue.name()], |row| row.get(0)).optional()?.unwrap_or(0))
    };
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT min(due_at) FROM messages WHERE queue = ? AND due_at <= ?")?
        .query_row(params![queue.name(), now()?], |row| row.get(0))?;
    Ok(Account {
        queue: queue.name(),
        accepted: number("SELECT accepted FROM counters WHERE queue = ?")?,
        done: number("SELECT done FROM counters WHERE queue = ?")?,
        erased: number("SELECT erased FROM counters WHERE queue = ?")?,
        dead: number("SELECT count(*) FROM dead_letters WHERE queue = ?")?,
        pending: number("SELECT count(*) FROM messages WHERE queue = ?")?,
        oldest_ms: oldest
            .map(|due| now().map(|now| now.saturating_sub(due).max(0).cast_unsigned() / 1_000_000))
            .transpose()?,
    })
}

/// Dead letters, oldest first.
pub(super) fn dead_letters(
    connection: &Connection,
    queue: Option<Queue>,
    limit: usize,
) -> Result<Vec<DeadLetter>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id, routing_key, body, attempts, first_queued_at, queue, reason, died_at FROM dead_letters \
         WHERE ?1 IS NULL OR queue = ?1 ORDER BY number LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![queue.map(Queue::name), limit])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(DeadLetter {
            message: message(row)?,
            queue: row.get(5)?,
            reason: row.get(6)?,
            died_at: time_of(row.get(7)?)?,
        });
    }
    Ok(letters)
}

/// Puts dead letters back, as if they had just come.
pub(super) fn redrive(
    connection: &Connection,
    clock: &Clock,
    queue: Option<Queue>,
    id: Option<Uuid>,
) -> Result<u64, Error> {
    let (queue, id) = (queue.map(Queue::name), id.map(Uuid::into_bytes));
    connection.execute(
        "INSERT INTO messages (queue, id, company_id, routing_key, attempts, first_queued_at, due_at, body) \
         SELECT queue, id, company_id, routing_key, 0, ?3, ?3, body FROM dead_letters \
         WHERE (?1 IS NULL OR queue = ?1) AND (?2 IS NULL OR id = ?2) ORDER BY number",
        params![queue, id, clock.now()?],
    )?;
    let count = connection.execute(
        "DELETE FROM dead_letters WHERE (?1 IS NULL OR queue = ?1) AND (?2 IS NULL OR id = ?2)",
        params![queue, id],
    )?;
    Ok(count as u64)
}

/// Deletes a company's messages, dead or alive, and says how many.
pub(super) fn erase(connection: &Connection, company: &CompanyId) -> Result<u64, Error> {
    let mut all = 0;
    for queue in Queue::ALL {
        let mut erased = 0;
        for sql in [
            "DELETE FROM messages WHERE queue = ? AND company_id = ?",
            "DELETE FROM dead_letters WHERE queue = ? AND company_id = ?",
        ] {
            erased += connection.execute(sql, [queue.name(), company.as_str()])?;
        }
        count(connection, queue, Counts { erased, ..Counts::default() })?;
        all += erased;
    }
    Ok(all as u64)
}

/// Deletes dead letters that died before a moment, and says how many.
pub(super) fn expire(connection: &Connection, before: i64) -> Result<u64, Error> {
    let mut all = 0;
    for queue in Queue::ALL {
        let sql = "DELETE FROM dead_letters WHERE queue = ? AND died_at < ?";
        let erased = connection.prepare_cached(sql)?.execute(params![queue.name(), before])?;
        count(connection, queue, Counts { erased, ..Counts::default() })?;
        all += erased;
    }
    Ok(all as u64)
}

/// Deletes the messages that tell of turns, dead or alive, and says how many.
pub(super) fn erase_turns(connection: &Connection, company: &CompanyId, turns: Turns) -> Result<u64, Error> {
    let mut all = 0;
    for queue in Queue::ALL {
        let mut erased = 0;
        for table in ["messages", "dead_letters"] {
            let select = format!("SELECT number, body FROM {table} WHERE queue = ? AND company_id = ?");
            let mut statement = connection.prepare_cached(&select)?;
            let mut rows = statement.query([queue.name(), company.as_str()])?;
            let mut numbers: Vec<i64> = Vec::new();
            while let Some(row) = rows.next()? {
                let body = row.get_ref(1)?.as_blob().map_err(|error| Error::Content(error.to_string()))?;
                if turns.have(body) {
                    numbers.push(row.get(0)?);
                }
            }
            let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE number = ?"))?;
            for number in numbers {
                erased += delete.execute([number])?;
            }
        }
        count(connection, queue, Counts { erased, ..Counts::default() })?;
        all += erased;
    }
    Ok(all as u64)
}

/// What to add to a queue's counters.
#[derive(Default)]
struct Counts {
    accepted: usize,
    done: usize,
    erased: usize,
}

fn count(connection: &Connection, queue: Queue, counts: Counts) -> Result<(), Error> {
    let Counts { accepted, done, erased } = counts;
    if accepted + done + erased == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO counters (queue, accepted, done, erased) VALUES (?, ?, ?, ?) ON CONFLICT (queue) DO UPDATE SET \
             accepted = accepted + excluded.accepted, done = done + excluded.done, erased = erased + excluded.erased",
        )?
        .execute(params![queue.name(), accepted as i64, done as i64, erased as i64])?;
    Ok(())
}

fn message(row: &SqlRow<'_>) -> Result<Message, Error> {
    Ok(Message {
        id: Uuid::from_bytes(row.get(0)?),
        routing_key: row.get(1)?,
        body: row.get::<_, Vec<u8>>(2)?.into(),
        attempts: row.get(3)?,
        first_queued_at: time_of(row.get(4)?)?,
    })
}

fn now() -> Result<i64, Error> {
    nanos_of(OffsetDateTime::now_utc())
}
