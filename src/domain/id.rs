//! Identifiers. Each is a type of its own, so that one can't be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which identifier was expected.
        what: &'static str,
    },
    /// The text is longer than an identifier may be.
    #[error("{what} is longer than {limit} characters")]
    TooLong {
        /// Which identifier was expected.
        what: &'static str,
        /// Most characters allowed.
        limit: usize,
    },
    /// The text holds a character that the identifier may not hold.
    #[error("{what} may hold {allowed}, not {found:?}")]
    Character {
        /// Which identifier was expected.
        what: &'static str,
        /// The characters that may stand in it.
        allowed: &'static str,
        /// The first one that may not.
        found: char,
    },
    /// The text is not a UUID.
    #[error("{what} is not a UUID")]
    NotUuid {
        /// Which identifier was expected.
        what: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:tt, $allowed:literal, $pattern:tt, $accept:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, min_length = 1, max_length = $limit, pattern = $pattern)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                if text.is_empty() {
                    return Err(Error::Empty { what: $what });
                }
                if text.chars().count() > $limit {
                    return Err(Error::TooLong { what: $what, limit: $limit });
                }
                let accept: fn(char) -> bool = $accept;
                match text.chars().find(|&c| !accept(c)) {
                    Some(found) => Err(Error::Character { what: $what, allowed: $allowed, found }),
                    None => Ok(Self(text.into())),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id!(
    /// A company. Its text names folders and routing keys, so it holds only ASCII letters, digits, `_` and `-`.
    CompanyId, "company id", 64, "ASCII letters, digits, '_' and '-'", "^[A-Za-z0-9_-]+$",
    |c| c.is_ascii_alphanumeric() || c == '_' || c == '-'
);
text_id!(
    /// A chat session, named by the client: a conversation goes on as long as its session does.
    SessionId, "session id", 256, "anything but control characters", r"^[^\x00-\x1f\x7f-\x9f]+$", |c| !c.is_control()
);
text_id!(
    /// A document of a company's knowledge, stable over its versions: a path or whatever the company calls it.
    DocumentId, "document id", 512, "anything but control characters", r"^[^\x00-\x1f\x7f-\x9f]+$", |c| !c.is_control()
);
text_id!(
    /// A webhook endpoint.
    EndpointId, "endpoint id", 64, "ASCII letters, digits, '_' and '-'", "^[A-Za-z0-9_-]+$",
    |c| c.is_ascii_alphanumeric() || c == '_' || c == '-'
);

impl EndpointId {
    /// A new endpoint's id.
    pub fn generate() -> Self {
        Self(format!("ep_{}", Uuid::now_v7().simple()).into())
    }
}

impl SessionId {
    /// A session for a client that named none.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(Uuid);

        impl $name {
            /// The identifier as a UUID.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Uuid::try_parse(text).map(Self).map_err(|_| Error::NotUuid { what: $what })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id!(
    /// One turn: a question and its answer. UUIDv7, so turns sort by the time they began.
    TurnId, "turn id"
);
uuid_id!(
    /// A conversation: the turns of one session of one company.
    ConversationId, "conversation id"
);

impl TurnId {
    /// A new turn's id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// How long ago the turn began, by this machine's clock; none for an id that says no time.
    pub fn age(&self) -> Option<std::time::Duration> {
        Some(self.began()?.elapsed().unwrap_or_default())
    }

    /// When the turn began; none for an id that says no time.
    pub fn began(&self) -> Option<std::time::SystemTime> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        Some(std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanos))
    }
}

impl ConversationId {
    /// The conversation of a session. It follows from the names alone (UUIDv5), so that every gateway finds the same
    /// conversation without asking a database while a client waits.
    pub fn of_session(company: &CompanyId, session: &SessionId) -> Self {
        const NAMESPACE: Uuid = Uuid::from_u128(0x7f0c_52d1_8a34_4e6b_9d1f_3c20_51ab_77e9);
        // Company ids hold no '/', so two pairs never make one name.
        Self(Uuid::new_v5(&NAMESPACE, format!("{company}/{session}").as_bytes()))
    }

    /// What stands in events that belong to no conversation.
    pub fn of_subject(company: &CompanyId, subject: &str) -> Self {
        const NAMESPACE: Uuid = Uuid::from_u128(0x2d5b_80c4_6a1e_4f37_8c99_0e71_b4d2_a35f);
        Self(Uuid::new_v5(&NAMESPACE, format!("{company}/{subject}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_ids_name_folders_and_routing_keys() {
        assert!("comp_123456".parse::<CompanyId>().is_ok());
        for bad in ["", "a/b", "..", "a.b", "a b", "#", &"x".repeat(65)] {
            assert!(bad.parse::<CompanyId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_session_is_one_conversation_per_company() {
        let (a, b): (CompanyId, CompanyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let session: SessionId = "s".parse().unwrap();
        assert_eq!(ConversationId::of_session(&a, &session), ConversationId::of_session(&a, &session));
        assert_ne!(ConversationId::of_session(&a, &session), ConversationId::of_session(&b, &session));
    }
}
