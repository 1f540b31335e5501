//! What carries a company's turns from one store to another: all of them page by page, and the writing of them as they
//! were.

use std::fmt;

use rusqlite::{Connection, named_params, params};

use super::heads;
use super::turns::{at_most, place_of, put_turn, stored_turn};
use crate::adapters::sqlite::{Error, signed, unsigned};
use crate::domain::conversation::{Conversation, StoredTurn, messages_of};
use crate::domain::{CompanyId, CompanyScope, ConversationId};
use crate::ports::store;

/// Where a page of turns ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    conversation: ConversationId,
    sequence: u64,
}

impl Cursor {
    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Result<Self, store::Error> {
        text.split_once('-')
            .and_then(|(sequence, conversation)| {
                Some(Self {
                    sequence: u64::from_str_radix(sequence, 16).ok()?,
                    conversation: conversation.parse().ok()?,
                })
            })
            .ok_or_else(|| store::Error::Invalid(format!("{text:?} is not the cursor of a page")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.sequence, self.conversation)
    }
}

/// A company's turns after a cursor, by conversation and sequence, and where the page ends if more follow.
pub(super) fn turns(
    connection: &Connection,
    company: &CompanyId,
    limit: usize,
    after: Option<Cursor>,
) -> Result<(Vec<StoredTurn>, Option<Cursor>), Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, record FROM turns \
         WHERE company_id = :company AND (conversation_id, sequence) > (:conversation, :sequence) \
         ORDER BY conversation_id, sequence LIMIT :limit",
    )?;
    let (id, sequence) = match after {
        Some(end) => (end.conversation.to_string(), signed(end.sequence)?),
        None => (String::new(), 0),
    };
    let mut rows = statement.query(named_params! {
        ":company": company.as_str(),
        ":conversation": id,
        ":sequence": sequence,
        // One more than asked for tells whether there is a next page.
        ":limit": at_most(limit.saturating_add(1)),
    })?;
    let mut page: Vec<StoredTurn> = Vec::new();
    let mut end = after;
    while let Some(row) = rows.next()? {
        if page.len() == limit {
            return Ok((page, end));
        }
        let turn = stored_turn(row)?;
        end = Some(Cursor { conversation: turn.record.conversation_id, sequence: turn.sequence });
        page.push(turn);
    }
    Ok((page, None))
}

/// Refuses turns of another conversation than the head's, and whatever is of another company.
pub(super) fn belong_together(
    scope: &CompanyScope,
    head: &Conversation,
    turns: &[StoredTurn],
) -> Result<(), store::Error> {
    let (company, id) = (scope.company(), head.conversation_id);
    if head.company_id != *company {
        return Err(store::Error::Invalid(format!("conversation {id} is not of company {company}")));
    }
    let stray = turns
        .iter()
        .map(|turn| &turn.record)
        .find(|record| (&record.company_id, record.conversation_id) != (company, id));
    match stray {
        Some(stray) => {
            Err(store::Error::Invalid(format!("turn {} is not of company {company}, conversation {id}", stray.turn_id)))
        }
        None => Ok(()),
    }
}

/// Writes a conversation's head and turns as they were elsewhere. What is there already stays.
pub(super) fn restore(
    connection: &Connection,
    head: &Conversation,
    mut turns: Vec<StoredTurn>,
    keep_until: Option<i64>,
) -> Result<(), Error> {
    heads::put(connection, head)?;
    turns.sort_by_key(|turn| turn.sequence);
    for turn in turns {
        if place_of(connection, &head.company_id, turn.record.turn_id)?.is_some() {
            continue;
        }
        let message_count = message_count(connection, head, &turn)?;
        put_turn(connection, &turn, message_count, keep_until).map_err(|error| {
            if !error.is_constraint() {
                return error;
            }
            let (conversation, id, sequence) = (head.conversation_id, turn.record.turn_id, turn.sequence);
            Error::Content(format!(
                "conversation {conversation} has another turn than {id} with the sequence {sequence}"
            ))
        })?;
    }
    Ok(())
}

/// Messages of the conversation up to and with a turn. Of turns before it that are not there any more only the number
/// is known; they are taken for a question and an answer each.
fn message_count(connection: &Connection, head: &Conversation, turn: &StoredTurn) -> Result<u64, Error> {
    let before = connection
        .prepare_cached(
            "SELECT sequence, message_count FROM turns \
             WHERE company_id = ? AND conversation_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1",
        )?
        .query_map(
            params![head.company_id.as_str(), head.conversation_id.to_string(), signed(turn.sequence)?],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?
        .next()
        .transpose()?;
    let (sequence, messages) = before.unwrap_or_default();
    let missing = turn.sequence.saturating_sub(1).saturating_sub(unsigned(sequence)?);
    Ok(unsigned(messages)? + 2 * missing + messages_of(&turn.record).len() as u64)
}
