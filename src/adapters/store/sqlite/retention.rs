//! Removes what is not to be kept any longer.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::adapters::sqlite::Error;

/// Rows removed in one go at most: turns that are being stored wait no longer than that takes.
const BATCH: i64 = 500;

/// What one go removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    pub(super) conversations: u64,
    pub(super) turns: u64,
    /// Whether there may be more.
    pub(super) is_partial: bool,
}

/// Deletes some of the turns that were to be kept until `now` at the longest, the conversations that are left without
/// any, and some of the facts.
pub(super) fn expire(connection: &Connection, now: i64) -> Result<Removed, Error> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM turns WHERE number IN (SELECT number FROM turns WHERE keep_until <= ? LIMIT ?) \
         RETURNING company_id, conversation_id",
    )?;
    let mut rows = statement.query(params![now, BATCH])?;
    let mut turns = 0;
    let mut touched = BTreeSet::new();
    while let Some(row) = rows.next()? {
        turns += 1;
        touched.insert((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    }
    drop(rows);
    let mut without_turns = connection.prepare_cached(
        "DELETE FROM conversations WHERE company_id = ?1 AND conversation_id = ?2 \
         AND NOT EXISTS (SELECT 1 FROM turns WHERE company_id = ?1 AND conversation_id = ?2)",
    )?;
    let mut conversations = 0;
    for (company, conversation) in touched {
        conversations += without_turns.execute([company, conversation])? as u64;
    }
    let facts = connection
        .prepare_cached("DELETE FROM facts WHERE number IN (SELECT number FROM facts WHERE keep_until <= ? LIMIT ?)")?
        .execute(params![now, BATCH])? as u64;
    connection.prepare_cached("DELETE FROM removed_conversations WHERE keep_until <= ?")?.execute([now])?;
    let batch = BATCH.unsigned_abs();
    Ok(Removed { conversations, turns, is_partial: turns == batch || facts == batch })
}
