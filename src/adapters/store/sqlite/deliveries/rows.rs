//! Deliveries as rows.

use rusqlite::{Connection, Row, ToSql, named_params, params};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::removal;
use super::super::turns::{at_most, one};
use crate::adapters::sqlite::{Error, from_json, nanos_of, signed, text_id, time_of, to_json, unsigned};
use crate::domain::delivery::{Attempt, Delivery, Filter, Health, MOST_ATTEMPTS, Parcel, Replay, Standing, State};
use crate::domain::{CompanyId, CompanyScope, EndpointId, EventType};
use crate::ports::deliveries::{Cursor, latencies};

/// The columns of a delivery, in the order in which `delivery` reads them.
const COLUMNS: &str = "delivery_id, endpoint_id, webhook_id, event_type, subject, conversation_id, sequence, rank, \
                       happened_at, began_at, round, replay_id, state, attempts, status, reason, last_attempt_at, next_attempt_at";

/// How many of the last deliveries tell how an endpoint does.
const RECENT: i64 = 1_000;

/// A page of what was asked for.
pub(super) struct Found<T> {
    pub(super) page: Vec<T>,
    pub(super) next: Option<Cursor>,
}

/// What a filter asks for, as SQL says it: a condition for each field that is set, so that indexes are of use.
pub(super) struct Wanted {
    company: CompanyId,
    conditions: String,
    values: Vec<Box<dyn ToSql + Send>>,
}

impl Wanted {
    pub(super) fn of(scope: &CompanyScope, filter: &Filter) -> Result<Self, Error> {
        let company = scope.company().clone();
        let mut wanted = Self { company: company.clone(), conditions: String::new(), values: Vec::new() };
        wanted.and("company_id = ?", company.as_str().to_owned());
        if let Some(id) = filter.id {
            wanted.and("delivery_id = ?", id.to_string());
        }
        if let Some(endpoint) = &filter.endpoint_id {
            wanted.and("endpoint_id = ?", endpoint.as_str().to_owned());
        }
        if let Some(conversation) = filter.conversation_id {
            wanted.and("conversation_id = ?", conversation.to_string());
        }
        if let Some(event_type) = filter.event_type {
            wanted.and("event_type = ?", event_type.as_str().to_owned());
        }
        if !filter.states.is_empty() {
            let places = vec!["?"; filter.states.len()].join(", ");
            let mut values = filter.states.iter().map(|state| state.as_str().to_owned());
            if let Some(first) = values.next() {
                wanted.and(&format!("state IN ({places})"), first);
            }
            wanted.values.extend(values.map(|value| Box::new(value) as _));
        }
        if let Some(from) = filter.from {
            wanted.and("happened_at >= ?", nanos_of(from)?);
        }
        if let Some(until) = filter.until {
            wanted.and("happened_at < ?", nanos_of(until)?);
        }
        if let Some(from) = filter.from_sequence {
            wanted.and("sequence >= ?", signed(from)?);
        }
        if let Some(until) = filter.until_sequence {
            wanted.and("sequence <= ?", signed(until)?);
        }
        Ok(wanted)
    }

    fn and(&mut self, condition: &str, value: impl ToSql + Send + 'static) {
        if !self.conditions.is_empty() {
            self.conditions.push_str(" AND ");
        }
        self.conditions.push_str(condition);
        self.values.push(Box::new(value));
    }
}

/// A delivery that is not there is written down, unless its conversation was removed meanwhile.
pub(super) fn insert(connection: &Connection, parcel: &Parcel, keep_until: i64) -> Result<(), Error> {
    let it = &parcel.delivery;
    let began_at = nanos_of(it.began_at)?;
    if let Some(conversation) = it.conversation_id
        && removal::removed_until(connection, &it.company_id, conversation)?.is_some_and(|until| began_at <= until)
    {
        return Ok(());
    }
    let standing = &it.standing;
    let sql = "INSERT INTO deliveries (company_id, delivery_id, endpoint_id, webhook_id, event_type, subject, conversation_id, \
               sequence, rank, happened_at, began_at, round, replay_id, state, attempts, status, reason, \
               last_attempt_at, next_attempt_at, keep_until, payload) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![
        it.company_id.as_str(),
        it.id.to_string(),
        it.endpoint_id.as_str(),
        it.webhook_id,
        it.event_type.as_str(),
        it.subject,
        it.conversation_id.map(|id| id.to_string()),
        it.sequence.map(signed).transpose()?,
        it.rank,
        nanos_of(it.happened_at)?,
        began_at,
        it.round,
        it.replay_id.map(|id| id.to_string()),
        standing.state.as_str(),
        standing.attempts,
        standing.status,
        standing.reason,
        standing.last_attempt_at.map(nanos_of).transpose()?,
        standing.next_attempt_at.map(nanos_of).transpose()?,
        keep_until,
        parcel.payload.as_ref().map(|payload| payload.get()),
    ])?;
    Ok(())
}

