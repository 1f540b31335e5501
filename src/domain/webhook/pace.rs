//! How fast an endpoint is sent to, and in which order.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most deliveries per second that a limit can name.
const MOST: u32 = 1000;

/// Why a number is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate limit is 1 to {MOST} deliveries per second, not {0}")]
pub struct InvalidRateLimit(u32);

/// How many deliveries an endpoint gets per second at most, retries counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RateLimit {
    /// Deliveries per second, at least one.
    per_second: u32,
}

impl RateLimit {
    /// Deliveries per second.
    pub fn per_second(self) -> u32 {
        self.per_second
    }
}

impl TryFrom<u32> for RateLimit {
    type Error = InvalidRateLimit;

    fn try_from(per_second: u32) -> Result<Self, InvalidRateLimit> {
        if (1..=MOST).contains(&per_second) { Ok(Self { per_second }) } else { Err(InvalidRateLimit(per_second)) }
    }
}

impl From<RateLimit> for u32 {
    fn from(limit: RateLimit) -> Self {
        limit.per_second
    }
}

/// In which order an endpoint gets its webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Side by side: each as soon as it can be sent.
    #[default]
    Parallel,
    /// Within a conversation one after the other: the next is not sent before the last has arrived or was given up.
    Ordered,
}

impl Order {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Ordered => "ordered",
        }
    }

    pub(super) fn is_parallel(&self) -> bool {
        *self == Self::Parallel
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::Parallel, Self::Ordered].into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not an order; there are parallel and ordered"))
    }
}
