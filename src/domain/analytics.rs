//! Numbers about turns: what is kept of each turn for counting, and reports made of it.

mod report;
mod usage;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::id::TurnId;
use super::turn::{FinishReason, TurnRecord};

pub use report::{FirstToken, Numbers, Period, Report};
pub use usage::{DayUsage, ModelUsage, TokenCounts, UsageCell, UsageReport};

/// Upper bounds of the classes that first-token times are counted in, in milliseconds; the last class has none.
pub const FIRST_TOKEN_CLASSES_MS: [f64; 24] = [
    1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0, 150.0, 200.0, 300.0, 500.0, 700.0, 1_000.0,
    1_500.0, 2_000.0, 3_000.0, 5_000.0, 10_000.0, 20_000.0,
];

/// What is kept of a turn for counting: no text, and nothing that names a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The turn: however often it is counted, it counts once.
    pub turn_id: TurnId,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Its intent.
    pub intent: Option<String>,
    /// The code of its language.
    pub language: Option<String>,
    /// How it ended.
    pub finish_reason: FinishReason,
    /// Whether a fallback stood in for something.
    pub is_degraded: bool,
    /// The class of its first token's time, an index into `FIRST_TOKEN_CLASSES_MS` or one beyond it; none when there was
    /// no token.
    pub first_token_class: Option<u8>,
    /// The model that answered, if one did.
    #[serde(default)]
    pub model: Option<String>,
    /// Tokens that it read.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens that it wrote.
    #[serde(default)]
    pub output_tokens: u64,
    /// Whether the tokens are estimated.
    #[serde(default)]
    pub is_estimated: bool,
}

impl From<&TurnRecord> for Fact {
    fn from(record: &TurnRecord) -> Self {
        Self {
            turn_id: record.turn_id,
            at: record.finished_at,
            intent: record.intent.as_ref().map(|found| found.intent.clone()),
            language: record.language.map(|language| language.code().to_owned()),
            finish_reason: record.finish_reason,
            is_degraded: !record.degraded.is_empty(),
            first_token_class: record.timings.first_content_ms.map(class_of),
            model: record.model.clone(),
            input_tokens: record.usage.input_tokens,
            output_tokens: record.usage.output_tokens,
            is_estimated: record.usage.estimated,
        }
    }
}

fn class_of(ms: f64) -> u8 {
    let class = FIRST_TOKEN_CLASSES_MS.iter().position(|&bound| ms <= bound).unwrap_or(FIRST_TOKEN_CLASSES_MS.len());
    u8::try_from(class).unwrap_or(u8::MAX)
}

/// How finely a report is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// By the minute.
    Minute,
    /// By the day, in UTC.
    Day,
}

impl Grain {
    /// How long a period is.
    pub fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::MINUTE,
            Self::Day => Duration::DAY,
        }
    }

    /// The beginning of the period that a moment is in, in UTC.
    pub fn floor(self, at: OffsetDateTime) -> OffsetDateTime {
        let at = at.to_offset(time::UtcOffset::UTC);
        match self {
            Self::Minute => at.replace_time(at.time().truncate_to_minute()),
            Self::Day => at.replace_time(time::Time::MIDNIGHT),
        }
    }
}

/// Turns of one period that are alike in everything that is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The period's beginning.
    pub period: OffsetDateTime,
    /// As in the facts.
    pub intent: Option<String>,
    /// As in the facts.
    pub language: Option<String>,
    /// As in the facts.
    pub finish_reason: FinishReason,
    /// As in the facts.
    pub is_degraded: bool,
    /// As in the facts.
    pub first_token_class: Option<u8>,
    /// How many.
    pub turns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_belongs_to_the_first_class_that_is_not_below_it() {
        for (ms, class) in [(0.0, 0), (1.0, 0), (1.01, 1), (100.0, 11), (20_000.0, 23), (20_000.1, 24), (1e9, 24)] {
            assert_eq!(class_of(ms), class, "{ms} ms");
        }
    }

    #[test]
    fn periods_begin_in_utc() {
        let at = datetime!(2026-11-20 01:59:59.9 +07:00);
        assert_eq!(Grain::Minute.floor(at), datetime!(2026-11-19 18:59 UTC));
        assert_eq!(Grain::Day.floor(at), datetime!(2026-11-19 00:00 UTC));
        for grain in [Grain::Minute, Grain::Day] {
            assert_eq!(grain.floor(grain.floor(at)), grain.floor(at));
            assert_eq!(grain.floor(datetime!(1969-12-31 23:59:59.9 UTC)) + grain.length(), OffsetDateTime::UNIX_EPOCH);
        }
    }
}
