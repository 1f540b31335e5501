//! The broker stops, cuts, blocks and forgets.

use std::time::Duration;

use super::check::Bounds;
use super::load::{Habits, under_load};
use super::site::{Cluster, Node, blocking};
use super::{number_of, timing};

/// Seconds that the broker is away in a run of all tests; `TURNPIKE_OUTAGE_S` sets another number.
const OUTAGE_S: usize = 8;
/// Turns that have to be read to their end while something is away.
const SERVED: usize = 20;
const HABITS: Habits = Habits { resumes: true, repeats: true };

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_noticed_by_no_stream() {
    let Some(cluster) = Cluster::start("broker-away", "").await else { return };
    let outage = Duration::from_secs(number_of("TURNPIKE_OUTAGE_S", OUTAGE_S) as u64);
    let seen = under_load(&cluster, HABITS, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        blocking(|| cluster.rabbit.stop());
        let (_, ()) = tokio::join!(tokio::time::sleep(outage), pulse.turns(SERVED));
        blocking(|| cluster.rabbit.start_again());
        pulse.next_phase();
        pulse.turns(40).await;
        // Not in order this time.
        pulse.next_phase();
        blocking(|| {
            cluster.rabbit.kill();
            cluster.rabbit.start_again();
        });
        pulse.turns(20).await;
    })
    .await;
    let title = format!("the broker is stopped for {} s, then killed", outage.as_secs());
    timing::print(&title, &seen, &["before", "away", "back", "killed"]);
    assert!(seen.done_in(1) >= SERVED, "{} turns while the broker was away", seen.done_in(1));
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_broker_closes_or_blocks_are_made_again() {
    const CLOSED: usize = 4;
    let Some(cluster) = Cluster::start("broker-cuts", "").await else { return };
    let seen = under_load(&cluster, HABITS, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        for _ in 0..CLOSED {
            blocking(|| cluster.rabbit.ctl(&["close_all_connections", "closed by a test"]));
            pulse.turns(15).await;
        }
        // Above the watermark the broker takes nothing more from those who publish, and does not say no either.
        pulse.next_phase();
        blocking(|| cluster.rabbit.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]));
        let (_, ()) = tokio::join!(tokio::time::sleep(Duration::from_secs(6)), pulse.turns(SERVED));
        let alarms = blocking(|| cluster.rabbit.ctl(&["eval", "rabbit_alarm:get_alarms()."]));
        assert!(alarms.contains("memory"), "the alarm was not set: {alarms}");
        blocking(|| cluster.rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]));
        pulse.next_phase();
        pulse.turns(20).await;
    })
    .await;
    let phases = ["before", "connections closed", "memory alarm", "after"];
    timing::print("the broker closes connections, then blocks them", &seen, &phases);
    assert!(seen.done_in(2) >= SERVED, "{} turns while the broker took nothing", seen.done_in(2));
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lay_in_a_deleted_queue_is_published_again() {
    // Long enough for a refused webhook to be seen where it waits.
    let config = "[webhooks]\ninitial_delay_s = 10\nmax_delay_s = 10\n";
    let Some(cluster) = Cluster::start("broker-queues", config).await else { return };
    let seen = under_load(&cluster, HABITS, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        // A level in which webhooks wait that were refused.
        let level = blocking(|| waiting_level(&cluster));
        blocking(|| cluster.rabbit.ctl(&["delete_queue", &level]));
        pulse.turns(15).await;
        // Under the eyes of those who take from them.
        for queue in QUEUES {
            blocking(|| cluster.rabbit.ctl(&["delete_queue", queue]));
        }
        pulse.turns(15).await;
        // And while nobody takes what comes: turns, and webhooks that were being sent.
        blocking(|| cluster.workers.iter().for_each(Node::kill));
        pulse.turns(15).await;
        blocking(|| {
            QUEUES.iter().for_each(|queue| drop(cluster.rabbit.ctl(&["delete_queue", queue])));
            // A process that starts wants to find its queues.
            cluster.desk.ok(&["migrate"]);
            cluster.workers.iter().for_each(Node::revive);
        });
        pulse.next_phase();
        pulse.turns(10).await;
    })
    .await;
    timing::print("queues are deleted", &seen, &["before", "queues deleted", "after"]);
    // Both workers were killed.
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 2 }).await;
}

/// Queues that are deleted with what lies in them.
const QUEUES: [&str; 2] = ["turnpike.persist", "turnpike.deliver"];

/// A delay queue with messages in it.
fn waiting_level(cluster: &Cluster) -> String {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let queues = cluster.rabbit.ctl(&["list_queues", "name", "messages"]);
        let mut lines = queues.lines().filter_map(|line| line.split_once('\t'));
        let found = lines.find(|(name, messages)| name.contains(".delay.") && messages.trim() != "0");
        if let Some((name, _)) = found {
            return name.to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "no delay level ever has a message:\n{queues}");
    }
}
