//! Stage events: CloudEvents 1.0 in JSON (<https://github.com/cloudevents/spec>), one for each thing that happens to a turn.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::id::{CompanyId, ConversationId};
use super::turn::{FinishReason, TurnRecord};

/// The source of the events that the ingress publishes.
pub const GATEWAY: &str = "/turnpike/gateway";
/// The source of the events that the workers publish.
pub const WORKER: &str = "/turnpike/worker";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A turn was accepted.
    #[serde(rename = "turn.received")]
    TurnReceived,
    /// Its language is known.
    #[serde(rename = "turn.language_detected")]
    TurnLanguageDetected,
    /// Its intent is known.
    #[serde(rename = "turn.intent_detected")]
    TurnIntentDetected,
    /// Its passages are found.
    #[serde(rename = "turn.knowledge_retrieved")]
    TurnKnowledgeRetrieved,
    /// A provider was asked.
    #[serde(rename = "turn.generation_started")]
    TurnGenerationStarted,
    /// It ended with an answer, whole or cut short. The data is the turn's record.
    #[serde(rename = "turn.completed")]
    TurnCompleted,
    /// It ended without an answer. The data is the turn's record.
    #[serde(rename = "turn.failed")]
    TurnFailed,
    /// A reader has said what an answer was worth. Its data, too, is what webhooks carry.
    #[serde(rename = "turn.feedback")]
    TurnFeedback,
    /// Its turn is stored. The data is what webhooks carry.
    #[serde(rename = "conversation.updated")]
    ConversationUpdated,
    /// The first turn of a conversation is stored.
    #[serde(rename = "conversation.created")]
    ConversationCreated,
    /// A message is stored.
    #[serde(rename = "message.created")]
    MessageCreated,
    /// A conversation was ended by the company.
    #[serde(rename = "conversation.ended")]
    ConversationEnded,
    /// A document was put into a company's knowledge or taken out of it.
    #[serde(rename = "knowledge.updated")]
    KnowledgeUpdated,
    /// A webhook endpoint is sent nothing any more, because of how it answers.
    #[serde(rename = "endpoint.disabled")]
    EndpointDisabled,
    /// One webhook to be sent to one endpoint: work for the deliver job alone.
    #[serde(rename = "webhook.attempt")]
    WebhookAttempt,
    /// One step of a replay of webhooks: work for the deliver job alone.
    #[serde(rename = "webhook.replay")]
    WebhookReplay,
}

/// A name that is none of the types that an endpoint may ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event to ask for; there are {list}", list = EventType::offered_names())]
pub struct NotOffered(String);

impl EventType {
    /// The types that webhook endpoints may ask for; the first is what they get unless they say otherwise.
    pub const OFFERED: [Self; 7] = [
        Self::ConversationUpdated,
        Self::ConversationCreated,
        Self::MessageCreated,
        Self::ConversationEnded,
        Self::TurnFeedback,
        Self::KnowledgeUpdated,
        Self::EndpointDisabled,
    ];

    /// Whether it happens in a conversation. Of one that does not, `conversationid` follows from its subject alone.
    pub fn is_of_conversation(self) -> bool {
        !matches!(self, Self::KnowledgeUpdated | Self::EndpointDisabled | Self::WebhookReplay)
    }

    /// The offered type of a name.
    ///
    /// # Errors
    /// When none of them has it; the error names them all.
    pub fn offered(name: &str) -> Result<Self, NotOffered> {
        let found = Self::OFFERED.into_iter().find(|event| event.as_str() == name);
        // What is said again in an error is no longer than a name could be.
        found.ok_or_else(|| NotOffered(name.chars().take(64).collect()))
    }

    /// The names of the offered types, for people to read.
    pub fn offered_names() -> String {
        Self::OFFERED.map(Self::as_str).join(", ")
    }

