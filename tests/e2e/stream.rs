//! The native stream: its order, its form, and what becomes of it when clients stop, vanish, come back or ask twice.

use serde_json::Value;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};

const KNOWLEDGE: &[(&str, &str)] = &[
    ("lai-suat.md", "# Lãi suất vay mua nhà\n\nLãi suất vay mua nhà cố định 12 tháng đầu là 7,5% một năm.\n"),
    ("hours.md", "# Opening hours\n\nOur branches are open from 8:00 to 17:00, Monday to Friday.\n"),
];

async fn start(model: &str, config: &str) -> (Site, Server, Client, Provider) {
    let provider = Provider::start().await;
    let site = Site::new(&format!("{config}\n{}", provider.config("mock", &[model])));
    let key = site.company("acme");
    site.knowledge("acme", KNOWLEDGE);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    (site, server, client, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_streams_its_stages_in_order_and_is_stored_as_it_was_read() {
    let (_site, _server, client, provider) = start("plain", "").await;
    let mut turn = client.ask("Lãi suất vay mua nhà là bao nhiêu?", "s1").await;
    assert_eq!(turn.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(turn.headers["cache-control"], "no-cache");
    assert_eq!(turn.headers["x-accel-buffering"], "no");
    turn.rest().await;
    assert_eq!(turn.kinds(), ["start", "language", "intent", "sources", "content", "done"]);
    let ids: Vec<usize> = turn.seen.iter().map(|seen| seen.id).collect();
    assert_eq!(ids, (1..=ids.len()).collect::<Vec<_>>());
    assert_eq!(turn.find("language").unwrap()["code"], "vi");
    assert_eq!(turn.find("language").unwrap()["language"], "vietnamese");
    let source = &turn.find("sources").unwrap()["sources"][0];
    assert_eq!((source["n"].as_u64(), source["document_id"].as_str()), (Some(1), Some("lai-suat")));
    let done = turn.find("done").unwrap();
    assert_eq!(done["finish_reason"], "stop");
    assert_eq!((done["usage"]["input_tokens"].as_u64(), done["usage"]["output_tokens"].as_u64()), (Some(11), Some(7)));
    assert_eq!(done["degraded"], serde_json::json!(["embedder"]));

    // The prompt held the passage and the question.
    let asked = provider.last_body();
    assert!(asked["messages"][0]["content"].as_str().unwrap().contains("7,5%"), "{asked}");

    let stored = client.stored_turn(&turn.turn_id()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), turn.text());
    assert_eq!(stored["sequence"], 1);
    assert!(stored["timings"]["first_content_ms"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_turn_as_one_document() {
    let (_site, _server, client, _provider) = start("plain", "").await;
    let response =
        client.post("/api/unified/chat").json(&client.body("When are you open?", "s1")).send().await.unwrap();
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["language"]["code"], "en");
    assert_eq!(document["sources"][0]["document_id"], "hours");
    assert_eq!(document["finish_reason"], "stop");
    let stored = client.stored_turn(document["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"], document["answer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_filled_with_comments() {
    let (_site, server, client, _provider) = start("silent", "[turn]\nheartbeat_s = 0.2\n").await;
    let body = client.body("xin chào", "s1");
    let mut response = client.post("/api/unified/chat-stream").json(&body).send().await.unwrap();
    let mut text = String::new();
    while text.matches(": \n\n").count() < 3 {
        let chunk = response.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_keeps_what_was_delivered() {
    let (_site, _server, client, _provider) = start("slow", "").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    for _ in 0..3 {
        turn.until("content").await.unwrap();
    }
    assert_eq!(client.stop(&turn.turn_id()).await, 202);
    turn.rest().await;
    assert_eq!(turn.find("done").unwrap()["finish_reason"], "stopped");
    let stored = client.stored_turn(&turn.turn_id()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), turn.text());
    assert_eq!(stored["finish_reason"], "stopped");
    assert_eq!(client.stop(&turn.turn_id()).await, 202, "to stop twice does no harm");
    assert_eq!(client.stop("0190a000-0000-7000-8000-000000000000").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_misses_nothing() {
    let (_site, _server, client, _provider) = start("slow", "").await;
    let mut first = client.ask("Lãi suất?", "s1").await;
    for _ in 0..5 {
        first.until("content").await.unwrap();
    }
    let (turn_id, last) = (first.turn_id(), first.seen.last().unwrap().id);
    let begun = first.text();
    drop(first);
    let mut second = client.turn(client.resume(&turn_id, last).await);
    second.until("content").await.unwrap();
    assert_eq!(second.seen[0].id, last + 1);
    client.stop(&turn_id).await;
    second.rest().await;
    let stored = client.stored_turn(&turn_id).await;
    assert_eq!(stored["answer"].as_str().unwrap(), format!("{begun}{}", second.text()));

    // A turn that ended can be read again from the beginning.
    let mut again = client.turn(client.resume(&turn_id, 0).await);
    again.rest().await;
    assert_eq!(again.text(), stored["answer"].as_str().unwrap());
    assert_eq!(again.kinds().last(), Some(&"done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stays_away_leaves_an_interrupted_turn_with_what_it_got() {
    let (_site, _server, client, _provider) = start("slow", "[turn]\ndisconnect_grace_s = 0.3\n").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    for _ in 0..5 {
        turn.until("content").await.unwrap();
    }
    let (turn_id, read) = (turn.turn_id(), turn.text());
    drop(turn);
    let stored = client.stored_turn(&turn_id).await;
    assert_eq!(stored["finish_reason"], "interrupted");
    let kept = stored["answer"].as_str().unwrap();
    assert!(kept.starts_with(&read), "{kept:?} does not begin with {read:?}");
    // What the connection still held when it broke may be more; the grace's worth of answer (12 pieces) is not.
    assert!(kept.len() < read.len() + 60, "{kept:?} is far more than {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_turn_of_a_repeated_request() {
    let (site, server, client, provider) = start("plain", "").await;
    let mut first = client.turn(client.ask_with("Lãi suất?", "s1", &[("Idempotency-Key", "k1")]).await);
    first.rest().await;
    let mut second = client.turn(client.ask_with("Lãi suất?", "s1", &[("Idempotency-Key", "k1")]).await);
    second.rest().await;
    assert_eq!(first.turn_id(), second.turn_id());
    assert_eq!(first.text(), second.text());
    let asked = provider.requests();
    let other = client.ask_with("Một câu khác", "s1", &[("Idempotency-Key", "k1")]).await;
    assert_eq!(other.status(), 422);
    client.stored_turn(&first.turn_id()).await;

    // After a restart the store remembers.
    server.stop();
    let server = site.serve();
    let client = Client::new(&server, "acme", &site.company("acme"));
    let mut third = client.turn(client.ask_with("Lãi suất?", "s1", &[("Idempotency-Key", "k1")]).await);
    third.rest().await;
    assert_eq!((third.turn_id(), third.text()), (first.turn_id(), first.text()));
    assert_eq!(provider.requests(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_reaches_the_next_prompt_at_once_and_follow_ups_are_made_whole() {
    let (_site, _server, client, provider) = start("plain", "[models]\nrewrite_follow_ups = false\n").await;
    client.ask("Lãi suất vay mua nhà là bao nhiêu?", "s1").await.rest().await;
    let mut second = client.ask("còn 12 tháng đầu thì sao?", "s1").await;
    second.rest().await;
    let asked = provider.last_body().to_string();
    assert!(asked.contains("Lãi suất vay mua nhà là bao nhiêu?"), "{asked}");
    assert_eq!(second.find("sources").unwrap()["sources"][0]["document_id"], "lai-suat");
    let stored = client.stored_turn(&second.turn_id()).await;
    assert_eq!(stored["sequence"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_follows_the_language_that_the_request_names() {
    let (_site, _server, client, provider) = start("plain", "").await;
    let mut body = client.body("Lãi suất vay mua nhà là bao nhiêu?", "s1");
    body["language"] = "en".into();
    client.post("/api/unified/chat").json(&body).send().await.unwrap();
    let system = provider.last_body()["messages"][0]["content"].as_str().unwrap().to_lowercase();
    assert!(system.contains("english"), "{system}");
    body["language"] = "auto".into();
    client.post("/api/unified/chat").json(&body).send().await.unwrap();
    let system = provider.last_body()["messages"][0]["content"].as_str().unwrap().to_lowercase();
    assert!(system.contains("vietnamese"), "{system}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_streams_end_and_exits_with_0() {
    let (site, mut server, client, _provider) = start("plain", "").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    turn.until("content").await.unwrap();
    server.terminate();
    turn.rest().await;
    assert_eq!(turn.kinds().last(), Some(&"done"));
    assert!(server.wait().success());
    let ledger = site.ledger();
    assert_eq!(ledger["balances"], true, "{ledger}");
    assert_eq!(ledger["queues"][0]["done"], 1, "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_cuts_streams_that_do_not_end_and_keeps_them() {
    let (site, mut server, client, _provider) = start("stall", "[server]\nshutdown_grace_s = 0.3\n").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    for _ in 0..3 {
        turn.until("content").await.unwrap();
    }
    let (turn_id, text) = (turn.turn_id(), turn.text());
    server.terminate();
    assert!(server.wait().success(), "{}", server.log());
    let server = site.serve();
    let client = Client::new(&server, "acme", &site.company("acme"));
    let stored = client.stored_turn(&turn_id).await;
    assert_eq!(
        (stored["finish_reason"].as_str(), stored["answer"].as_str()),
        (Some("interrupted"), Some(text.as_str()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_eight_times_at_once_is_one_turn() {
    let (_site, _server, client, provider) = start("plain", "").await;
    let asking = (0..8).map(|_| client.ask_with("Lãi suất?", "s1", &[("Idempotency-Key", "at-once")]));
    let mut ids = Vec::new();
    for response in futures::future::join_all(asking).await {
        let mut turn = client.turn(response);
        turn.rest().await;
        ids.push(turn.turn_id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(provider.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_left_memory_is_taken_up_from_the_store_without_a_loss() {
    let (_site, _server, client, _provider) = start("plain", "[turn]\nretain_s = 0.1\n").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    turn.rest().await;
    client.stored_turn(&turn.turn_id()).await;
    // The upkeep lets go of it within some seconds; before that, its own events answer.
    let last = turn.seen.last().unwrap().id;
    let again = crate::support::wait_for("the turn to be read from the store", || async {
        let mut again = client.turn(client.resume(&turn.turn_id(), last - 3).await);
        again.rest().await;
        again.find("reset").is_some().then_some(again)
    })
    .await;
    assert_eq!(again.text(), turn.text());
    assert_eq!(again.kinds(), ["reset", "content", "done"]);
    let mut beyond = client.turn(client.resume(&turn.turn_id(), 99_999).await);
    beyond.rest().await;
    assert_eq!(beyond.kinds().last(), Some(&"done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_after_a_turn_was_cut_gets_what_is_stored() {
    let (_site, _server, client, _provider) = start("slow", "[turn]\ndisconnect_grace_s = 0.3\n").await;
    let mut turn = client.ask("Lãi suất?", "s1").await;
    for _ in 0..3 {
        turn.until("content").await.unwrap();
    }
    let turn_id = turn.turn_id();
    drop(turn);
    let stored = client.stored_turn(&turn_id).await;
    let mut later = client.turn(client.resume(&turn_id, 0).await);
    later.rest().await;
    assert_eq!(later.text(), stored["answer"].as_str().unwrap());
    assert_eq!(later.find("done").unwrap()["finish_reason"], "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_say_how_it_goes() {
    let (_site, server, client, _provider) = start("plain", "").await;
    let mut turn = client.ask("Lãi suất vay mua nhà là bao nhiêu?", "s1").await;
    turn.rest().await;
    client.stored_turn(&turn.turn_id()).await;
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(client.get(path).await.status(), 200, "{path}");
    }
    let ready: Value = client.get("/readyz").await.json().await.unwrap();
    assert_eq!(ready["degraded"], serde_json::json!(["embedder"]), "{ready}");
    let metrics = client.get("/metrics").await.text().await.unwrap();
    for name in [
        "turnpike_turns_total",
        "turnpike_stage_seconds_bucket",
        "turnpike_first_content_seconds_bucket",
        "turnpike_gap_seconds_bucket",
        "turnpike_spool_pending_events",
        "turnpike_spool_oldest_seconds",
        "turnpike_job_runs_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
    }
    assert!(!metrics.contains("acme"), "a company is named though no setting asks for it");
    // Logs carry the turn, and neither texts nor keys.
    let log = server.log();
    assert!(log.contains(&turn.turn_id()) && !log.contains("mua nhà") && !log.contains("tp_"), "{log}");
}
