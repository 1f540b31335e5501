//! Values as they lie in columns: times as nanoseconds since 1970, ids as text, whole objects as JSON.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::Error;

/// A time as nanoseconds since 1970.
///
/// # Errors
/// When it is before 1677 or after 2262.
pub fn nanos_of(time: OffsetDateTime) -> Result<i64, Error> {
    i64::try_from(time.unix_timestamp_nanos()).map_err(|_| Error::Content(format!("{time} is no time to be kept")))
}

/// The time that so many nanoseconds since 1970 are.
///
/// # Errors
/// When there is no such time.
pub fn time_of(nanos: i64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).map_err(content)
}

/// An object as JSON.
///
/// # Errors
/// When it does not serialise.
pub fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(content)
}

/// The object that JSON says.
///
/// # Errors
/// When the text is not one.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(content)
}

/// The identifier that a column holds.
///
/// # Errors
/// When the text is not one.
pub fn text_id<T: FromStr<Err: Display>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(content)
}

/// A count as SQLite keeps it, which has no unsigned integers.
///
/// # Errors
/// When it is negative.
pub fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Content(format!("{number} is no count")))
}

/// A count in the integers that SQLite has.
///
/// # Errors
/// When it is above 2^63.
pub fn signed(count: u64) -> Result<i64, Error> {
    i64::try_from(count).map_err(content)
}

fn content(error: impl Display) -> Error {
    Error::Content(error.to_string())
}
