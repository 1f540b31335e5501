//! A message as RabbitMQ carries it: the event as the body, the rest in properties and headers of ours.

use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use time::OffsetDateTime;
use uuid::Uuid;

use super::delay::Way;
use super::names::{Names, short};
use crate::ports::bus::{Error, Message, Queue};

/// Whose message it is, so that it can be erased.
const COMPANY: &str = "turnpike-company";
/// `<type>.<company>`: the routing key of the envelope tells the way, not always this.
const TOPIC: &str = "turnpike-topic";
/// Tries that failed. The server's own count says how often it was given, which is something else.
const ATTEMPTS: &str = "turnpike-attempts";
/// When it first came to its queue, in nanoseconds since 1970.
const QUEUED_AT: &str = "turnpike-queued-at";
/// Milliseconds to wait after the delay levels.
const REST: &str = "turnpike-rest-ms";
/// There if the ledger knows the message though its queue is not one of which it knows all.
const BOOKED: &str = "turnpike-booked";
/// Of a dead letter: the queue it was in, and why and when it was given up.
const DEAD: [&str; 3] = ["turnpike-queue", "turnpike-reason", "turnpike-died-at"];
/// How often the server has given the message before.
const DELIVERIES: &str = "x-delivery-count";

/// A message on its way to the server.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// The event's id, by which a message that came back is known.
    pub(super) id: Uuid,
    /// Where it goes in; the nameless one leads to the queue of the routing key's name.
    pub(super) exchange: ShortString,
    /// Where it goes from there.
    pub(super) routing_key: ShortString,
    /// Whether a queue must take it.
    pub(super) is_expected: bool,
    /// The event.
    pub(super) body: Bytes,
    /// Properties and headers.
    pub(super) properties: BasicProperties,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Envelope {
    /// The message.
    pub(super) message: Message,
    /// Whose it is; empty when nobody said.
    pub(super) company: String,
    /// What is left to wait.
    pub(super) rest: Duration,
    /// Whether the ledger knows it.
    pub(super) is_booked: bool,
    /// How often it was given before.
    pub(super) deliveries: u64,
    /// The queue that gave it up and the reason, of a dead letter of ours.
    pub(super) is_buried: bool,
    /// When it was given up, if it is one.
    pub(super) died_at: Option<OffsetDateTime>,
    /// The queue that it was in when the server itself gave it up.
    pub(super) given_up_by: Option<String>,
}

impl Outgoing {
    /// By topic, to all queues that take it.
    pub(super) fn to_all(names: &Names, message: &Message) -> Result<Self, Error> {
        let is_expected = Queue::ALL.into_iter().any(|queue| queue.takes(&message.routing_key));
        Self::new(&names.events(), &message.routing_key, message, headers(message), is_expected)
    }

    /// Into one queue.
    pub(super) fn to_one(names: &Names, queue: Queue, message: &Message) -> Result<Self, Error> {
        Self::new("", &names.queue(queue), message, booked(queue, headers(message)), true)
    }

    /// Into one queue, but later; at least a second.
    pub(super) fn later(
        names: &Names,
        queue: Queue,
        message: &Message,
        after: Duration,
        is_booked: bool,
    ) -> Result<Self, Error> {
        let mut headers = headers(message);
        if is_booked {
            headers = booked(queue, headers);
        }
        let Some(Way { level, routing_key, rest }) = Way::new(after, short(queue)) else {
            return Self::new("", &names.queue(queue), message, headers, true);
        };
        let rest = i64::try_from(rest.as_millis()).unwrap_or(i64::MAX);
        headers.insert(REST.into(), rest.into());
        Self::new(&names.level(level), &routing_key, message, headers, true)
    }

    /// Among the dead letters.
    pub(super) fn dead(names: &Names, queue: Queue, message: &Message, reason: &str) -> Result<Self, Error> {
        let mut headers = headers(message);
        let [in_queue, because, died_at] = DEAD;
        headers.insert(in_queue.into(), string(queue.name()));
        headers.insert(because.into(), string(reason));
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
        headers.insert(died_at.into(), AMQPValue::Timestamp(now));
        Self::new("", &names.dead(), message, headers, true)
    }

