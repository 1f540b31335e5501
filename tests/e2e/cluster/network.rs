//! The network between the processes and their servers breaks and drags.

use std::time::Duration;

use super::check::Bounds;
use super::load::{Habits, under_load};
use super::site::Cluster;
use super::timing;

/// Turns that have to be read to their end in each phase.
const SERVED: usize = 20;
/// What each piece takes between a process and a server, there and back again.
const LATENCY: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn without_the_index_answers_say_that_it_is_missing() {
    let Some(cluster) = Cluster::start("index-away", "").await else { return };
    let habits = Habits { resumes: true, repeats: true };
    let seen = under_load(&cluster, habits, async |pulse| {
        pulse.turns(SERVED).await;
        pulse.next_phase();
        cluster.lines.index.refuse();
        pulse.turns(SERVED).await;
        pulse.next_phase();
        cluster.lines.index.blackhole();
        pulse.turns(SERVED).await;
        cluster.lines.index.restore();
        pulse.next_phase();
        pulse.turns(2 * SERVED).await;
    })
    .await;
    timing::print("the index is cut off", &seen, &["before", "refused", "no answer", "after"]);
    let degraded = |phase| {
        let mut turns = seen.promises.iter().filter(move |it| it.phase == phase);
        turns.by_ref().filter(|it| it.degraded.iter().any(|part| part == "index")).count()
    };
    assert_eq!(degraded(0), 0, "turns were answered without knowledge before anything was cut");
    assert!(degraded(1) > 0 && degraded(2) > 0, "no turn says that the index was missing");
    let last = seen.promises.iter().rfind(|it| it.phase == 3).expect("turns after the fault");
    assert!(last.degraded.iter().all(|part| part != "index"), "the index is not asked again: {last:?}");
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_and_one_that_stands_still_lose_nothing() {
    let Some(cluster) = Cluster::start("network", "").await else { return };
    let habits = Habits { resumes: true, repeats: false };
    let seen = under_load(&cluster, habits, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        cluster.lines.all().into_iter().for_each(|line| line.slow(LATENCY));
        pulse.turns(2 * SERVED).await;
        pulse.next_phase();
        // Connections stay and nothing is heard on them: only time limits notice it.
        cluster.lines.broker.blackhole();
        let (_, ()) = tokio::join!(tokio::time::sleep(Duration::from_secs(6)), pulse.turns(SERVED));
        cluster.lines.all().into_iter().for_each(|line| {
            line.restore();
            line.cut();
        });
        pulse.next_phase();
        pulse.turns(SERVED).await;
    })
    .await;
    let phases = ["before", "slow", "broker silent", "after"];
    timing::print(&format!("{} ms more between all", LATENCY.as_millis()), &seen, &phases);
    assert!(seen.done_in(2) >= SERVED, "{} turns while the broker was silent", seen.done_in(2));
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 6 }).await;
}
