//! The contract of the analytics. `analytics_contract!` runs all checks on an adapter, each on an empty one of its own.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use time::OffsetDateTime;
use turnpike::domain::analytics::{Cell, Fact, Grain, Report, UsageCell};
use turnpike::domain::{CompanyScope, FinishReason, TurnId};
use turnpike::ports::analytics::Analytics;
use turnpike::ports::store::ConversationStore;

use crate::store::retention::{PATIENCE, future, past};
use crate::store::scope;

/// The analytics, and the store that they live in, which removes what is due.
pub(crate) struct Counters {
    pub(crate) analytics: Arc<dyn Analytics>,
    pub(crate) conversations: Arc<dyn ConversationStore>,
    /// What must live as long as they do.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Runs every check on the analytics that an async function makes.
macro_rules! analytics_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            analytics_contract! { @each $make;
                counts_a_turn_once counts_a_turn_once_however_many_try_at_once adds_up_what_is_alike
                divides_by_minute_and_day takes_the_beginning_and_leaves_the_end keeps_every_fact_as_it_was
                counts_no_longer_than_it_should keeps_companies_apart adds_up_several_companies erases_one_company makes_a_report adds_up_tokens_by_day_and_model
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            // Where a server is missing there are none.
            if let Some(counters) = Option::<super::Counters>::from($make().await) {
                super::$check(&counters).await;
            }
        }
    )*};
}

analytics_contract!(on_sqlite, crate::store::sqlite::fresh_counters);
analytics_contract!(on_mongodb, crate::store::mongodb::fresh_counters);

const BEGINNING: OffsetDateTime = time::macros::datetime!(2026-11-20 00:00 UTC);
const END: OffsetDateTime = time::macros::datetime!(2026-11-23 00:00 UTC);

fn fact(minutes: i64) -> Fact {
    Fact {
        turn_id: TurnId::generate(),
        at: BEGINNING + time::Duration::minutes(minutes) + Duration::from_millis(1_500),
        intent: Some("information".to_owned()),
        language: Some("vi".to_owned()),
        finish_reason: FinishReason::Stop,
        is_degraded: false,
        first_token_class: Some(3),
        model: Some("openai/gpt".to_owned()),
        input_tokens: 100,
        output_tokens: 20,
        is_estimated: false,
    }
}

/// All cells, in an order of their own: an adapter may give them in any.
async fn cells(analytics: &dyn Analytics, scope: &CompanyScope, grain: Grain) -> Vec<Cell> {
    sorted(analytics.cells(scope, BEGINNING, END, grain).await.unwrap())
}

fn sorted(mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.sort_by_key(|cell| (cell.period, format!("{cell:?}")));
    cells
}

async fn turns(analytics: &dyn Analytics, scope: &CompanyScope) -> u64 {
    cells(analytics, scope, Grain::Day).await.iter().map(|cell| cell.turns).sum()
}

async fn counts_a_turn_once(Counters { analytics, .. }: &Counters) {
    let scope = scope("comp_a");
    assert_eq!(cells(&**analytics, &scope, Grain::Day).await, []);
    let facts = [fact(0), fact(0)];
    for _ in 0..3 {
        for fact in &facts {
            analytics.record(&scope, fact, future()).await.unwrap();
        }
    }
    assert_eq!(turns(&**analytics, &scope).await, 2);
}

async fn counts_a_turn_once_however_many_try_at_once(Counters { analytics, .. }: &Counters) {
    let (scope, fact) = (scope("comp_a"), fact(0));
    let until = future();
    for counted in join_all((0..20).map(|_| analytics.record(&scope, &fact, until))).await {
        counted.unwrap();
    }
    assert_eq!(turns(&**analytics, &scope).await, 1);
}

async fn adds_up_what_is_alike(Counters { analytics, .. }: &Counters) {
    let scope = scope("comp_a");
    // Each differs from the first in one respect.
    let kinds = [
        (4, fact(0)),
        (3, Fact { intent: Some("support".to_owned()), ..fact(0) }),
        (1, Fact { intent: None, ..fact(0) }),
        (2, Fact { language: Some("en".to_owned()), ..fact(0) }),
        (1, Fact { language: None, ..fact(0) }),
        (2, Fact { finish_reason: FinishReason::Failed, ..fact(0) }),
        (5, Fact { is_degraded: true, ..fact(0) }),
        (1, Fact { first_token_class: Some(24), ..fact(0) }),
        (2, Fact { first_token_class: None, ..fact(0) }),
    ];
    let mut expected = Vec::new();
    for (turns, kind) in kinds {
        for n in 0..turns {
            let at = kind.at + Duration::from_secs(60 * n);
            let fact = Fact { turn_id: TurnId::generate(), at, ..kind.clone() };
            analytics.record(&scope, &fact, future()).await.unwrap();
        }
        expected.push(Cell {
            period: BEGINNING,
            intent: kind.intent,
            language: kind.language,
            finish_reason: kind.finish_reason,
            is_degraded: kind.is_degraded,
            first_token_class: kind.first_token_class,
            turns,
        });
    }
    assert_eq!(cells(&**analytics, &scope, Grain::Day).await, sorted(expected));
}

