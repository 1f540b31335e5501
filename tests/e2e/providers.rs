//! Providers that fail in every way there is: the answer comes all the same, and `done` says what was missing.

use serde_json::json;

use crate::support::client::{Client, Turn};
use crate::support::llm::{Provider, mute};
use crate::support::process::{Server, Site};

const QUICK: &str = "[models]\nretries = 1\nretry_delay_ms = 10\nfirst_token_timeout_s = 0.4\nidle_timeout_s = 0.4\nbreaker_failures = 3\nbreaker_cooldown_s = 60\n";

async fn ask(config: &str) -> (Turn, Client, Server, Site) {
    let site = Site::new(config);
    let key = site.company("acme");
    site.knowledge(
        "acme",
        &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm trong 12 tháng đầu.\n")],
    );
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let mut turn = client.ask("Lãi suất vay mua nhà là bao nhiêu?", "s1").await;
    turn.rest().await;
    (turn, client, server, site)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_before_the_first_token_ends_in_an_extractive_answer() {
    let provider = Provider::start().await;
    let (nobody, _task) = mute().await;
    for model in ["unauthorized", "busy", "broken", "html", "silent", "half-line"] {
        let (turn, _client, server, _site) = ask(&format!("{QUICK}{}", provider.config("mock", &[model]))).await;
        assert_eq!(turn.kinds(), ["start", "language", "intent", "sources", "content", "done"], "{model}");
        assert!(turn.text().contains("7,5%") && turn.text().contains("[1]"), "{model}: {}", turn.text());
        let done = turn.find("done").unwrap();
        assert_eq!(done["degraded"], json!(["embedder", "llm"]), "{model}");
        assert!(!server.log().contains("sk-secret-of-tests"), "the key is in the log");
        assert!(!server.log().contains("Lãi suất vay"), "a text is in the log");
    }
    for base_url in [nobody.as_str(), "http://127.0.0.1:9/v1"] {
        let config =
            format!("{QUICK}[providers.gone]\nkind = \"openai\"\nbase_url = \"{base_url}\"\nmodels = [\"m\"]\n");
        let (turn, ..) = ask(&config).await;
        assert!(turn.text().contains("7,5%"), "{base_url}: {}", turn.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_before_the_first_token_is_not_seen() {
    let provider = Provider::start().await;
    let (turn, ..) = ask(&format!("{QUICK}{}", provider.config("mock", &["busy-once"]))).await;
    assert_eq!(provider.requests(), 2);
    assert_eq!(turn.find("done").unwrap()["degraded"], json!(["embedder"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_mid_answer_resets_and_the_next_provider_answers() {
    let provider = Provider::start().await;
    for model in ["drop", "stall"] {
        let chain = format!(
            "{QUICK}chain = [\"mock/{model}\", \"mock/plain\"]\n{}",
            provider.config("mock", &[model, "plain"])
        );
        let (turn, client, _server, _site) = ask(&chain).await;
        assert_eq!(
            turn.kinds(),
            ["start", "language", "intent", "sources", "content", "reset", "content", "done"],
            "{model}"
        );
        assert!(turn.text().starts_with("từ 0") && !turn.text().contains("Một phần"), "{model}: {}", turn.text());
        assert_eq!(turn.find("done").unwrap()["degraded"], json!(["embedder", "provider"]), "{model}");
        let stored = client.stored_turn(&turn.turn_id()).await;
        assert_eq!(stored["answer"].as_str().unwrap(), turn.text());
        assert_eq!(stored["model"], "mock/plain");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_keeps_failing_is_left_alone_for_a_while() {
    let provider = Provider::start().await;
    let (_, client, server, _site) = ask(&format!("{QUICK}{}", provider.config("mock", &["broken"]))).await;
    for n in 0..4 {
        client.ask("Lãi suất?", &format!("other{n}")).await.rest().await;
    }
    assert_eq!(provider.requests(), 6, "three turns of two tries each open the breaker");
    let ready: serde_json::Value = client.get("/readyz").await.json().await.unwrap();
    assert!(ready["degraded"].as_array().unwrap().contains(&json!("llm")), "{ready}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_never_reach_the_client() {
    let provider = Provider::start().await;
    let (turn, ..) = ask(&format!("{QUICK}{}", provider.config("mock", &["thinking"]))).await;
    assert!(turn.text().starts_with("Trả lời 0"), "{}", turn.text());
    assert!(!format!("{:?}", turn.seen).contains("secret") && !format!("{:?}", turn.seen).contains("bí mật"));
}

#[tokio::test(flavor = "multi_thread")]
async fn citations_of_nothing_are_stripped() {
    let provider = Provider::start().await;
    let (turn, client, _server, _site) = ask(&format!("{QUICK}{}", provider.config("mock", &["citing"]))).await;
    assert!(
        turn.text().contains("[1]") && !turn.text().contains('9') && !turn.text().contains("2024"),
        "{}",
        turn.text()
    );
    let stored = client.stored_turn(&turn.turn_id()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), turn.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_one_provider_left_half_said_reaches_the_nexts_answer() {
    let provider = Provider::start().await;
    for model in ["half-thought", "half-citation"] {
        let chain = format!(
            "{QUICK}chain = [\"mock/{model}\", \"mock/plain\"]\n{}",
            provider.config("mock", &[model, "plain"])
        );
        let (turn, ..) = ask(&chain).await;
        assert!(turn.text().starts_with("từ 0"), "{model}: {}", turn.text());
        assert!(turn.find("done").is_some(), "{model}");
    }
}
