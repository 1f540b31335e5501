//! Promises 2, 3, 4 and 6 against SIGKILL at random moments.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::Notify;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::wait_for;

/// Turns asked for in all, and how many at a time.
const TURNS: usize = 120;
const AT_A_TIME: usize = 6;

/// Kills in all.
const KILLS: usize = 25;
/// Events of all the turns of a round together, roughly: the kill falls somewhere among them, or after the last.
const EVENTS: u64 = AT_A_TIME as u64 * 40;

/// What a client saw of a turn.
struct Witness {
    turn_id: String,
    text: String,
    is_done: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_kept_and_delivered_and_what_was_cut_is_kept_as_far_as_it_came() {
    let provider = Provider::start().await;
    // One answer in seven is refused, so that deliveries are retried while the process dies under them.
    let receiver = Receiver::start(|request| Act::status(if request.number % 7 == 3 { 500 } else { 204 })).await;
    let config = provider.config("mock", &["plain"]);
    let site = Site::new(&format!(
        "[webhooks]\ninitial_delay_s = 0.1\nmax_delay_s = 0.5\n[turn]\ndisconnect_grace_s = 0.2\n{config}"
    ));
    let key = site.company("acme");
    let secret = site.endpoint("acme", &receiver.url("/hook"));

    let mut witnesses: Vec<Witness> = Vec::new();
    // Not a random number of the machine's: a failure can be repeated.
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut kills = 0;
    while witnesses.len() < TURNS || kills < KILLS {
        let mut server = site.serve();
        let client = Client::new(&server, "acme", &key);
        let base = witnesses.len();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let fatal = dice % EVENTS;
        let (seen_events, reached) = (AtomicU64::new(0), Notify::new());
        let asking = (0..AT_A_TIME).map(|n| {
            let client = client.clone();
            let (seen_events, reached) = (&seen_events, &reached);
            async move {
                // Three sessions, so that conversations grow and turns of one run side by side.
                let mut turn = client.try_ask(&format!("Câu hỏi số {}", base + n), &format!("s{}", n % 3)).await?;
                while turn.next().await.is_some() {
                    if seen_events.fetch_add(1, Ordering::SeqCst) >= fatal {
                        reached.notify_one();
                    }
                }
                let has_begun = turn.find("start").is_some();
                has_begun.then(|| Witness {
                    turn_id: turn.turn_id(),
                    text: turn.text(),
                    is_done: turn.find("done").is_some(),
                })
            }
        });
        // The moment is one in the streams' own time, not the clock's: before, among and after their events.
        let mut asking = pin!(futures::future::join_all(asking));
        let early = tokio::select! {
            seen = asking.as_mut() => Some(seen),
            () = reached.notified() => None,
        };
        server.kill();
        let seen = match early {
            Some(seen) => seen,
            None => asking.await,
        };
        kills += 1;
        witnesses.extend(seen.into_iter().flatten());
    }
    let done = witnesses.iter().filter(|witness| witness.is_done).count();
    eprintln!("{kills} kills, {} turns begun, {done} read to the end", witnesses.len());
    assert!(done > 10 && witnesses.len() - done > 10, "the kills all fell on one side of `done`");

    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let ledger = wait_for("everything to be settled", || async {
        let ledger = site.ledger();
        let is_settled = ledger["spool"]["pending"] == 0
            && ledger["queues"].as_array().unwrap().iter().all(|queue| queue["pending"] == 0);
        is_settled.then_some(ledger)
    })
    .await;
    assert_eq!(ledger["balances"], true, "{ledger}");
    assert!(ledger["queues"].as_array().unwrap().iter().all(|queue| queue["dead"] == 0), "{ledger}");

    let conversations = client.stored().await;
    let mut stored: HashMap<String, Value> = HashMap::new();
    for turns in &conversations {
        let sequences: Vec<u64> = turns.iter().map(|turn| turn["sequence"].as_u64().unwrap()).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "sequences have gaps");
        for turn in turns {
            let twice = stored.insert(turn["turn_id"].as_str().unwrap().to_owned(), turn.clone());
            assert!(twice.is_none(), "a turn is stored twice");
        }
    }
    let received = receiver.received();
    let mut delivered: HashMap<String, Vec<(String, Value)>> = HashMap::new();
    for request in &received {
        let id = request.headers["webhook-id"].to_str().unwrap().to_owned();
        request.verify(&secret).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let turn_id = body["data"]["turn_id"].as_str().unwrap().to_owned();
        delivered.entry(turn_id).or_default().push((id, body));
    }
    for witness in &witnesses {
        let turn = stored.get(&witness.turn_id).unwrap_or_else(|| panic!("turn {} is not stored", witness.turn_id));
        let kept = turn["answer"].as_str().unwrap();
        if witness.is_done {
            assert_eq!(kept, witness.text);
            assert_eq!(turn["finish_reason"], "stop");
        } else {
            assert!(kept.starts_with(&witness.text), "{kept:?} does not begin with what was read, {:?}", witness.text);
        }
        let deliveries =
            delivered.get(&witness.turn_id).unwrap_or_else(|| panic!("turn {} was not delivered", witness.turn_id));
        assert!(deliveries.iter().all(|delivery| *delivery == deliveries[0]), "one turn came under two ids or bodies");
        assert_eq!(deliveries[0].1["data"]["sequence"], turn["sequence"]);
        assert_eq!(deliveries[0].1["data"]["messages"][0]["content"], turn["message"]);
    }
    server.stop();
}
