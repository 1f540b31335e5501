//! What a new key is to be, checked before one is made.

use time::{Duration, OffsetDateTime};

use super::{ApiKey, KeyScope};

/// Most keys of one company.
const KEYS: usize = 200;
/// Longest name in characters.
const NAME_CHARS: usize = 100;
/// Most origins of one key.
const ORIGINS: usize = 20;
/// Longest origin in characters: a scheme, a host's 253 characters and a port.
const ORIGIN_CHARS: usize = 270;

/// What is wrong with what is wanted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The name is empty, too long, or not to be shown.
    #[error("a key's name has 1 to {NAME_CHARS} characters, none of them control characters")]
    Name,
    /// A publishable key without origins would work nowhere.
    #[error("a publishable key needs at least one origin, such as https://shop.example")]
    OriginMissing,
    /// Origins say which pages may use a key, and only publishable ones stand in pages.
    #[error("only a publishable key has origins")]
    OriginsNotForScope,
    /// More than a key can have.
    #[error("a key has at most {ORIGINS} origins")]
    TooManyOrigins,
    /// A text that no browser sends as an origin.
    #[error("{0:?} is not an origin: write scheme, host and port alone, such as https://shop.example")]
    Origin(String),
    /// It would be over before it begins.
    #[error("the key would expire before it is made")]
    Expiry,
    /// The company has as many keys as it can have.
    #[error("the company has {KEYS} keys already; remove those that nobody uses")]
    TooManyKeys,
    /// A limit that lets nothing through.
    #[error("a key's requests per minute must be at least 1")]
    RequestsPerMinute,
}

/// What a new key is to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// What it opens.
    pub scope: KeyScope,
    /// What people call it.
    pub name: Option<String>,
    /// The origins whose pages may use it.
    pub origins: Vec<String>,
    /// Requests per minute, instead of what is usual for its scope.
    pub requests_per_minute: Option<u32>,
    /// When it stops to work.
    pub expires_at: Option<OffsetDateTime>,
}

impl Wanted {
    /// The same, with origins as browsers write them. `known` are the keys that the company has.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(self, known: &[ApiKey], now: OffsetDateTime) -> Result<Self, Error> {
        if known.len() >= KEYS {
            return Err(Error::TooManyKeys);
        }
        let is_shown = |name: &String| {
            let chars = name.chars().count();
            (1..=NAME_CHARS).contains(&chars) && !name.chars().any(char::is_control) && !name.trim().is_empty()
        };
        if !self.name.as_ref().is_none_or(is_shown) {
            return Err(Error::Name);
        }
        match (self.scope, self.origins.len()) {
            (KeyScope::Publishable, 0) => return Err(Error::OriginMissing),
            (KeyScope::Publishable, 1..=ORIGINS) | (_, 0) => {}
            (KeyScope::Publishable, _) => return Err(Error::TooManyOrigins),
            _ => return Err(Error::OriginsNotForScope),
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Expiry);
        }
        if self.requests_per_minute == Some(0) {
            return Err(Error::RequestsPerMinute);
        }
        let mut origins = Vec::with_capacity(self.origins.len());
        for text in self.origins {
            let origin = origin(&text).ok_or(Error::Origin(text))?;
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        Ok(Self { origins, ..self })
    }
}

impl ApiKey {
    /// Whether one of the keys has its prefix, by which keys are called: then another one has to be made.
    pub fn is_named_like(&self, known: &[Self]) -> bool {
        known.iter().any(|known| known.prefix == self.prefix)
    }

    /// What a key that comes after this one is to be: the same, for as long again.
    pub fn again(&self, now: OffsetDateTime) -> Wanted {
        let lifetime = self.expires_at.map(|end| (end - self.created_at).max(Duration::minutes(1)));
        Wanted {
            scope: self.scope,
            name: self.name.clone(),
            origins: self.origins.clone(),
            requests_per_minute: self.requests_per_minute,
            expires_at: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
        }
    }

    /// The key as it is when another one takes its place and it works on for `grace`.
    pub fn outgoing(&self, grace: Duration, now: OffsetDateTime) -> Self {
        let end = now.checked_add(grace).unwrap_or(now);
        Self { expires_at: Some(self.expires_at.map_or(end, |own| own.min(end))), ..self.clone() }
    }
}

/// An origin as browsers write it (RFC 6454, 6.2): scheme and host in lower case, the port unless it is the scheme's own.
fn origin(text: &str) -> Option<String> {
    if text.chars().count() > ORIGIN_CHARS {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((_, "")) => return None,
                Some((host, port)) => (host, port),
                None => (authority, ""),
            };
            // Names of other scripts reach us as browsers send them, in their ASCII form.
            let is_label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            if !host.split('.').all(is_label) {
                return None;
            }
            (host.to_owned(), port)
        }
    };
    match port {
        "" => Some(format!("{scheme}://{host}")),
        port if !port.bytes().all(|byte| byte.is_ascii_digit()) => None,
        port => {
            let number: u16 = port.parse().ok().filter(|&number| number > 0)?;
            let port = number.to_string();
            Some(if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-20 10:00 UTC);

    fn publishable(origins: &[&str]) -> Wanted {
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        Wanted { scope: KeyScope::Publishable, origins, ..Wanted::default() }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (written, sent) in [
            ("https://Shop.Example", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(publishable(&[written]).check(&[], NOW).unwrap().origins, [sent]);
        }
        assert_eq!(publishable(&["https://a.b", "https://A.b"]).check(&[], NOW).unwrap().origins, ["https://a.b"]);
    }

    #[test]
    fn what_no_page_can_have_as_its_origin_is_refused() {
        for bad in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "https://*.shop.example",
            "https://shop.example/",
            "https://shop.example/path",
            "https://u@shop.example",
            "https://shop.example:",
            "https://shop.example:0",
            "https://shop.example:70000",
            "https://shop.example:+1",
            "ftp://shop.example",
            "https://shop..example",
            "https://bücher.example",
            "https://[::1",
            "https://[::1]x",
            "https://a b",
        ] {
            assert_eq!(publishable(&[bad]).check(&[], NOW), Err(Error::Origin(bad.to_owned())), "{bad:?}");
        }
        assert_eq!(publishable(&[]).check(&[], NOW), Err(Error::OriginMissing));
        assert_eq!(publishable(&["https://a"; ORIGINS + 1]).check(&[], NOW), Err(Error::TooManyOrigins));
        let backend = Wanted { scope: KeyScope::Backend, ..publishable(&["https://a"]) };
        assert_eq!(backend.check(&[], NOW), Err(Error::OriginsNotForScope));
    }

    #[test]
    fn a_key_that_takes_anothers_place_is_the_same_for_as_long_again() {
        let company = "comp".parse().unwrap();
        let (mut old, _) = ApiKey::issue(company, KeyScope::Backend, [1; 24], NOW - Duration::days(80));
        old.expires_at = Some(NOW + Duration::days(10));
        assert_eq!(old.again(NOW).expires_at, Some(NOW + Duration::days(90)));
        assert_eq!(old.outgoing(Duration::days(1), NOW).expires_at, Some(NOW + Duration::days(1)));
        // It does not live longer for being replaced.
        assert_eq!(old.outgoing(Duration::days(30), NOW).expires_at, old.expires_at);
    }
}
