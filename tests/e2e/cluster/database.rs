//! The database stops, dies, and answers with errors.

use std::time::Duration;

use serde_json::json;

use super::check::Bounds;
use super::load::{Habits, Pulse, under_load};
use super::site::{Cluster, blocking};
use super::{number_of, timing};

/// Seconds that the database is away in a run of all tests; `TURNPIKE_OUTAGE_S` sets another number.
const OUTAGE_S: usize = 8;
/// Turns that have to be read to their end while it is away.
const SERVED: usize = 20;
/// Times that all connections are cut.
const CUTS: usize = 10;
/// Whose a key is, and where a turn runs, the database knows alone.
const HABITS: Habits = Habits { resumes: false, repeats: false };

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_noticed_by_no_stream() {
    let Some(cluster) = Cluster::start("database-away", "").await else { return };
    let outage = Duration::from_secs(number_of("TURNPIKE_OUTAGE_S", OUTAGE_S) as u64);
    let seen = under_load(&cluster, HABITS, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        blocking(|| cluster.mongo.stop());
        let (_, ()) = tokio::join!(tokio::time::sleep(outage), pulse.turns(SERVED));
        // A gateway that starts now knows whose the key is all the same.
        blocking(|| {
            cluster.gateways[0].kill();
            cluster.gateways[0].revive();
        });
        pulse.turns(SERVED).await;
        blocking(|| cluster.mongo.start_again());
        pulse.next_phase();
        pulse.turns(40).await;
        pulse.next_phase();
        for _ in 0..3 {
            blocking(|| {
                cluster.mongo.kill();
                cluster.mongo.start_again();
            });
            pulse.turns(10).await;
        }
    })
    .await;
    let title = format!("the database is stopped for {} s, then killed three times", outage.as_secs());
    timing::print(&title, &seen, &["before", "away", "back", "killed"]);
    assert!(seen.done_in(1) >= SERVED, "{} turns while the database was away", seen.done_in(1));
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_makes_no_turn_twice_and_loses_none() {
    let Some(cluster) = Cluster::start("database-fails", "[store]\ntimeout_s = 1\n").await else { return };
    let writes = ["insert", "update", "findAndModify", "delete"];
    let all = [writes.as_slice(), &["find", "aggregate", "count", "getMore"]].concat();
    let faults = [
        json!({"failCommands": all, "closeConnection": true}),
        // A primary that is none any more, and one that is going down.
        json!({"failCommands": all, "errorCode": 10107}),
        json!({"failCommands": all, "errorCode": 91}),
        // Written, and not known to be kept.
        json!({"failCommands": writes, "writeConcernError": {"code": 64, "errmsg": "timed out"}}),
        json!({"failCommands": writes, "writeConcernError": {"code": 91, "errmsg": "going down"}}),
        // Written after whoever asked for it has given up.
        json!({"failCommands": writes, "blockConnection": true, "blockTimeMS": 1500}),
    ];
    let seen = under_load(&cluster, HABITS, async |pulse| {
        pulse.turns(40).await;
        pulse.next_phase();
        for fault in &faults {
            fail(&cluster, pulse, fault).await;
        }
        pulse.next_phase();
        // Written, and the answer is lost.
        for _ in 0..CUTS {
            pulse.events(60).await;
            cluster.lines.database.cut();
        }
        pulse.next_phase();
        pulse.turns(20).await;
    })
    .await;
    timing::print("the database fails", &seen, &["before", "fail points", "connections cut", "after"]);
    cluster.check(&seen, &Bounds { cuts_of_deliveries: 0 }).await;
}

/// Lets commands fail, in a row and some later ones.
async fn fail(cluster: &Cluster, pulse: &Pulse, fault: &serde_json::Value) {
    for mode in [json!({"times": 3}), json!({"times": 12}), json!({"skip": 20, "times": 6})] {
        let point = json!({"configureFailPoint": "failCommand", "mode": mode, "data": fault});
        blocking(|| cluster.mongo.ctl(&[&point.to_string()]));
        pulse.turns(6).await;
    }
}
