//! Strong entity tags, made of what is shown, and the requests that name them.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;

/// The tag of what is shown.
pub(super) fn of(shown: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(shown).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// What is shown, with its tag; or that it is as the client knows it (`If-None-Match`).
pub(super) fn tagged(headers: &HeaderMap, status: StatusCode, shown: &impl Serialize) -> Response {
    let tag = of(shown);
    match status {
        StatusCode::OK => tagged_as(headers, shown, &tag),
        status => respond(status, shown, &tag),
    }
}

/// As [`tagged`] for what is not all that there is: with the tag of the whole.
pub(super) fn tagged_as(headers: &HeaderMap, shown: &impl Serialize, tag: &str) -> Response {
    if names(headers, &header::IF_NONE_MATCH, tag) {
        return with_tag(StatusCode::NOT_MODIFIED.into_response(), tag);
    }
    respond(StatusCode::OK, shown, tag)
}

/// What is shown, with a tag.
pub(super) fn respond(status: StatusCode, shown: &impl Serialize, tag: &str) -> Response {
    with_tag((status, Json(shown)).into_response(), tag)
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// Refuses to change what is not as the client knows it.
///
/// # Errors
/// 412.
pub(super) fn check(headers: &HeaderMap, shown: &impl Serialize) -> Result<(), Problem> {
    if headers.contains_key(header::IF_MATCH) && !names(headers, &header::IF_MATCH, &of(shown)) {
        return Err(changed());
    }
    Ok(())
}

/// It was changed by somebody else.
pub(super) fn changed() -> Problem {
    let detail = "somebody has changed it meanwhile; read it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail)
}

fn names(headers: &HeaderMap, name: &header::HeaderName, tag: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    // Ours hold no comma. A weak tag is never equal to a strong one (RFC 9110, 8.8.3.2).
    values.flat_map(|value| value.split(',')).any(|named| matches!(named.trim(), "*") || named.trim() == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_knows_is_compared_with_what_is_there() {
        let tag = of(&"shown");
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
            check(&headers, &"shown").is_ok()
        };
        assert!(check(&HeaderMap::new(), &"shown").is_ok());
        assert!(asked(&tag) && asked("*") && asked(&format!("\"other\", {tag}")));
        assert!(!asked("\"other\"") && !asked(&format!("W/{tag}")) && !asked(""));
    }
}
