//! Where a request was sent from: pages of this machine, of origins that are set, and of someone else's.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};

/// Whether an origin is that of a page which this machine serves, on whatever port.
pub(in crate::http) fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| {
        let (scheme, authority) = origin.split_once("://")?;
        matches!(scheme, "http" | "https").then_some(authority)
    });
    authority.is_some_and(is_loopback)
}

/// Whether a request was meant for this machine by its own name, and not sent by a page of another origin. A name of
/// someone else's that leads to a loopback address (DNS rebinding) shows in `Host`, a foreign page's form or script in
/// `Origin`.
pub(super) fn is_own_site(headers: &HeaderMap, origins: &[String]) -> bool {
    let mut has_host = false;
    for value in headers.get_all(header::HOST) {
        has_host = true;
        if !value.to_str().is_ok_and(is_loopback) {
            return false;
        }
    }
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        has_host && (is_of_this_machine(origin) || origins.iter().any(|set| origin.as_bytes() == set.as_bytes()))
    })
}

/// Whether a `host:port` names this machine.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_its_own_site() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.8.9.10:1", "[::1]", "[::1]:8080"] {
            assert!(is_own_site(&headers(&[(header::HOST, host)]), &[]), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com:8080",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "[::2]",
            "a@localhost",
            "",
        ] {
            assert!(!is_own_site(&headers(&[(header::HOST, host)]), &[]), "{host}");
        }
        assert!(is_own_site(&HeaderMap::new(), &[]));
    }

    #[test]
    fn an_origin_has_to_be_of_this_machine_or_set() {
        let asked =
            |host: &str, origin: &str| is_own_site(&headers(&[(header::HOST, host), (header::ORIGIN, origin)]), &[]);
        assert!(asked("localhost:8080", "http://localhost:8080"));
        assert!(asked("[::1]:8080", "http://[::1]:8080"));
        for origin in ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]"] {
            assert!(asked("localhost:8080", origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com:8080",
            "http://a@localhost:8080",
            "file://localhost",
            "localhost:8080",
            "null",
            "",
        ] {
            assert!(!asked("localhost:8080", origin), "{origin}");
        }
        let set = ["https://shop.example".to_owned()];
        let of_shop = |host| headers(&[(header::HOST, host), (header::ORIGIN, "https://shop.example")]);
        assert!(is_own_site(&of_shop("localhost:8080"), &set) && !is_own_site(&of_shop("localhost:8080"), &[]));
        assert!(!is_own_site(&of_shop("rebound.example"), &set), "a name of someone else's");
        assert!(!is_own_site(&headers(&[(header::ORIGIN, "http://localhost:8080")]), &[]), "an origin without a host");
        let mut two = headers(&[(header::HOST, "example.com")]);
        two.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!is_own_site(&two, &[]), "two hosts");
    }
}
