//! What the cells add up to.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Cell, FIRST_TOKEN_CLASSES_MS, Grain};
use crate::domain::turn::FinishReason;

/// Stands for an intent or a language that was not found.
const UNKNOWN: &str = "unknown";
/// The classes of `FIRST_TOKEN_CLASSES_MS`, and the one beyond the last bound.
const CLASSES: usize = FIRST_TOKEN_CLASSES_MS.len() + 1;

/// A company's turns over a time, divided into periods.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Report {
    /// How finely it is divided.
    pub grain: Grain,
    /// Its beginning.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// Its end, which is not part of it.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    /// Everything together.
    pub totals: Numbers,
    /// All periods in order, those without turns too.
    pub periods: Vec<Period>,
}

/// One period of a report.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Period {
    /// Its beginning; it is as long as the report's grain.
    #[serde(with = "time::serde::rfc3339")]
    pub period: OffsetDateTime,
    /// Its turns.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// Numbers of some turns.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Numbers {
    /// How many there are.
    pub turns: u64,
    /// How many of each intent; `unknown` for those without.
    pub by_intent: BTreeMap<String, u64>,
    /// How many of each language's code; `unknown` for those without.
    pub by_language: BTreeMap<String, u64>,
    /// How many ended in each way.
    pub by_finish_reason: BTreeMap<&'static str, u64>,
    /// Turns in which a fallback stood in for something.
    pub degraded: u64,
    /// Their share, 0 to 1; none without turns.
    pub degraded_share: Option<f64>,
    /// Turns that nothing could answer.
    pub failed: u64,
    /// Their share, 0 to 1; none without turns.
    pub failed_share: Option<f64>,
    /// How long the first token took; none when there was no token.
    pub first_token_ms: Option<FirstToken>,
}

/// Percentiles of first-token times in milliseconds. Times are counted in the classes of [`FIRST_TOKEN_CLASSES_MS`] and
/// taken as evenly spread within each, so that a value is as exact as its class is narrow. Beyond the last bound nothing
/// more is known: that bound then means "at least".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FirstToken {
    /// Turns that had a first token.
    pub turns: u64,
    /// Half of them were not slower.
    pub p50: f64,
    /// 95 % were not slower.
    pub p95: f64,
    /// 99 % were not slower.
    pub p99: f64,
}

impl Report {
    /// Adds up the cells of the turns from `from` on and before `to`, which are beginnings of periods.
    pub fn of(cells: &[Cell], from: OffsetDateTime, to: OffsetDateTime, grain: Grain) -> Self {
        let mut totals = Tally::default();
        let mut tallies: BTreeMap<OffsetDateTime, Tally> = BTreeMap::new();
        for cell in cells {
            totals.add(cell);
            tallies.entry(cell.period).or_default().add(cell);
        }
        let beginnings = std::iter::successors(Some(from), |period| period.checked_add(grain.length()));
        let periods = beginnings
            .take_while(|period| *period < to)
            .map(|period| Period { period, numbers: tallies.remove(&period).unwrap_or_default().into() })
            .collect();
        Self { grain, from, to, totals: totals.into(), periods }
    }
}

#[derive(Default)]
struct Tally {
    turns: u64,
    by_intent: BTreeMap<String, u64>,
    by_language: BTreeMap<String, u64>,
    by_finish_reason: BTreeMap<&'static str, u64>,
    degraded: u64,
    failed: u64,
    classes: [u64; CLASSES],
}

impl Tally {
    fn add(&mut self, cell: &Cell) {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        self.turns += cell.turns;
        *self.by_intent.entry(name(&cell.intent)).or_default() += cell.turns;
        *self.by_language.entry(name(&cell.language)).or_default() += cell.turns;
        *self.by_finish_reason.entry(cell.finish_reason.as_str()).or_default() += cell.turns;
        if cell.is_degraded {
            self.degraded += cell.turns;
        }
        if cell.finish_reason == FinishReason::Failed {
            self.failed += cell.turns;
        }
        // A class that a newer version knows counts as the slowest.
        if let Some(class) = cell.first_token_class
            && let Some(count) = self.classes.get_mut(usize::from(class).min(CLASSES - 1))
        {
            *count += cell.turns;
        }
    }
}

impl From<Tally> for Numbers {
    fn from(tally: Tally) -> Self {
        let share = |part: u64| (tally.turns > 0).then(|| part as f64 / tally.turns as f64);
        Self {
            turns: tally.turns,
            degraded: tally.degraded,
            degraded_share: share(tally.degraded),
            failed: tally.failed,
            failed_share: share(tally.failed),
            first_token_ms: first_token(&tally.classes),
            by_intent: tally.by_intent,
            by_language: tally.by_language,
            by_finish_reason: tally.by_finish_reason,
        }
    }
}

fn first_token(classes: &[u64; CLASSES]) -> Option<FirstToken> {
    let turns: u64 = classes.iter().sum();
    let at = |share: f64| percentile(classes, share * turns as f64);
    (turns > 0).then(|| FirstToken { turns, p50: at(0.50), p95: at(0.95), p99: at(0.99) })
}

/// The time that `rank` of the turns were not slower than.
fn percentile(classes: &[u64; CLASSES], rank: f64) -> f64 {
    let mut faster = 0.0;
    let mut lower = 0.0;
    for (&upper, &count) in FIRST_TOKEN_CLASSES_MS.iter().zip(classes) {
        let count = count as f64;
        if count > 0.0 && faster + count >= rank {
            return lower + (upper - lower) * (rank - faster) / count;
        }
        faster += count;
        lower = upper;
    }
    lower
}

#[cfg(test)]
mod tests;
