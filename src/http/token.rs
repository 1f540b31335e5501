//! Compressed bearer tokens: base64 of gzip of `{"v":1,"key":"tp_…","expires_at":"…"}`. A token holds a company's key and
//! nothing else that would open anything: whether it does is for the directory to say.

use std::io::{Read, Write};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How gzip's first bytes look in base64. No key begins so.
const MARK: &str = "H4sI";
/// Longest token in characters.
const PACKED: usize = 4096;
/// Most bytes that a token may unpack to.
const UNPACKED: u64 = 4096;
/// The version that is written and read.
const VERSION: u32 = 1;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What is wrong with a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    /// It is longer than a token can be.
    #[error("the token is longer than {PACKED} characters")]
    TooLong,
    /// It would be, unpacked; it is not unpacked any further.
    #[error("the token unpacks to more than {UNPACKED} bytes")]
    TooLarge,
    /// It is no base64 of gzip, or not all of it.
    #[error("the token is damaged: it is not base64 of gzip, or a part is missing")]
    Damaged,
    /// What is packed is something else.
    #[error("the token holds no key of this service: it is JSON with `v`, `key` and `expires_at`")]
    NoKey,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// An unpacked token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    v: u32,
    /// The key.
    pub(super) key: String,
    /// When the token stops to work; the key may do so before.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) expires_at: Option<OffsetDateTime>,
}

/// Whether a secret is a token and no key.
pub(super) fn is_packed(secret: &str) -> bool {
    secret.starts_with(MARK)
}

impl Token {
    /// A token of a key.
    pub(super) fn new(key: String, expires_at: Option<OffsetDateTime>) -> Self {
        Self { v: VERSION, key, expires_at }
    }

    /// Unpacks a token, within bounds: what would be larger is given up as soon as it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn unpack(text: &str, now: OffsetDateTime) -> Result<Self, Error> {
        if text.len() > PACKED {
            return Err(Error::TooLong);
        }
        let packed = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).map_err(|_| Error::Damaged)?;
        let mut json = Vec::new();
        let mut decoder = GzDecoder::new(packed.as_slice()).take(UNPACKED + 1);
        let read = decoder.read_to_end(&mut json);
        if json.len() as u64 > UNPACKED {
            return Err(Error::TooLarge);
        }
        read.map_err(|_| Error::Damaged)?;
        let token: Self = serde_json::from_slice(&json).map_err(|_| Error::NoKey)?;
        if token.v != VERSION || token.key.is_empty() || is_packed(&token.key) {
            return Err(Error::NoKey);
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Expired);
        }
        Ok(token)
    }

    /// The token as it is sent.
    pub(super) fn pack(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let packed = encoder.write_all(&json).and_then(|()| encoder.finish()).unwrap_or_default();
        STANDARD.encode(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<Token, Error> {
        Token::unpack(&STANDARD.encode(bytes), NOW)
    }

    #[test]
    fn what_is_packed_is_unpacked_in_every_kind_of_base64() {
        for expires_at in [None, Some(NOW + Duration::hours(1))] {
            let token = Token::new("tp_1".to_owned(), expires_at);
            let text = token.pack();
            assert!(is_packed(&text), "{text}");
            for text in [text.clone(), text.trim_end_matches('=').to_owned(), text.replace('+', "-").replace('/', "_")]
            {
                assert!(Token::unpack(&text, NOW) == Ok(token.clone()), "{text}");
            }
        }
    }

    #[test]
    fn a_bomb_is_given_up_before_it_is_unpacked() {
        // A hundred megabytes in as many kilobytes are too long; what is short enough is cut at the bound.
        assert_eq!(unpacked(&gzip(&vec![b' '; 100 << 20])).err(), Some(Error::TooLong));
        let short = gzip(&vec![b' '; 2 << 20]);
        assert!(short.len() < 3000);
        assert_eq!(unpacked(&short).err(), Some(Error::TooLarge));
    }

    #[test]
    fn what_is_no_token_is_said_to_be_none() {
        let whole = gzip(br#"{"v":1,"key":"tp_1"}"#);
        assert!(unpacked(&whole).is_ok());
        for cut in 0..whole.len() {
            assert_eq!(unpacked(&whole[..cut]).err(), Some(Error::Damaged), "cut at {cut}");
        }
        assert_eq!(Token::unpack("H4sI!", NOW).err(), Some(Error::Damaged));
        let nested = format!(r#"{{"v":1,"key":"{}"}}"#, Token::new("tp_1".to_owned(), None).pack());
        for json in [
            "",
            "[]",
            "{}",
            r#"{"v":2,"key":"tp_1"}"#,
            r#"{"v":1,"key":""}"#,
            r#"{"v":1,"key":"tp_1","expires_at":"soon"}"#,
            r#"{"user_id":"u","session_token":"s","cookies":{"a":"b"}}"#,
            &nested,
        ] {
            assert_eq!(unpacked(&gzip(json.as_bytes())).err(), Some(Error::NoKey), "{json}");
        }
        let over = Token::new("tp_1".to_owned(), Some(NOW));
        assert_eq!(Token::unpack(&over.pack(), NOW).err(), Some(Error::Expired));
    }
}
