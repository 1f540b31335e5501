//! Ends and removes single conversations.

use std::time::Duration;

use ::mongodb::bson::{DateTime, Document, doc};
use futures::TryStreamExt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::MongoStore;
use super::codec::{date_of, id_of, key, nanos_of, nanos_to_time, not_over};
use super::heads::CONVERSATIONS;
use super::turns::TURNS;
use crate::domain::{CompanyId, CompanyScope, ConversationId, TurnRecord};
use crate::ports::store::{Erased, Error, REMOVED_FOR, Removed};

/// The collection.
pub(super) const REMOVED: &str = "removed_conversations";

impl MongoStore {
    /// Ends a conversation, unless it has ended.
    pub(super) async fn end_conversation(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
        at: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut filter = key(scope.company(), &id.to_string());
        filter.insert("status", "ACTIVE");
        filter.insert("expires_at", not_over(DateTime::now()));
        let at = at.format(&Rfc3339).map_err(|error| Error::Invalid(error.to_string()))?;
        let ended = doc! { "$set": { "status": "ENDED", "ended_at": at } };
        self.collection(CONVERSATIONS).await?.update_one(filter, ended).await?;
        Ok(())
    }

    /// Writes down that a conversation is removed, and then removes its head and its turns. A turn that is just being
    /// stored finds either the one written or the other gone.
    pub(super) async fn remove_conversation(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
        until: OffsetDateTime,
    ) -> Result<Erased, Error> {
        let company = scope.company();
        let expires_at = OffsetDateTime::now_utc() + Duration::from_secs(REMOVED_FOR.as_secs());
        let note = doc! {
            "$max": { "removed_until_ns": nanos_of(until)?, "expires_at": date_of(expires_at)? },
            "$setOnInsert": { "conversation_id": id.to_string() },
        };
        let removed = self.collection(REMOVED).await?;
        removed.update_one(key(company, &id.to_string()), note).upsert(true).await?;
        let of_it = doc! { "company_id": company.as_str(), "conversation_id": id.to_string() };
        let turns = self.collection(TURNS).await?;
        let (mut gone, mut later) = (of_it.clone(), of_it);
        gone.insert("started_at", doc! { "$lte": date_of(until)? });
        later.insert("started_at", doc! { "$gt": date_of(until)? });
        let goes_on = turns.find_one(later).projection(doc! { "_id": 1 }).await?.is_some();
        let conversations = if goes_on {
            0
        } else {
            self.collection(CONVERSATIONS).await?.delete_one(key(company, &id.to_string())).await?.deleted_count
        };
        let turns = turns.delete_many(gone).await?.deleted_count;
        Ok(Erased { conversations, turns, documents: 0 })
    }

    /// Whether a turn began before its conversation was removed.
    pub(super) async fn is_removed(&self, record: &TurnRecord) -> Result<bool, Error> {
        let removed = self.removed_conversations(&record.company_id, &[record.conversation_id]).await?;
        Ok(removed.iter().any(|removed| record.started_at <= removed.until))
    }

    /// Those of the conversations that were removed.
    pub(super) async fn removed_conversations(
        &self,
        company: &CompanyId,
        ids: &[ConversationId],
    ) -> Result<Vec<Removed>, Error> {
        let keys: Vec<String> = ids.iter().map(|id| id_of(company, &id.to_string())).collect();
        let filter = doc! { "_id": { "$in": keys }, "company_id": company.as_str() };
        let found = self.collection(REMOVED).await?.find(filter).await?.try_collect::<Vec<Document>>().await?;
        found.iter().map(removed).collect()
    }
}

fn removed(document: &Document) -> Result<Removed, Error> {
    let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("a removed conversation: {error}"));
    let id = document.get_str("conversation_id").map_err(|error| invalid(&error))?;
    let until = document.get_i64("removed_until_ns").map_err(|error| invalid(&error))?;
    Ok(Removed { conversation: id.parse().map_err(|error| invalid(&error))?, until: nanos_to_time(i128::from(until))? })
}
