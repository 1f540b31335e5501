//! What a client says that it accepts (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// Whether a client names a media type in `Accept`. One that takes anything has named nothing.
pub(super) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    ranges(headers).any(|range| essence(range).eq_ignore_ascii_case(media_type) && !is_refused(range))
}

/// A parameter of a media type that a client names, such as `wire` of `text/event-stream; wire=ag-ui`.
pub(super) fn parameter<'a>(headers: &'a HeaderMap, media_type: &str, name: &str) -> Option<&'a str> {
    let range = ranges(headers).find(|range| essence(range).eq_ignore_ascii_case(media_type))?;
    parameters(range).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn essence(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim()
}

fn parameters(range: &str) -> impl Iterator<Item = (&str, &str)> {
    range.split(';').skip(1).filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

/// Whether it is named to say that it is not wanted.
fn is_refused(range: &str) -> bool {
    let weight = parameters(range).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, value)| value.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_what_is_named_is_named() {
        for value in ["text/plain", "Text/Plain; charset=utf-8", "text/html, text/plain;q=0.5", " text/plain "] {
            assert!(names(&accept(value), "text/plain"), "{value}");
        }
        for value in ["", "*/*", "text/*", "text/plain2", "text/plain;q=0", "text/plain; q=0.0"] {
            assert!(!names(&accept(value), "text/plain"), "{value}");
        }
        assert!(!names(&HeaderMap::new(), "text/plain"));
    }

    #[test]
    fn a_parameter_is_found_in_any_case_and_quoted() {
        for value in ["text/event-stream;wire=ag-ui", "text/html, Text/Event-Stream; q=0.9; WIRE=\"ag-ui\""] {
            assert_eq!(parameter(&accept(value), "text/event-stream", "wire"), Some("ag-ui"), "{value}");
        }
        assert_eq!(parameter(&accept("text/event-stream"), "text/event-stream", "wire"), None);
    }
}
