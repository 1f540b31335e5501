//! Turns, each under its conversation and numbered there.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{heads, removal};
use crate::adapters::sqlite::{Error, from_json, nanos_of, signed, text_id, to_json, unsigned};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{CompanyId, ConversationId, TurnId, TurnRecord};
use crate::ports::store::Appended;

/// Stores a turn that is not there yet, and says in either case what its place is; none for a turn that began before its
/// conversation was removed.
pub(super) fn append(
    connection: &Connection,
    record: TurnRecord,
    keep_until: Option<i64>,
) -> Result<Option<Appended>, Error> {
    let company = &record.company_id;
    if let Some((id, sequence, message_count)) = place_of(connection, company, record.turn_id)? {
        let conversation = heads::conversation(connection, company, id)?
            .ok_or_else(|| Error::Content(format!("turn {} has no conversation", record.turn_id)))?;
        return Ok(Some(Appended { sequence, message_count, is_first: sequence == 1, conversation }));
    }
    let started_at = nanos_of(record.started_at)?;
    if removal::removed_until(connection, company, record.conversation_id)?.is_some_and(|until| started_at <= until) {
        return Ok(None);
    }
    let known = heads::conversation(connection, company, record.conversation_id)?;
    let head = known.unwrap_or_else(|| Conversation::begun_by(&record)).with(&record);
    heads::count_in(connection, &head)?;
    let turn = StoredTurn { sequence: head.last_sequence, record };
    put_turn(connection, &turn, head.message_count, keep_until)?;
    Ok(Some(Appended {
        sequence: head.last_sequence,
        message_count: head.message_count,
        is_first: head.last_sequence == 1,
        conversation: head,
    }))
}

/// Those of the turns that are stored, in the order given.
pub(super) fn stored(connection: &Connection, company: &CompanyId, turns: &[TurnId]) -> Result<Vec<TurnId>, Error> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM turns WHERE company_id = ? AND turn_id = ?")?;
    let mut stored = Vec::new();
    for turn in turns {
        if statement.exists(params![company.as_str(), turn.to_string()])? {
            stored.push(*turn);
        }
    }
    Ok(stored)
}

/// The last turns of a conversation, oldest first.
pub(super) fn history(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
    limit: usize,
) -> Result<Vec<StoredTurn>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, record FROM turns WHERE company_id = ? AND conversation_id = ? ORDER BY sequence DESC LIMIT ?",
    )?;
    let mut rows = statement.query(params![company.as_str(), id.to_string(), at_most(limit)])?;
    let mut turns = Vec::new();
    while let Some(row) = rows.next()? {
        turns.push(stored_turn(row)?);
    }
    turns.reverse();
    Ok(turns)
}

/// Turns of a conversation with sequences above one, in order.
pub(super) fn after(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredTurn>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, record FROM turns WHERE company_id = ? AND conversation_id = ? AND sequence > ? \
         ORDER BY sequence LIMIT ?",
    )?;
    // Sequences end where those of SQLite do.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![company.as_str(), id.to_string(), after, at_most(limit)])?;
    let mut turns = Vec::new();
    while let Some(row) = rows.next()? {
        turns.push(stored_turn(row)?);
    }
    Ok(turns)
}

/// One turn.
pub(super) fn turn(connection: &Connection, company: &CompanyId, id: TurnId) -> Result<Option<StoredTurn>, Error> {
    let sql = "SELECT sequence, record FROM turns WHERE company_id = ? AND turn_id = ?";
    one(connection, sql, params![company.as_str(), id.to_string()], stored_turn)
}

/// The first turn under an idempotency key.
pub(super) fn turn_by_idempotency_key(
    connection: &Connection,
    company: &CompanyId,
    key: &str,
) -> Result<Option<StoredTurn>, Error> {
    let sql = "SELECT sequence, record FROM turns WHERE company_id = ? AND idempotency_key = ?";
    one(connection, sql, params![company.as_str(), key], stored_turn)
}

/// Deletes a company's conversations and turns, and says how many of each.
pub(super) fn erase(connection: &Connection, company: &CompanyId) -> Result<(u64, u64), Error> {
    let turns = connection.execute("DELETE FROM turns WHERE company_id = ?", [company.as_str()])?;
    let conversations = connection.execute("DELETE FROM conversations WHERE company_id = ?", [company.as_str()])?;
    connection.execute("DELETE FROM removed_conversations WHERE company_id = ?", [company.as_str()])?;
    Ok((conversations as u64, turns as u64))
}

/// Where a turn is: its conversation, its sequence, and the messages up to and with it.
pub(super) fn place_of(
    connection: &Connection,
    company: &CompanyId,
    turn: TurnId,
) -> Result<Option<(ConversationId, u64, u64)>, Error> {
    let sql = "SELECT conversation_id, sequence, message_count FROM turns WHERE company_id = ? AND turn_id = ?";
    one(connection, sql, params![company.as_str(), turn.to_string()], |row| {
        Ok((text_id(&row.get::<_, String>(0)?)?, unsigned(row.get(1)?)?, unsigned(row.get(2)?)?))
    })
}

/// Writes a turn that is not there yet. The first one under an idempotency key keeps it.
pub(super) fn put_turn(
    connection: &Connection,
    turn: &StoredTurn,
    message_count: u64,
    keep_until: Option<i64>,
) -> Result<(), Error> {
    let record = &turn.record;
    let mut statement = connection.prepare_cached(
        "INSERT INTO turns (company_id, turn_id, conversation_id, sequence, message_count, started_at, record, \
         keep_until, idempotency_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
         iif(EXISTS (SELECT 1 FROM turns WHERE company_id = ?1 AND idempotency_key = ?9), NULL, ?9))",
    )?;
    statement.execute(params![
        record.company_id.as_str(),
        record.turn_id.to_string(),
        record.conversation_id.to_string(),
        signed(turn.sequence)?,
        signed(message_count)?,
        nanos_of(record.started_at)?,
        to_json(record)?,
        keep_until,
        record.idempotency_key,
    ])?;
    Ok(())
}

/// The one row that a query finds, if it finds any.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(read(row))).optional()?.transpose()
}

/// A turn of the columns `sequence` and `record`.
pub(super) fn stored_turn(row: &Row<'_>) -> Result<StoredTurn, Error> {
    let record: TurnRecord = from_json(row.get_ref(1)?.as_str().map_err(|error| Error::Content(error.to_string()))?)?;
    Ok(StoredTurn { sequence: unsigned(row.get(0)?)?, record })
}

/// A limit as SQLite takes it.
pub(super) fn at_most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
