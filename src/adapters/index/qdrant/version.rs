//! The server's version, and what follows from it.

use crate::ports::index::Error;

/// The first with reciprocal rank fusion by a constant of ours, and with conditional writes.
const OLDEST: (u32, u32) = (1, 16);
/// The first that takes a dense vector into a collection that is there.
const ADDS_VECTORS: (u32, u32) = (1, 18);
/// The first that counts how rare a word is within one company.
const ISOLATES_RANKING: (u32, u32) = (1, 19);

/// A version that can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) text: String,
    number: (u32, u32),
}

impl Version {
    /// Reads what the server says of itself.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
        let number = match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) => (major, minor),
            _ => return Err(Error::Unavailable(format!("the server's version, {text:?}, cannot be read"))),
        };
        if number < OLDEST {
            let (major, minor) = OLDEST;
            return Err(Error::Unavailable(format!(
                "the server is Qdrant {text}; update it to {major}.{minor} or later"
            )));
        }
        Ok(Self { text: text.to_owned(), number })
    }

    /// Whether another company's documents leave a company's scores alone.
    pub(super) fn isolates_ranking(&self) -> bool {
        self.number >= ISOLATES_RANKING
    }

    /// Whether a collection without dense vectors can get them.
    pub(super) fn adds_vectors(&self) -> bool {
        self.number >= ADDS_VECTORS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(!Version::parse("1.18.3").unwrap().isolates_ranking());
        assert!(Version::parse("1.19.0-dev").unwrap().isolates_ranking());
        assert!(Version::parse("v2.0.0").unwrap().isolates_ranking());
        assert!(Version::parse("1.9.7").unwrap_err().to_string().contains("1.16"));
        assert!(Version::parse("unknown").is_err());
    }
}
