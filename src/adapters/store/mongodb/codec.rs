//! Values as they lie in documents. What is kept of the domain looks as it does in JSON, field by field, so that whoever
//! opens the database can read and query it: texts, numbers, and times as RFC 3339 texts with their nanoseconds, which
//! the database's own dates do not have. Beside it stand dates and numbers that the database sorts and expires by.

use std::time::Duration;

use ::mongodb::bson::{Bson, DateTime, Decimal128, Document, doc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use time::OffsetDateTime;

use crate::domain::CompanyId;
use crate::ports::store::Error;

/// What a document of a company is found by: its id, which begins with the company, and the company once more, which is
/// what clusters are sharded by.
pub(super) fn key(company: &CompanyId, id: &str) -> Document {
    doc! { "_id": id_of(company, id), "company_id": company.as_str() }
}

/// The id of a document of a company. Company ids hold no '/', so two pairs never make one id.
pub(super) fn id_of(company: &CompanyId, id: &str) -> String {
    format!("{company}/{id}")
}

/// An object of the domain as a document.
///
/// # Errors
/// `Invalid` when it does not serialise to an object.
pub(super) fn to_document(value: &impl Serialize) -> Result<Document, Error> {
    match serde_json::to_value(value).map_err(invalid)? {
        Value::Object(fields) => document(fields),
        _ => Err(Error::Invalid("it is no object".to_owned())),
    }
}

/// The object of the domain that a document says.
///
/// # Errors
/// `Invalid` when it says none.
pub(super) fn from_document<T: DeserializeOwned>(document: Document) -> Result<T, Error> {
    from_fields(fields_of(document)?)
}

/// The fields of a document in JSON.
///
/// # Errors
/// `Invalid` when one of them is nothing that JSON has.
pub(super) fn fields_of(document: Document) -> Result<Map<String, Value>, Error> {
    document.into_iter().map(|(name, value)| Ok((name, to_json(value)?))).collect()
}

/// The object of the domain that fields say.
///
/// # Errors
/// `Invalid` when they say none.
pub(super) fn from_fields<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Error> {
    serde_json::from_value(Value::Object(fields)).map_err(invalid)
}

/// A time as a date, which has milliseconds. It is never before the time.
///
/// # Errors
/// `Invalid` when it is out of a date's range.
pub(super) fn date_of(time: OffsetDateTime) -> Result<DateTime, Error> {
    let nanos = time.unix_timestamp_nanos();
    let millis = nanos.div_euclid(1_000_000) + i128::from(nanos.rem_euclid(1_000_000) != 0);
    i64::try_from(millis).map(DateTime::from_millis).map_err(invalid)
}

/// The time that a date is.
///
/// # Errors
/// `Invalid` when there is no such time.
pub(super) fn time_of(date: DateTime) -> Result<OffsetDateTime, Error> {
    nanos_to_time(i128::from(date.timestamp_millis()) * 1_000_000)
}

/// A time as nanoseconds since 1970.
///
/// # Errors
/// `Invalid` when it is before 1677 or after 2262.
pub(super) fn nanos_of(time: OffsetDateTime) -> Result<i64, Error> {
    i64::try_from(time.unix_timestamp_nanos()).map_err(|_| Error::Invalid(format!("{time} is no time to be kept")))
}

/// The time that so many nanoseconds since 1970 are.
///
/// # Errors
/// `Invalid` when there is no such time.
pub(super) fn nanos_to_time(nanos: i128) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(invalid)
}

/// A count as the database keeps it, which has no unsigned integers.
///
/// # Errors
/// `Invalid` above 2^63.
pub(super) fn signed(count: u64) -> Result<i64, Error> {
    i64::try_from(count).map_err(invalid)
}

/// The count in a field.
///
/// # Errors
/// `Invalid` when the field is missing or negative.
pub(super) fn count_in(document: &Document, field: &str) -> Result<u64, Error> {
    let number = match document.get(field) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => return Err(Error::Invalid(format!("a document of the database has no number {field}"))),
    };
    u64::try_from(number).map_err(invalid)
}

/// What is not over at `now`: documents without an end, and those whose end is still to come. The database removes the
/// others by itself, but only about once a minute.
pub(super) fn not_over(now: DateTime) -> Document {
    doc! { "$not": { "$lte": now } }
}

/// A number of rows for the driver.
pub(super) fn at_most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A pause before something that several processes tried at once is tried again, longer with every try.
pub(super) async fn pause(tries: u32) {
    let random = getrandom::u32().unwrap_or_default();
    let most = 8_u64 << tries.min(5);
    tokio::time::sleep(Duration::from_micros(500 + u64::from(random) * 1_000 * most / u64::from(u32::MAX))).await;
}

fn document(fields: Map<String, Value>) -> Result<Document, Error> {
    fields.into_iter().map(|(name, value)| Ok((name, to_bson(value)?))).collect()
}

fn to_bson(value: Value) -> Result<Bson, Error> {
    Ok(match value {
        Value::Null => Bson::Null,
        Value::Bool(is_so) => Bson::Boolean(is_so),
        Value::Number(number) => number_to_bson(&number)?,
        Value::String(text) => Bson::String(text),
        Value::Array(items) => Bson::Array(items.into_iter().map(to_bson).collect::<Result<_, _>>()?),
        Value::Object(fields) => Bson::Document(document(fields)?),
    })
}

fn number_to_bson(number: &Number) -> Result<Bson, Error> {
    if let Some(signed) = number.as_i64() {
        return Ok(Bson::Int64(signed));
    }
    if let Some(unsigned) = number.as_u64() {
        // What no signed integer holds is kept exactly, and still a number.
        return unsigned.to_string().parse::<Decimal128>().map(Bson::Decimal128).map_err(invalid);
    }
    number.as_f64().map(Bson::Double).ok_or_else(|| Error::Invalid(format!("{number} is no number to be kept")))
}

fn to_json(value: Bson) -> Result<Value, Error> {
    Ok(match value {
        Bson::Null => Value::Null,
        Bson::Boolean(is_so) => Value::Bool(is_so),
        Bson::Int32(number) => Value::from(number),
        Bson::Int64(number) => Value::from(number),
        Bson::Double(number) => Value::from(number),
        Bson::Decimal128(number) => Value::from(number.to_string().parse::<u64>().map_err(invalid)?),
        Bson::String(text) => Value::String(text),
        Bson::Array(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        Bson::Document(document) => Value::Object(fields_of(document)?),
        // Dates and the like stand beside what is kept of the domain and are not part of it.
        _ => Value::Null,
    })
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_come_back_as_they_were() {
        let object = json!({
            "text": "lãi \u{0} $where", "none": null, "flag": true, "list": [1, -2, [0.1]], "large": u64::MAX,
            "small": i64::MIN, "exact": 0.1, "f32": 0.1_f32, "whole": 2.0, "inner": {"a": {"b": "c"}},
        });
        assert_eq!(from_document::<Value>(to_document(&object).unwrap()).unwrap(), object);
    }

    #[test]
    fn nothing_ends_before_its_time() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_000_000_001).unwrap();
        assert_eq!(date_of(time).unwrap().timestamp_millis(), 1_700_000_000_001);
        assert_eq!(time_of(date_of(time).unwrap()).unwrap() - time, time::Duration::nanoseconds(999_999));
        let early = OffsetDateTime::from_unix_timestamp_nanos(-1).unwrap();
        assert_eq!(date_of(early).unwrap().timestamp_millis(), 0);
    }
}
