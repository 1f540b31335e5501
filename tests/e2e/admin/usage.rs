//! Usage: turns and tokens by day and by model.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Admin, config};
use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_by_day_and_model() {
    let provider = Provider::start().await;
    let site = Site::new(&format!("{}{}", provider.config("mock", &["plain"]), config()));
    let (key, other) = (site.company("a"), site.company("b"));
    let server = site.serve();
    let client = Client::new(&server, "a", &key);
    let began = OffsetDateTime::now_utc().date();
    for n in 0..2 {
        client.ask(&format!("Câu hỏi số {n} về lãi suất"), &format!("s{n}")).await.rest().await;
    }
    let admin = Admin::new(&server, &key);
    let usage = wait_for("both turns to be counted", || async {
        let usage = admin.get("/api/companies/a/usage").await.with(200);
        (usage["totals"]["turns"] == 2).then_some(usage)
    })
    .await;
    // The provider says of each answer that it read 11 tokens and wrote 7.
    let totals = json!({"turns": 2, "input_tokens": 22, "output_tokens": 14, "estimated_share": 0.0});
    assert_eq!(usage["totals"], totals);
    assert_eq!(usage["models"].as_array().unwrap().len(), 1, "{usage}");
    assert_eq!(usage["models"][0]["output_tokens"], 14);
    assert!(usage["models"][0]["model"].as_str().unwrap().contains("plain"), "{usage}");
    let days = usage["days"].as_array().unwrap();
    assert_eq!(days.len(), 30);
    let with_turns: Vec<&Value> = days.iter().filter(|day| day["turns"] != 0).collect();
    let of_days: u64 = with_turns.iter().map(|day| day["turns"].as_u64().unwrap()).sum();
    assert!(of_days == 2 && with_turns[0]["day"].as_str().unwrap() >= began.to_string().as_str(), "{usage}");

    let none = admin.get("/api/companies/a/usage?from=2020-01-01&until=2020-01-03").await.with(200);
    assert_eq!((&none["totals"]["turns"], none["days"].as_array().unwrap().len()), (&json!(0), 2));
    for query in ["from=now", "from=2026-01-02&until=2026-01-01", "from=2020-01-01"] {
        let answer = admin.get(&format!("/api/companies/a/usage?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }
    let other = admin.with(&other);
    other.get("/api/companies/a/usage").await.problem(403, "company_mismatch");
    assert_eq!(other.get("/api/companies/b/usage").await.with(200)["totals"]["turns"], 0);
}
