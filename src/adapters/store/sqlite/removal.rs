//! Ends and removes single conversations.

use rusqlite::{Connection, params};

use super::heads;
use super::turns::one;
use crate::adapters::sqlite::{Error, time_of};
use crate::domain::conversation::{Conversation, Status};
use crate::domain::{CompanyId, ConversationId};
use crate::ports::store::{Erased, Removed};

/// Ends a conversation that goes on, and gives it as it is then.
pub(super) fn end(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
    at: time::OffsetDateTime,
) -> Result<Option<Conversation>, Error> {
    let Some(known) = heads::conversation(connection, company, id)? else { return Ok(None) };
    if known.status == Status::Ended {
        return Ok(Some(known));
    }
    let ended = Conversation { status: Status::Ended, ended_at: Some(at), ..known };
    heads::count_in(connection, &ended)?;
    Ok(Some(ended))
}

/// Deletes a conversation's turns that began until a moment, and the conversation when none is left; and writes down that
/// no such turn is to be stored any more.
pub(super) fn remove(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
    until: i64,
    keep_until: i64,
) -> Result<Erased, Error> {
    let id = id.to_string();
    connection
        .prepare_cached(
            "INSERT INTO removed_conversations (company_id, conversation_id, removed_until, keep_until) \
             VALUES (?, ?, ?, ?) ON CONFLICT (company_id, conversation_id) DO UPDATE SET \
             removed_until = max(removed_until, excluded.removed_until), \
             keep_until = max(keep_until, excluded.keep_until)",
        )?
        .execute(params![company.as_str(), id, until, keep_until])?;
    let turns = connection
        .prepare_cached("DELETE FROM turns WHERE company_id = ? AND conversation_id = ? AND started_at <= ?")?
        .execute(params![company.as_str(), id, until])?;
    let conversations = connection
        .prepare_cached(
            "DELETE FROM conversations WHERE company_id = ?1 AND conversation_id = ?2 \
             AND NOT EXISTS (SELECT 1 FROM turns WHERE company_id = ?1 AND conversation_id = ?2)",
        )?
        .execute(params![company.as_str(), id])?;
    Ok(Erased { conversations: conversations as u64, turns: turns as u64, documents: 0 })
}

/// Until when the turns of a conversation were removed, if they were.
pub(super) fn removed_until(
    connection: &Connection,
    company: &CompanyId,
    id: ConversationId,
) -> Result<Option<i64>, Error> {
    let sql = "SELECT removed_until FROM removed_conversations WHERE company_id = ? AND conversation_id = ?";
    one(connection, sql, params![company.as_str(), id.to_string()], |row| Ok(row.get(0)?))
}

/// Those of the conversations that were removed.
pub(super) fn removed(
    connection: &Connection,
    company: &CompanyId,
    ids: &[ConversationId],
) -> Result<Vec<Removed>, Error> {
    let mut removed = Vec::new();
    for &conversation in ids {
        if let Some(until) = removed_until(connection, company, conversation)? {
            removed.push(Removed { conversation, until: time_of(until)? });
        }
    }
    Ok(removed)
}
