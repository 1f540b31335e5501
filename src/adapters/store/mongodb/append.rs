//! Stores a turn exactly once and numbers it without gaps, with any number of workers at it, none of which need come to
//! its end.
//!
//! A turn is stored in three steps, each a write of one document. It is counted into its conversation's head, which
//! gives it a number and notes it as assigned; it is inserted under that number; the note is taken back. Whoever is
//! asked to store a turn that was left between two steps finds the note and goes on with the number in it.

use ::mongodb::bson::{DateTime, Document, doc};
use ::mongodb::{ClientSession, Collection};
use time::OffsetDateTime;

use super::MongoStore;
use super::call::is_duplicate;
use super::codec::{date_of, key, nanos_of, pause, signed};
use super::heads::{CONVERSATIONS, Head, Place, assignment, status_name};
use super::turns::{self, TURNS};
use crate::domain::conversation::Conversation;
use crate::domain::{CompanyId, ConversationId, TurnId, TurnRecord};
use crate::ports::store::{Appended, Error};

/// A conversation's documents while they are written.
///
/// The session is causally consistent: with reads and writes by majority, a read sees all that was there when an earlier
/// read of the session was answered, even when another server has become primary in between.
pub(super) struct Writing {
    heads: Collection<Document>,
    turns: Collection<Document>,
    session: ClientSession,
    now: DateTime,
}

impl MongoStore {
    /// Stores a turn.
    pub(super) async fn append_turn(
        &self,
        record: &TurnRecord,
        keep_until: Option<OffsetDateTime>,
    ) -> Result<Appended, Error> {
        let company = &record.company_id;
        let expires_at = keep_until.map(date_of).transpose()?;
        let mut writing = self.writing().await?;
        let mut tries = 0;
        loop {
            // The head is read before the turn is looked for, and counting in needs the head to be still the one that
            // was read. A turn that was counted in before that read is either noted in it, or its note was taken back
            // before, so that the turn was there already and the second read finds it. Asked the other way round, a
            // turn could be inserted and its note be taken back between the two, and it would be counted in twice.
            let head = writing.head(company, record.conversation_id).await?;
            let noted = head.as_ref().and_then(|head| Some((head.place_of(record.turn_id)?, head.clone())));
            if let Some((place, head)) = noted {
                writing.finish(record, place, expires_at).await?;
                return Ok(appended(place, head.conversation));
            }
            if let Some((place, conversation)) = writing.place_of(company, record.turn_id).await? {
                if let Some(head) = writing.head(company, conversation).await? {
                    return Ok(appended(place, head.conversation));
                }
                // A turn without a conversation is one that was being stored while its company was erased.
                writing.remove_turn(company, record.turn_id).await?;
                continue;
            }
            if let Some(head) = head.as_ref().filter(|head| head.is_over(writing.now)) {
                writing.clear(head).await?;
                continue;
            }
            // A conversation that was removed has no head, or one of a time after that.
            let begins_it = head.is_none();
            let is_late = head.as_ref().is_some_and(|head| record.started_at < head.conversation.created_at);
            if is_late && self.is_removed(record).await? {
                return Err(Error::Removed);
            }
            if let Some(conversation) = writing.count_in(head, record, expires_at).await? {
                // Whoever removes a conversation writes that down before its head goes. So it is seen here, or this
                // head goes too.
                if begins_it && self.is_removed(record).await? {
                    writing.remove_head(&conversation).await?;
                    return Err(Error::Removed);
                }
                let place = Place { sequence: conversation.last_sequence, message_count: conversation.message_count };
                writing.finish(record, place, expires_at).await?;
                return Ok(appended(place, conversation));
            }
            tries += 1;
            metrics::counter!("turnpike_store_conflicts_total").increment(1);
            pause(tries).await;
        }
    }

    /// Begins to write a conversation.
    pub(super) async fn writing(&self) -> Result<Writing, Error> {
        Ok(Writing {
            heads: self.collection(CONVERSATIONS).await?,
            turns: self.collection(TURNS).await?,
            session: self.connection().await?.client.start_session().causal_consistency(true).await?,
            now: DateTime::now(),
        })
    }
}

impl Writing {
    /// The moment at which it began.
    pub(super) fn now(&self) -> DateTime {
        self.now
    }

    /// A conversation's head.
    pub(super) async fn head(&mut self, company: &CompanyId, id: ConversationId) -> Result<Option<Head>, Error> {
        let filter = key(company, &id.to_string());
        let found = self.heads.find_one(filter).session(&mut self.session).await?;
        found.map(Head::read).transpose()
    }

    /// The place and the conversation of a turn that is stored.
    pub(super) async fn place_of(
        &mut self,
        company: &CompanyId,
        turn: TurnId,
    ) -> Result<Option<(Place, ConversationId)>, Error> {
        let found = self
            .turns
            .find_one(key(company, &turn.to_string()))
            .projection(doc! { "sequence": 1, "message_count": 1, "conversation_id": 1 })
            .session(&mut self.session)
            .await?;
        let Some(document) = found else { return Ok(None) };
        let conversation = document.get_str("conversation_id").unwrap_or_default();
        let conversation =
            conversation.parse().map_err(|error| Error::Invalid(format!("turn {turn} in the database: {error}")))?;
        Ok(Some((Place::read(&document)?, conversation)))
    }

