//! Turns and the heads of their conversations.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params};

use crate::adapters::sqlite::{Error, from_json, nanos_of, signed, text_id, time_of, unsigned};
use crate::domain::conversation::{Conversation, Status, StoredTurn, messages_of};
use crate::domain::{CompanyId, ConversationId, TurnId, TurnRecord};
use crate::ports::store::{self, Appended};

/// Characters of the first question that a conversation's summary shows.
const SUMMARY: usize = 120;

const HEAD: &str = "SELECT company_id, conversation_id, session_id, channel, status, message_count, last_sequence, \
                    summary, created_at, updated_at, ended_at FROM conversations";

/// Where a page of conversations ended: pages are cut by key, so that what comes in between moves no row to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    updated_at: i64,
    conversation: ConversationId,
}

impl Cursor {
    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Result<Self, store::Error> {
        text.split_once('-')
            .and_then(|(updated_at, conversation)| {
                let updated_at = u64::from_str_radix(updated_at, 16).ok()?.cast_signed();
                Some(Self { updated_at, conversation: conversation.parse().ok()? })
            })
            .ok_or_else(|| store::Error::Invalid(format!("{text:?} is not the cursor of a page")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.updated_at, self.conversation)
    }
}

/// Stores a turn that is not there yet, and says in either case what its place is.
pub(super) fn append(connection: &Connection, record: &TurnRecord, json: &str) -> Result<Appended, Error> {
    let company = &record.company_id;
    if let Some((id, sequence, message_count)) = place_of(connection, company, record.turn_id)? {
        let conversation = conversation(connection, company, id)?
            .ok_or_else(|| Error::Content(format!("turn {} has no conversation", record.turn_id)))?;
        return Ok(Appended { sequence, message_count, is_first: sequence == 1, conversation });
    }
    let head = put_head(connection, record)?;
    put_turn(connection, record, json, &head)?;
    Ok(Appended {
        sequence: head.last_sequence,
        message_count: head.message_count,
        is_first: head.last_sequence == 1,
        conversation: head,
    })
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

/// Conversations after a cursor, the last updated first, and where the page ends if more follow.
pub(super) fn conversations(
    connection: &Connection,
    company: &CompanyId,
    limit: usize,
    after: Option<Cursor>,
) -> Result<(Vec<Conversation>, Option<Cursor>), Error> {
    let mut statement = connection.prepare_cached(&format!(
        "{HEAD} WHERE company_id = :company AND (updated_at, conversation_id) < (:updated_at, :conversation) \
         ORDER BY updated_at DESC, conversation_id DESC LIMIT :limit"
    ))?;
    // Without a cursor the page begins at the end of all times.
    let (updated_at, id) =
        after.map_or((i64::MAX, String::new()), |end| (end.updated_at, end.conversation.to_string()));
    let mut rows = statement.query(named_params! {
        ":company": company.as_str(),
        ":updated_at": updated_at,
        ":conversation": id,
        // One more than asked for tells whether there is a next page.
        ":limit": at_most(limit.saturating_add(1)),
    })?;
    let mut page = Vec::new();
    let mut end = after;
    while let Some(row) = rows.next()? {
        if page.len() == limit {
            return Ok((page, end));
        }
        let conversation = head(row)?;
        end = Some(Cursor { updated_at: row.get("updated_at")?, conversation: conversation.conversation_id });
        page.push(conversation);
    }
    Ok((page, None))
}

/// One conversation's head.
pub(super) fn conversation(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
) -> Result<Option<Conversation>, Error> {
    let sql = format!("{HEAD} WHERE company_id = ? AND conversation_id = ?");
    one(connection, &sql, params![company.as_str(), id.to_string()], head)
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
    Ok((conversations as u64, turns as u64))
}

fn place_of(
    connection: &Connection,
    company: &CompanyId,
    turn: TurnId,
) -> Result<Option<(ConversationId, u64, u64)>, Error> {
    let sql = "SELECT conversation_id, sequence, message_count FROM turns WHERE company_id = ? AND turn_id = ?";
    one(connection, sql, params![company.as_str(), turn.to_string()], |row| {
        Ok((text_id(&row.get::<_, String>(0)?)?, unsigned(row.get(1)?)?, unsigned(row.get(2)?)?))
    })
}

/// The conversation's head with the turn counted in.
fn put_head(connection: &Connection, record: &TurnRecord) -> Result<Conversation, Error> {
    let messages = messages_of(record).len() as u64;
    let known = conversation(connection, &record.company_id, record.conversation_id)?;
    let head = match known {
        Some(head) => Conversation {
            message_count: head.message_count + messages,
            last_sequence: head.last_sequence + 1,
            // Turns are stored in no certain order; the conversation's last moment is the latest of theirs.
            updated_at: head.updated_at.max(record.finished_at),
            ..head
        },
        None => Conversation {
            conversation_id: record.conversation_id,
            company_id: record.company_id.clone(),
            session_id: record.session_id.clone(),
            channel: record.channel.clone(),
            status: Status::Active,
            message_count: messages,
            last_sequence: 1,
            summary: record.message.chars().take(SUMMARY).collect(),
            created_at: record.started_at,
            updated_at: record.finished_at,
            ended_at: None,
        },
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO conversations (company_id, conversation_id, session_id, channel, status, message_count, \
         last_sequence, summary, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (company_id, conversation_id) DO UPDATE SET message_count = excluded.message_count, \
         last_sequence = excluded.last_sequence, updated_at = excluded.updated_at",
    )?;
    statement.execute(params![
        head.company_id.as_str(),
        head.conversation_id.to_string(),
        head.session_id.as_str(),
        head.channel,
        status_name(head.status),
        signed(head.message_count)?,
        signed(head.last_sequence)?,
        head.summary,
        nanos_of(head.created_at)?,
        nanos_of(head.updated_at)?,
    ])?;
    Ok(head)
}

fn put_turn(connection: &Connection, record: &TurnRecord, json: &str, head: &Conversation) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO turns (company_id, turn_id, conversation_id, sequence, message_count, started_at, record, \
         idempotency_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
         iif(EXISTS (SELECT 1 FROM turns WHERE company_id = ?1 AND idempotency_key = ?8), NULL, ?8))",
    )?;
    statement.execute(params![
        record.company_id.as_str(),
        record.turn_id.to_string(),
        record.conversation_id.to_string(),
        signed(head.last_sequence)?,
        signed(head.message_count)?,
        nanos_of(record.started_at)?,
        json,
        record.idempotency_key,
    ])?;
    Ok(())
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(read(row))).optional()?.transpose()
}

