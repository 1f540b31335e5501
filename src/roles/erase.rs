//! Removes companies and conversations from everywhere, and says what that was: by a command, or in a gateway at work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use time::OffsetDateTime;

use super::parts::Parts;
use super::stores::Stores;
use crate::config::Settings;
use crate::domain::{CompanyScope, ConversationId};
use crate::pipeline::engine::Engine;
use crate::pipeline::gone::Gone;
use crate::ports::bus::{Bus, Turns};
use crate::ports::erasure::{CompanyReceipt, ConversationReceipt, Erasure, Error};
use crate::ports::index::KnowledgeIndex;
use crate::spool::Spool;

/// What jobs had in hand when something was removed has come to its end by then.
const IN_HAND: Duration = Duration::from_secs(5);
/// How long turns that run may take to end when they are told to, and what they leave to reach the bus.
const ENDING: Duration = Duration::from_secs(10);
/// Between two looks for that.
const LOOK: Duration = Duration::from_millis(20);

/// Removes a company, by a command. With a bus of this process what is still on its way is settled first. With other
/// processes at work the directory forgets the company first, so that they take nothing of it any more, and what they
/// had in hand is removed by a second pass.
///
/// # Errors
/// When a part cannot be written; doing it again goes on.
pub async fn company(settings: &Settings, parts: &Parts, scope: &CompanyScope) -> anyhow::Result<CompanyReceipt> {
    let places = Places { stores: &parts.stores, bus: parts.bus.as_ref(), index: parts.index.as_ref() };
    if settings.bus.is_shared() {
        let (keys, endpoints) = parts.stores.directory.remove_company(scope).await?;
        let first = places.company(scope).await?;
        tokio::time::sleep(IN_HAND).await;
        let second = places.company(scope).await?;
        return Ok(CompanyReceipt { keys, endpoints, ..and(first, &second) });
    }
    parts.settle_spool(settings).await?;
    let receipt = places.company(scope).await?;
    let (keys, endpoints) = parts.stores.directory.remove_company(scope).await?;
    Ok(CompanyReceipt { keys, endpoints, ..receipt })
}

/// Removes from a gateway at work, and from all that it shares with others.
pub struct Eraser {
    /// The stores.
    pub stores: Stores,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Whether other processes take messages of it.
    pub is_shared: bool,
    /// The knowledge.
    pub index: Arc<dyn KnowledgeIndex>,
    /// What runs turns and remembers them.
    pub engine: Arc<Engine>,
    /// What turns leave.
    pub spool: Spool,
}

#[async_trait]
impl Erasure for Eraser {
    async fn company(&self, scope: &CompanyScope) -> Result<CompanyReceipt, Error> {
        self.remove_company(scope).await.map_err(|error| Error(format!("{error:#}")))
    }

    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<ConversationReceipt, Error> {
        self.remove_conversation(scope, id).await.map_err(|error| Error(format!("{error:#}")))
    }
}

impl Eraser {
    async fn remove_company(&self, scope: &CompanyScope) -> anyhow::Result<CompanyReceipt> {
        // Jobs look here before they do something for a company.
        let (keys, endpoints) = self.stores.directory.remove_company(scope).await?;
        let gone = Gone { company: scope.company().clone(), conversation: None };
        let first = self.once(&gone, self.places().company(scope)).await?;
        tokio::time::sleep(IN_HAND).await;
        let second = self.once(&gone, self.places().company(scope)).await?;
        Ok(CompanyReceipt { keys, endpoints, ..and(first, &second) })
    }

    async fn remove_conversation(
        &self,
        scope: &CompanyScope,
        id: ConversationId,
    ) -> anyhow::Result<ConversationReceipt> {
        let until = OffsetDateTime::now_utc();
        let gone = Gone { company: scope.company().clone(), conversation: Some((id, until)) };
        let first = self.once(&gone, self.places().conversation(scope, id, until)).await?;
        if !self.is_shared {
            return Ok(first);
        }
        // What a worker had in hand may have left something on the bus.
        tokio::time::sleep(IN_HAND).await;
        let second = self.once(&gone, self.places().conversation(scope, id, until)).await?;
        Ok(ConversationReceipt {
            turns: first.turns + second.turns,
            messages: first.messages + second.messages,
            deliveries: first.deliveries + second.deliveries,
            ..first
        })
    }

    fn places(&self) -> Places<'_> {
        Places { stores: &self.stores, bus: self.bus.as_ref(), index: self.index.as_ref() }
    }

    /// Removes once: first the turns that run are ended and what they left is brought to where it can be removed, and
    /// afterwards this process forgets.
    async fn once<T>(&self, gone: &Gone, remove: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let ended = async {
            while self.engine.turns().interrupt(gone) {
                tokio::time::sleep(LOOK).await;
            }
            self.spool.drained().await;
        };
        let in_time = tokio::time::timeout(ENDING, ended).await;
        in_time.context("turns did not end, or the bus did not take what they left")?;
        let removed = remove.await?;
        self.engine.forget(gone);
        self.spool.forget().await;
        Ok(removed)
    }
}

/// Where things are kept.
struct Places<'a> {
    stores: &'a Stores,
    bus: &'a dyn Bus,
    index: &'a dyn KnowledgeIndex,
}

impl Places<'_> {
    async fn company(&self, scope: &CompanyScope) -> anyhow::Result<CompanyReceipt> {
        let messages = self.bus.erase(scope).await?;
        let passages = self.index.erase(scope).await?;
        let erased = self.stores.conversations.erase(scope).await?;
        let deliveries = self.stores.deliveries.erase_deliveries(scope).await?;
        let counted_turns = self.stores.analytics.erase_analytics(scope).await?;
        if let Some(cluster) = self.stores.cluster() {
            cluster.erase(scope).await?;
        }
        Ok(CompanyReceipt {
            company_id: scope.company().clone(),
            conversations: erased.conversations,
            turns: erased.turns,
            documents: erased.documents,
            passages,
            messages,
            deliveries,
            counted_turns,
            keys: 0,
            endpoints: 0,
        })
    }

    async fn conversation(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        until: OffsetDateTime,
    ) -> anyhow::Result<ConversationReceipt> {
        // The store first: from then on no turn of it is stored any more, and nothing follows from one.
        let erased = self.stores.conversations.remove(scope, conversation, until).await?;
        let messages = self.bus.erase_turns(scope, Turns { conversation, until }).await?;
        let deliveries = self.stores.deliveries.erase_conversation(scope, conversation, until).await?;
        Ok(ConversationReceipt { conversation_id: conversation, turns: erased.turns, messages, deliveries })
    }
}

fn and(first: CompanyReceipt, second: &CompanyReceipt) -> CompanyReceipt {
    CompanyReceipt {
        conversations: first.conversations + second.conversations,
        turns: first.turns + second.turns,
        documents: first.documents + second.documents,
        passages: first.passages + second.passages,
        messages: first.messages + second.messages,
        deliveries: first.deliveries + second.deliveries,
        counted_turns: first.counted_turns + second.counted_turns,
        ..first
    }
}
