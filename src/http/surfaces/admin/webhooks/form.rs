//! What is said of a webhook endpoint in requests.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

use super::super::named;
use crate::domain::event::EventType;
use crate::domain::webhook::{Endpoint, Form, Order, Payload, Retries};
use crate::http::problem::Problem;

/// Why an endpoint was switched off, unless more is said.
const BY_HAND: &str = "by hand";
/// Longest reason in characters.
const REASON_CHARS: usize = 200;

/// A webhook endpoint to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEndpoint {
    /// Where webhooks are posted: `http` or `https`, without user name, password and fragment. Any port will do.
    #[schema(max_length = 2048)]
    pub(super) url: String,
    /// A secret of one's own: `whsec_` and the base64 of 24 to 64 bytes, or `whsk_` and that of an ed25519 key. One is made
    /// unless this says otherwise.
    pub(super) secret: Option<String>,
    /// Whether a key pair is made instead of a shared secret; the receiver then needs only its public half.
    pub(super) asymmetric: Option<bool>,
    /// What it wants to hear of: `conversation.updated` unless this says otherwise.
    #[schema(schema_with = offered)]
    event_types: Option<Vec<String>>,
    /// Of which conversations.
    #[serde(default)]
    filter: EndpointFilter,
    /// What people call it.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Headers of its own, 20 at most. Those that are the service's or the connection's cannot be set.
    headers: Option<BTreeMap<String, String>>,
    /// How much a webhook says: `full` unless this says otherwise.
    payload: Option<Payload>,
    /// When it is tried again.
    #[serde(default)]
    retries: EndpointRetries,
    /// Deliveries per second at most, retries counted.
    #[schema(minimum = 1, maximum = 1000)]
    rate_limit: Option<u32>,
    /// In which order it gets them: `parallel` unless this says otherwise.
    order: Option<Order>,
}

/// What is to be changed of a webhook endpoint. What is not named stays; `null` takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointChange {
    /// Where webhooks are posted.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    url: Option<Option<String>>,
    /// What it wants to hear of; `null` for `conversation.updated` alone.
    #[serde(default, deserialize_with = "named")]
    #[schema(schema_with = offered)]
    event_types: Option<Option<Vec<String>>>,
    /// Of which conversations.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<EndpointFilter>)]
    filter: Option<Option<EndpointFilter>>,
    /// What people call it.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 500)]
    description: Option<Option<String>>,
    /// Headers of its own: one that is named is set, one that is `null` goes, the others stay.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    headers: Option<Option<BTreeMap<String, Option<String>>>>,
    /// How much a webhook says.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Payload>)]
    payload: Option<Option<Payload>>,
    /// When it is tried again.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<EndpointRetries>)]
    retries: Option<Option<EndpointRetries>>,
    /// Deliveries per second at most.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    rate_limit: Option<Option<u32>>,
    /// In which order it gets them.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Order>)]
    order: Option<Option<Order>>,
}

/// Of which conversations an endpoint hears. What is not named stays; an empty list or `null` lets all through.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointFilter {
    /// Channels, such as `web`.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    channels: Option<Option<Vec<String>>>,
    /// Intents, such as `sales_inquiry`. Events that know of none pass.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    intents: Option<Option<Vec<String>>>,
}

/// When an endpoint is tried again, where that is otherwise than usual; in seconds. What is not named stays, `null` is as
/// usual.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointRetries {
    /// Before the first retry.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86400)]
    initial_delay_s: Option<Option<u32>>,
    /// Longest time between two tries.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86400)]
    max_delay_s: Option<Option<u32>>,
    /// When to give up.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 2592000)]
    give_up_after_s: Option<Option<u32>>,
}

/// How an endpoint's secret is to be replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretRotation {
    /// A secret of one's own.
    pub(super) secret: Option<String>,
    /// Whether a key pair is made, or a shared secret; what it was, unless this says otherwise.
    pub(super) asymmetric: Option<bool>,
}

/// Why an endpoint is switched off.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disabling {
    /// Why: `by hand` unless this says more.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

