//! Removing what is not to be there any more, from everywhere.

use async_trait::async_trait;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{CompanyId, CompanyScope, ConversationId};

/// Why not everything was removed. Doing it again goes on.
#[derive(Debug, thiserror::Error)]
#[error("not everything could be removed: {0}")]
pub struct Error(pub String);

/// What was removed of a company.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CompanyReceipt {
    /// The company.
    #[schema(value_type = String)]
    pub company_id: CompanyId,
    /// Conversations in the store.
    pub conversations: u64,
    /// Turns in the store.
    pub turns: u64,
    /// Registered documents.
    pub documents: u64,
    /// Passages in the knowledge index.
    pub passages: usize,
    /// Messages in queues and dead letters.
    pub messages: u64,
    /// Webhook deliveries in the log.
    pub deliveries: u64,
    /// Turns in the numbers.
    pub counted_turns: u64,
    /// Keys.
    pub keys: u64,
    /// Webhook endpoints.
    pub endpoints: u64,
}

impl CompanyReceipt {
    /// Whether nothing was there to be removed.
    pub fn is_empty(&self) -> bool {
        let content = [self.conversations, self.turns, self.documents, self.messages, self.deliveries];
        let rest = [self.counted_turns, self.keys, self.endpoints];
        content.iter().chain(&rest).all(|&count| count == 0) && self.passages == 0
    }
}

/// What was removed of a conversation.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ConversationReceipt {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation_id: ConversationId,
    /// Turns in the store.
    pub turns: u64,
    /// Messages in queues and dead letters.
    pub messages: u64,
    /// Webhook deliveries in the log.
    pub deliveries: u64,
}

/// Removes from every store, queue, buffer and index.
#[async_trait]
pub trait Erasure: Send + Sync {
    /// Removes a company. It takes nothing more as soon as this begins.
    ///
    /// # Errors
    /// When a part cannot be written.
    async fn company(&self, scope: &CompanyScope) -> Result<CompanyReceipt, Error>;

    /// Removes a conversation with all turns that have begun. Its session may begin it again.
    ///
    /// # Errors
    /// When a part cannot be written.
    async fn conversation(&self, scope: &CompanyScope, id: ConversationId) -> Result<ConversationReceipt, Error>;
}