    fn new(
        exchange: &str,
        routing_key: &str,
        message: &Message,
        headers: FieldTable,
        is_expected: bool,
    ) -> Result<Self, Error> {
        let short = |text: &str| {
            ShortString::try_new(text).map_err(|_| Error::Invalid(format!("{text:?} is too long for a routing key")))
        };
        let event_type = message.routing_key.rsplit_once('.').map_or("", |(event_type, _)| event_type);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(message.id.to_string().into())
            .with_content_type("application/cloudevents+json".into())
            .with_type(short(event_type)?)
            .with_headers(headers);
        let (exchange, routing_key) = (short(exchange)?, short(routing_key)?);
        Ok(Self { id: message.id, exchange, routing_key, is_expected, body: message.body.clone(), properties })
    }
}

impl Envelope {
    /// What came. Whoever published it: what it does not say is made up, and the job judges the body.
    pub(super) fn open(delivery: &mut Delivery) -> Self {
        let body: Bytes = std::mem::take(&mut delivery.data).into();
        let properties = &delivery.properties;
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none);
        let text = |name: &str| headers.inner().get(name).and_then(text_of);
        let number = |name: &str| headers.inner().get(name).and_then(number_of);
        let topic = text(TOPIC).unwrap_or_else(|| delivery.routing_key.to_string());
        let company = text(COMPANY).or_else(|| topic.rsplit_once('.').map(|(_, company)| company.to_owned()));
        let given = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
        let id = given.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, &body));
        let queued_at = number(QUEUED_AT)
            .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).ok())
            .unwrap_or_else(OffsetDateTime::now_utc);
        Self {
            message: Message {
                id,
                routing_key: topic,
                body,
                attempts: number(ATTEMPTS).and_then(|attempts| attempts.try_into().ok()).unwrap_or_default(),
                first_queued_at: queued_at,
            },
            company: company.unwrap_or_default(),
            rest: Duration::from_millis(number(REST).and_then(|rest| rest.try_into().ok()).unwrap_or_default()),
            is_booked: headers.contains_key(BOOKED),
            deliveries: number(DELIVERIES).and_then(|count| count.try_into().ok()).unwrap_or_default(),
            is_buried: headers.contains_key(DEAD[0]),
            died_at: headers.inner().get(DEAD[2]).and_then(time_of),
            given_up_by: text("x-first-death-queue"),
        }
    }
}

/// Whose message it is, of its topic.
pub(super) fn company_of(message: &Message) -> &str {
    message.routing_key.rsplit_once('.').map_or("", |(_, company)| company)
}

/// The same message, come to its queue now.
pub(super) fn queued_now(message: &Message) -> Message {
    Message { first_queued_at: OffsetDateTime::now_utc(), ..message.clone() }
}

fn headers(message: &Message) -> FieldTable {
    let queued_at = i64::try_from(message.first_queued_at.unix_timestamp_nanos()).unwrap_or_default();
    let mut table = FieldTable::default();
    table.insert(COMPANY.into(), string(company_of(message)));
    table.insert(TOPIC.into(), string(&message.routing_key));
    table.insert(ATTEMPTS.into(), i64::from(message.attempts).into());
    table.insert(QUEUED_AT.into(), queued_at.into());
    table
}

fn booked(queue: Queue, mut headers: FieldTable) -> FieldTable {
    if queue != Queue::Deliver {
        headers.insert(BOOKED.into(), true.into());
    }
    headers
}

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The time in a header.
fn time_of(value: &AMQPValue) -> Option<OffsetDateTime> {
    let AMQPValue::Timestamp(seconds) = value else { return None };
    OffsetDateTime::from_unix_timestamp(i64::try_from(*seconds).ok()?).ok()
}

fn number_of(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        _ => None,
    }
}
