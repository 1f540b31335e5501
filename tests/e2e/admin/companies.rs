//! Companies: added, changed by two people, and removed while the service runs.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Admin, Answer, TOKEN, config, nothing_holds};
use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;

const COMPANIES: &str = "/api/companies";

#[tokio::test(flavor = "multi_thread")]
async fn a_company_is_added_listed_and_changed_by_the_operator_and_itself() {
    let site = Site::new(&config());
    let server = site.serve();
    let operator = Admin::new(&server, TOKEN);
    let body = json!({"id": "acme", "name": "Ngân hàng A", "industry": "banking", "languages": ["vi", "en"]});
    let added = operator.post(COMPANIES, body.clone()).await.with(201);
    assert_eq!((&added["company"]["name"], &added["key"]["scope"]), (&json!("Ngân hàng A"), &json!("admin")));
    operator.post(COMPANIES, body).await.problem(409, "company_exists");
    for id in ["b", "c"] {
        operator.post(COMPANIES, json!({"id": id})).await.with(201);
    }
    // Page by page, each once.
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = operator.get(&format!("{COMPANIES}?limit=2{cursor}")).await.with(200);
        ids.extend(page["companies"].as_array().unwrap().iter().map(|one| one["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(ids, ["acme", "b", "c"]);
    operator.get(&format!("{COMPANIES}?cursor=%C3%A4")).await.problem(400, "invalid_cursor");

    let acme = operator.with(added["secret"].as_str().unwrap());
    acme.get(COMPANIES).await.problem(403, "operator_only");
    acme.post(COMPANIES, json!({"id": "d"})).await.problem(403, "operator_only");
    acme.get("/api/companies/b").await.problem(403, "company_mismatch");
    let read = acme.get("/api/companies/acme").await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let known = Answer::of(acme.request(Method::GET, "/api/companies/acme").header("if-none-match", &tag)).await;
    assert_eq!((known.status.as_u16(), known.text.as_str()), (304, ""));
    let patch = |tag: &str, body: Value| {
        let request = acme.request(Method::PATCH, "/api/companies/acme").header("if-match", tag);
        Answer::of(request.header("content-type", "application/merge-patch+json").body(body.to_string()))
    };
    let changed = patch(&tag, json!({"description": "Một ngân hàng.", "industry": null})).await;
    let next = changed.headers["etag"].to_str().unwrap().to_owned();
    let changed = changed.with(200);
    assert_eq!((&changed["description"], &changed["industry"]), (&json!("Một ngân hàng."), &Value::Null));
    assert_eq!(changed["languages"], json!(["vi", "en"]), "what is not named stays");
    // Whoever read it before that does not overwrite it.
    patch(&tag, json!({"name": "Lost"})).await.problem(412, "changed_meanwhile");
    let again = patch(&next, json!({"retention_days": 30, "languages": null})).await.with(200);
    assert_eq!((&again["retention_days"], &again["languages"]), (&json!(30), &json!([])));
    for (body, code) in [
        (json!({"name": null}), "invalid_company"),
        (json!({"name": " "}), "invalid_company"),
        (json!({"retention_days": 0}), "invalid_company"),
        (json!({"pipeline": "no such"}), "invalid_company"),
        (json!({"id": "other"}), "invalid_json"),
        (json!({"languages": ["xx-klingon"]}), "invalid_json"),
    ] {
        acme.send(Method::PATCH, "/api/companies/acme", body).await.problem(400, code);
    }
    assert!(site.ok(&["company", "show", "acme"]).contains("Ngân hàng A"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_change_at_once_do_not_undo_each_other() {
    let site = Site::new(&config());
    site.company("acme");
    let server = site.serve();
    let operator = Admin::new(&server, TOKEN);
    let changes = ["name", "description", "industry"].map(|field| {
        let operator = operator.clone();
        async move { operator.send(Method::PATCH, "/api/companies/acme", json!({field: "changed"})).await.with(200) }
    });
    futures::future::join_all(changes).await;
    let company = operator.get("/api/companies/acme").await.with(200);
    for field in ["name", "description", "industry"] {
        assert_eq!(company[field], "changed", "{company}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_is_removed_from_a_service_that_runs_and_nothing_is_left() {
    let provider = Provider::start().await;
    let site = Site::new(&format!("{}{}", provider.config("mock", &["plain"]), config()));
    let (key, other_key) = (site.company("a"), site.company("b"));
    site.endpoint("a", "http://127.0.0.1:9/hook");
    let canary = "chim hoàng yến 0xD00D";
    site.knowledge("a", &[("canary.md", &format!("# Bí mật\n\nMật khẩu là {canary}.\n"))]);
    let server = site.serve();
    let (client, other) = (Client::new(&server, "a", &key), Client::new(&server, "b", &other_key));
    let mut turn = client.ask(&format!("Mật khẩu {canary} là gì?"), "s").await;
    turn.rest().await;
    client.stored_turn(&turn.turn_id()).await;
    let mut kept = other.ask("Xin chào", "s").await;
    kept.rest().await;
    other.stored_turn(&kept.turn_id()).await;
    // One runs while it is removed.
    let mut running = client.ask(&format!("Nhắc lại {canary}"), "s").await;
    running.until("start").await.unwrap();

    let operator = Admin::new(&server, TOKEN);
    operator.with(&key).delete("/api/companies/a").await.problem(403, "operator_only");
    let receipt = operator.delete("/api/companies/a").await.with(200);
    assert_eq!((&receipt["documents"], &receipt["keys"], &receipt["endpoints"]), (&json!(1), &json!(1), &json!(1)));
    assert!(receipt["turns"].as_u64().unwrap() >= 1 && receipt["passages"].as_u64().unwrap() >= 1, "{receipt}");
    // The key is of no use at once, and nothing is found any more.
    let gone = operator.with(&key);
    gone.get("/api/companies/a/conversations").await.problem(401, "unauthorized");
    operator.get("/api/companies/a").await.problem(404, "unknown_company");
    operator.delete("/api/companies/a").await.problem(404, "not_found");
    nothing_holds(&site, canary);
    assert_eq!(site.ledger()["balances"], true);
    // The other company notices nothing.
    assert_eq!(other.stored().await.len(), 1);
    let mut next = other.ask("Còn gì nữa?", "s").await;
    next.rest().await;
    other.stored_turn(&next.turn_id()).await;
    server.stop();
    nothing_holds(&site, canary);
}
