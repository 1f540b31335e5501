//! Which deliveries an endpoint's page is to show, and what it says of what was done.

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::super::visit::Place;
use super::super::webhooks::address;
use super::super::words;
use crate::domain::delivery::{Filter, State as Standing};
use crate::domain::event::EventType;
use crate::domain::webhook::Endpoint;
use crate::http::problem::Problem;

/// A time before now.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Since {
    #[default]
    #[serde(rename = "")]
    Ever,
    Hour,
    Day,
    Week,
}

impl Since {
    /// All of them, with their names and words.
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Ever, "", "any time"),
        (Self::Hour, "hour", "the last hour"),
        (Self::Day, "day", "the last 24 hours"),
        (Self::Week, "week", "the last 7 days"),
    ];

    /// The moment that it began, if it did.
    pub(super) fn from(self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let length = match self {
            Self::Ever => return None,
            Self::Hour => Duration::HOUR,
            Self::Day => Duration::DAY,
            Self::Week => Duration::WEEK,
        };
        Some(now - length)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(one, ..)| *one == self).map_or("", |(_, name, _)| name)
    }
}

/// Which deliveries are wanted. What is empty does not choose.
#[derive(Clone, Deserialize)]
pub(in crate::http::console) struct Wanted {
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) event: String,
    #[serde(default)]
    pub(super) since: Since,
    /// Where the page before this one ended.
    #[serde(default)]
    pub(super) after: String,
    /// What was done a moment ago.
    #[serde(default)]
    said: String,
    /// What a test came back with, and after how many milliseconds; without a status, the kind of what was wrong.
    status: Option<u16>,
    #[serde(default)]
    ms: u32,
    #[serde(default)]
    kind: String,
}

impl Wanted {
    pub(super) fn filter(&self, endpoint: &Endpoint) -> Result<Filter, Problem> {
        let invalid = |what: &str| Problem::bad_request("invalid_filter", format!("this is no {what}"));
        let state = Some(self.state.as_str()).filter(|text| !text.is_empty()).map(str::parse::<Standing>).transpose();
        let named = |event: &&EventType| event.as_str() == self.event;
        let event_type = match self.event.as_str() {
            "" => None,
            _ => Some(*endpoint.event_types.iter().find(named).ok_or_else(|| invalid("event of the endpoint"))?),
        };
        Ok(Filter {
            endpoint_id: Some(endpoint.id.clone()),
            states: state.map_err(|_| invalid("state"))?.into_iter().collect(),
            event_type,
            from: self.since.from(OffsetDateTime::now_utc()),
            ..Filter::default()
        })
    }

    /// What is to be said of what was done, and as what. The words are ours, whatever an address holds.
    pub(super) fn said(&self) -> Option<(&'static str, String)> {
        let plain = |text: &str| Some(("said", text.to_owned()));
        match (self.said.as_str(), self.status) {
            ("disabled", _) => plain("It is disabled: nothing is sent to it."),
            ("enabled", _) => plain("It is enabled: it gets what happens from now on."),
            ("replaying", _) => plain("The replay is under way. What arrives turns green here."),
            ("cancelled", _) => plain("The replay is stopped. What is on its way already still arrives."),
            ("tested", Some(status @ 200..300)) => {
                Some(("said", format!("The test arrived: {status} after {}.", words::milliseconds(self.ms.into()))))
            }
            ("tested", Some(status)) => {
                Some(("alarm", format!("The test failed: {status} after {}.", words::milliseconds(self.ms.into()))))
            }
            ("tested", None) => {
                let why = match self.kind.as_str() {
                    "url" => "the address cannot be a webhook’s",
                    "address" => "the address is none of the internet’s",
                    "dns" => "the name could not be resolved",
                    "connect" => "nobody listens there",
                    "tls" => "the connection could not be secured",
                    "timeout" => "no complete answer came in time",
                    "secret" => "its secret cannot sign; rotate it",
                    _ => "what came back is no proper HTTP answer",
                };
                Some(("alarm", format!("The test failed: {why}.")))
            }
            _ => None,
        }
    }

    pub(super) fn is_chosen(&self) -> bool {
        !self.state.is_empty() || !self.event.is_empty() || self.since != Since::Ever || !self.after.is_empty()
    }

    pub(super) fn address(&self, place: &Place, endpoint: &Endpoint, after: &str) -> String {
        let fields =
            [("state", self.state.as_str()), ("event", &self.event), ("since", self.since.name()), ("after", after)];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = fields.map(|(name, value)| format!("{name}={}", words::encode(value))).collect();
        format!("{}?{}", address(place, endpoint), query.join("&"))
    }
}
