//! What a gateway forgets when a company or one of its conversations is removed.

use time::OffsetDateTime;

use crate::domain::{CompanyId, ConversationId, TurnId};

/// What is gone of a company.
#[derive(Clone, Debug)]
pub struct Gone {
    /// The company.
    pub company: CompanyId,
    /// Of it this conversation alone, as far as its turns began until a moment; else everything.
    pub conversation: Option<(ConversationId, OffsetDateTime)>,
}

impl Gone {
    /// Whether a turn is gone.
    pub(super) fn has(&self, company: &CompanyId, conversation: ConversationId, turn: TurnId) -> bool {
        let is_meant = |(id, until): (ConversationId, OffsetDateTime)| {
            id == conversation && turn.began().is_none_or(|began| OffsetDateTime::from(began) <= until)
        };
        *company == self.company && self.conversation.is_none_or(is_meant)
    }
}
