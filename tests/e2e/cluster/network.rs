//! The network between the processes and their servers breaks and drags.

use std::time::Duration;

use super::check::Bounds;
use super::load::{CUSTOMERS, Habits, under_load};
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
        cluster.lines.index.refuse();
        pulse.next_phase();
        pulse.turns(SERVED).await;
        cluster.lines.index.blackhole();
        pulse.next_phase();
        pulse.turns(SERVED).await;
        cluster.lines.index.restore();
        pulse.next_phase();
        pulse.turns(2 * SERVED).await;
    })
    .await;
    timing::print("the index is cut off", &seen, &["before", "refused", "no answer", "after"]);
    let without = |phase| {
        let turns = seen.promises.iter().filter(|it| it.phase == phase);
        let (all, without) = turns.fold((0, 0), |(all, without), it| {
            (all + 1, without + usize::from(it.degraded.iter().any(|part| part == "index")))
        });
        (without, all - without)
    };
    // A busy machine may take too long for one or the other turn.
    for phase in [0, 3] {
        let (without, with) = without(phase);
        assert!(without < with, "{without} turns were answered without knowledge in phase {phase}, {with} with it");
    }
    for phase in [1, 2] {
        let (without, with) = without(phase);
        // The last questions are answered when the fault is over.
        assert!(without > 0 && with <= CUSTOMERS, "{with} turns found an index that was cut off, {without} did not");
    }
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
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}
