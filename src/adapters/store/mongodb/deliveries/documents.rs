//! Deliveries as documents.

use ::mongodb::bson::{Bson, DateTime, Document, doc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::codec::{from_document, nanos_of, nanos_to_time, signed, to_document};
use crate::domain::CompanyScope;
use crate::domain::delivery::{
    Attempt, Delivery, Filter, Health, MOST_ATTEMPTS, Parcel, Replay, ReplayState, Standing,
};
use crate::ports::deliveries::Cursor;
use crate::ports::store::Error;

/// The collection of how endpoints did.
pub(super) const HEALTH: &str = "endpoint_health";

/// What a delivery is written down as.
pub(super) fn of_parcel(parcel: &Parcel, expires_at: DateTime) -> Result<Document, Error> {
    let it = &parcel.delivery;
    let mut fields = to_document(it)?;
    // It stands in the key.
    fields.remove("company_id");
    fields.extend(doc! {
        "happened_ns": nanos_of(it.happened_at)?, "began_ns": nanos_of(it.began_at)?,
        "next_attempt_ns": next_in(&it.standing)?, "expires_at": expires_at,
    });
    if let Some(place) = it.place() {
        fields.insert("position", signed(place.position())?);
    }
    if let Some(payload) = &parcel.payload {
        fields.insert("payload", payload.get());
    }
    Ok(fields)
}

/// When a delivery is tried next, as it is sorted by. One that is not has the end of all times.
pub(super) fn next_in(standing: &Standing) -> Result<i64, Error> {
    standing.next_attempt_at.map_or(Ok(i64::MAX), nanos_of)
}

/// Where a try stands in its delivery: all by their time, and of those beyond the most the last.
pub(super) fn slot_of(attempt: &Attempt) -> Result<String, Error> {
    let slot = if attempt.number > MOST_ATTEMPTS { i64::MAX } else { nanos_of(attempt.started_at)? };
    // A name of digits alone could be taken for a place in an array.
    Ok(format!("tries.t{slot:019}"))
}

/// A time as it stands in what is kept of the domain.
pub(super) fn text_of(time: OffsetDateTime) -> Result<String, Error> {
    time.format(&Rfc3339).map_err(|error| Error::Invalid(error.to_string()))
}

/// The state of a replay as it stands in documents.
pub(super) fn state_name(state: ReplayState) -> Result<String, Error> {
    name(&state)
}

fn name(value: &impl Serialize) -> Result<String, Error> {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => Ok(name),
        _ => Err(Error::Invalid("it has no name".to_owned())),
    }
}

/// What a filter asks for.
pub(super) fn want(scope: &CompanyScope, filter: &Filter) -> Result<Document, Error> {
    let mut query = doc! { "company_id": scope.company().as_str() };
    let texts = [
        ("id", filter.id.map(|id| id.to_string())),
        ("endpoint_id", filter.endpoint_id.as_ref().map(|id| id.as_str().to_owned())),
        ("conversation_id", filter.conversation_id.map(|id| id.to_string())),
        ("event_type", filter.event_type.map(|it| it.as_str().to_owned())),
    ];
    query.extend(texts.into_iter().filter_map(|(field, text)| Some((field.to_owned(), Bson::String(text?)))));
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        query.insert("standing.state", doc! { "$in": states });
    }
    let times = (filter.from.map(nanos_of).transpose()?, filter.until.map(nanos_of).transpose()?);
    within(&mut query, "happened_ns", times, "$lt");
    let sequences = (filter.from_sequence.map(signed).transpose()?, filter.until_sequence.map(signed).transpose()?);
    within(&mut query, "sequence", sequences, "$lte");
    Ok(query)
}

fn within(query: &mut Document, field: &str, (from, until): (Option<i64>, Option<i64>), end: &str) {
    let mut range = Document::new();
    range.extend(from.map(|from| ("$gte".to_owned(), Bson::Int64(from))));
    range.extend(until.map(|until| (end.to_owned(), Bson::Int64(until))));
    if !range.is_empty() {
        query.insert(field, range);
    }
}

/// Where a page that ends with a delivery ends.
pub(super) fn cursor_of(document: &Document) -> Result<Cursor, Error> {
    let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("a delivery in the log: {error}"));
    let happened_ns = document.get_i64("happened_ns").map_err(|error| invalid(&error))?;
    let id = document.get_str("id").map_err(|error| invalid(&error))?;
    Ok(Cursor { happened_ns, id: id.parse().map_err(|error| invalid(&error))? })
}

pub(super) fn delivery(document: Document) -> Result<Delivery, Error> {
    from_document(document)
}

pub(super) fn parcel(mut document: Document) -> Result<Parcel, Error> {
    let payload = match document.remove("payload") {
        Some(Bson::String(text)) => {
            Some(RawValue::from_string(text).map_err(|error| Error::Invalid(error.to_string()))?)
        }
        _ => None,
    };
    Ok(Parcel { delivery: delivery(document)?, payload })
}

/// The tries in a delivery, oldest first.
pub(super) fn attempts(mut document: Document) -> Result<Vec<Attempt>, Error> {
    let Some(Bson::Document(tries)) = document.remove("tries") else { return Ok(Vec::new()) };
    let mut tries: Vec<(String, Bson)> = tries.into_iter().collect();
    tries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let documents = tries.into_iter().filter_map(|(_, attempt)| match attempt {
        Bson::Document(attempt) => Some(attempt),
        _ => None,
    });
    documents.map(from_document).collect()
}

pub(super) fn replay(document: Document) -> Result<Replay, Error> {
    from_document(document)
}

/// Adds to the health of an endpoint what is written down of it.
pub(super) fn health_times(health: &mut Health, written: Option<&Document>) -> Result<(), Error> {
    let Some(written) = written else { return Ok(()) };
    let time = |field: &str| written.get_i64(field).ok().map(|nanos| nanos_to_time(nanos.into())).transpose();
    health.failing_since = time("failing_since_ns")?;
    health.last_success_at = time("last_success_ns")?;
    health.last_failure_at = time("last_failure_ns")?;
    health.open_until = time("open_until_ns")?;
    health.last_failure = written.get_str("last_failure").ok().map(str::to_owned);
    Ok(())
}
