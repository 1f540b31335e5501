//! Heads of conversations.

use std::fmt;

use rusqlite::{Connection, Row, named_params, params};

use super::turns::{at_most, one};
use crate::adapters::sqlite::{Error, nanos_of, signed, text_id, time_of, unsigned};
use crate::domain::conversation::{Conversation, Status};
use crate::domain::{CompanyId, ConversationId, Language, SessionId};
use crate::ports::store::{self, Filter};

const HEAD: &str = "SELECT company_id, conversation_id, session_id, channel, status, message_count, last_sequence, \
                    summary, created_at, updated_at, ended_at, language, intent FROM conversations";

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

/// Conversations that are wanted after a cursor, the last updated first, and where the page ends if more follow.
pub(super) fn conversations(
    connection: &Connection,
    company: &CompanyId,
    filter: &Filter,
    limit: usize,
    after: Option<Cursor>,
) -> Result<(Vec<Conversation>, Option<Cursor>), Error> {
    let mut statement = connection.prepare_cached(&format!(
        "{HEAD} WHERE company_id = :company AND (updated_at, conversation_id) < (:updated_at, :conversation) \
         AND updated_at >= :from AND updated_at < :until \
         AND (:channel IS NULL OR channel = :channel) AND (:status IS NULL OR status = :status) \
         AND (:language IS NULL OR language = :language) AND (:intent IS NULL OR intent = :intent) \
         AND (:session IS NULL OR session_id = :session) \
         ORDER BY updated_at DESC, conversation_id DESC LIMIT :limit"
    ))?;
    // Without a cursor the page begins at the end of all times.
    let (updated_at, id) =
        after.map_or((i64::MAX, String::new()), |end| (end.updated_at, end.conversation.to_string()));
    let mut rows = statement.query(named_params! {
        ":company": company.as_str(),
        ":updated_at": updated_at,
        ":conversation": id,
        ":from": filter.from.map_or(Ok(i64::MIN), nanos_of)?,
        ":until": filter.until.map_or(Ok(i64::MAX), nanos_of)?,
        ":channel": filter.channel,
        ":status": filter.status.map(status_name),
        ":language": filter.language.map(|language| language.code()),
        ":intent": filter.intent,
        ":session": filter.session.as_ref().map(SessionId::as_str),
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
    write(
        connection,
        head,
        "message_count = max(message_count, excluded.message_count), \
         last_sequence = max(last_sequence, excluded.last_sequence), updated_at = max(updated_at, excluded.updated_at)",
    )
}

/// Writes a head that was made of the one which is there.
pub(super) fn count_in(connection: &Connection, head: &Conversation) -> Result<(), Error> {
    write(
        connection,
        head,
        "status = excluded.status, message_count = excluded.message_count, last_sequence = excluded.last_sequence, \
         updated_at = excluded.updated_at, ended_at = excluded.ended_at, language = excluded.language, \
         intent = excluded.intent",
    )
}

fn write(connection: &Connection, head: &Conversation, if_there: &str) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO conversations (company_id, conversation_id, session_id, channel, status, message_count, \
         last_sequence, summary, created_at, updated_at, ended_at, language, intent) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (company_id, conversation_id) DO UPDATE SET {if_there}"
    ))?;
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
        head.language.map(|language| language.code()),
        head.intent,
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
        language: row.get::<_, Option<String>>(11)?.as_deref().and_then(Language::from_code),
        intent: row.get(12)?,
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