    /// Writes a head in place of the one that was read. Says whether it was still that one.
    pub(super) async fn put_head(
        &mut self,
        read: Option<&Head>,
        head: &Head,
        counted_in: Option<Document>,
    ) -> Result<bool, Error> {
        let Some(read) = read else {
            let inserted = self.heads.insert_one(head.document(counted_in)?).session(&mut self.session).await;
            return match inserted {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error.into()),
            };
        };
        let filter = as_read(read)?;
        let updated = self.heads.update_one(filter, head.update(counted_in)?).session(&mut self.session).await?;
        Ok(updated.matched_count == 1)
    }

    /// Inserts a turn that has a place, unless it is there already.
    pub(super) async fn insert(&mut self, record: &TurnRecord, mut document: Document) -> Result<(), Error> {
        loop {
            match self.turns.insert_one(&document).session(&mut self.session).await {
                Ok(_) => return Ok(()),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if self.place_of(&record.company_id, record.turn_id).await?.is_some() {
                return Ok(());
            }
            // What is over does not stand in the way. After that it can only be the first turn under the key.
            if self.remove_over(record, &document).await? || document.remove("idempotency_key").is_some() {
                continue;
            }
            return Err(Error::Invalid(format!(
                "conversation {} has another turn than {} with the sequence {}",
                record.conversation_id,
                record.turn_id,
                document.get_i64("sequence").unwrap_or_default()
            )));
        }
    }

    /// Removes a conversation that is over, and its turns, unless it goes on meanwhile.
    pub(super) async fn clear(&mut self, head: &Head) -> Result<(), Error> {
        let conversation = &head.conversation;
        let turns = doc! {
            "company_id": conversation.company_id.as_str(), "conversation_id": conversation.conversation_id.to_string(),
            "expires_at": { "$lte": self.now },
        };
        self.turns.delete_many(turns).session(&mut self.session).await?;
        let mut filter = as_read(head)?;
        filter.insert("expires_at", doc! { "$lte": self.now });
        self.heads.delete_one(filter).session(&mut self.session).await?;
        Ok(())
    }

    async fn count_in(
        &mut self,
        read: Option<Head>,
        record: &TurnRecord,
        expires_at: Option<DateTime>,
    ) -> Result<Option<Conversation>, Error> {
        let known = read.as_ref().map(|head| head.conversation.clone());
        let conversation = known.unwrap_or_else(|| Conversation::begun_by(record)).with(record);
        let place = Place { sequence: conversation.last_sequence, message_count: conversation.message_count };
        let head = Head::new(conversation, Head::end_with(read.as_ref(), expires_at));
        let counted_in = assignment(record.turn_id, place)?;
        let is_counted = self.put_head(read.as_ref(), &head, Some(counted_in)).await?;
        Ok(is_counted.then_some(head.conversation))
    }

    /// The steps after a turn has been counted in.
    async fn finish(&mut self, record: &TurnRecord, place: Place, expires_at: Option<DateTime>) -> Result<(), Error> {
        self.insert(record, turns::document(record, place, expires_at)?).await?;
        let filter = key(&record.company_id, &record.conversation_id.to_string());
        let note = doc! { "$pull": { "assigned": { "turn_id": record.turn_id.to_string() } } };
        let updated = self.heads.update_one(filter, note).session(&mut self.session).await?;
        if updated.matched_count == 1 || expires_at.is_some_and(|end| end <= DateTime::now()) {
            return Ok(());
        }
        // Erasing removes heads before turns: a head that is gone may have gone before this turn came.
        self.remove_turn(&record.company_id, record.turn_id).await?;
        Err(Error::Unavailable(format!(
            "conversation {} was erased while turn {} was being stored",
            record.conversation_id, record.turn_id
        )))
    }

    /// Removes a head that nothing but one turn was counted into.
    async fn remove_head(&mut self, conversation: &Conversation) -> Result<(), Error> {
        let mut filter = key(&conversation.company_id, &conversation.conversation_id.to_string());
        filter.insert("last_sequence", signed(conversation.last_sequence)?);
        self.heads.delete_one(filter).session(&mut self.session).await?;
        Ok(())
    }

    async fn remove_turn(&mut self, company: &CompanyId, turn: TurnId) -> Result<(), Error> {
        self.turns.delete_one(key(company, &turn.to_string())).session(&mut self.session).await?;
        Ok(())
    }

    /// Removes what is over and has the sequence or the idempotency key that a turn is to have.
    async fn remove_over(&mut self, record: &TurnRecord, document: &Document) -> Result<bool, Error> {
        let sequence = document.get_i64("sequence").unwrap_or_default();
        let mut same = vec![doc! { "conversation_id": record.conversation_id.to_string(), "sequence": sequence }];
        if let Some(key) = &record.idempotency_key {
            same.push(doc! { "idempotency_key": key });
        }
        let filter = doc! {
            "company_id": record.company_id.as_str(), "expires_at": { "$lte": self.now }, "$or": same,
        };
        Ok(self.turns.delete_many(filter).session(&mut self.session).await?.deleted_count > 0)
    }
}

/// Finds a head if it is as it was read, but for the notes, which are taken back without anybody's leave.
fn as_read(head: &Head) -> Result<Document, Error> {
    let conversation = &head.conversation;
    let mut filter = key(&conversation.company_id, &conversation.conversation_id.to_string());
    filter.insert("last_sequence", signed(conversation.last_sequence)?);
    filter.insert("message_count", signed(conversation.message_count)?);
    filter.insert("updated_ns", nanos_of(conversation.updated_at)?);
    filter.insert("expires_at", head.expires_at);
    filter.insert("status", status_name(conversation.status));
    Ok(filter)
}

fn appended(place: Place, conversation: Conversation) -> Appended {
    Appended {
        sequence: place.sequence,
        message_count: place.message_count,
        is_first: place.sequence == 1,
        conversation,
    }
}
