//! What a provider says when it does not answer, as a typed error with a short reason that holds no secret.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::ports::model::Error;
use crate::ports::upstream::Refusal;

/// Bytes of an error's body that are read.
const BODY_LIMIT: usize = 16 * 1024;

/// How long the body of an error may take: the status alone says enough.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// Longest reason, in characters.
const REASON_LIMIT: usize = 200;

/// Words longer than this that mix letters and digits are taken for secrets.
const TOKEN_LENGTH: usize = 32;

/// How keys of common providers begin.
const KEY_PREFIXES: [&str; 6] = ["sk-", "sk_", "AIza", "gsk_", "hf_", "xai-"];

/// The error for an answer with a status other than 2xx.
pub(super) async fn of_status(mut response: Response, secret: Option<&str>) -> Error {
    let status = response.status();
    let waited = retry_after(response.headers(), OffsetDateTime::now_utc());
    let body = read_body(&mut response).await;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if refuses_key(&value) {
        return Error::Unauthorized;
    }
    let reason = match describe(&value) {
        Some(text) => format!("{}: {}", status.as_u16(), clean(&text, secret)),
        None => status.to_string(),
    };
    from_status(status, reason, waited.or_else(|| retry_delay(&value)))
}

/// The error for an answer of status 2xx that is not an event stream.
pub(super) async fn of_content_type(mut response: Response, content_type: &str, secret: Option<&str>) -> Error {
    if content_type == "application/json" {
        let body = read_body(&mut response).await;
        if let Some(error) = serde_json::from_slice(&body).ok().and_then(|value| from_json(&value, secret)) {
            return error;
        }
    }
    Error::Protocol(format!("expected text/event-stream, got {}", clean(content_type, secret)))
}

/// What an answer without success says, in the parts that OpenAI's form has.
pub(in crate::adapters::model) async fn of_answer(mut response: Response, secret: Option<&str>) -> Refusal {
    let body = read_body(&mut response).await;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = value.get(0).unwrap_or(&value).get("error");
    let part = |name: &str| {
        let part = error?.get(name)?;
        part.as_str().map(|text| clean(text, secret)).or_else(|| Some(part.as_i64()?.to_string()))
    };
    let said = describe(&value).map(|text| clean(&text, secret));
    Refusal {
        message: said.unwrap_or_else(|| response.status().to_string()),
        kind: part("type"),
        param: part("param"),
        code: part("code"),
        is_of_the_api: error.is_some_and(|error| !error.is_null())
            || value.get("object").and_then(Value::as_str) == Some("error"),
    }
}

/// The error that an event within a stream carries, if it carries one.
pub(in crate::adapters::model) fn in_stream(data: &[u8]) -> Option<Error> {
    from_json(&serde_json::from_slice(data).ok()?, None)
}

/// The innermost reason of an error of the HTTP client. It holds no address, as addresses may hold secrets.
pub(in crate::adapters::model) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) if error.is_timeout() => "timed out".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => clean(&cause.to_string(), None),
    }
}

fn from_status(status: StatusCode, reason: String, retry_after: Option<Duration>) -> Error {
    match status.as_u16() {
        401 | 403 => Error::Unauthorized,
        429 => Error::RateLimited { retry_after },
        408 | 504 => Error::Timeout("answering, by its own account"),
        // 402 is an empty account: another try ends the same, another provider does not.
        400..=499 => Error::BadRequest(reason),
        300..=399 => Error::Protocol(format!("redirects are not followed ({})", status.as_u16())),
        _ => Error::Unavailable(reason),
    }
}

/// Reads the error objects of OpenAI, vLLM, Ollama, OpenRouter and Google: an `error` object or text, or an object that
/// calls itself an error.
fn from_json(value: &Value, secret: Option<&str>) -> Option<Error> {
    let is_error = value.get("error").is_some_and(|error| !error.is_null())
        || value.get("object").and_then(Value::as_str) == Some("error");
    if !is_error {
        return None;
    }
    let error = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    let reason = clean(&describe(value).unwrap_or_else(|| "no reason given".to_owned()), secret);
    let number = |name: &str| error.get(name).and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    let status = number("code").or_else(|| number("status")).and_then(|code| u16::try_from(code).ok());
    if let Some(status) = status.filter(|status| *status >= 400).and_then(|status| StatusCode::from_u16(status).ok()) {
        return Some(from_status(status, reason, retry_delay(value)));
    }
    let names = ["code", "type", "status"].map(|name| error.get(name).and_then(Value::as_str).unwrap_or_default());
    let named = |wanted: &[&str]| names.iter().any(|name| wanted.iter().any(|part| name.contains(part)));
    Some(if named(&["rate_limit", "quota", "RESOURCE_EXHAUSTED"]) {
        Error::RateLimited { retry_after: retry_delay(value) }
    } else if named(&["invalid_api_key", "authentication", "permission", "UNAUTHENTICATED"]) {
        Error::Unauthorized
    } else if named(&["invalid_request", "context_length", "INVALID_ARGUMENT", "BadRequest"]) {
        Error::BadRequest(reason)
    } else {
        Error::Unavailable(reason)
    })
}

