//! First-token and gap percentiles, phase by phase, side by side. They are printed and not asserted: a machine that
//! builds something beside the tests is slow.

use std::time::Duration;

use super::promise::Seen;
use crate::support::say;

/// Prints a table with a column for each phase.
pub(super) fn print(title: &str, seen: &Seen, phases: &[&str]) {
    say(title);
    let columns: Vec<_> = (0..phases.len()).map(|phase| Column::of(seen, phase)).collect();
    let line = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let cells: String = columns.iter().map(|column| format!("{:>24}", cell(column))).collect();
        say(&format!("  {name:<28}{cells}"));
    };
    let header: String = phases.iter().map(|phase| format!("{phase:>24}")).collect();
    say(&format!("  {:<28}{header}", ""));
    line("turns", &|column| column.turns.to_string());
    line("first token p50 / p99, ms", &|column| column.first.clone());
    line("gap p50 / p99, ms", &|column| column.gap.clone());
    line("turns degraded", &|column| column.degraded.to_string());
}

struct Column {
    turns: usize,
    first: String,
    gap: String,
    degraded: usize,
}

impl Column {
    fn of(seen: &Seen, phase: usize) -> Self {
        let turns: Vec<_> = seen.promises.iter().filter(|it| it.phase == phase).collect();
        Self {
            turns: turns.len(),
            first: percentiles(turns.iter().filter_map(|it| it.first).collect()),
            gap: percentiles(turns.iter().flat_map(|it| it.gaps.iter().copied()).collect()),
            // These clusters have no embedding model.
            degraded: turns.iter().filter(|it| it.degraded.iter().any(|part| part != "embedder")).count(),
        }
    }
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |share: f64| {
        let index = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(index).map_or("-".to_owned(), |it| format!("{:.1}", it.as_secs_f64() * 1000.0))
    };
    format!("{} / {}", at(0.5), at(0.99))
}