impl NewEndpoint {
    /// Puts what is said into an endpoint.
    pub(super) fn fill(self, endpoint: &mut Endpoint) -> Result<(), Problem> {
        let form = Form {
            url: Some(self.url),
            event_types: self.event_types,
            channels: self.filter.channels.flatten(),
            intents: self.filter.intents.flatten(),
            description: self.description,
            headers: self.headers,
            payload: self.payload,
            retries: Some(self.retries.over(Retries::default())),
            rate_limit: Some(self.rate_limit),
            order: self.order,
        };
        Ok(form.fill(endpoint)?)
    }
}

impl EndpointChange {
    /// The address that is asked for, if one is.
    pub(super) fn url(&self) -> Result<Option<String>, Problem> {
        match &self.url {
            Some(None) => Err(Problem::bad_request("invalid_url", "`url` cannot be taken away")),
            Some(Some(url)) => Ok(Some(url.clone())),
            None => Ok(None),
        }
    }

    /// Puts what is said into an endpoint, and the address as it was found to be.
    pub(super) fn fill(&self, endpoint: &mut Endpoint, url: Option<String>) -> Result<(), Problem> {
        let filter = self.filter.as_ref().map(|filter| filter.clone().unwrap_or_else(EndpointFilter::open));
        let filter = filter.unwrap_or_default();
        let usual = || vec![EventType::ConversationUpdated.as_str().to_owned()];
        let form = Form {
            url,
            event_types: self.event_types.clone().map(|types| types.unwrap_or_else(usual)),
            channels: filter.channels.map(Option::unwrap_or_default),
            intents: filter.intents.map(Option::unwrap_or_default),
            description: self.description.clone().map(Option::unwrap_or_default),
            headers: self.headers.as_ref().map(|change| merged(endpoint, change.as_ref())),
            payload: self.payload.map(Option::unwrap_or_default),
            retries: self
                .retries
                .as_ref()
                .map(|change| change.as_ref().map(|change| change.over(endpoint.retries)).unwrap_or_default()),
            rate_limit: self.rate_limit,
            order: self.order.map(Option::unwrap_or_default),
        };
        Ok(form.fill(endpoint)?)
    }
}

impl EndpointFilter {
    /// Lets all through.
    fn open() -> Self {
        Self { channels: Some(None), intents: Some(None) }
    }
}

impl EndpointRetries {
    fn over(&self, known: Retries) -> Retries {
        Retries {
            initial_delay_s: self.initial_delay_s.unwrap_or(known.initial_delay_s),
            max_delay_s: self.max_delay_s.unwrap_or(known.max_delay_s),
            give_up_after_s: self.give_up_after_s.unwrap_or(known.give_up_after_s),
        }
    }
}

impl Disabling {
    /// The reason in one line.
    pub(super) fn reason(self) -> Result<String, Problem> {
        let reason = self.reason.unwrap_or_else(|| BY_HAND.to_owned()).trim().to_owned();
        let chars = reason.chars().count();
        if chars == 0 || chars > REASON_CHARS || reason.chars().any(char::is_control) {
            let detail = format!("`reason` has 1 to {REASON_CHARS} characters, none of them control characters");
            return Err(Problem::bad_request("invalid_reason", detail));
        }
        Ok(reason)
    }
}

/// An endpoint's headers with a change of them.
fn merged(endpoint: &Endpoint, change: Option<&BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    let Some(change) = change else { return BTreeMap::new() };
    let known = endpoint.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut headers: BTreeMap<String, String> = known.collect();
    for (name, value) in change {
        let name = name.to_ascii_lowercase();
        match value {
            Some(value) => drop(headers.insert(name, value.clone())),
            None => drop(headers.remove(&name)),
        }
    }
    headers
}

/// A list of types to ask for.
fn offered() -> Array {
    let names = EventType::OFFERED.map(EventType::as_str);
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    ArrayBuilder::new()
        .items(name)
        .min_items(Some(1))
        .description(Some("What it wants to hear of: `conversation.updated` unless this says otherwise."))
        .build()
}
