//! Writes conversations as they were in another store.

use ::mongodb::bson::{DateTime, Document, doc};
use ::mongodb::error::ErrorKind;
use futures::TryStreamExt;
use time::OffsetDateTime;

use super::MongoStore;
use super::append::Writing;
use super::call::DUPLICATE_KEY;
use super::codec::{date_of, not_over, pause, signed};
use super::heads::{Head, Place};
use super::turns::{self, TURNS};
use crate::domain::CompanyScope;
use crate::domain::conversation::{Conversation, StoredTurn, messages_of};
use crate::ports::store::Error;

/// Turns inserted with one command.
const BATCH: usize = 100;

impl MongoStore {
    /// Writes a head and turns of it. The head comes first: it keeps the numbers of the turns from being given to others,
    /// and doing all of it again mends what broke off.
    pub(super) async fn restore_turns(
        &self,
        scope: &CompanyScope,
        conversation: &Conversation,
        turns: &[StoredTurn],
        keep_until: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        belong_together(scope, conversation, turns)?;
        let expires_at = keep_until.map(date_of).transpose()?;
        let mut writing = self.writing().await?;
        let mut sorted: Vec<&StoredTurn> = turns.iter().collect();
        sorted.sort_by_key(|turn| turn.sequence);
        let last = sorted.last().map_or(0, |turn| turn.sequence);
        self.put_restored_head(&mut writing, conversation, &sorted, last, expires_at).await?;
        let mut before = self.place_before(conversation, sorted.first().map_or(1, |turn| turn.sequence)).await?;
        let mut documents = Vec::with_capacity(sorted.len());
        for turn in &sorted {
            // Of turns before it that are not there only the number is known; they are taken for a question and an
            // answer each.
            let missing = turn.sequence.saturating_sub(1).saturating_sub(before.sequence);
            let messages = messages_of(&turn.record).len() as u64;
            before = Place { sequence: turn.sequence, message_count: before.message_count + 2 * missing + messages };
            documents.push(turns::document(&turn.record, before, expires_at)?);
        }
        for (turns, documents) in sorted.chunks(BATCH).zip(documents.chunks(BATCH)) {
            self.insert_restored(&mut writing, turns, documents).await?;
        }
        Ok(())
    }

    async fn put_restored_head(
        &self,
        writing: &mut Writing,
        given: &Conversation,
        turns: &[&StoredTurn],
        last: u64,
        expires_at: Option<DateTime>,
    ) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let read = writing.head(&given.company_id, given.conversation_id).await?;
            if let Some(head) = read.as_ref().filter(|head| head.is_over(writing.now())) {
                writing.clear(head).await?;
                continue;
            }
            self.refuse_others(read.as_ref(), given, turns).await?;
            let known = read.as_ref().map_or(given, |head| &head.conversation);
            let raised = Conversation {
                message_count: known.message_count.max(given.message_count),
                last_sequence: known.last_sequence.max(given.last_sequence).max(last),
                updated_at: known.updated_at.max(given.updated_at),
                ..known.clone()
            };
            let is_known = read.as_ref().is_some_and(|head| head.conversation == raised);
            let head = Head::new(raised, Head::end_with(read.as_ref(), expires_at));
            let lasts_as_long = read.as_ref().is_some_and(|read| read.expires_at == head.expires_at);
            if is_known && lasts_as_long || writing.put_head(read.as_ref(), &head, None).await? {
                return Ok(());
            }
            tries += 1;
            pause(tries).await;
        }
    }

    /// Refuses turns whose sequences other turns have, before anything is written.
    async fn refuse_others(
        &self,
        head: Option<&Head>,
        conversation: &Conversation,
        turns: &[&StoredTurn],
    ) -> Result<(), Error> {
        let sequences: Vec<i64> = turns.iter().map(|turn| signed(turn.sequence)).collect::<Result<_, _>>()?;
        let filter = doc! {
            "company_id": conversation.company_id.as_str(), "conversation_id": conversation.conversation_id.to_string(),
            "sequence": { "$in": sequences }, "expires_at": not_over(DateTime::now()),
        };
        let stored = self.collection(TURNS).await?;
        let found = stored.find(filter).projection(doc! { "sequence": 1, "turn_id": 1 }).await?;
        let found: Vec<Document> = found.try_collect().await?;
        for turn in turns {
            let (id, sequence) = (turn.record.turn_id.to_string(), signed(turn.sequence)?);
            let stored =
                found.iter().filter(|document| document.get_i64("sequence").is_ok_and(|found| found == sequence));
            let stored = stored.filter_map(|document| document.get_str("turn_id").ok());
            let noted = head.and_then(|head| head.holder_of(turn.sequence));
            if stored.chain(noted).any(|holder| holder != id) {
                let conversation = conversation.conversation_id;
                return Err(Error::Invalid(format!(
                    "conversation {conversation} has another turn than {id} with the sequence {sequence}"
                )));
            }
        }
        Ok(())
    }

    /// The place of the last turn that is there before a sequence.
    async fn place_before(&self, conversation: &Conversation, sequence: u64) -> Result<Place, Error> {
        let filter = doc! {
            "company_id": conversation.company_id.as_str(), "conversation_id": conversation.conversation_id.to_string(),
            "sequence": { "$lt": signed(sequence)? },
        };
        let found = self
            .collection(TURNS)
            .await?
            .find_one(filter)
            .sort(doc! { "sequence": -1 })
            .projection(doc! { "sequence": 1, "message_count": 1 })
            .await?;
        found.map_or(Ok(Place { sequence: 0, message_count: 0 }), |document| Place::read(&document))
    }

    async fn insert_restored(
        &self,
        writing: &mut Writing,
        turns: &[&StoredTurn],
        documents: &[Document],
    ) -> Result<(), Error> {
        let Err(error) = self.collection(TURNS).await?.insert_many(documents).ordered(false).await else {
            return Ok(());
        };
        let is_known = match &*error.kind {
            ErrorKind::InsertMany(failure) => {
                failure.write_concern_error.is_none()
                    && failure.write_errors.iter().flatten().all(|one| one.code == DUPLICATE_KEY)
            }
            _ => false,
        };
        if !is_known {
            return Err(error.into());
        }
        for (turn, document) in turns.iter().zip(documents) {
            writing.insert(&turn.record, document.clone()).await?;
        }
        Ok(())
    }
}

/// Refuses turns of another conversation than the head's, and whatever is of another company.
fn belong_together(scope: &CompanyScope, head: &Conversation, turns: &[StoredTurn]) -> Result<(), Error> {
    let (company, id) = (scope.company(), head.conversation_id);
    if head.company_id != *company {
        return Err(Error::Invalid(format!("conversation {id} is not of company {company}")));
    }
    let mut records = turns.iter().map(|turn| &turn.record);
    match records.find(|record| (&record.company_id, record.conversation_id) != (company, id)) {
        Some(stray) => {
            Err(Error::Invalid(format!("turn {} is not of company {company}, conversation {id}", stray.turn_id)))
        }
        None => Ok(()),
    }
}
