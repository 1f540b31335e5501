//! What an event means for each endpoint: what is sent to it, or why nothing is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::domain::conversation::Role;
use crate::domain::delivery::{Delivery, Parcel, Standing};
use crate::domain::webhook::{Endpoint, Order, Payload};
use crate::domain::{Event, EventType, TurnId};

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
    "rating",
    "document_id",
    "action",
    "passages",
    "updated_at",
    "endpoint_id",
    "reason",
    "disabled_at",
    "is_test",
];

/// What an event is about, as far as endpoints choose and sort by it.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    intent: Option<Cow<'a, str>>,
    #[serde(default)]
    sequence: Option<u64>,
    #[serde(default)]
    message: Option<Of>,
}

/// Whose a message is.
#[derive(Deserialize)]
struct Of {
    role: Role,
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

/// What comes of an event: a parcel for each endpoint that wants to hear of such events. Those for endpoints that are
/// disabled are discarded, to be sent by a replay should anybody ask for it. Of what its filter leaves out, an endpoint
/// that wants order gets a parcel without a body, so that nobody waits for it.
pub(super) fn of_event(event: &Event, endpoints: &[Endpoint]) -> Result<Vec<Parcel>, serde_json::Error> {
    let about: About<'_> = serde_json::from_str(event.data.get())?;
    let listening = endpoints.iter().filter(|endpoint| endpoint.event_types.contains(&event.event_type));
    let parcels = listening.filter_map(|endpoint| {
        if endpoint.filter.passes(about.channel.as_deref(), about.intent.as_deref()) {
            let standing = match &endpoint.disabled {
                None => Standing::new(OffsetDateTime::now_utc()),
                Some(disabled) => Standing::discarded(&format!("the endpoint was disabled: {}", disabled.reason)),
            };
            return Some(parcel(event, endpoint, &about, standing, true));
        }
        let leaves_a_gap = endpoint.order == Order::Ordered;
        leaves_a_gap.then(|| parcel(event, endpoint, &about, Standing::discarded("the filter left it out"), false))
    });
    parcels.collect()
}

/// The parcel that brings an event to an endpoint.
///
/// # Errors
/// When it does not serialise.
pub(super) fn to_send(event: &Event, endpoint: &Endpoint) -> Result<Parcel, serde_json::Error> {
    let about = serde_json::from_str(event.data.get())?;
    parcel(event, endpoint, &about, Standing::new(OffsetDateTime::now_utc()), true)
}

fn parcel(
    event: &Event,
    endpoint: &Endpoint,
    about: &About<'_>,
    standing: Standing,
    has_body: bool,
) -> Result<Parcel, serde_json::Error> {
    // The first turn is what begins a conversation.
    let is_first = event.event_type == EventType::ConversationCreated;
    let turn = event.subject.parse::<TurnId>().ok();
    let discriminator = format!("{}/{}", event.id, endpoint.id);
    let delivery = Delivery {
        id: Event::id_of(&event.subject, EventType::WebhookAttempt, &discriminator),
        company_id: event.companyid.clone(),
        endpoint_id: endpoint.id.clone(),
        webhook_id: format!("msg_{}", event.id.simple()),
        event_type: event.event_type,
        subject: event.subject.clone(),
        conversation_id: event.event_type.is_of_conversation().then_some(event.conversationid),
        sequence: about.sequence.or(is_first.then_some(1)),
        rank: rank(event.event_type, about.message.as_ref().map(|message| message.role)),
        happened_at: event.time,
        began_at: turn.and_then(|turn| turn.began()).map_or(event.time, OffsetDateTime::from),
        round: 0,
        replay_id: None,
        standing,
    };
    let payload = has_body.then(|| body(event, endpoint.payload)).transpose()?;
    Ok(Parcel { delivery, payload })
}

/// The order of what is told of one turn.
fn rank(event_type: EventType, role: Option<Role>) -> u8 {
    match (event_type, role) {
        (EventType::ConversationCreated, _) => 0,
        (EventType::MessageCreated, Some(Role::User)) => 1,
        (EventType::MessageCreated, _) => 2,
        (EventType::ConversationUpdated, _) => 3,
        _ => 4,
    }
}

fn body(event: &Event, payload: Payload) -> Result<Box<RawValue>, serde_json::Error> {
    let thin = match payload {
        Payload::Full => None,
        Payload::Thin => Some(thinned(&event.data)?),
    };
    let data = thin.as_deref().unwrap_or(&event.data);
    serde_json::value::to_raw_value(&Envelope { event_type: event.event_type, timestamp: event.time, data })
}

/// What is left of an event's data without a word of what people said.
fn thinned(data: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let mut data: Map<String, Value> = serde_json::from_str(data.get())?;
    data.retain(|field, _| THIN.contains(&field.as_str()));
    serde_json::value::to_raw_value(&data)
}
