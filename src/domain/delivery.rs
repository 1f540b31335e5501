//! Deliveries: what became of each webhook for each endpoint, try by try.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::event::{Event, EventType, Origin};
use super::id::{CompanyId, ConversationId, EndpointId};

/// Tries of a delivery that are kept one by one; of all later ones only the last is.
pub const MOST_ATTEMPTS: u32 = 200;

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is on its way: not tried yet, or to be tried again.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Dead,
    /// It was not to be sent: its endpoint was disabled or removed.
    Discarded,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Discarded];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no state; there are pending, delivered, dead and discarded"))
    }
}

/// One webhook for one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Names it, in replays too.
    pub id: Uuid,
    /// Whose it is.
    pub company_id: CompanyId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The `webhook-id` header: the same for all endpoints, in every try and in every replay.
    pub webhook_id: String,
    /// What happened.
    pub event_type: EventType,
    /// What it happened to: the turn's id, unless it is no turn's.
    pub subject: String,
    /// The conversation that it happened in, if it did.
    pub conversation_id: Option<ConversationId>,
    /// The number of its turn in that conversation.
    pub sequence: Option<u64>,
    /// Its place among the deliveries of one turn.
    pub rank: u8,
    /// When the event was made.
    #[serde(with = "time::serde::rfc3339")]
    pub happened_at: OffsetDateTime,
    /// When its turn began, or the event was made where there is none: what decides whether the removal of a
    /// conversation takes it along.
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
    /// How often it was replayed.
    pub round: u32,
    /// The replay that it is on its way for.
    pub replay_id: Option<Uuid>,
    /// How it stands.
    pub standing: Standing,
}

impl Delivery {
    /// Its place in its conversation, if it has one.
    pub fn place(&self) -> Option<Place> {
        let (conversation_id, sequence) = (self.conversation_id?, self.sequence?);
        Some(Place { conversation_id, sequence, rank: self.rank })
    }
}

/// The place of a delivery in its conversation, by which an endpoint that wants order gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The number of the turn.
    pub sequence: u64,
    /// The place among the deliveries of one turn.
    pub rank: u8,
}

impl Place {
    /// The place in one number.
    pub fn position(&self) -> u64 {
        self.sequence.saturating_mul(u64::from(u8::MAX) + 1).saturating_add(self.rank.into())
    }
}

/// How a delivery stands, and what came of the tries so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// In a word.
    pub state: State,
    /// Tries since the last replay.
    pub attempts: u32,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Why it is not delivered.
    pub reason: Option<String>,
    /// When it was tried last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_attempt_at: Option<OffsetDateTime>,
    /// When it is tried next, if it is pending; it may be later when its endpoint is left alone.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
}

impl Standing {
    /// That of a delivery that is about to be tried.
    pub fn new(next_attempt_at: OffsetDateTime) -> Self {
        Self {
            state: State::Pending,
            attempts: 0,
            status: None,
            reason: None,
            last_attempt_at: None,
            next_attempt_at: Some(next_attempt_at),
        }
    }

    /// That of a delivery that will not be tried.
    pub fn discarded(reason: &str) -> Self {
        Self {
            state: State::Discarded,
            attempts: 0,
            status: None,
            reason: Some(reason.to_owned()),
            last_attempt_at: None,
            next_attempt_at: None,
        }
    }
}

/// A delivery with what is sent.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The delivery.
    pub delivery: Delivery,
    /// The body, exactly as it is sent and signed. What an endpoint did not want to hear of has none.
    pub payload: Option<Box<RawValue>>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Which one it was since the last replay, from 1 on.
    #[schema(minimum = 1)]
    pub number: u32,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// What came of it: `delivered`, `gone` (410), `busy` (429, 503), `status` (any other), `timeout`, `dns`, `connect`, `tls`,
    /// `protocol`, `url` or `address`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The answer's version of HTTP.
    pub http_version: Option<String>,
    /// The address that was connected to.
    pub remote_address: Option<String>,
    /// The answer's headers, secrets masked.
    pub headers: Vec<(String, String)>,
    /// The first 4 KiB of the answer's body, as far as it is text.
    pub body_start: String,
    /// How long it took, by phase.
    pub timing: Timing,
}

