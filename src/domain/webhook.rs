//! Webhook endpoints: where a company wants to hear of its conversations, of which of them, and in what form.

mod form;
mod headers;
mod pace;
mod secret;

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::event::EventType;
use super::id::{CompanyId, EndpointId};

pub use form::{Form, Invalid as InvalidForm};
pub use headers::{Headers, InvalidHeader};
pub use pace::{InvalidRateLimit, Order, RateLimit};
pub use secret::{Invalid as InvalidSecret, Secret};

/// How long a secret that was replaced still signs beside the new one.
pub const ROTATION: time::Duration = time::Duration::hours(24);

/// An endpoint of a company.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint.
    pub id: EndpointId,
    /// The company it belongs to.
    pub company_id: CompanyId,
    /// Where webhooks are posted.
    pub url: String,
    /// What they are signed with.
    pub secret: Secret,
    /// The secret before, as long as it still signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// What it wants to hear of.
    pub event_types: Vec<EventType>,
    /// Of which conversations.
    #[serde(default, skip_serializing_if = "Filter::is_open")]
    pub filter: Filter,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Headers of its own.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// How much a webhook says.
    #[serde(default, skip_serializing_if = "Payload::is_full")]
    pub payload: Payload,
    /// When it is tried again, otherwise than usual.
    #[serde(default, skip_serializing_if = "Retries::is_usual")]
    pub retries: Retries,
    /// How many deliveries it gets per second, unless as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// In which order it gets them.
    #[serde(default, skip_serializing_if = "Order::is_parallel")]
    pub order: Order,
    /// Why nothing is sent to it, if so.
    #[serde(flatten)]
    pub disabled: Option<Disabled>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Why nothing is sent to an endpoint. It is stored in fields beside each other, so that a version that knows of the
/// reason alone reads it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Why.
    #[serde(rename = "disabled")]
    pub reason: String,
    /// Since when, where that is known.
    #[serde(
        rename = "disabled_at",
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub at: Option<OffsetDateTime>,
    /// The message whose delivery ended so, if one did: should it come again, it is the one to tell of it.
    #[serde(rename = "disabled_by", default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
}

impl Disabled {
    /// Disabled now, for a reason.
    pub fn now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), at: Some(OffsetDateTime::now_utc()), by: None }
    }
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    /// The secret.
    pub secret: Secret,
    /// Until when it signs.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// Of which conversations an endpoint hears; an empty list lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Channels, such as `web`.
    #[serde(default)]
    pub channels: BTreeSet<String>,
    /// Intents, such as `sales_inquiry`. Events that know of none pass.
    #[serde(default)]
    pub intents: BTreeSet<String>,
}

impl Filter {
    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.channels.is_empty() && self.intents.is_empty()
    }

    /// Whether an event of a channel and an intent passes, as far as it has them.
    pub fn passes(&self, channel: Option<&str>, intent: Option<&str>) -> bool {
        let is_in = |list: &BTreeSet<String>, value: Option<&str>| {
            list.is_empty() || value.is_none_or(|value| list.contains(value))
        };
        is_in(&self.channels, channel) && is_in(&self.intents, intent)
    }
}

/// How much a webhook says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// All of it, the messages too.
    #[default]
    Full,
    /// What happened to what: ids and numbers, and no word of what was said.
    Thin,
}

impl Payload {
    fn is_full(&self) -> bool {
        *self == Self::Full
    }
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "thin" => Ok(Self::Thin),
            _ => Err(format!("{text:?} is not a payload; there are full and thin")),
        }
    }
}

/// When an endpoint is tried again, where that is otherwise than the settings say; in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Before the first retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_s: Option<u32>,
    /// Longest time between two tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_s: Option<u32>,
    /// When to give up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up_after_s: Option<u32>,
}

impl Retries {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The times that are to hold, of which `usual` are those of the settings: before the first retry, the longest, and
    /// when to give up.
    pub fn or(&self, usual: (Duration, Duration, Duration)) -> (Duration, Duration, Duration) {
        let or = |own: Option<u32>, usual| own.map_or(usual, |seconds| Duration::from_secs(u64::from(seconds)));
        let max = or(self.max_delay_s, usual.1);
        (or(self.initial_delay_s, usual.0).min(max), max, or(self.give_up_after_s, usual.2))
    }
}

impl Endpoint {
    /// An endpoint as it is unless more is said.
    pub fn new(
        id: EndpointId,
        company_id: CompanyId,
        url: String,
        secret: Secret,
        event_types: Vec<EventType>,
        created_at: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            company_id,
            url,
            secret,
            replaced: None,
            event_types,
            filter: Filter::default(),
            description: None,
            headers: Headers::default(),
            payload: Payload::default(),
            retries: Retries::default(),
            rate_limit: None,
            order: Order::default(),
            disabled: None,
            created_at,
        }
    }

    /// Signs with another secret from now on, and for a while with the old one too.
    pub fn rotate(&mut self, secret: Secret, now: OffsetDateTime) {
        let old = std::mem::replace(&mut self.secret, secret);
        self.replaced = Some(Replaced { secret: old, until: now + ROTATION });
    }

    /// What signs at `now`, the newest first.
    pub fn secrets(&self, now: OffsetDateTime) -> impl Iterator<Item = &Secret> {
        let replaced = self.replaced.iter().filter(move |replaced| now < replaced.until);
        std::iter::once(&self.secret).chain(replaced.map(|replaced| &replaced.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_every_version_has_stored_them() {
        let stored = |disabled: &str| {
            let text = format!(
                r#"{{"id":"ep_1","company_id":"acme","url":"https://acme.example/","secret":"whsec_","event_types":[],
                    "created_at":"2026-11-20T10:00:00Z"{disabled}}}"#
            );
            serde_json::from_str::<Endpoint>(&text).unwrap()
        };
        let plain = stored(r#","disabled":null"#);
        assert_eq!((plain.disabled.clone(), plain.rate_limit, plain.order), (None, None, Order::Parallel));
        assert_eq!(stored("").disabled, None);
        let disabled = |reason: &str| Disabled { reason: reason.to_owned(), at: None, by: None };
        assert_eq!(stored(r#","disabled":"answered 410 Gone""#).disabled, Some(disabled("answered 410 Gone")));

        // The reason stays where versions before look for it.
        let now = Endpoint { disabled: Some(Disabled::now("by hand")), ..plain.clone() };
        let written = serde_json::to_value(&now).unwrap();
        assert_eq!(written["disabled"], "by hand");
        assert_eq!(serde_json::from_value::<Endpoint>(written).unwrap(), now);
        let written = serde_json::to_value(&plain).unwrap();
        assert!(written.get("disabled_at").is_none() && written.get("rate_limit").is_none(), "{written}");
        assert_eq!(serde_json::from_value::<Endpoint>(written).unwrap(), plain);
    }

    #[test]
    fn a_rate_limit_is_one_to_a_thousand_per_second() {
        for (limit, is_one) in [(0, false), (1, true), (1000, true), (1001, false)] {
            assert_eq!(RateLimit::try_from(limit).is_ok(), is_one, "{limit}");
        }
        assert!(serde_json::from_str::<RateLimit>("0").is_err());
        assert_eq!(serde_json::to_string(&RateLimit::try_from(7).unwrap()).unwrap(), "7");
    }
}
