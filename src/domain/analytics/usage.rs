//! TokenCounts by day and by model.

use std::collections::BTreeMap;

use serde::Serialize;
use time::{Date, OffsetDateTime};

/// Turns of one day that one model answered, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageCell {
    /// The day's beginning, in UTC.
    pub day: OffsetDateTime,
    /// The model; none for turns that none answered.
    pub model: Option<String>,
    /// Whether the tokens were estimated from the texts' lengths, and not counted by the provider.
    pub is_estimated: bool,
    /// Turns.
    pub turns: u64,
    /// TokenCounts read by the model.
    pub input_tokens: u64,
    /// TokenCounts written by it.
    pub output_tokens: u64,
}

/// A company's use of models over some days.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UsageReport {
    /// Everything together.
    pub totals: TokenCounts,
    /// The same by model, the one with the most tokens first.
    pub models: Vec<ModelUsage>,
    /// All days in order, those without turns too.
    pub days: Vec<DayUsage>,
}

/// TokenCounts of some turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct TokenCounts {
    /// Turns.
    pub turns: u64,
    /// TokenCounts read by models.
    pub input_tokens: u64,
    /// TokenCounts written by models.
    pub output_tokens: u64,
    /// The share of the tokens that was estimated from the texts' lengths, 0 to 1; none without tokens.
    pub estimated_share: Option<f64>,
    #[serde(skip)]
    #[schema(ignore)]
    estimated: u64,
}

/// What was used of one model.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ModelUsage {
    /// The model; none for turns that none answered.
    pub model: Option<String>,
    /// Its tokens.
    #[serde(flatten)]
    pub tokens: TokenCounts,
}

/// What was used on one day.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DayUsage {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date, example = "2026-11-20")]
    pub day: String,
    /// Its tokens.
    #[serde(flatten)]
    pub tokens: TokenCounts,
    /// The same by model, the one with the most tokens first.
    pub models: Vec<ModelUsage>,
}

impl UsageReport {
    /// Adds up the cells of the days from `from` on and before `until`.
    pub fn of(cells: &[UsageCell], from: Date, until: Date) -> Self {
        let (mut totals, mut models) = (TokenCounts::default(), BTreeMap::new());
        let mut by_day: BTreeMap<Date, (TokenCounts, BTreeMap<Option<String>, TokenCounts>)> = BTreeMap::new();
        for cell in cells {
            let (of_day, models_of_day) = by_day.entry(cell.day.date()).or_default();
            for tokens in [
                &mut totals,
                models.entry(cell.model.clone()).or_default(),
                of_day,
                models_of_day.entry(cell.model.clone()).or_default(),
            ] {
                tokens.add(cell);
            }
        }
        let days = std::iter::successors(Some(from), |day| day.next_day()).take_while(|day| *day < until);
        let days = days.map(|day| {
            let (tokens, models) = by_day.remove(&day).unwrap_or_default();
            DayUsage { day: day.to_string(), tokens, models: sorted(models) }
        });
        Self { totals, models: sorted(models), days: days.collect() }
    }
}

impl TokenCounts {
    fn all(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }

    #[expect(clippy::cast_precision_loss, reason = "a share is no exact number")]
    fn add(&mut self, cell: &UsageCell) {
        self.turns += cell.turns;
        self.input_tokens += cell.input_tokens;
        self.output_tokens += cell.output_tokens;
        if cell.is_estimated {
            self.estimated += cell.input_tokens + cell.output_tokens;
        }
        self.estimated_share = (self.all() > 0).then(|| self.estimated as f64 / self.all() as f64);
    }
}

fn sorted(models: BTreeMap<Option<String>, TokenCounts>) -> Vec<ModelUsage> {
    let mut models: Vec<ModelUsage> = models.into_iter().map(|(model, tokens)| ModelUsage { model, tokens }).collect();
    models.sort_by_key(|one| std::cmp::Reverse(one.tokens.all()));
    models
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn tokens_add_up_by_day_and_by_model() {
        let cell = |day, model: Option<&str>, is_estimated, tokens| UsageCell {
            day,
            model: model.map(str::to_owned),
            is_estimated,
            turns: 1,
            input_tokens: tokens,
            output_tokens: tokens,
        };
        let (first, third) = (datetime!(2026-11-18 00:00 UTC), datetime!(2026-11-20 00:00 UTC));
        let cells = [
            cell(first, Some("small"), false, 10),
            cell(first, Some("large"), true, 30),
            cell(third, Some("small"), true, 60),
            cell(third, None, false, 0),
        ];
        let report = UsageReport::of(&cells, date!(2026 - 11 - 18), date!(2026 - 11 - 21));
        let totals = &report.totals;
        assert_eq!((totals.turns, totals.input_tokens, totals.estimated_share), (4, 100, Some(0.9)));
        let names: Vec<Option<&str>> = report.models.iter().map(|one| one.model.as_deref()).collect();
        assert_eq!(names, [Some("small"), Some("large"), None]);
        let days: Vec<(&str, u64)> = report.days.iter().map(|day| (day.day.as_str(), day.tokens.turns)).collect();
        assert_eq!(days, [("2026-11-18", 2), ("2026-11-19", 0), ("2026-11-20", 2)]);
        assert_eq!(report.days[1].tokens.estimated_share, None);
        assert_eq!(report.days[0].models[0].model.as_deref(), Some("large"));
    }
}