fn stored_turn(row: &Row<'_>) -> Result<StoredTurn, Error> {
    let record: TurnRecord = from_json(row.get_ref(1)?.as_str().map_err(|error| Error::Content(error.to_string()))?)?;
    Ok(StoredTurn { sequence: unsigned(row.get(0)?)?, record })
}

fn head(row: &Row<'_>) -> Result<Conversation, Error> {
    Ok(Conversation {
        company_id: text_id(&row.get::<_, String>(0)?)?,
        conversation_id: text_id(&row.get::<_, String>(1)?)?,
        session_id: text_id(&row.get::<_, String>(2)?)?,
        channel: row.get(3)?,
        status: status(&row.get::<_, String>(4)?)?,
        message_count: unsigned(row.get(5)?)?,
        last_sequence: unsigned(row.get(6)?)?,
        summary: row.get(7)?,
        created_at: time_of(row.get(8)?)?,
        updated_at: time_of(row.get(9)?)?,
        ended_at: row.get::<_, Option<i64>>(10)?.map(time_of).transpose()?,
    })
}

fn status(name: &str) -> Result<Status, Error> {
    match name {
        "ACTIVE" => Ok(Status::Active),
        "ENDED" => Ok(Status::Ended),
        other => Err(Error::Content(format!("{other:?} is no status of a conversation"))),
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "ACTIVE",
        Status::Ended => "ENDED",
    }
}

fn at_most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