/// Where an attempt is kept: all by their time, and of those beyond the most the last.
pub(super) fn slot_of(attempt: &Attempt) -> Result<i64, Error> {
    if attempt.number > MOST_ATTEMPTS { Ok(i64::MAX) } else { nanos_of(attempt.started_at) }
}

/// Deliveries after a cursor, the newest first.
pub(super) fn deliveries(
    connection: &Connection,
    wanted: &Wanted,
    limit: usize,
    after: Option<Cursor>,
) -> Result<Found<Delivery>, Error> {
    let end = after.map(|end| (end.happened_ns, end.id.to_string())).unwrap_or((i64::MAX, String::new()));
    let conditions = &wanted.conditions;
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE {conditions} AND (happened_at, delivery_id) < (?, ?) \
         ORDER BY happened_at DESC, delivery_id DESC LIMIT ?"
    );
    page(connection, &sql, wanted, limit, end, delivery, |it| it)
}

/// Deliveries with their bodies after a cursor, the oldest first.
pub(super) fn parcels(
    connection: &Connection,
    wanted: &Wanted,
    limit: usize,
    after: Option<Cursor>,
) -> Result<Found<Parcel>, Error> {
    let end = after.map(|end| (end.happened_ns, end.id.to_string())).unwrap_or((i64::MIN, String::new()));
    let conditions = &wanted.conditions;
    let sql = format!(
        "SELECT {COLUMNS}, payload FROM deliveries WHERE {conditions} AND (happened_at, delivery_id) > (?, ?) \
         ORDER BY happened_at, delivery_id LIMIT ?"
    );
    page(connection, &sql, wanted, limit, end, parcel, |it| &it.delivery)
}

fn page<T>(
    connection: &Connection,
    sql: &str,
    wanted: &Wanted,
    limit: usize,
    (happened_at, id): (i64, String),
    read: fn(&CompanyId, &Row<'_>) -> Result<T, Error>,
    delivery: fn(&T) -> &Delivery,
) -> Result<Found<T>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    // One more than asked for tells whether there is a next page.
    let most = at_most(limit.saturating_add(1));
    let rest: [&dyn ToSql; 3] = [&happened_at, &id, &most];
    let values = wanted.values.iter().map(|value| value.as_ref() as &dyn ToSql).chain(rest);
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() == limit {
            let last = found.last().map(delivery);
            let cursor =
                |last: &Delivery| Ok::<_, Error>(Cursor { happened_ns: nanos_of(last.happened_at)?, id: last.id });
            return Ok(Found { next: last.map(cursor).transpose()?, page: found });
        }
        found.push(read(&wanted.company, row)?);
    }
    Ok(Found { page: found, next: None })
}

fn delivery(company: &CompanyId, row: &Row<'_>) -> Result<Delivery, Error> {
    let text = |index: usize| row.get::<_, String>(index);
    let time = |index: usize| row.get::<_, Option<i64>>(index)?.map(time_of).transpose();
    Ok(Delivery {
        id: text_id(&text(0)?)?,
        company_id: company.clone(),
        endpoint_id: text_id(&text(1)?)?,
        webhook_id: text(2)?,
        event_type: event_type(&text(3)?)?,
        subject: text(4)?,
        conversation_id: row.get::<_, Option<String>>(5)?.as_deref().map(text_id).transpose()?,
        sequence: row.get::<_, Option<i64>>(6)?.map(unsigned).transpose()?,
        rank: row.get(7)?,
        happened_at: time_of(row.get(8)?)?,
        began_at: time_of(row.get(9)?)?,
        round: row.get(10)?,
        replay_id: row.get::<_, Option<String>>(11)?.as_deref().map(text_id).transpose()?,
        standing: Standing {
            state: text_id(&text(12)?)?,
            attempts: row.get(13)?,
            status: row.get(14)?,
            reason: row.get(15)?,
            last_attempt_at: time(16)?,
            next_attempt_at: time(17)?,
        },
    })
}

