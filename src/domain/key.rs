//! API keys: whose they are and what they open.

mod wanted;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::id::CompanyId;

pub use wanted::{Error, Wanted};

/// What a key opens. Each scope opens what the ones after it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// All of the company: its settings, keys, documents and webhooks too.
    Admin,
    /// What a backend needs: turns, conversations, search, numbers. What keys had before they had scopes.
    #[default]
    Backend,
    /// Turns alone, from pages of the origins that the key names: it may stand in a page for everyone to see.
    Publishable,
}

impl KeyScope {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Backend => "backend",
            Self::Publishable => "publishable",
        }
    }

    /// Whether a key of this scope opens what needs `needed`.
    pub fn opens(self, needed: Self) -> bool {
        let rank = |scope| match scope {
            Self::Admin => 2,
            Self::Backend => 1,
            Self::Publishable => 0,
        };
        rank(self) >= rank(needed)
    }

    /// How secrets begin, so that people see which may be shown.
    fn mark(self) -> &'static str {
        match self {
            Self::Admin | Self::Backend => "tp_",
            Self::Publishable => "tp_pub_",
        }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "admin" => Ok(Self::Admin),
            "backend" => Ok(Self::Backend),
            "publishable" => Ok(Self::Publishable),
            _ => Err(format!("{text:?} is not a scope; there are admin, backend and publishable")),
        }
    }
}

/// A company's API key as it is kept: the secret itself is shown once and never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key's public part, its first characters.
    pub prefix: String,
    /// SHA-256 of the whole key, in hexadecimal. Keys hold 192 random bits, so a plain hash is enough.
    pub hash: String,
    /// The company it opens.
    pub company_id: CompanyId,
    /// What it opens of it.
    #[serde(default)]
    pub scope: KeyScope,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The origins whose pages may use it, such as `https://shop.example`; only a publishable key has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Requests per minute, instead of what is usual for its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops to work.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was last used, give or take a minute.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<OffsetDateTime>,
}

impl ApiKey {
    /// The key to keep for a secret made of `entropy`, and the secret to show once: a mark (`tp_`, or `tp_pub_` for one
    /// that may stand in a page) and 48 hexadecimal digits.
    pub fn issue(company_id: CompanyId, scope: KeyScope, entropy: [u8; 24], now: OffsetDateTime) -> (Self, String) {
        let secret = format!("{}{}", scope.mark(), hex(&entropy));
        let key = Self {
            prefix: secret.chars().take(scope.mark().len() + 8).collect(),
            hash: Self::hash_of(&secret),
            company_id,
            scope,
            name: None,
            origins: Vec::new(),
            requests_per_minute: None,
            created_at: now,
            expires_at: None,
            last_used_at: None,
        };
        (key, secret)
    }

    /// The same as `issue`, with all that is wanted of the key.
    pub fn make(company_id: CompanyId, wanted: Wanted, entropy: [u8; 24], now: OffsetDateTime) -> (Self, String) {
        let Wanted { scope, name, origins, requests_per_minute, expires_at } = wanted;
        let (key, secret) = Self::issue(company_id, scope, entropy, now);
        (Self { name, origins, requests_per_minute, expires_at, ..key }, secret)
    }

    /// What `ApiKey::hash` holds for a secret.
    pub fn hash_of(secret: &str) -> String {
        hex(&Sha256::digest(secret.as_bytes()))
    }

    /// Whether the key still works at `now`.
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether pages of an origin may use it.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