    /// The name in the `type` attribute and at the head of the routing key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TurnReceived => "turn.received",
            Self::TurnLanguageDetected => "turn.language_detected",
            Self::TurnIntentDetected => "turn.intent_detected",
            Self::TurnKnowledgeRetrieved => "turn.knowledge_retrieved",
            Self::TurnGenerationStarted => "turn.generation_started",
            Self::TurnCompleted => "turn.completed",
            Self::TurnFailed => "turn.failed",
            Self::TurnFeedback => "turn.feedback",
            Self::ConversationUpdated => "conversation.updated",
            Self::ConversationCreated => "conversation.created",
            Self::MessageCreated => "message.created",
            Self::ConversationEnded => "conversation.ended",
            Self::KnowledgeUpdated => "knowledge.updated",
            Self::EndpointDisabled => "endpoint.disabled",
            Self::WebhookAttempt => "webhook.attempt",
            Self::WebhookReplay => "webhook.replay",
        }
    }
}

/// One event, shaped as it goes over the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    specversion: SpecVersion,
    /// Unique; the same however often the event is sent.
    pub id: Uuid,
    /// Who says so, such as `/turnpike/gateway`.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The turn's id.
    pub subject: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The company.
    pub companyid: CompanyId,
    /// The conversation; of what happens in none, an id that follows from the subject.
    pub conversationid: ConversationId,
    /// The trace it belongs to (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// What there is to say, by type.
    pub data: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum SpecVersion {
    #[serde(rename = "1.0")]
    V1,
}

/// Where an event belongs: the attributes that all events of a turn share.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who says so.
    pub source: &'static str,
    /// The turn's id.
    pub subject: String,
    /// The company.
    pub company_id: CompanyId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The trace.
    pub traceparent: Option<String>,
}

impl Event {
    /// An event of now, with an id that follows from its subject and `discriminator`, so that making it again after a
    /// crash makes the same event.
    ///
    /// # Errors
    /// When `data` does not serialise.
    pub fn new(
        event_type: EventType,
        origin: &Origin,
        discriminator: &str,
        data: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            specversion: SpecVersion::V1,
            id: Self::id_of(&origin.subject, event_type, discriminator),
            source: origin.source.to_owned(),
            event_type,
            subject: origin.subject.clone(),
            time: OffsetDateTime::now_utc(),
            datacontenttype: "application/json".to_owned(),
            companyid: origin.company_id.clone(),
            conversationid: origin.conversation_id,
            traceparent: origin.traceparent.clone(),
            data: serde_json::value::to_raw_value(data)?,
        })
    }

    /// The id of the event that `new` makes.
    pub fn id_of(subject: &str, event_type: EventType, discriminator: &str) -> Uuid {
        const NAMESPACE: Uuid = Uuid::from_u128(0x1c0e_67d4_55d2_4b8e_8c3b_f1e2_0f6a_94d3);
        let name = format!("{subject}/{}/{discriminator}", event_type.as_str());
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// The event that a turn ends with: `turn.failed` when nothing could answer, else `turn.completed`.
    ///
    /// # Errors
    /// When the record does not serialise.
    pub fn turn_finished(record: &TurnRecord, traceparent: Option<String>) -> Result<Self, serde_json::Error> {
        let event_type = match record.finish_reason {
            FinishReason::Failed => EventType::TurnFailed,
            _ => EventType::TurnCompleted,
        };
        let origin = Origin {
            source: GATEWAY,
            subject: record.turn_id.to_string(),
            company_id: record.company_id.clone(),
            conversation_id: record.conversation_id,
            traceparent,
        };
        Self::new(event_type, &origin, "", record)
    }

    /// Whether it is the one that a turn ends with; its data is the turn's record.
    pub fn ends_turn(&self) -> bool {
        matches!(self.event_type, EventType::TurnCompleted | EventType::TurnFailed)
    }

    /// Where it is routed: `<type>.<company_id>`.
    pub fn routing_key(&self) -> String {
        format!("{}.{}", self.event_type.as_str(), self.companyid)
    }

    /// The origin to give to events that follow from this one.
    pub fn origin(&self, source: &'static str) -> Origin {
        Origin {
            source,
            subject: self.subject.clone(),
            company_id: self.companyid.clone(),
            conversation_id: self.conversationid,
            traceparent: self.traceparent.clone(),
        }
    }
}
