//! Turns as documents.

use std::fmt;

use ::mongodb::bson::{Bson, DateTime, Document};
use serde_json::Value;

use super::codec::{count_in, date_of, fields_of, from_fields, key, signed, to_document};
use super::heads::Place;
use crate::domain::conversation::StoredTurn;
use crate::domain::{ConversationId, TurnRecord};
use crate::ports::store::Error;

/// The collection.
pub(super) const TURNS: &str = "turns";

/// The document that keeps a turn. `idempotency_key` stands in it for the first turn under a key alone; the record keeps
/// what the client sent.
pub(super) fn document(record: &TurnRecord, place: Place, expires_at: Option<DateTime>) -> Result<Document, Error> {
    let mut document = key(&record.company_id, &record.turn_id.to_string());
    document.insert("turn_id", record.turn_id.to_string());
    document.insert("conversation_id", record.conversation_id.to_string());
    document.insert("sequence", signed(place.sequence)?);
    document.insert("message_count", signed(place.message_count)?);
    if let Some(key) = &record.idempotency_key {
        document.insert("idempotency_key", key);
    }
    document.insert("started_at", date_of(record.started_at)?);
    if let Some(end) = expires_at {
        document.insert("expires_at", end);
    }
    let mut fields = to_document(record)?;
    if !record.context.is_empty() {
        // What a client sends along may have names and depths that documents cannot have.
        let text = serde_json::to_string(&record.context).map_err(|error| Error::Invalid(error.to_string()))?;
        fields.insert("context", text);
    }
    document.insert("record", fields);
    Ok(document)
}

/// The turn that a document keeps.
pub(super) fn read(mut document: Document) -> Result<StoredTurn, Error> {
    let sequence = count_in(&document, "sequence")?;
    let Some(Bson::Document(record)) = document.remove("record") else {
        return Err(Error::Invalid("a turn in the database has no record".to_owned()));
    };
    let mut fields = fields_of(record)?;
    if let Some(Value::String(text)) = fields.get("context") {
        let context = serde_json::from_str(text).map_err(|error| Error::Invalid(error.to_string()))?;
        fields.insert("context".to_owned(), context);
    }
    Ok(StoredTurn { sequence, record: from_fields(fields)? })
}

/// Where a page of turns ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The conversation of the page's last turn.
    pub(super) conversation: ConversationId,
    /// Its sequence.
    pub(super) sequence: u64,
}

impl Cursor {
    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        text.split_once('-')
            .and_then(|(sequence, conversation)| {
                let sequence = u64::from_str_radix(sequence, 16).ok()?;
                Some(Self { sequence, conversation: conversation.parse().ok()? })
            })
            .ok_or_else(|| Error::Invalid(format!("{text:?} is not the cursor of a page")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.sequence, self.conversation)
    }
}
