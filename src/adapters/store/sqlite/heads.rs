//! Heads of conversations.

use std::fmt;

use rusqlite::{Connection, Row, named_params, params};

use super::turns::{at_most, one};
use crate::adapters::sqlite::{Error, nanos_of, signed, text_id, time_of, unsigned};
use crate::domain::conversation::{Conversation, Status};
use crate::domain::{CompanyId, ConversationId};
use crate::ports::store;

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

/// Writes a head. Of one that is there only the counters and the last moment change, and none of them goes back: the
/// next turn's number is taken from it.
pub(super) fn put(connection: &Connection, head: &Conversation) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO conversations (company_id, conversation_id, session_id, channel, status, message_count, \
         last_sequence, summary, created_at, updated_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (company_id, conversation_id) DO UPDATE SET \
         message_count = max(message_count, excluded.message_count), \
         last_sequence = max(last_sequence, excluded.last_sequence), updated_at = max(updated_at, excluded.updated_at)",
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
        head.ended_at.map(nanos_of).transpose()?,
    ])?;
    Ok(())
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
