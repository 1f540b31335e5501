//! Tests of the gates, on a clock that stands still.

use super::*;

const LONGEST: Duration = Duration::from_secs(12 * 3600);

fn endpoint(n: usize) -> EndpointId {
    format!("ep_{n}").parse().unwrap()
}

fn failure() -> Report {
    Report::Failure { reason: "broken".to_owned() }
}

async fn go<'a>(gates: &'a Gates, id: &EndpointId) -> Pass<'a> {
    match gates.enter(id).await {
        Entry::Go(pass) => pass,
        Entry::Full(after) => panic!("no room for {after:?}"),
        Entry::Open { after, reason } => panic!("open for {after:?}: {reason}"),
    }
}

async fn fail_until_open(gates: &Gates, id: &EndpointId) -> Duration {
    for _ in 0..FAILURES {
        Pass::report(go(gates, id).await, failure());
    }
    match gates.enter(id).await {
        Entry::Open { after, reason } => {
            assert_eq!(reason, "broken");
            after
        }
        _ => panic!("still closed"),
    }
}

#[tokio::test(start_paused = true)]
async fn room_grows_with_success_up_to_the_limit() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    for _ in 0..40 {
        Pass::report(go(&gates, &id).await, Report::Success);
    }
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(go(&gates, &id).await);
    }
    assert!(matches!(gates.enter(&id).await, Entry::Full(_)));
    // Another endpoint has its own room.
    go(&gates, &endpoint(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_a_moment_for_room() {
    let gates = Gates::new(128, 1, LONGEST);
    let id = endpoint(1);
    let held = go(&gates, &id).await;
    let release = async {
        tokio::time::sleep(PATIENCE / 2).await;
        Pass::report(held, Report::Success);
    };
    let (entry, ()) = tokio::join!(gates.enter(&id), release);
    assert!(matches!(entry, Entry::Go(_)));
    assert_eq!(gates.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_not_waited_for() {
    let gates = Gates::new(128, 1, LONGEST);
    let id = endpoint(1);
    let _held = go(&gates, &id).await;
    tokio::time::advance(STUCK).await;
    let before = Instant::now();
    assert!(matches!(gates.enter(&id).await, Entry::Full(_)));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_seems_to_hang_gets_no_more_until_it_finishes_one() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    let held = go(&gates, &id).await;
    tokio::time::advance(STUCK).await;
    // There is room, but none for an endpoint that says nothing; and it is not asked again all the time.
    let back_after = async || match gates.enter(&id).await {
        Entry::Full(after) => after,
        _ => panic!("it got another request"),
    };
    assert!(back_after().await >= STUCK);
    // The longer it hangs, the farther apart its messages come back.
    tokio::time::advance(STUCK * 15).await;
    let (first, second) = (back_after().await, back_after().await);
    assert_eq!(second - first, LONGEST_GAP);
    Pass::report(held, Report::Success);
    go(&gates, &id).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_slow_but_answers_is_not_taken_for_one_that_hangs() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    for _ in 0..10 {
        let pass = go(&gates, &id).await;
        tokio::time::advance(STUCK * 3).await;
        Pass::report(pass, Report::Success);
    }
    let _held = go(&gates, &id).await;
    tokio::time::advance(STUCK * 3).await;
    go(&gates, &id).await;
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_the_breaker_and_one_probe_closes_it() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    fail_until_open(&gates, &id).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let probe = go(&gates, &id).await;
    assert!(matches!(gates.enter(&id).await, Entry::Open { .. }), "a second probe went out");
    Pass::report(probe, Report::Success);
    go(&gates, &id).await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_lets_another_one_go() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    fail_until_open(&gates, &id).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    drop(go(&gates, &id).await);
    go(&gates, &id).await;
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_up_to_a_minute() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    fail_until_open(&gates, &id).await;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let begun = Instant::now();
        let probe = loop {
            match gates.enter(&id).await {
                Entry::Go(pass) => break pass,
                _ => tokio::time::advance(Duration::from_millis(500)).await,
            }
        };
        pauses.push(begun.elapsed().as_secs_f64());
        Pass::report(probe, failure());
    }
    for (pause, step) in pauses.iter().zip([5.0, 10.0, 20.0, 40.0, 50.0, 50.0, 50.0, 50.0]) {
        assert!(*pause >= step * 0.79 && *pause <= (step * 1.2 + 1.0).min(60.5), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_time_gets_it() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    let pause = Duration::from_secs(30);
    Pass::report(go(&gates, &id).await, Report::Busy { pause, reason: "429".to_owned() });
    tokio::time::advance(pause - Duration::from_millis(1)).await;
    assert!(matches!(gates.enter(&id).await, Entry::Open { .. }));
    tokio::time::advance(Duration::from_millis(1)).await;
    go(&gates, &id).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_hours_gets_them_up_to_the_longest_pause() {
    for (asked, given) in [(Duration::from_secs(2 * 3600), Duration::from_secs(2 * 3600)), (Duration::MAX, LONGEST)] {
        let gates = Gates::new(128, 16, LONGEST);
        let id = endpoint(1);
        Pass::report(go(&gates, &id).await, Report::Busy { pause: asked, reason: "503".to_owned() });
        tokio::time::advance(given - Duration::from_millis(1)).await;
        assert!(matches!(gates.enter(&id).await, Entry::Open { .. }), "{asked:?}");
        tokio::time::advance(Duration::from_millis(1)).await;
        go(&gates, &id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_for_a_dead_endpoint_come_back_spread() {
    let gates = Gates::new(128, 16, LONGEST);
    let id = endpoint(1);
    fail_until_open(&gates, &id).await;
    let mut seconds = HashMap::new();
    for _ in 0..100_000 {
        let Entry::Open { after, .. } = gates.enter(&id).await else { panic!("closed") };
        *seconds.entry(after.as_secs()).or_insert(0) += 1;
    }
    assert!(seconds.len() > 200, "all in {} seconds", seconds.len());
    let most = seconds.values().max().unwrap();
    assert!(*most < 1000, "{most} in one second");
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_keeps_who_is_at_work() {
    let gates = Gates::new(128, 16, LONGEST);
    let held = go(&gates, &endpoint(0)).await;
    for n in 1..MOST_GATES * 2 {
        drop(go(&gates, &endpoint(n)).await);
    }
    assert!(gates.gates.lock().len() <= MOST_GATES);
    assert!(gates.gates.lock().contains_key(&endpoint(0)));
    drop(held);
}
