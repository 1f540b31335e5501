//! One webhook on its way to one endpoint, as it lies on the bus.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::delivery::{Parcel, Place};
use crate::domain::event::{Origin, WORKER};
use crate::domain::{ConversationId, EndpointId, Event, EventType};
use crate::ports::bus::{Error, Message};

/// The data of a `webhook.attempt` event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The `webhook-id` header: the same in every try.
    pub webhook_id: String,
    /// The delivery that it is of. Messages from before there was a log of them have none.
    #[serde(default)]
    pub delivery_id: Option<Uuid>,
    /// Its place in its conversation, for an endpoint that wants order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The request's body, exactly as it is sent and signed.
    pub payload: Box<RawValue>,
}

impl Attempt {
    /// The attempt to bring a parcel to its endpoint, unless there is nothing to bring.
    pub(super) fn of(parcel: &Parcel) -> Option<Self> {
        let it = &parcel.delivery;
        Some(Self {
            endpoint_id: it.endpoint_id.clone(),
            webhook_id: it.webhook_id.clone(),
            delivery_id: Some(it.id),
            place: it.place(),
            payload: parcel.payload.clone()?,
        })
    }

    /// The message that carries it. Made again for the same round of the delivery, it has the same id.
    ///
    /// # Errors
    /// When it does not serialise.
    pub(super) fn message(&self, parcel: &Parcel, traceparent: Option<String>) -> Result<Message, Error> {
        let it = &parcel.delivery;
        let origin = Origin {
            source: WORKER,
            subject: it.subject.clone(),
            company_id: it.company_id.clone(),
            conversation_id: it
                .conversation_id
                .unwrap_or_else(|| ConversationId::of_subject(&it.company_id, &it.subject)),
            traceparent,
        };
        let invalid = |error: serde_json::Error| Error::Invalid(error.to_string());
        let mut event = Event::new(EventType::WebhookAttempt, &origin, "", self).map_err(invalid)?;
        event.id = if it.round == 0 { it.id } else { Uuid::new_v5(&it.id, &it.round.to_be_bytes()) };
        Message::of_event(&event)
    }

    /// The request's body.
    pub fn body(&self) -> Bytes {
        Bytes::copy_from_slice(self.payload.get().as_bytes())
    }
}
