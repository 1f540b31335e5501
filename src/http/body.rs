//! Request bodies: bounded in size and time, UTF-8, and JSON of the right shape.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::runtime::tasks;

/// How much room is made for a body by what it says of its length.
const DECLARED_BYTES: usize = 1 << 20;
/// How much of a body that is refused is still read, so that its sender gets to see why.
const DRAINED_BYTES: usize = 256 << 20;
/// How long that may take.
const DRAINED_FOR: Duration = Duration::from_secs(10);

/// Reads a JSON body. With `must_say_so` its content type has to be there: a page of another site can send one without
/// asking, but none that says it is JSON.
///
/// # Errors
/// 415 for another content type, 413 over `limit` bytes, 408 when it takes longer than `patience`, 400 for invalid
/// UTF-8, malformed JSON or a wrong type, with the place.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
    must_say_so: bool,
) -> Result<T, Problem> {
    parse(&json_bytes(headers, body, limit, patience, must_say_so).await?)
}

/// As [`json`], but leaves the JSON as it came: for bodies that are looked into and passed on.
///
/// # Errors
/// As [`json`], but for what the bytes are.
pub(super) async fn json_bytes(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
    must_say_so: bool,
) -> Result<Bytes, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.map_or(!must_say_so, |value| {
        let value = value.split(';').next().unwrap_or_default().trim();
        value.eq_ignore_ascii_case("application/json") || value.to_ascii_lowercase().ends_with("+json")
    });
    if !is_json {
        drain(body);
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the body as application/json",
        ));
    }
    read(headers, body, limit, patience).await
}

/// Reads JSON of a shape, which may borrow from it.
///
/// # Errors
/// 400 for invalid UTF-8, malformed JSON or a wrong type, with the place.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::bad_request("invalid_utf8", format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    // A list would be read as the fields of an object in their order, which nobody means.
    if text.trim_start().starts_with('[') {
        return Err(Problem::bad_request("invalid_json", "the body is a list; it has to be an object"));
    }
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        if path == "." {
            return Problem::bad_request("invalid_json", error.into_inner().to_string());
        }
        Problem::bad_request("invalid_json", format!("`{path}`: {}", error.into_inner())).about(path)
    })
}

/// As [`json`] for requests that need no body: without one, what the type has by default.
///
/// # Errors
/// As [`json`].
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
    must_say_so: bool,
) -> Result<T, Problem> {
    if body.is_end_stream() {
        return Ok(T::default());
    }
    json(headers, body, limit, patience, must_say_so).await
}

/// Reads a body of any kind.
///
/// # Errors
/// 413 over `limit` bytes, 408 when it takes longer than `patience`.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize, patience: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("the body is larger than {limit} bytes"))
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        drain(body);
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::with_capacity(declared.unwrap_or(1024).min(DECLARED_BYTES));
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(Some(Ok(chunk))) => {
                if bytes.len() + chunk.len() > limit {
                    drain(Body::from_stream(stream));
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(Err(_))) => return Err(Problem::bad_request("body_broken_off", "the body broke off")),
            Ok(None) => return Ok(bytes.into()),
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body_timeout",
                    format!("the body did not arrive within {} s", patience.as_secs()),
                ));
            }
        }
    }
}

/// Reads on for a while after the answer is decided: a sender that meets a closed connection while it still writes
/// often never reads the answer.
fn drain(body: Body) {
    tasks::spawn("drain", async move {
        let mut stream = body.into_data_stream();
        let mut left = DRAINED_BYTES;
        let reading = async {
            while let Some(Ok(chunk)) = stream.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    break;
                }
            }
        };
        // The time is over or the sender is: either is fine.
        let _ = tokio::time::timeout(DRAINED_FOR, reading).await;
    });
}