async fn divides_by_minute_and_day(Counters { analytics, .. }: &Counters) {
    let scope = scope("comp_a");
    const DAY: i64 = 24 * 60;
    for minutes in [0, 0, 1, DAY - 1, DAY, 2 * DAY + 5] {
        analytics.record(&scope, &fact(minutes), future()).await.unwrap();
    }
    let seen = |cells: Vec<Cell>| cells.iter().map(|cell| (cell.period, cell.turns)).collect::<Vec<_>>();
    let after = |minutes: i64| BEGINNING + time::Duration::minutes(minutes);
    let minutes = [(after(0), 2), (after(1), 1), (after(DAY - 1), 1), (after(DAY), 1), (after(2 * DAY + 5), 1)];
    assert_eq!(seen(cells(&**analytics, &scope, Grain::Minute).await), minutes);
    let days = [(after(0), 4), (after(DAY), 1), (after(2 * DAY), 1)];
    assert_eq!(seen(cells(&**analytics, &scope, Grain::Day).await), days);
}

async fn takes_the_beginning_and_leaves_the_end(Counters { analytics, .. }: &Counters) {
    let scope = &scope("comp_a");
    let (from, to) = (BEGINNING + time::Duration::HOUR, BEGINNING + time::Duration::HOUR * 2);
    let moment = Duration::from_millis(1);
    for at in [from - moment, from, to - moment, to] {
        analytics.record(scope, &Fact { at, ..fact(0) }, future()).await.unwrap();
    }
    let within = |from, to, grain| async move {
        let cells = analytics.cells(scope, from, to, grain).await.unwrap();
        cells.iter().map(|cell| cell.turns).sum::<u64>()
    };
    assert_eq!(within(from, to, Grain::Minute).await, 2);
    // Also when a period is cut.
    assert_eq!(within(from, to, Grain::Day).await, 2);
    assert_eq!(within(from - moment, to + moment, Grain::Day).await, 4);
    assert_eq!(within(from, from, Grain::Day).await, 0);
    assert_eq!(within(to, from, Grain::Day).await, 0);
}

async fn keeps_every_fact_as_it_was(Counters { analytics, .. }: &Counters) {
    let scope = scope("comp_a");
    let all = [
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::ContentFilter,
        FinishReason::Stopped,
        FinishReason::Interrupted,
        FinishReason::Failed,
    ];
    for (n, reason) in (0..).zip(all) {
        let fact = Fact { finish_reason: reason, intent: Some("hỏi \"lãi\"".to_owned()), ..fact(n) };
        analytics.record(&scope, &fact, future()).await.unwrap();
    }
    let seen = cells(&**analytics, &scope, Grain::Minute).await;
    assert_eq!(seen.iter().map(|cell| cell.finish_reason).collect::<Vec<_>>(), all);
    assert!(seen.iter().all(|cell| cell.intent.as_deref() == Some("hỏi \"lãi\"")), "{seen:?}");
}

async fn counts_no_longer_than_it_should(Counters { analytics, conversations, .. }: &Counters) {
    let scope = scope("comp_a");
    analytics.record(&scope, &fact(0), past()).await.unwrap();
    analytics.record(&scope, &fact(1), future()).await.unwrap();
    // An engine may remove what is due by itself, at a moment of its own.
    let deadline = Instant::now() + PATIENCE;
    loop {
        conversations.expire(OffsetDateTime::now_utc()).await.unwrap();
        if turns(&**analytics, &scope).await == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "a turn is counted longer than it was to be");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cells(&**analytics, &scope, Grain::Minute).await[0].period, BEGINNING + time::Duration::MINUTE);
}

async fn keeps_companies_apart(Counters { analytics, .. }: &Counters) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    let fact = fact(0);
    analytics.record(&a, &fact, future()).await.unwrap();
    assert_eq!(cells(&**analytics, &b, Grain::Day).await, []);
    // The very same turn in both.
    let theirs = Fact { intent: Some("theirs".to_owned()), ..fact };
    analytics.record(&b, &theirs, future()).await.unwrap();
    assert_eq!(cells(&**analytics, &a, Grain::Day).await[0].intent.as_deref(), Some("information"));
    assert_eq!(cells(&**analytics, &b, Grain::Day).await[0].intent.as_deref(), Some("theirs"));
}

