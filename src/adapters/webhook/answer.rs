//! What is kept of an answer: little, and without secrets.

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::HeaderMap;

use crate::ports::webhook::Answer;

/// Headers kept of an answer.
const MOST_HEADERS: usize = 50;
/// Bytes of their names and values.
const MOST_HEADER_BYTES: usize = 8 * 1024;
/// What stands for a secret.
const MASK: &str = "***";
/// Headers whose value is a secret, besides all that begin with `proxy-`.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "set-cookie", "set-cookie2", "www-authenticate"];
/// An endpoint's own headers hold keys, most of all. What is shorter in them is a word.
const SHORTEST_SECRET: usize = 8;
/// Headers of a request that are ours and hold no secret.
const OUR_HEADERS: [&str; 2] = ["content-type", "user-agent"];

/// Reads an answer up to a limit of its body and leaves the rest, which closes the connection.
///
/// # Errors
/// When the connection fails.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Answer, reqwest::Error> {
    let (status, http_version) = (response.status().as_u16(), version(&response));
    let retry_after = response.headers().get("retry-after").and_then(|it| it.to_str().ok()).map(str::to_owned);
    let headers = kept(response.headers());
    let mut start = BytesMut::new();
    while start.len() < limit {
        match response.chunk().await? {
            Some(chunk) => start.extend_from_slice(chunk.get(..limit - start.len()).unwrap_or(&chunk)),
            None => break,
        }
    }
    Ok(Answer { status, http_version, retry_after, headers, body_start: start.freeze() })
}

fn version(response: &Response) -> &'static str {
    match response.version() {
        reqwest::Version::HTTP_10 => "HTTP/1.0",
        reqwest::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The first headers, as many as there is room for.
fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MOST_HEADER_BYTES;
    let mut kept = Vec::new();
    for (name, value) in headers.iter().take(MOST_HEADERS) {
        let name = name.as_str();
        let value = match SECRET_HEADERS.contains(&name) || name.starts_with("proxy-") {
            true => MASK.to_owned(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        let Some(left) = room.checked_sub(name.len() + value.len()) else { break };
        room = left;
        kept.push((name.to_owned(), value));
    }
    kept
}

/// An answer in which nothing is left of the secrets among a request's headers, which some receivers send back.
pub(super) fn masked(mut answer: Answer, request: &[(String, String)]) -> Answer {
    let is_ours = |name: &str| name.starts_with("webhook-") || OUR_HEADERS.contains(&name);
    // A word at a time: of `Bearer KEY`, receivers may send back the key alone.
    let words = request.iter().filter(|(name, _)| !is_ours(name)).flat_map(|(_, value)| value.split_whitespace());
    for secret in words.filter(|word| word.len() >= SHORTEST_SECRET) {
        for (_, value) in &mut answer.headers {
            if value.contains(secret) {
                *value = value.replace(secret, MASK);
            }
        }
        answer.body_start = without(answer.body_start, secret.as_bytes());
    }
    answer
}

/// A text with a mask in each place of a secret.
fn without(text: Bytes, secret: &[u8]) -> Bytes {
    let mut places = text.windows(secret.len()).enumerate().filter(|(_, window)| *window == secret).map(|(at, _)| at);
    let Some(first) = places.next() else { return text };
    let mut masked = BytesMut::with_capacity(text.len());
    let mut done = 0;
    for at in std::iter::once(first).chain(places) {
        // Places that overlap with the one before are gone with it.
        if let Some(between) = text.get(done..at) {
            masked.extend_from_slice(between);
            masked.extend_from_slice(MASK.as_bytes());
            done = at + secret.len();
        }
    }
    masked.extend_from_slice(text.get(done..).unwrap_or_default());
    masked.freeze()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: impl IntoIterator<Item = (String, String)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        headers
    }

    #[test]
    fn few_headers_are_kept_and_none_that_is_a_secret() {
        let many = headers((0..60).map(|n| (format!("x-{n}"), n.to_string())));
        assert_eq!(kept(&many).len(), MOST_HEADERS);
        let large = headers((0..20).map(|n| (format!("x-{n}"), "v".repeat(1000))));
        assert_eq!(kept(&large).len(), 8);
        let secret = headers(
            [("Set-Cookie", "a=1"), ("proxy-authenticate", "Basic"), ("WWW-Authenticate", "x"), ("server", "s")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let kept = kept(&secret);
        let told: Vec<_> = kept.iter().filter(|(_, value)| value != MASK).collect();
        assert_eq!((kept.len(), told), (4, vec![&("server".to_owned(), "s".to_owned())]));
    }

    #[test]
    fn secrets_that_come_back_are_masked() {
        let answer = |body: &str| Answer {
            status: 400,
            http_version: "HTTP/1.1",
            retry_after: None,
            headers: vec![("x-echo".to_owned(), body.to_owned())],
            body_start: Bytes::copy_from_slice(body.as_bytes()),
        };
        let request = [("authorization", "Bearer k-12345678"), ("x-env", "test"), ("webhook-id", "msg_12345678")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let echo = "k-12345678, k-12345678k-12345678 in test: msg_12345678";
        assert_eq!(masked(answer(echo), &request), answer("***, ****** in test: msg_12345678"));
        assert_eq!(masked(answer("nothing"), &request), answer("nothing"));
    }
}
