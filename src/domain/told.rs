//! What webhooks are told, in the form in which it goes over the wire.

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::conversation::{Conversation, Message, Status};
use super::id::{CompanyId, ConversationId, DocumentId, EndpointId, SessionId, TurnId};
use super::knowledge::Document;
use super::turn::{FinishReason, TurnRecord};
use super::webhook::{Disabled, Endpoint};

/// Which conversation it is about.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Head<'a> {
    company_id: &'a str,
    conversation_id: Uuid,
    session_id: &'a str,
    channel: &'a str,
}

impl<'a> From<&'a TurnRecord> for Head<'a> {
    fn from(turn: &'a TurnRecord) -> Self {
        Self {
            company_id: turn.company_id.as_str(),
            conversation_id: turn.conversation_id.as_uuid(),
            session_id: turn.session_id.as_str(),
            channel: &turn.channel,
        }
    }
}

impl<'a> From<&'a Conversation> for Head<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        Self {
            company_id: conversation.company_id.as_str(),
            conversation_id: conversation.conversation_id.as_uuid(),
            session_id: conversation.session_id.as_str(),
            channel: &conversation.channel,
        }
    }
}

/// What `conversation.updated` says.
#[derive(Debug, Serialize)]
pub struct Updated<'a> {
    #[serde(flatten)]
    conversation: Head<'a>,
    status: Status,
    message_count: u64,
    sequence: u64,
    turn_id: String,
    language: Option<&'static str>,
    intent: Option<&'a str>,
    finish_reason: FinishReason,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    summary: &'a str,
    messages: Vec<Message>,
}

impl<'a> Updated<'a> {
    /// A turn was stored: as the `sequence`th of its conversation, which has `message_count` messages with it.
    pub fn by_turn(
        conversation: &'a Conversation,
        turn: &'a TurnRecord,
        sequence: u64,
        message_count: u64,
        messages: Vec<Message>,
    ) -> Self {
        Self {
            conversation: turn.into(),
            status: conversation.status,
            message_count,
            sequence,
            turn_id: turn.turn_id.to_string(),
            language: turn.language.map(|language| language.code()),
            intent: turn.intent.as_ref().map(|found| found.intent.as_str()),
            finish_reason: turn.finish_reason,
            ended_at: conversation.ended_at,
            summary: &conversation.summary,
            messages,
        }
    }

    /// The conversation was ended after its last turn: it has the sequence of that one, and no messages.
    pub fn by_end(conversation: &'a Conversation, last: &TurnRecord) -> Self {
        Self {
            conversation: conversation.into(),
            status: conversation.status,
            message_count: conversation.message_count,
            sequence: conversation.last_sequence,
            turn_id: last.turn_id.to_string(),
            language: conversation.language.map(|language| language.code()),
            intent: conversation.intent.as_deref(),
            finish_reason: last.finish_reason,
            ended_at: conversation.ended_at,
            summary: &conversation.summary,
            messages: Vec::new(),
        }
    }
}

/// What `conversation.created` says.
#[derive(Debug, Serialize)]
pub struct Created<'a> {
    #[serde(flatten)]
    conversation: Head<'a>,
    status: Status,
    turn_id: String,
    language: Option<&'static str>,
    summary: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl<'a> Created<'a> {
    /// The first turn of a conversation was stored.
    pub fn by_turn(conversation: &'a Conversation, turn: &'a TurnRecord) -> Self {
        Self {
            conversation: turn.into(),
            status: Status::Active,
            turn_id: turn.turn_id.to_string(),
            language: turn.language.map(|language| language.code()),
            summary: &conversation.summary,
            created_at: turn.started_at,
        }
    }
}

/// What `message.created` says.
#[derive(Debug, Serialize)]
pub struct MessageCreated<'a> {
    #[serde(flatten)]
    conversation: Head<'a>,
    sequence: u64,
    turn_id: String,
    message: &'a Message,
}

impl<'a> MessageCreated<'a> {
    /// A message of a turn was stored.
    pub fn by_turn(turn: &'a TurnRecord, sequence: u64, message: &'a Message) -> Self {
        Self { conversation: turn.into(), sequence, turn_id: turn.turn_id.to_string(), message }
    }
}

/// What `conversation.ended` says.
#[derive(Debug, Serialize)]
pub struct Ended<'a> {
    #[serde(flatten)]
    conversation: Head<'a>,
    status: Status,
    message_count: u64,
    sequence: u64,
    turn_id: String,
    language: Option<&'static str>,
    intent: Option<&'a str>,
    summary: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
}

impl<'a> Ended<'a> {
    /// The conversation was ended after its last turn.
    pub fn by_end(conversation: &'a Conversation, last: &TurnRecord) -> Self {
        Self {
            conversation: conversation.into(),
            status: conversation.status,
            message_count: conversation.message_count,
            sequence: conversation.last_sequence,
            turn_id: last.turn_id.to_string(),
            language: conversation.language.map(|language| language.code()),
            intent: conversation.intent.as_deref(),
            summary: &conversation.summary,
            created_at: conversation.created_at,
            ended_at: conversation.ended_at,
        }
    }
}

/// What `turn.feedback` says.
#[derive(Debug, Serialize)]
pub struct Feedback<'a, R: Serialize> {
    /// The company.
    pub company_id: &'a CompanyId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its session.
    pub session_id: &'a SessionId,
    /// Where its user writes.
    pub channel: &'a str,
    /// The turn.
    pub turn_id: TurnId,
    /// Whether its answer helped.
    pub rating: R,
    /// In the reader's own words.
    pub comment: Option<&'a str>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was put and not there before.
    Added,
    /// It was put in place of what was there.
    Updated,
    /// It was taken out.
    Removed,
}

/// What `knowledge.updated` says.
#[derive(Debug, Serialize)]
pub struct KnowledgeUpdated<'a> {
    company_id: &'a CompanyId,
    document_id: &'a DocumentId,
    action: Action,
    title: &'a str,
    url: Option<&'a str>,
    language: Option<&'static str>,
    passages: usize,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

impl<'a> KnowledgeUpdated<'a> {
    /// A document was put or taken out; of the latter it says what was there.
    pub fn by_document(company_id: &'a CompanyId, document: &'a Document, action: Action, at: OffsetDateTime) -> Self {
        Self {
            company_id,
            document_id: &document.id,
            action,
            title: &document.title,
            url: document.url.as_deref(),
            language: document.language.map(|language| language.code()),
            passages: document.passages,
            updated_at: at,
        }
    }
}

/// What `endpoint.disabled` says.
#[derive(Debug, Serialize)]
pub struct EndpointDisabled<'a> {
    company_id: &'a CompanyId,
    endpoint_id: &'a EndpointId,
    url: &'a str,
    description: Option<&'a str>,
    reason: &'a str,
    #[serde(with = "time::serde::rfc3339::option")]
    disabled_at: Option<OffsetDateTime>,
}

impl<'a> EndpointDisabled<'a> {
    /// An endpoint was disabled because of how it answers.
    pub fn by_delivery(endpoint: &'a Endpoint, disabled: &'a Disabled) -> Self {
        Self {
            company_id: &endpoint.company_id,
            endpoint_id: &endpoint.id,
            url: &endpoint.url,
            description: endpoint.description.as_deref(),
            reason: &disabled.reason,
            disabled_at: disabled.at,
        }
    }
}
