//! The log of deliveries end to end: every try can be read, what died can be sent again, order and rate are kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::{PATIENCE, wait_for};

const QUICK: &str = "[webhooks]\ndeadline_s = 2\ninitial_delay_s = 0.05\nmax_delay_s = 0.2\ngive_up_after_s = 0.5\n";

/// Asks for a path under the company's webhooks.
async fn get(client: &Client, path: &str) -> Value {
    let response = client.get(&format!("/api/companies/acme/webhooks{path}")).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    let request = client.post(&format!("/api/companies/acme/webhooks{path}")).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Waits until so many deliveries stand so.
async fn until(client: &Client, state: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} deliveries to be {state}"), || async {
        let page = get(client, &format!("/deliveries?limit=200&state={state}")).await;
        let found = page["deliveries"].as_array().unwrap().clone();
        (found.len() == count).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_delivery_is_read_try_by_try_and_arrives_when_it_is_replayed() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_mended = Arc::clone(&is_mended);
        let sick = || Act::with_header(500, "set-cookie", "session=hunter2-secret");
        Receiver::start(move |_| if is_mended.load(Ordering::SeqCst) { Act::status(204) } else { sick() }).await
    };
    let site = Site::new(QUICK);
    let key = site.company("acme");
    let secret = site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    client.ask("xin chào", "s1").await.rest().await;
    let dead = until(&client, "dead", 1).await.remove(0);
    let id = dead["delivery_id"].as_str().unwrap().to_owned();
    assert_eq!((&dead["status"], &dead["event_type"]), (&json!(500), &json!("conversation.updated")));

    let whole = get(&client, &format!("/deliveries/{id}")).await;
    let tries = whole["tries"].as_array().unwrap();
    assert!(tries.len() >= 2, "{whole}");
    assert_eq!(tries.len(), receiver.received().len());
    let numbers: Vec<u64> = tries.iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!((&tries[0]["outcome"], &tries[0]["status"]), (&json!("status"), &json!(500)));
    assert!(tries[0]["timing"]["total_ms"].as_f64().unwrap() > 0.0, "{}", tries[0]);
    assert!(tries[0]["remote_address"].is_string(), "{}", tries[0]);
    assert!(!whole.to_string().contains("hunter2-secret"), "a receiver's secret is shown: {whole}");
    assert_eq!(whole["payload"]["type"], "conversation.updated");
    assert_eq!(whole["payload"], receiver.received()[0].json(), "what is shown is what was sent");

    let health = get(&client, &format!("/{}/health", dead["endpoint_id"].as_str().unwrap())).await;
    assert_eq!((&health["dead"], &health["recent"], &health["recent_delivered"]), (&json!(1), &json!(1), &json!(0)));
    assert!(health["failing_since"].is_string() && health["last_failure"].is_string(), "{health}");

    is_mended.store(true, Ordering::SeqCst);
    let (status, replay) = post(&client, &format!("/deliveries/{id}/replay"), json!({})).await;
    assert_eq!(status, 202, "{replay}");
    let delivered = until(&client, "delivered", 1).await.remove(0);
    assert_eq!((&delivered["delivery_id"], &delivered["replays"]), (&json!(id), &json!(1)));
    let requests = receiver.received();
    let (first, last) = (&requests[0], requests.last().unwrap());
    last.verify(&secret).unwrap();
    assert_eq!(first.header("webhook-id"), last.header("webhook-id"), "a replay keeps its id");
    assert_eq!(first.json(), last.json());
    wait_for("the replay to be done", || async {
        let replay = get(&client, &format!("/replays/{}", replay["replay_id"].as_str().unwrap())).await;
        (replay["state"] == "done" && replay["replayed"] == 1).then_some(())
    })
    .await;
    let health = get(&client, &format!("/{}/health", dead["endpoint_id"].as_str().unwrap())).await;
    assert_eq!((&health["delivered"], &health["failing_since"]), (&json!(1), &Value::Null));

    // On the command line too, and nothing is left to be sent.
    let listed = site.ok(&["webhook", "deliveries", "--company", "acme", "--state", "delivered"]);
    assert!(listed.contains(&id), "{listed}");
    let again = site.ok(&["webhook", "replay", "--company", "acme"]);
    assert!(again.contains("done: 0 on their way again, 0 left as they are"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_or_was_missed_while_disabled_is_replayed_and_what_arrived_is_left_alone() {
    let is_mended = Arc::new(AtomicBool::new(true));
    let receiver = {
        let is_mended = Arc::clone(&is_mended);
        Receiver::start(move |_| Act::status(if is_mended.load(Ordering::SeqCst) { 200 } else { 410 })).await
    };
    let site = Site::new(QUICK);
    let key = site.company("acme");
    site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    client.ask("một", "s1").await.rest().await;
    let arrived = until(&client, "delivered", 1).await.remove(0);
    let endpoint = arrived["endpoint_id"].as_str().unwrap().to_owned();
    is_mended.store(false, Ordering::SeqCst);
    client.ask("hai", "s1").await.rest().await;
    until(&client, "discarded", 1).await;
    client.ask("ba", "s1").await.rest().await;
    let missed = until(&client, "discarded", 2).await;
    assert_eq!(receiver.received().len(), 2, "nothing is sent to a disabled endpoint");
    let id = missed[0]["delivery_id"].as_str().unwrap();
    let (status, refused) = post(&client, &format!("/deliveries/{id}/replay"), json!({})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("not_replayable")));

    is_mended.store(true, Ordering::SeqCst);
    site.ok(&["webhook", "enable", "--company", "acme", &endpoint]);
    // Two at once send nothing twice.
    let body = json!({"endpoint_id": endpoint});
    let (one, two) = tokio::join!(post(&client, "/replays", body.clone()), post(&client, "/replays", body));
    assert_eq!((one.0, two.0), (202, 202));
    until(&client, "delivered", 3).await;
    for replay in [&one.1, &two.1] {
        wait_for("the replays to be done", || async {
            let replay = get(&client, &format!("/replays/{}", replay["replay_id"].as_str().unwrap())).await;
            (replay["state"] == "done").then_some(())
        })
        .await;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in receiver.received() {
        *seen.entry(request.header("webhook-id").to_owned()).or_default() += 1;
    }
    let mut times: Vec<usize> = seen.into_values().collect();
    times.sort_unstable();
    assert_eq!(times, [1, 1, 2], "the one that was answered 410 was sent again, and nothing else was twice");
    let (status, refused) = post(&client, "/replays", json!({"states": ["lost"]})).await;
    assert_eq!(status, 400, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_endpoint_gets_each_conversation_in_order_whatever_fails() {
    let tries = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_| {
        Act::status(if tries.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { 503 } else { 200 })
    })
    .await;
    let site = Site::new("[webhooks]\ninitial_delay_s = 0.05\nmax_delay_s = 0.3\n");
    let key = site.company("acme");
    let url = receiver.url("/hook");
    let events = "conversation.created,message.created,conversation.updated";
    site.ok(&["webhook", "add", "--company", "acme", "--url", &url, "--order", "ordered", "--event", events]);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let talk = |session: &'static str| {
        let client = &client;
        async move {
            for n in 1..=5 {
                client.ask(&format!("Câu hỏi {n}"), session).await.rest().await;
            }
        }
    };
    tokio::join!(talk("s1"), talk("s2"), talk("s3"));
    // One that begins a conversation, and three for each turn.
    until(&client, "delivered", 3 * (1 + 5 * 3)).await;
    let mut last: HashMap<String, (u64, u64)> = HashMap::new();
    for request in receiver.received() {
        let body = request.json();
        let data = &body["data"];
        let rank = match (body["type"].as_str().unwrap(), data["message"]["role"].as_str()) {
            ("conversation.created", _) => 0,
            ("message.created", Some("user")) => 1,
            ("message.created", _) => 2,
            _ => 3,
        };
        let place = (data["sequence"].as_u64().unwrap_or(1), rank);
        let session = data["session_id"].as_str().unwrap().to_owned();
        let before = last.insert(session.clone(), place).unwrap_or_default();
        assert!(before <= place, "{session}: {before:?} came before {place:?}");
    }
    assert_eq!(last.into_values().collect::<Vec<_>>(), [(5, 3), (5, 3), (5, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_spreads_what_comes_at_once() {
    let receiver = Receiver::healthy().await;
    let site = Site::new("");
    let key = site.company("acme");
    let url = receiver.url("/hook");
    site.ok(&["webhook", "add", "--company", "acme", "--url", &url, "--rate-limit", "5"]);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let begun = std::time::Instant::now();
    let asked = (0..20).map(|n| {
        let client = &client;
        async move { client.ask("xin chào", &format!("s-{n}")).await.rest().await.len() }
    });
    futures::future::join_all(asked).await;
    receiver.wait_for(20, PATIENCE).await;
    // A bucket of five and five a second: twenty take three seconds, however slow the machine is.
    assert!(begun.elapsed().as_secs_f64() >= 2.9, "{:?}", begun.elapsed());
}
