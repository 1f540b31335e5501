//! Tests of reports.

use super::*;
use time::macros::datetime;

fn cell(period: OffsetDateTime, turns: u64) -> Cell {
    Cell {
        period,
        intent: Some("information".to_owned()),
        language: Some("vi".to_owned()),
        finish_reason: FinishReason::Stop,
        is_degraded: false,
        first_token_class: None,
        turns,
    }
}

fn timed(classes: &[(u8, u64)]) -> Option<FirstToken> {
    let at = datetime!(2026-11-20 00:00 UTC);
    let cells: Vec<Cell> =
        classes.iter().map(|&(class, turns)| Cell { first_token_class: Some(class), ..cell(at, turns) }).collect();
    Report::of(&cells, at, at + time::Duration::DAY, Grain::Day).totals.first_token_ms
}

#[test]
fn periods_without_turns_are_there_too() {
    let from = datetime!(2026-11-20 23:58 UTC);
    let cells = [cell(datetime!(2026-11-20 23:59 UTC), 2), cell(datetime!(2026-11-21 00:01 UTC), 3)];
    let report = Report::of(&cells, from, datetime!(2026-11-21 00:02 UTC), Grain::Minute);
    let seen: Vec<_> = report.periods.iter().map(|period| (period.period, period.numbers.turns)).collect();
    let expected = [0, 2, 0, 3].into_iter().zip(0..).map(|(turns, n)| (from + time::Duration::minutes(n), turns));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    assert_eq!(report.totals.turns, 5);
    assert_eq!(report.periods[0].numbers.degraded_share, None, "nothing is no share of nothing");
}

#[test]
fn cells_of_a_period_are_added_up_in_each_respect() {
    let day = datetime!(2026-11-20 00:00 UTC);
    let cells = [
        cell(day, 4),
        Cell { language: Some("en".to_owned()), is_degraded: true, ..cell(day, 3) },
        Cell { intent: None, language: None, finish_reason: FinishReason::Failed, is_degraded: true, ..cell(day, 3) },
    ];
    let report = Report::of(&cells, day, day + time::Duration::DAY, Grain::Day);
    let numbers = &report.periods[0].numbers;
    assert_eq!(numbers, &report.totals);
    let counts =
        |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<BTreeMap<_, _>>();
    assert_eq!(numbers.by_intent, counts(&[("information", 7), ("unknown", 3)]));
    assert_eq!(numbers.by_language, counts(&[("en", 3), ("unknown", 3), ("vi", 4)]));
    assert_eq!(numbers.by_finish_reason, BTreeMap::from([("failed", 3), ("stop", 7)]));
    assert_eq!((numbers.degraded, numbers.degraded_share), (6, Some(0.6)));
    assert_eq!((numbers.failed, numbers.failed_share), (3, Some(0.3)));
    assert_eq!(numbers.first_token_ms, None);
}

#[test]
fn percentiles_lie_within_their_classes() {
    // 100 turns, evenly over 70 to 100 ms.
    let even = timed(&[(11, 100)]).unwrap();
    assert_eq!(even.turns, 100);
    for (value, expected) in [(even.p50, 85.0), (even.p95, 98.5), (even.p99, 99.7)] {
        assert!((value - expected).abs() < 1e-9, "{value} instead of {expected}");
    }
    // 98 fast ones, one slow, one beyond all bounds.
    let tail = timed(&[(0, 98), (16, 1), (24, 1)]).unwrap();
    assert!(tail.p50 > 0.0 && tail.p50 <= 1.0, "{tail:?}");
    assert!(tail.p95 <= 1.0, "{tail:?}");
    assert!((tail.p99 - 700.0).abs() < 1e-9, "{tail:?}");
}

#[test]
fn beyond_the_last_bound_the_bound_is_what_is_known() {
    let slow = timed(&[(24, 3), (200, 1)]).unwrap();
    assert_eq!((slow.turns, slow.p50, slow.p99), (4, 20_000.0, 20_000.0));
    assert_eq!(timed(&[]), None);
}

#[test]
fn the_wire_form() {
    let day = datetime!(2026-11-20 00:00 UTC);
    let cells = [Cell { first_token_class: Some(0), ..cell(day, 1) }];
    let report = Report::of(&cells, day, day + time::Duration::DAY, Grain::Day);
    let numbers = serde_json::json!({
        "turns": 1, "by_intent": {"information": 1}, "by_language": {"vi": 1}, "by_finish_reason": {"stop": 1},
        "degraded": 0, "degraded_share": 0.0, "failed": 0, "failed_share": 0.0,
        "first_token_ms": {"turns": 1, "p50": 0.5, "p95": 0.95, "p99": 0.99},
    });
    let mut period = numbers.clone();
    period["period"] = "2026-11-20T00:00:00Z".into();
    let expected = serde_json::json!({
        "grain": "day", "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "totals": numbers,
        "periods": [period],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}
