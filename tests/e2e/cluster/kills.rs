//! Gateways and workers die at any moment.

use super::check::Bounds;
use super::load::{Dice, Habits, under_load};
use super::site::{Cluster, Node, blocking};
use super::{number_of, timing};

/// Kills in a run of all tests; `TURNPIKE_KILLS` sets another number.
const KILLS: usize = 20;
/// Events that customers read between two kills, at most.
const EVENTS: u64 = 260;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_promised_is_lost_when_gateways_and_workers_are_killed() {
    let Some(mut cluster) = Cluster::start("kills", "").await else { return };
    cluster.wants_order();
    let kills = number_of("TURNPIKE_KILLS", KILLS);
    let habits = Habits { resumes: true, repeats: true };
    let seen = under_load(&cluster, habits, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        let nodes: Vec<&Node> = cluster.nodes().collect();
        let mut dice = Dice::new(17);
        let mut killed = 0;
        while killed < kills {
            // The moment is one in the streams' own time, not the clock's.
            pulse.events(1 + dice.throw(EVENTS)).await;
            let mut victims = vec![nodes[dice.throw(nodes.len() as u64) as usize]];
            // Now and then two at once; both gateways too, and then customers find nobody for a moment.
            if dice.throw(4) == 0 {
                let second = nodes[dice.throw(nodes.len() as u64) as usize];
                if !std::ptr::eq(second, victims[0]) {
                    victims.push(second);
                }
            }
            blocking(|| {
                victims.iter().for_each(|node| node.kill());
                victims.iter().for_each(|node| node.revive());
            });
            killed += victims.len();
        }
        pulse.next_phase();
        pulse.turns(20).await;
    })
    .await;
    timing::print(&format!("{kills} kills of gateways and workers"), &seen, &["before", "while they die", "after"]);
    let workers = cluster.workers.iter().map(Node::kills).sum();
    cluster.check(&seen, &Bounds { cuts_of_deliveries: workers }).await;
}
