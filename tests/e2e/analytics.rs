//! The numbers of a company's turns, from the questions to the report.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;
use crate::support::wait_for;

async fn report(client: &Client, query: &str) -> Value {
    let response = client.get(&format!("/api/companies/a/analytics{query}")).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_were_asked_appear_in_the_numbers_of_their_company() {
    let provider = Provider::start().await;
    let site = Site::new(&provider.config("mock", &["plain"]));
    let (key_a, key_b) = (site.company("a"), site.company("b"));
    let server = site.serve();
    let (a, b) = (Client::new(&server, "a", &key_a), Client::new(&server, "b", &key_b));
    assert_eq!(report(&a, "").await["totals"]["turns"], 0);
    for (session, question) in [
        ("s1", "Lãi suất vay mua nhà là bao nhiêu một năm?"),
        ("s1", "Chi nhánh mở cửa lúc mấy giờ vào thứ bảy?"),
        ("s2", "What is the interest rate of a mortgage at your bank?"),
    ] {
        a.ask(question, session).await.rest().await;
    }
    b.ask("Xin chào, ngân hàng có cho vay mua xe không?", "s1").await.rest().await;

    let counted = wait_for("the turns to be counted", || async {
        Some(report(&a, "").await).filter(|report| report["totals"]["turns"] == 3)
    })
    .await;
    let totals = &counted["totals"];
    assert_eq!(totals["by_language"], json!({"en": 1, "vi": 2}));
    assert_eq!(totals["by_finish_reason"], json!({"stop": 3}));
    assert_eq!((&totals["failed"], &totals["failed_share"]), (&json!(0), &json!(0.0)));
    // No embedding model is at hand in these tests, and every answer says so.
    assert_eq!((&totals["degraded"], &totals["degraded_share"]), (&json!(3), &json!(1.0)));
    assert_eq!(totals["first_token_ms"]["turns"], 3);
    assert!(totals["first_token_ms"]["p50"].as_f64().unwrap() > 0.0, "{totals}");
    let intents: u64 = totals["by_intent"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(intents, 3, "{totals}");
    assert_eq!((&counted["grain"], counted["periods"].as_array().unwrap().len()), (&json!("day"), 30));

    let by_minute = report(&a, "?grain=minute").await;
    let periods = by_minute["periods"].as_array().unwrap();
    assert_eq!((by_minute["totals"] == *totals, periods.len()), (true, 60));
    assert_eq!(periods.iter().filter_map(|period| period["turns"].as_u64()).sum::<u64>(), 3);
    let before = report(&a, "?from=2020-01-01T00:00:00Z&to=2020-01-03T00:00:00%2B07:00").await;
    assert_eq!((&before["totals"]["turns"], before["periods"].as_array().unwrap().len()), (&json!(0), 2));

    for (query, code) in [
        ("?grain=hour", "invalid_query"),
        ("?from=yesterday", "invalid_time"),
        ("?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "invalid_range"),
        ("?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "too_many_periods"),
        ("?from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z", "invalid_time"),
    ] {
        let response = a.get(&format!("/api/companies/a/analytics{query}")).await;
        assert_eq!(response.status(), 400, "{query}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "{query}");
    }

    // Turns that were counted stay counted, once, over a restart.
    assert_eq!(b.get("/api/companies/a/analytics").await.status(), 403);
    server.stop();
    let server = site.serve();
    let a = Client::new(&server, "a", &key_a);
    assert_eq!(&report(&a, "").await["totals"], totals);
}
