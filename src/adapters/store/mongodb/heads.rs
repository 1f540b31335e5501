//! Heads of conversations: what lists show, the number that the next turn gets, and the turns that have a number and are
//! not known to be stored yet.

use std::fmt;

use ::mongodb::bson::{Bson, DateTime, Document, doc};

use super::codec::{count_in, from_document, key, nanos_of, signed, to_document};
use crate::domain::conversation::{Conversation, Status};
use crate::domain::{ConversationId, SessionId, TurnId};
use crate::ports::store::{Error, Filter};

/// The collection.
pub(super) const CONVERSATIONS: &str = "conversations";

/// A turn's place in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number.
    pub(super) sequence: u64,
    /// Messages of the conversation up to and with it.
    pub(super) message_count: u64,
}

impl Place {
    /// The place that a document's fields of these names say.
    pub(super) fn read(document: &Document) -> Result<Self, Error> {
        Ok(Self { sequence: count_in(document, "sequence")?, message_count: count_in(document, "message_count")? })
    }
}

/// A head as it lies in the database.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// What is shown of it.
    pub(super) conversation: Conversation,
    /// When it is over, with the last of its turns. None for one that is kept.
    pub(super) expires_at: Option<DateTime>,
    assigned: Vec<(String, Place)>,
}

impl Head {
    /// A head that is not in the database yet.
    pub(super) fn new(conversation: Conversation, expires_at: Option<DateTime>) -> Self {
        Self { conversation, expires_at, assigned: Vec::new() }
    }

    /// The head that a document is.
    pub(super) fn read(mut document: Document) -> Result<Self, Error> {
        let assigned = match document.remove("assigned") {
            Some(Bson::Array(places)) => places.iter().filter_map(Bson::as_document).map(assigned).collect(),
            _ => Ok(Vec::new()),
        };
        let expires_at = document.get_datetime("expires_at").ok().copied();
        document.remove("_id");
        Ok(Self { conversation: from_document(document)?, expires_at, assigned: assigned? })
    }

    /// The place that was given to a turn which is not known to be stored yet.
    pub(super) fn place_of(&self, turn: TurnId) -> Option<Place> {
        let id = turn.to_string();
        self.assigned.iter().find(|(assigned, _)| *assigned == id).map(|(_, place)| *place)
    }

    /// The turn that a sequence was given to, if it is not known to be stored yet.
    pub(super) fn holder_of(&self, sequence: u64) -> Option<&str> {
        self.assigned.iter().find(|(_, place)| place.sequence == sequence).map(|(turn, _)| turn.as_str())
    }

    /// Whether the last of its turns is over.
    pub(super) fn is_over(&self, now: DateTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Until when the conversation lasts when a further turn is kept until `end`.
    pub(super) fn end_with(head: Option<&Self>, end: Option<DateTime>) -> Option<DateTime> {
        match head {
            None => end,
            Some(head) => head.expires_at.and_then(|known| end.map(|end| end.max(known))),
        }
    }

    /// The document to insert, with a turn counted in or without.
    pub(super) fn document(&self, counted_in: Option<Document>) -> Result<Document, Error> {
        let head = &self.conversation;
        let mut document = key(&head.company_id, &head.conversation_id.to_string());
        document.extend(to_document(head)?);
        document.insert("updated_ns", nanos_of(head.updated_at)?);
        document.insert("assigned", counted_in.into_iter().collect::<Vec<_>>());
        if let Some(end) = self.expires_at {
            document.insert("expires_at", end);
        }
        Ok(document)
    }

    /// The update that makes a head which is there become this one, with a turn counted in or without.
    pub(super) fn update(&self, counted_in: Option<Document>) -> Result<Document, Error> {
        let head = &self.conversation;
        let all = to_document(head)?;
        let mut set = doc! {
            "message_count": signed(head.message_count)?, "last_sequence": signed(head.last_sequence)?,
            "updated_ns": nanos_of(head.updated_at)?,
        };
        let changing = ["updated_at", "status", "ended_at", "language", "intent"];
        set.extend(all.into_iter().filter(|(field, _)| changing.contains(&field.as_str())));
        let mut update = Document::new();
        match self.expires_at {
            Some(end) => _ = set.insert("expires_at", end),
            None => _ = update.insert("$unset", doc! { "expires_at": "" }),
        }
        update.insert("$set", set);
        if let Some(turn) = counted_in {
            update.insert("$push", doc! { "assigned": turn });
        }
        Ok(update)
    }
}

/// A status as it stands in documents.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "ACTIVE",
        Status::Ended => "ENDED",
    }
}

/// What `assigned` holds of a turn.
pub(super) fn assignment(turn: TurnId, place: Place) -> Result<Document, Error> {
    Ok(doc! {
        "turn_id": turn.to_string(), "sequence": signed(place.sequence)?, "message_count": signed(place.message_count)?,
    })
}

fn assigned(document: &Document) -> Result<(String, Place), Error> {
    Ok((document.get_str("turn_id").unwrap_or_default().to_owned(), Place::read(document)?))
}

/// Adds to a query what is wanted of conversations.
pub(super) fn want(query: &mut Document, wanted: &Filter) -> Result<(), Error> {
    let texts = [
        ("channel", wanted.channel.as_deref()),
        ("status", wanted.status.map(status_name)),
        ("language", wanted.language.map(|language| language.code())),
        ("intent", wanted.intent.as_deref()),
        ("session_id", wanted.session.as_ref().map(SessionId::as_str)),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            query.insert(field, text);
        }
    }
    let mut updated = Document::new();
    if let Some(from) = wanted.from {
        updated.insert("$gte", nanos_of(from)?);
    }
    if let Some(until) = wanted.until {
        updated.insert("$lt", nanos_of(until)?);
    }
    if !updated.is_empty() {
        query.insert("updated_ns", updated);
    }
    Ok(())
}

/// Where a page of conversations ended: pages are cut by key, so that what comes in between moves none to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// When the last conversation of the page was updated, in nanoseconds since 1970.
    pub(super) updated_ns: i64,
    /// The last conversation of the page.
    pub(super) conversation: ConversationId,
}

impl Cursor {
    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        text.split_once('-')
            .and_then(|(updated, conversation)| {
                let updated_ns = u64::from_str_radix(updated, 16).ok()?.cast_signed();
                Some(Self { updated_ns, conversation: conversation.parse().ok()? })
            })
            .ok_or_else(|| Error::Invalid(format!("{text:?} is not the cursor of a page")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.updated_ns, self.conversation)
    }
}
