//! Conversations as they are stored and shown.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::id::{CompanyId, ConversationId, SessionId};
use super::language::Language;
use super::turn::TurnRecord;

/// Whether a conversation still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = ConversationStatus)]
pub enum Status {
    /// More turns may come.
    Active,
    /// Ended by the company.
    Ended,
}

/// A conversation's head: what a list of conversations shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Conversation {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The company it belongs to.
    pub company_id: CompanyId,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// Where the user writes.
    pub channel: String,
    /// Whether it goes on.
    pub status: Status,
    /// Messages stored, questions and answers.
    pub message_count: u64,
    /// The sequence of its last turn; turns are numbered from 1 without gaps.
    pub last_sequence: u64,
    /// The beginning of its first question.
    pub summary: String,
    /// The language of its last turn of which it is known.
    #[serde(default)]
    pub language: Option<Language>,
    /// The intent of its last turn of which it is known.
    #[serde(default)]
    pub intent: Option<String>,
    /// When its first turn began.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its last turn ended.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When it was ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

impl Conversation {
    /// Characters of the first question that the summary shows.
    const SUMMARY: usize = 120;

    /// The conversation that begins with a turn, which is not counted in yet.
    pub fn begun_by(record: &TurnRecord) -> Self {
        Self {
            conversation_id: record.conversation_id,
            company_id: record.company_id.clone(),
            session_id: record.session_id.clone(),
            channel: record.channel.clone(),
            status: Status::Active,
            message_count: 0,
            last_sequence: 0,
            summary: record.message.chars().take(Self::SUMMARY).collect(),
            language: record.language,
            intent: intent_of(record),
            created_at: record.started_at,
            updated_at: record.finished_at,
            ended_at: None,
        }
    }

    /// The conversation with a further turn counted in. One that was ended begins again with a turn that began later.
    #[must_use]
    pub fn with(self, record: &TurnRecord) -> Self {
        let begins_again = self.ended_at.is_some_and(|end| record.started_at > end);
        // Turns are stored in no certain order.
        let is_last = record.finished_at >= self.updated_at;
        let later = |known: Option<String>, new: Option<String>| if is_last { new.or(known) } else { known.or(new) };
        Self {
            status: if begins_again { Status::Active } else { self.status },
            ended_at: self.ended_at.filter(|_| !begins_again),
            language: if is_last { record.language.or(self.language) } else { self.language.or(record.language) },
            intent: later(self.intent, intent_of(record)),
            message_count: self.message_count + messages_of(record).len() as u64,
            last_sequence: self.last_sequence + 1,
            updated_at: self.updated_at.max(record.finished_at),
            ..self
        }
    }
}

fn intent_of(record: &TurnRecord) -> Option<String> {
    record.intent.as_ref().map(|found| found.intent.clone())
}

/// A turn with its place in the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StoredTurn {
    /// Its number in the conversation, from 1 without gaps.
    pub sequence: u64,
    /// The turn.
    #[serde(flatten)]
    pub record: TurnRecord,
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The company's customer.
    User,
    /// The chatbot.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// Its text.
    pub content: String,
}

/// The messages of a turn: the question, and the answer if there is any.
pub fn messages_of(record: &TurnRecord) -> Vec<Message> {
    let mut messages = vec![Message { role: Role::User, content: record.message.clone() }];
    if !record.answer.is_empty() {
        messages.push(Message { role: Role::Assistant, content: record.answer.clone() });
    }
    messages
}