/// How long a try took, by phase, in milliseconds. A phase that did not take place is missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// Looking the name up.
    pub dns_ms: Option<f64>,
    /// Connecting, TLS included.
    pub connect_ms: Option<f64>,
    /// From the beginning of all to the first byte of the answer.
    pub first_byte_ms: Option<f64>,
    /// All of it, to the end of the answer.
    pub total_ms: f64,
}

/// Which deliveries are asked for. What is empty does not choose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Those of one endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Those that stand so.
    pub states: BTreeSet<State>,
    /// Those of one type of event.
    pub event_type: Option<EventType>,
    /// Those of one conversation.
    pub conversation_id: Option<ConversationId>,
    /// One.
    pub id: Option<Uuid>,
    /// Those whose event was made then or later.
    #[serde(with = "time::serde::rfc3339::option")]
    pub from: Option<OffsetDateTime>,
    /// Those whose event was made before then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Those of this turn of their conversation or a later one.
    pub from_sequence: Option<u64>,
    /// Those of this turn of their conversation or an earlier one.
    pub until_sequence: Option<u64>,
}

/// How an endpoint does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = EndpointHealth)]
pub struct Health {
    /// Deliveries on their way.
    pub pending: u64,
    /// Deliveries that arrived and are still kept.
    pub delivered: u64,
    /// Deliveries that were given up and are still kept.
    pub dead: u64,
    /// Deliveries that were not to be sent and are still kept.
    pub discarded: u64,
    /// When the next one is due.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Of the deliveries tried last, a thousand at most: how many.
    pub recent: u32,
    /// Of those, how many arrived.
    pub recent_delivered: u32,
    /// Of those that arrived, the median time of the last try, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The same at the 95th percentile.
    pub p95_ms: Option<f64>,
    /// The same at the 99th percentile.
    pub p99_ms: Option<f64>,
    /// Since when every try has failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// When a try succeeded last, give or take a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success_at: Option<OffsetDateTime>,
    /// When a try failed last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failure_at: Option<OffsetDateTime>,
    /// Why.
    pub last_failure: Option<String>,
    /// The breaker is open until then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub open_until: Option<OffsetDateTime>,
}

/// How a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// All that it was asked for is on its way.
    Done,
    /// Somebody stopped it.
    Cancelled,
}

/// Deliveries that are to be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Names it.
    pub id: Uuid,
    /// Whose it is.
    pub company_id: CompanyId,
    /// Which deliveries.
    pub filter: Filter,
    /// How it stands.
    pub state: ReplayState,
    /// Deliveries that were put on their way again.
    pub replayed: u64,
    /// Deliveries that were left as they are: on their way already, without a body, or without an endpoint.
    pub skipped: u64,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last went on.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Replay {
    /// A replay that has not begun.
    pub fn new(company_id: CompanyId, filter: Filter, now: OffsetDateTime) -> Self {
        Self {
            id: Uuid::new_v4(),
            company_id,
            filter,
            state: ReplayState::Running,
            replayed: 0,
            skipped: 0,
            created_at: now,
            updated_at: now,
        }
    }
}

/// One step of a replay, as it lies on the bus: so many deliveries after those of the last step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayStep {
    /// The replay.
    pub replay_id: Uuid,
    /// Where the last step ended.
    pub after: Option<String>,
    /// Whether there is nothing left but to say that the replay is done.
    #[serde(default)]
    pub ends: bool,
    /// What the last step put on its way at last: the next one waits until it was tried.
    pub last: Option<Uuid>,
    /// Deliveries that were put on their way so far.
    pub replayed: u64,
    /// Deliveries that were left as they are so far.
    pub skipped: u64,
}

impl ReplayStep {
    /// The first step of a replay.
    pub fn first(replay: &Replay) -> Self {
        Self { replay_id: replay.id, after: None, ends: false, last: None, replayed: 0, skipped: 0 }
    }

    /// The event that asks for the step.
    ///
    /// # Errors
    /// When it does not serialise.
    pub fn event(&self, source: &'static str, company_id: &CompanyId) -> Result<Event, serde_json::Error> {
        let subject = self.replay_id.to_string();
        let origin = Origin {
            source,
            conversation_id: ConversationId::of_subject(company_id, &subject),
            subject,
            company_id: company_id.clone(),
            traceparent: None,
        };
        let place = if self.ends { "end" } else { self.after.as_deref().unwrap_or_default() };
        Event::new(EventType::WebhookReplay, &origin, place, self)
    }
}