async fn read_body(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while body.len() < BODY_LIMIT {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
    };
    // A body that does not come leaves the status, which is enough.
    tokio::time::timeout(BODY_WAIT, read).await.ok();
    body.truncate(BODY_LIMIT);
    body
}

/// The human part of an error's body.
fn describe(value: &Value) -> Option<String> {
    // Google wraps the object in a list when it did not start a stream.
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let text = error
        .as_str()
        .or_else(|| error.get("message")?.as_str())
        .or_else(|| value.get("message")?.as_str())
        .or_else(|| value.get("detail")?.as_str())?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// The wait that headers ask for: seconds or a date, or milliseconds in OpenAI's own header.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |number: f64| Duration::try_from_secs_f64(number).ok();
    if let Some(wait) =
        text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).and_then(|ms| seconds(ms / 1e3))
    {
        return Some(wait);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
    // A date that has passed asks for no wait.
    Some(Duration::try_from(date - now).unwrap_or_default())
}

/// The wait that Google's error object asks for: `details[].retryDelay`, such as `"34.5s"`.
fn retry_delay(value: &Value) -> Option<Duration> {
    let value = value.get(0).unwrap_or(value);
    let details = value.get("error")?.get("details")?.as_array()?;
    let text = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// Whether the body says that the key is wrong: Google does so with status 400.
fn refuses_key(value: &Value) -> bool {
    let details = value.get(0).unwrap_or(value).get("error").and_then(|error| error.get("details")?.as_array());
    details.into_iter().flatten().any(|detail| detail.get("reason").and_then(Value::as_str) == Some("API_KEY_INVALID"))
}

/// Shortens a text from outside to one line without secrets.
fn clean(text: &str, secret: Option<&str>) -> String {
    let text = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => text.replace(secret, "[redacted]"),
        None => text.to_owned(),
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.' | '+' | '/');
        let mut token = String::new();
        for c in word.chars().filter(|c| !c.is_control()) {
            if is_token(c) {
                token.push(c);
            } else {
                push_token(&mut line, &mut token);
                line.push(c);
            }
        }
        push_token(&mut line, &mut token);
    }
    if let Some((end, _)) = line.char_indices().nth(REASON_LIMIT) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn push_token(line: &mut String, token: &mut String) {
    let mixed = token.bytes().any(|b| b.is_ascii_digit()) && token.bytes().any(|b| b.is_ascii_alphabetic());
    let looks_secret = (token.len() >= TOKEN_LENGTH && mixed)
        || (token.len() > 8 && KEY_PREFIXES.iter().any(|prefix| token.starts_with(prefix)));
    line.push_str(if looks_secret { "[redacted]" } else { token });
    token.clear();
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let now = datetime!(2026-11-20 10:00:00 UTC);
        let wait = |name, value| retry_after(&headers(name, value), now);
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "Fri, 20 Nov 2026 10:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("retry-after", "Fri, 20 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        for bad in ["-3", "soon", "NaN", "1e300", ""] {
            assert_eq!(wait("retry-after", bad), None, "{bad:?}");
        }
        let google = json!({"error": {"code": 429, "details": [{"@type": "x"}, {"retryDelay": "34.5s"}]}});
        assert_eq!(retry_delay(&google), Some(Duration::from_millis(34_500)));
    }

    #[test]
    fn reasons_are_short_and_hold_no_secret() {
        let text =
            "Incorrect key sk-abc123def456 (or 'AIzaSyD-1234567890abcdefghijklmnopqrstu')\nfor hunter22, see docs";
        assert_eq!(
            clean(text, Some("hunter22")),
            "Incorrect key [redacted] (or '[redacted]') for [redacted], see docs"
        );
        assert_eq!(clean("model gpt-4o-mini-2024-07-18 not found", None), "model gpt-4o-mini-2024-07-18 not found");
        let long = clean(&"ả".repeat(500), None);
        assert_eq!(long.chars().count(), REASON_LIMIT + 1);
    }

    #[test]
    fn error_objects_of_all_kinds_are_told_apart() {
        let kind = |value: Value| from_json(&value, None).map(|error| error.code());
        assert_eq!(
            kind(json!({"error": {"message": "slow down", "type": "rate_limit_exceeded"}})),
            Some("rate_limited")
        );
        assert_eq!(kind(json!({"error": {"message": "x", "code": "429"}})), Some("rate_limited"));
        assert_eq!(
            kind(json!({"error": {"message": "x", "code": 400, "status": "INVALID_ARGUMENT"}})),
            Some("bad_request")
        );
        assert_eq!(kind(json!({"error": {"message": "x", "code": "invalid_api_key"}})), Some("unauthorized"));
        assert_eq!(kind(json!({"error": "model is loading"})), Some("unavailable"));
        assert_eq!(kind(json!({"object": "error", "message": "too long", "code": 400})), Some("bad_request"));
        assert_eq!(kind(json!({"error": null, "choices": []})), None);
        assert_eq!(kind(json!({"object": "chat.completion", "choices": []})), None);
    }
}
