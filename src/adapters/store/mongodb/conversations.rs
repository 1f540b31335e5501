//! The conversation store.

use ::mongodb::bson::{DateTime, Document, doc};
use async_trait::async_trait;
use futures::TryStreamExt;
use time::OffsetDateTime;

use super::MongoStore;
use super::call::LONG;
use super::codec::{at_most, id_of, key, not_over, signed};
use super::documents::DOCUMENTS;
use super::heads::{self, CONVERSATIONS, Head};
use super::removal::REMOVED;
use super::turns::{self, TURNS};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{CompanyScope, ConversationId, TurnId, TurnRecord};
use crate::ports::store::{Appended, ConversationStore, Erased, Error, Filter, Page, Removed};

#[async_trait]
impl ConversationStore for MongoStore {
    async fn append(
        &self,
        scope: &CompanyScope,
        record: &TurnRecord,
        keep_until: Option<OffsetDateTime>,
    ) -> Result<Appended, Error> {
        if record.company_id != *scope.company() {
            return Err(Error::Invalid(format!("turn {} is not of company {}", record.turn_id, scope.company())));
        }
        self.call("append", self.append_turn(record, keep_until)).await
    }

    async fn stored(&self, scope: &CompanyScope, turns: &[TurnId]) -> Result<Vec<TurnId>, Error> {
        if turns.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = turns.iter().map(|turn| id_of(scope.company(), &turn.to_string())).collect();
        let mut filter = doc! { "_id": { "$in": &ids } };
        filter.extend(alive(scope));
        let found = self.call("stored", async {
            let found = self.collection(TURNS).await?.find(filter).projection(doc! { "_id": 1 }).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let found = found.await?;
        let found: Vec<&str> = found.iter().filter_map(|document| document.get_str("_id").ok()).collect();
        Ok(turns.iter().zip(&ids).filter(|(_, id)| found.contains(&id.as_str())).map(|(turn, _)| *turn).collect())
    }

    async fn history(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        // By equality alone, which the index answers to the last. What is over is at the other end.
        let filter = doc! { "company_id": scope.company().as_str(), "conversation_id": conversation.to_string() };
        let mut found = self.find_turns("history", filter, doc! { "sequence": -1 }, limit).await?;
        found.reverse();
        Ok(found)
    }

    async fn turns_after(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        let mut filter = alive(scope);
        filter.insert("conversation_id", conversation.to_string());
        filter.insert("sequence", doc! { "$gt": i64::try_from(after).unwrap_or(i64::MAX) });
        self.find_turns("turns_after", filter, doc! { "sequence": 1 }, limit).await
    }

    async fn conversations(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error> {
        let wanted = filter;
        let mut filter = alive(scope);
        heads::want(&mut filter, wanted)?;
        if let Some(after) = page.after.as_deref().map(heads::Cursor::parse).transpose()? {
            let same = doc! {
                "updated_ns": after.updated_ns, "conversation_id": { "$lt": after.conversation.to_string() },
            };
            filter.insert("$or", vec![doc! { "updated_ns": { "$lt": after.updated_ns } }, same]);
        }
        let found = self.call("conversations", async {
            let found = self
                .collection(CONVERSATIONS)
                .await?
                .find(filter)
                .sort(doc! { "updated_ns": -1, "conversation_id": -1 })
                // One more than asked for tells whether there is a next page.
                .limit(at_most(page.limit.saturating_add(1)))
                .projection(doc! { "assigned": 0 })
                .await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let mut found = found.await?;
        let has_more = found.len() > page.limit;
        found.truncate(page.limit);
        let end = found.last().and_then(|last| last.get_i64("updated_ns").ok());
        let found: Vec<Conversation> =
            found.into_iter().map(|head| Ok(Head::read(head)?.conversation)).collect::<Result<_, Error>>()?;
        let next = match (has_more, end, found.last()) {
            (true, Some(updated_ns), Some(last)) => {
                Some(heads::Cursor { updated_ns, conversation: last.conversation_id }.to_string())
            }
            (true, ..) => page.after.clone(),
            (false, ..) => None,
        };
        Ok((found, next))
    }

    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<Option<Conversation>, Error> {
        let mut filter = key(scope.company(), &id.to_string());
        filter.insert("expires_at", not_over(DateTime::now()));
        let found = self.call("conversation", async {
            Ok(self.collection(CONVERSATIONS).await?.find_one(filter).projection(doc! { "assigned": 0 }).await?)
        });
        found.await?.map(|head| Ok(Head::read(head)?.conversation)).transpose()
    }

    async fn end(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
        at: OffsetDateTime,
    ) -> Result<Option<Conversation>, Error> {
        self.call("end", self.end_conversation(scope, id, at)).await?;
        self.conversation(scope, id).await
    }

    async fn remove(&self, scope: &CompanyScope, id: ConversationId, until: OffsetDateTime) -> Result<Erased, Error> {
        self.call_within(LONG, "remove", self.remove_conversation(scope, id, until)).await
    }

    async fn removed(&self, scope: &CompanyScope, ids: &[ConversationId]) -> Result<Vec<Removed>, Error> {
        self.call("removed", self.removed_conversations(scope.company(), ids)).await
    }

    async fn turn(&self, scope: &CompanyScope, id: TurnId) -> Result<Option<StoredTurn>, Error> {
        self.find_turn("turn", key(scope.company(), &id.to_string())).await
    }

    async fn turn_by_idempotency_key(&self, scope: &CompanyScope, key: &str) -> Result<Option<StoredTurn>, Error> {
        let filter = doc! { "company_id": scope.company().as_str(), "idempotency_key": key };
        self.find_turn("turn_by_idempotency_key", filter).await
    }

    async fn turns(&self, scope: &CompanyScope, page: &Page) -> Result<(Vec<StoredTurn>, Option<String>), Error> {
        let mut filter = alive(scope);
        if let Some(after) = page.after.as_deref().map(turns::Cursor::parse).transpose()? {
            let conversation = after.conversation.to_string();
            let same = doc! { "conversation_id": &conversation, "sequence": { "$gt": signed(after.sequence)? } };
            filter.insert("$or", vec![doc! { "conversation_id": { "$gt": &conversation } }, same]);
        }
        let order = doc! { "conversation_id": 1, "sequence": 1 };
        let mut found = self.find_turns("turns", filter, order, page.limit.saturating_add(1)).await?;
        let has_more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = match found.last() {
            Some(last) if has_more => {
                let end = turns::Cursor { conversation: last.record.conversation_id, sequence: last.sequence };
                Some(end.to_string())
            }
            None if has_more => page.after.clone(),
            _ => None,
        };
        Ok((found, next))
    }

    async fn restore(
        &self,
        scope: &CompanyScope,
        conversation: &Conversation,
        turns: &[StoredTurn],
        keep_until: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        self.call("restore", self.restore_turns(scope, conversation, turns, keep_until)).await
    }

    /// The database removes by itself what is over, and nothing that is over is given meanwhile.
    async fn expire(&self, _now: OffsetDateTime) -> Result<Erased, Error> {
        Ok(Erased::default())
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<Erased, Error> {
        let company = doc! { "company_id": scope.company().as_str() };
        self.call_within(LONG, "erase", async {
            // Heads go first: a turn that is just being stored finds its head gone and goes too.
            let conversations = self.collection(CONVERSATIONS).await?.delete_many(company.clone()).await?.deleted_count;
            let turns = self.collection(TURNS).await?.delete_many(company.clone()).await?.deleted_count;
            let documents = self.collection(DOCUMENTS).await?.delete_many(company.clone()).await?.deleted_count;
            self.collection(REMOVED).await?.delete_many(company).await?;
            Ok(Erased { conversations, turns, documents })
        })
        .await
    }

    async fn check(&self) -> Result<(), Error> {
        let answer =
            self.call("check", async { Ok(self.connection().await?.database.run_command(doc! { "ping": 1 }).await?) });
        answer.await.map(|_| ())
    }
}

impl MongoStore {
    async fn find_turn(&self, operation: &'static str, filter: Document) -> Result<Option<StoredTurn>, Error> {
        let found = self.call(operation, async { Ok(self.collection(TURNS).await?.find_one(filter).await?) });
        found.await?.filter(is_alive).map(turns::read).transpose()
    }

    async fn find_turns(
        &self,
        operation: &'static str,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        if limit == 0 {
            // To the database it would mean all of them.
            return Ok(Vec::new());
        }
        let found = self.call(operation, async {
            let found = self.collection(TURNS).await?.find(filter).sort(order).limit(at_most(limit)).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        found.await?.into_iter().filter(is_alive).map(turns::read).collect()
    }
}

/// Whether a document is not over.
fn is_alive(document: &Document) -> bool {
    document.get_datetime("expires_at").map_or(true, |end| *end > DateTime::now())
}

/// A company's documents that are not over.
fn alive(scope: &CompanyScope) -> Document {
    doc! { "company_id": scope.company().as_str(), "expires_at": not_over(DateTime::now()) }
}
