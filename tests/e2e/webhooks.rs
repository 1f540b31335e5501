//! Webhooks end to end: signed, in sequence, retried, given up, tried again.

mod events;

use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::{PATIENCE, wait_for};

const QUICK: &str = "[webhooks]\ndeadline_s = 0.4\ninitial_delay_s = 0.05\nmax_delay_s = 0.2\ngive_up_after_s = 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_turn_is_told_once_signed_and_in_sequence() {
    let receiver = Receiver::healthy().await;
    let site = Site::new("");
    let key = site.company("acme");
    let secret = site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for n in 1..=3 {
        client.ask(&format!("Câu hỏi {n}"), "s1").await.rest().await;
    }
    let requests = receiver.wait_for(3, PATIENCE).await;
    let mut sequences: Vec<u64> = Vec::new();
    for request in &requests {
        request.verify(&secret).unwrap();
        let body = request.json();
        assert_eq!(body["type"], "conversation.updated");
        let data = &body["data"];
        assert_eq!(
            (data["company_id"].as_str(), data["channel"].as_str(), data["status"].as_str()),
            (Some("acme"), Some("web"), Some("ACTIVE"))
        );
        assert_eq!(data["messages"][0]["role"], "user");
        assert_eq!(data["message_count"].as_u64().unwrap(), 2 * data["sequence"].as_u64().unwrap());
        sequences.push(data["sequence"].as_u64().unwrap());
    }
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_drips_redirects_or_floods_is_bounded_and_dies_and_can_be_redriven() {
    let elsewhere = Receiver::healthy().await;
    let target = elsewhere.url("/never");
    let is_mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mended = std::sync::Arc::clone(&is_mended);
    let receiver = Receiver::start(move |request| {
        if mended.load(std::sync::atomic::Ordering::SeqCst) {
            return Act::status(200);
        }
        match request.path.as_str() {
            "/hang" => Act::Hang,
            "/drip" => Act::Drip,
            "/redirect" => Act::with_header(302, "location", target.clone()),
            "/flood" => Act::Huge(1 << 30),
            "/garbage" => Act::Garbage,
            _ => Act::status(500),
        }
    })
    .await;
    let site = Site::new(QUICK);
    let key = site.company("acme");
    for path in ["/hang", "/drip", "/redirect", "/garbage", "/error", "/flood"] {
        site.endpoint("acme", &receiver.url(path));
    }
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    client.ask("xin chào", "s1").await.rest().await;
    // The flood answers 200: what is read of it is bounded, and it counts as taken.
    let ledger = wait_for("the five others to be given up", || async {
        let ledger = site.ledger();
        (ledger["queues"][1]["dead"] == 5).then_some(ledger)
    })
    .await;
    assert_eq!(ledger["balances"], true, "{ledger}");
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
    let dead = site.ok(&["queue", "dead", "--json"]);
    assert_eq!(dead.lines().count(), 5, "{dead}");
    let ids = |requests: &[crate::support::receiver::Received], path: &str| {
        let mut ids: Vec<String> = requests
            .iter()
            .filter(|request| request.path == path)
            .map(|request| request.header("webhook-id").to_owned())
            .collect();
        assert!(ids.len() > 1, "{path} was tried once");
        ids.dedup();
        ids
    };
    let before = ids(&receiver.received(), "/error");
    assert_eq!(before.len(), 1, "the id changed between tries");
    is_mended.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(site.ok(&["queue", "redrive"]).starts_with("5 "));
    wait_for("the redriven to be done", || async {
        let ledger = site.ledger();
        (ledger["queues"][1]["dead"] == 0 && ledger["queues"][1]["pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(ids(&receiver.received(), "/error"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_no_stream_and_no_other_receiver() {
    let hung = Receiver::start(|_| Act::Hang).await;
    let good = Receiver::healthy().await;
    let site = Site::new("[webhooks]\nconcurrency = 4\nconcurrency_per_endpoint = 2\ndeadline_s = 30\n");
    let key = site.company("acme");
    site.endpoint("acme", &hung.url("/hook"));
    site.endpoint("acme", &good.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for n in 0..20 {
        client.ask("xin chào", &format!("s{n}")).await.rest().await;
    }
    assert_eq!(good.wait_for(20, PATIENCE).await.len(), 20);
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled() {
    let receiver = Receiver::start(|_| Act::status(410)).await;
    let site = Site::new("");
    let key = site.company("acme");
    site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    Client::new(&server, "acme", &key).ask("xin chào", "s1").await.rest().await;
    wait_for("the endpoint to be disabled", || async {
        site.ok(&["webhook", "list", "--company", "acme"]).contains("off: ").then_some(())
    })
    .await;
}

#[test]
fn a_test_webhook_shows_what_came_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver =
        runtime.block_on(Receiver::start(|_| Act::Answer { status: 202, headers: vec![], body: "thanks".to_owned() }));
    let site = Site::new("");
    site.company("acme");
    let secret = site.endpoint("acme", &receiver.url("/hook"));
    let listed = site.ok(&["webhook", "list", "--company", "acme"]);
    let id = listed.split('\t').next().unwrap();
    let shown = site.ok(&["webhook", "test", "--company", "acme", id]);
    assert!(shown.contains("202") && shown.contains("thanks"), "{shown}");
    receiver.received()[0].verify(&secret).unwrap();
}
