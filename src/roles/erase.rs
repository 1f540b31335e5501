//! Removes a company from everywhere, and says what that was.

use std::time::Duration;

use serde::Serialize;

use super::parts::Parts;
use crate::config::Settings;
use crate::domain::{CompanyId, CompanyScope};

/// What other processes had in hand when the company was removed has come to its end by then.
const IN_HAND: Duration = Duration::from_secs(5);

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Receipt {
    company_id: CompanyId,
    conversations: u64,
    turns: u64,
    documents: u64,
    passages: usize,
    messages: u64,
    counted_turns: u64,
    keys: u64,
    endpoints: u64,
}

/// Removes a company. With a bus of this process what is still on its way is settled first. With other processes at
/// work the directory forgets the company first, so that they take nothing of it any more, and what they had in hand
/// is removed by a second pass.
///
/// # Errors
/// When a part cannot be written; doing it again goes on.
pub async fn company(settings: &Settings, parts: &Parts, scope: &CompanyScope) -> anyhow::Result<Receipt> {
    if settings.bus.is_shared() {
        let (keys, endpoints) = parts.stores.directory.remove_company(scope).await?;
        let first = everything(parts, scope).await?;
        tokio::time::sleep(IN_HAND).await;
        let second = everything(parts, scope).await?;
        return Ok(Receipt { keys, endpoints, ..first.and(&second) });
    }
    parts.settle_spool(settings).await?;
    let receipt = everything(parts, scope).await?;
    let (keys, endpoints) = parts.stores.directory.remove_company(scope).await?;
    Ok(Receipt { keys, endpoints, ..receipt })
}

async fn everything(parts: &Parts, scope: &CompanyScope) -> anyhow::Result<Receipt> {
    let messages = parts.bus.erase(scope).await?;
    let passages = parts.index.erase(scope).await?;
    let erased = parts.stores.conversations.erase(scope).await?;
    let counted_turns = parts.stores.analytics.erase_analytics(scope).await?;
    if let Some(cluster) = parts.stores.cluster() {
        cluster.erase(scope).await?;
    }
    Ok(Receipt {
        company_id: scope.company().clone(),
        conversations: erased.conversations,
        turns: erased.turns,
        documents: erased.documents,
        passages,
        messages,
        counted_turns,
        keys: 0,
        endpoints: 0,
    })
}

impl Receipt {
    fn and(self, other: &Self) -> Self {
        Self {
            conversations: self.conversations + other.conversations,
            turns: self.turns + other.turns,
            documents: self.documents + other.documents,
            passages: self.passages + other.passages,
            messages: self.messages + other.messages,
            counted_turns: self.counted_turns + other.counted_turns,
            ..self
        }
    }
}