fn event_type(name: &str) -> Result<EventType, Error> {
    let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    EventType::deserialize(name).map_err(|error| Error::Content(error.to_string()))
}

fn parcel(company: &CompanyId, row: &Row<'_>) -> Result<Parcel, Error> {
    let payload = row.get::<_, Option<String>>(18)?.map(RawValue::from_string).transpose();
    let payload = payload.map_err(|error| Error::Content(error.to_string()))?;
    Ok(Parcel { delivery: delivery(company, row)?, payload })
}

/// How an endpoint does.
pub(super) fn health(connection: &Connection, company: &CompanyId, endpoint: &EndpointId) -> Result<Health, Error> {
    let whose = params![company.as_str(), endpoint.as_str()];
    let mut health = Health::default();
    let mut counts = connection.prepare_cached(
        "SELECT state, count(*), min(next_attempt_at) FROM deliveries WHERE company_id = ? AND endpoint_id = ? \
         GROUP BY state",
    )?;
    let mut rows = counts.query(whose)?;
    while let Some(row) = rows.next()? {
        let count = unsigned(row.get(1)?)?;
        match text_id(&row.get::<_, String>(0)?)? {
            State::Pending => {
                health.pending = count;
                health.next_attempt_at = row.get::<_, Option<i64>>(2)?.map(time_of).transpose()?;
            }
            State::Delivered => health.delivered = count,
            State::Dead => health.dead = count,
            State::Discarded => health.discarded = count,
        }
    }
    let mut recent = connection.prepare_cached(
        "SELECT state, (SELECT attempt ->> '$.timing.total_ms' FROM delivery_attempts WHERE delivery = number \
         ORDER BY slot DESC LIMIT 1) FROM deliveries \
         WHERE company_id = ? AND endpoint_id = ? AND last_attempt_at IS NOT NULL \
         ORDER BY happened_at DESC, delivery_id DESC LIMIT ?",
    )?;
    let mut rows = recent.query(params![company.as_str(), endpoint.as_str(), RECENT])?;
    let mut took = Vec::new();
    while let Some(row) = rows.next()? {
        health.recent += 1;
        if row.get::<_, String>(0)? == State::Delivered.as_str() {
            health.recent_delivered += 1;
            took.extend(row.get::<_, Option<f64>>(1)?);
        }
    }
    latencies(&mut health, took);
    let sql = "SELECT failing_since, last_success_at, last_failure_at, last_failure, open_until FROM endpoint_health \
               WHERE company_id = ? AND endpoint_id = ?";
    let times = one(connection, sql, whose, |row| {
        let time = |index: usize| row.get::<_, Option<i64>>(index)?.map(time_of).transpose();
        Ok((time(0)?, time(1)?, time(2)?, row.get(3)?, time(4)?))
    })?;
    if let Some((failing_since, last_success_at, last_failure_at, last_failure, open_until)) = times {
        health = Health { failing_since, last_success_at, last_failure_at, last_failure, open_until, ..health };
    }
    Ok(health)
}

/// A replay.
pub(super) fn replay(connection: &Connection, company: &CompanyId, id: Uuid) -> Result<Option<Replay>, Error> {
    let sql = "SELECT replay FROM replays WHERE company_id = ? AND replay_id = ?";
    one(connection, sql, params![company.as_str(), id.to_string()], |row| from_json(&row.get::<_, String>(0)?))
}

/// The last replays, the newest first.
pub(super) fn replays(connection: &Connection, company: &CompanyId, limit: usize) -> Result<Vec<Replay>, Error> {
    let sql = "SELECT replay FROM replays WHERE company_id = ? ORDER BY created_at DESC, replay_id LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![company.as_str(), at_most(limit)])?;
    let mut replays = Vec::new();
    while let Some(row) = rows.next()? {
        replays.push(from_json(&row.get::<_, String>(0)?)?);
    }
    Ok(replays)
}

/// Writes a replay in place of the one with its id.
pub(super) fn put_replay(connection: &Connection, company: &CompanyId, replay: &Replay) -> Result<(), Error> {
    let sql = "UPDATE replays SET replay = :replay WHERE company_id = :company AND replay_id = :id";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":replay": to_json(replay)?, ":company": company.as_str(), ":id": replay.id.to_string(),
    })?;
    Ok(())
}
