//! Headers that an endpoint wants besides ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most headers.
const MOST: usize = 20;
/// Most bytes of a value.
const VALUE_BYTES: usize = 1024;
/// Names that belong to the connection or to us; all that begin with `webhook-` do too.
const OURS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Why a header cannot be sent. Values are not repeated: they may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// There are too many.
    #[error("there are more than {MOST} headers")]
    TooMany,
    /// The name is none.
    #[error("{0:?} is not a header's name")]
    Name(String),
    /// The name is taken.
    #[error("the header {0} is set by the service or belongs to the connection")]
    Reserved(String),
    /// The value is none.
    #[error("the value of the header {0} is not one line of visible ASCII of at most {VALUE_BYTES} bytes")]
    Value(String),
}

/// Headers, their names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Headers {
    type Error = InvalidHeader;

    fn try_from(headers: BTreeMap<String, String>) -> Result<Self, InvalidHeader> {
        if headers.len() > MOST {
            return Err(InvalidHeader::TooMany);
        }
        let checked = headers.into_iter().map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            // RFC 9110, 5.6.2: a token.
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(InvalidHeader::Name(name));
            }
            if OURS.contains(&name.as_str()) || name.starts_with("webhook-") {
                return Err(InvalidHeader::Reserved(name));
            }
            let is_visible = |byte: u8| (b' '..=b'~').contains(&byte);
            if value.len() > VALUE_BYTES || !value.bytes().all(is_visible) || value.trim() != value {
                return Err(InvalidHeader::Value(name));
            }
            Ok((name, value))
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<Headers, InvalidHeader> {
        BTreeMap::from([(name.to_owned(), value.to_owned())]).try_into()
    }

    #[test]
    fn headers_of_their_own_are_taken_and_ours_are_not() {
        let headers = of("X-Api-Key", "a b~").unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("x-api-key", "a b~")]);
        for name in ["Content-Type", "webhook-id", "Webhook-Signature", "HOST", "transfer-encoding"] {
            assert_eq!(of(name, "x"), Err(InvalidHeader::Reserved(name.to_ascii_lowercase())), "{name}");
        }
    }

    #[test]
    fn what_could_begin_another_header_is_refused_and_not_repeated() {
        for value in ["a\r\nx: y", "a\nb", "\u{e9}", " a", "a\0", &"x".repeat(VALUE_BYTES + 1)] {
            let error = of("x-key", value).unwrap_err();
            assert_eq!(error, InvalidHeader::Value("x-key".to_owned()), "{value:?}");
        }
        for name in ["", "a b", "a:", "x\r\ny", "é"] {
            assert!(matches!(of(name, "v"), Err(InvalidHeader::Name(_))), "{name:?}");
        }
        let many: BTreeMap<String, String> = (0..=MOST).map(|n| (format!("x-{n}"), String::new())).collect();
        assert_eq!(Headers::try_from(many), Err(InvalidHeader::TooMany));
    }
}
