//! One webhook on its way to one endpoint, as it lies on the bus.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::domain::event::WORKER;
use crate::domain::webhook::{Endpoint, Payload};
use crate::domain::{EndpointId, Event, EventType};
use crate::ports::bus::{Error, Message};

/// What a thin webhook says: what happened to what.
const THIN: &[&str] = &[
    "company_id",
    "conversation_id",
    "session_id",
    "channel",
    "status",
    "message_count",
    "sequence",
    "turn_id",
    "language",
    "intent",
    "finish_reason",
    "created_at",
    "ended_at",
    "endpoint_id",
    "is_test",
];

/// The data of a `webhook.attempt` event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The `webhook-id` header: the same in every try.
    pub webhook_id: String,
    /// The request's body, exactly as it is sent and signed.
    pub payload: Box<RawValue>,
}

/// The body of a webhook.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
    data: &'a RawValue,
}

impl Attempt {
    /// The message that brings an event to an endpoint. Made again, it has the same id and the same attempt; to bring
    /// it once more after it was settled, publish it again.
    ///
    /// # Errors
    /// When it does not serialise.
    pub fn message(event: &Event, endpoint: &Endpoint) -> Result<Message, Error> {
        let invalid = |error: serde_json::Error| Error::Invalid(error.to_string());
        let attempt = Self::of_event(event, endpoint).map_err(invalid)?;
        let discriminator = format!("{}/{}", event.id, endpoint.id);
        let event = Event::new(EventType::WebhookAttempt, &event.origin(WORKER), &discriminator, &attempt);
        Message::of_event(&event.map_err(invalid)?)
    }

    /// The attempt to bring an event to an endpoint.
    ///
    /// # Errors
    /// When it does not serialise.
    pub fn of_event(event: &Event, endpoint: &Endpoint) -> Result<Self, serde_json::Error> {
        let thin = match endpoint.payload {
            Payload::Full => None,
            Payload::Thin => Some(thinned(&event.data)?),
        };
        let data = thin.as_deref().unwrap_or(&event.data);
        let envelope = Envelope { event_type: event.event_type, timestamp: event.time, data };
        Ok(Self {
            endpoint_id: endpoint.id.clone(),
            webhook_id: format!("msg_{}", event.id.simple()),
            payload: serde_json::value::to_raw_value(&envelope)?,
        })
    }

    /// The request's body.
    pub fn body(&self) -> Bytes {
        Bytes::copy_from_slice(self.payload.get().as_bytes())
    }
}

/// What is left of an event's data without a word of what people said.
fn thinned(data: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let mut data: Map<String, Value> = serde_json::from_str(data.get())?;
    data.retain(|field, _| THIN.contains(&field.as_str()));
    serde_json::value::to_raw_value(&data)
}