async fn adds_up_several_companies(Counters { analytics, .. }: &Counters) {
    let (a, b, c) = (scope("comp_a"), scope("comp_b"), scope("comp_c"));
    for (scope, minutes) in [(&a, 0), (&a, 1), (&b, 1), (&b, 200), (&c, 1)] {
        analytics.record(scope, &fact(minutes), future()).await.unwrap();
    }
    let (from, to) = (BEGINNING, BEGINNING + time::Duration::HOUR);
    let several = [a.clone(), b, scope("comp_none")];
    let seen = async |scopes: &[CompanyScope], grain| {
        let cells = analytics.cells_of_several(scopes, from, to, grain).await.unwrap();
        sorted(cells).iter().map(|cell| ((cell.period - BEGINNING).whole_minutes(), cell.turns)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&several, Grain::Minute).await, [(0, 1), (1, 2)]);
    assert_eq!(seen(&several, Grain::Day).await, [(0, 3)]);
    assert_eq!(seen(&[a], Grain::Day).await, [(0, 2)]);
    assert_eq!(seen(&[], Grain::Day).await, []);
}

async fn erases_one_company(Counters { analytics, .. }: &Counters) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    for n in 0..3 {
        analytics.record(&a, &fact(n), future()).await.unwrap();
    }
    analytics.record(&b, &fact(0), future()).await.unwrap();
    assert_eq!(analytics.erase_analytics(&a).await.unwrap(), 3);
    assert_eq!((turns(&**analytics, &a).await, turns(&**analytics, &b).await), (0, 1));
    assert_eq!(analytics.erase_analytics(&a).await.unwrap(), 0);
}

async fn adds_up_tokens_by_day_and_model(Counters { analytics, .. }: &Counters) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    let day = 24 * 60;
    let other = Fact { model: Some("vllm/qwen".to_owned()), input_tokens: 7, ..fact(5) };
    let guessed = Fact { is_estimated: true, ..fact(6) };
    let none = Fact { model: None, input_tokens: 0, output_tokens: 0, ..fact(7) };
    for fact in [fact(0), fact(1), other, guessed, none, fact(day), fact(3 * day), fact(-5)] {
        for _ in 0..2 {
            analytics.record(&a, &fact, future()).await.unwrap();
        }
    }
    analytics.record(&b, &fact(0), future()).await.unwrap();
    let mut cells = analytics.usage(&a, BEGINNING, END).await.unwrap();
    cells.sort_by(|x, y| (x.day, &x.model, x.is_estimated).cmp(&(y.day, &y.model, y.is_estimated)));
    let cell = |days: i64, model: Option<&str>, is_estimated, turns, input_tokens, output_tokens| UsageCell {
        day: BEGINNING + time::Duration::days(days),
        model: model.map(str::to_owned),
        is_estimated,
        turns,
        input_tokens,
        output_tokens,
    };
    let expected = [
        cell(0, None, false, 1, 0, 0),
        cell(0, Some("openai/gpt"), false, 2, 200, 40),
        cell(0, Some("openai/gpt"), true, 1, 100, 20),
        cell(0, Some("vllm/qwen"), false, 1, 7, 20),
        cell(1, Some("openai/gpt"), false, 1, 100, 20),
    ];
    assert_eq!(cells, expected);
}

async fn makes_a_report(Counters { analytics, .. }: &Counters) {
    let scope = scope("comp_a");
    // 140 turns over two days whose every number is known.
    let facts: Vec<Fact> = (0..140)
        .map(|n| Fact {
            language: Some(if n % 5 == 0 { "en" } else { "vi" }.to_owned()),
            finish_reason: if n % 50 == 0 { FinishReason::Failed } else { FinishReason::Stop },
            is_degraded: n % 7 == 0,
            first_token_class: (n % 50 != 0).then_some(if n % 20 == 19 { 17 } else { 8 }),
            ..fact(n * 20)
        })
        .collect();
    let until = future();
    stream::iter(&facts)
        .map(|fact| analytics.record(&scope, fact, until))
        .buffer_unordered(16)
        .for_each(|counted| async { counted.unwrap() })
        .await;
    for grain in [Grain::Minute, Grain::Day] {
        let cells = analytics.cells(&scope, BEGINNING, END, grain).await.unwrap();
        let report = Report::of(&cells, BEGINNING, END, grain);
        let totals = &report.totals;
        assert_eq!((totals.turns, totals.failed, totals.degraded), (140, 3, 20));
        assert_eq!(
            totals.by_language.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>(),
            [("en", 28), ("vi", 112)]
        );
        let first = totals.first_token_ms.unwrap();
        assert_eq!(first.turns, 137);
        assert!((20.0..=30.0).contains(&first.p50) && (700.0..=1_000.0).contains(&first.p99), "{first:?}");
        assert_eq!(report.periods.iter().map(|period| period.numbers.turns).sum::<u64>(), 140);
        if grain == Grain::Day {
            let days: Vec<u64> = report.periods.iter().map(|period| period.numbers.turns).collect();
            assert_eq!(days, [72, 68, 0]);
        }
    }
}
