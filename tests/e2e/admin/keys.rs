//! Keys: made, told once, replaced, revoked.

use serde_json::{Value, json};

use super::{Admin, TOKEN, config};
use crate::support::process::Site;
use crate::support::wait_for;

const KEYS: &str = "/api/companies/a/keys";
const CONVERSATIONS: &str = "/api/companies/a/conversations";

fn prefix(made: &Value) -> &str {
    made["key"]["prefix"].as_str().unwrap()
}

fn secret(made: &Value) -> &str {
    made["secret"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_used_replaced_and_revoked() {
    let site = Site::new(&config());
    let admin_key = site.company("a");
    let server = site.serve();
    let admin = Admin::new(&server, &admin_key);
    let made = admin.post(KEYS, json!({"name": "Kho hàng", "requests_per_minute": 1000})).await.with(201);
    let backend = admin.with(secret(&made));
    backend.get(CONVERSATIONS).await.with(200);
    // A backend's key opens no administration.
    backend.get(KEYS).await.problem(403, "scope_too_small");
    backend.post(KEYS, json!({})).await.problem(403, "scope_too_small");
    let listed = admin.get(KEYS).await;
    assert!(!listed.text.contains(secret(&made)), "a secret is told twice");
    let listed = listed.with(200);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    assert_eq!(listed["keys"][1]["name"], "Kho hàng");
    assert_eq!(listed["keys"][1]["scope"], "backend");
    let path = format!("{KEYS}/{}", prefix(&made));
    wait_for("the key's use to be noted", || async {
        let listed = admin.get(KEYS).await.with(200);
        listed["keys"][1]["last_used_at"].is_string().then_some(())
    })
    .await;

    // Both work while the grace lasts, and then the new one alone.
    let second = admin.post(&format!("{path}/rotate"), json!({"grace_s": 3600})).await.with(201);
    assert_eq!((&second["key"]["name"], &second["key"]["requests_per_minute"]), (&json!("Kho hàng"), &json!(1000)));
    backend.get(CONVERSATIONS).await.with(200);
    admin.with(secret(&second)).get(CONVERSATIONS).await.with(200);
    let third = admin.post(&format!("{path}/rotate"), json!({"grace_s": 0})).await.with(201);
    backend.get(CONVERSATIONS).await.problem(401, "unauthorized");
    let third_client = admin.with(secret(&third));
    third_client.get(CONVERSATIONS).await.with(200);

    // Revoked here it is gone at once.
    admin.delete(&format!("{KEYS}/{}", prefix(&third))).await.with(204);
    third_client.get(CONVERSATIONS).await.problem(401, "unauthorized");
    admin.delete(&format!("{KEYS}/{}", prefix(&third))).await.problem(404, "not_found");
    admin.post(&format!("{KEYS}/{}/rotate", prefix(&third)), json!({})).await.problem(404, "not_found");
    // Revoked elsewhere it is gone within seconds.
    let second_client = admin.with(secret(&second));
    second_client.get(CONVERSATIONS).await.with(200);
    site.ok(&["company", "key", "revoke", "a", prefix(&second)]);
    wait_for("the key to stop", || async { (second_client.get(CONVERSATIONS).await.status == 401).then_some(()) })
        .await;

    for told in [&made, &second, &third] {
        assert!(!server.log().contains(secret(told)), "a secret is logged");
        for file in ["store.db", "store.db-wal"] {
            let bytes = std::fs::read(site.data_dir().join(file)).unwrap_or_default();
            assert!(
                !bytes.windows(secret(told).len()).any(|at| at == secret(told).as_bytes()),
                "a secret is in {file}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused() {
    let site = Site::new(&config());
    let admin_key = site.company("a");
    let server = site.serve();
    let admin = Admin::new(&server, &admin_key);
    for body in [
        json!({"scope": "publishable"}),
        json!({"scope": "publishable", "origins": ["*"]}),
        json!({"scope": "publishable", "origins": ["https://shop.example/path"]}),
        json!({"scope": "backend", "origins": ["https://shop.example"]}),
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": ""}),
        json!({"requests_per_minute": 0}),
    ] {
        let answer = admin.post(KEYS, body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        answer.problem(400, "invalid_key");
    }
    for body in [json!({"scope": "root"}), json!({"expires": 3}), json!([]), json!({"expires_at": "tomorrow"})] {
        admin.post(KEYS, body).await.problem(400, "invalid_json");
    }
    let prefix = admin_key.split_at(11).0;
    let far = json!({"grace_s": 2_592_001});
    admin.post(&format!("{KEYS}/{prefix}/rotate"), far).await.problem(400, "invalid_grace");
    let listed = admin.get(KEYS).await.with(200);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishable_key_works_for_pages_of_its_origins_alone() {
    let site = Site::new(&config());
    let admin_key = site.company("a");
    let server = site.serve();
    let admin = Admin::new(&server, &admin_key);
    let body = json!({"scope": "publishable", "origins": ["https://Shop.Example:443"]});
    let made = admin.post(KEYS, body).await.with(201);
    assert_eq!(made["key"]["origins"], json!(["https://shop.example"]));
    assert!(secret(&made).starts_with("tp_pub_") && secret(&made).starts_with(prefix(&made)));
    let page = admin.with(secret(&made));
    let ask = |origin: &'static str| {
        let body = json!({"message": "Xin chào", "session_id": "s"});
        page.request(reqwest::Method::POST, "/api/unified/chat").header("origin", origin).json(&body)
    };
    super::Answer::of(ask("https://shop.example")).await.with(200);
    super::Answer::of(ask("https://evil.example")).await.problem(403, "origin_not_allowed");
    page.get(CONVERSATIONS).await.problem(403, "scope_too_small");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_company_are_its_own_and_the_operators() {
    let site = Site::new(&config());
    let (a, b) = (site.company("a"), site.company("b"));
    let server = site.serve();
    let (a, b) = (Admin::new(&server, &a), Admin::new(&server, &b));
    let operator = a.with(TOKEN);
    let prefix = operator.get(KEYS).await.with(200)["keys"][0]["prefix"].as_str().unwrap().to_owned();
    b.get(KEYS).await.problem(403, "company_mismatch");
    b.post(KEYS, json!({})).await.problem(403, "company_mismatch");
    b.delete(&format!("{KEYS}/{prefix}")).await.problem(403, "company_mismatch");
    b.post(&format!("{KEYS}/{prefix}/rotate"), json!({})).await.problem(403, "company_mismatch");
    b.delete(&format!("/api/companies/b/keys/{prefix}")).await.problem(404, "not_found");
    a.with("tp_wrong").get(KEYS).await.problem(401, "unauthorized");
    operator.get("/api/companies/nobody/keys").await.problem(404, "unknown_company");
    a.get(KEYS).await.with(200);
}

#[test]
fn the_command_line_makes_lists_replaces_and_removes_keys() {
    let site = Site::new("");
    site.company("a");
    let refused = site.run(&["company", "key", "add", "a", "--scope", "publishable"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("origin"));
    let more = ["--name", "Shop", "--origin", "https://shop.example", "--expires", "90d"];
    let made = site.ok(&[&["company", "key", "add", "a", "--scope", "publishable"][..], &more].concat());
    let secret = made.split_whitespace().last().unwrap().to_owned();
    let list = || -> Vec<Value> {
        let lines = site.ok(&["company", "key", "list", "a", "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = list();
    assert_eq!(listed.len(), 2);
    let prefix = listed[1]["prefix"].as_str().unwrap().to_owned();
    assert!(secret.starts_with(&prefix) && secret != prefix);
    assert_eq!(listed[1]["origins"], json!(["https://shop.example"]));
    assert!(listed[1]["expires_at"].is_string() && listed[0]["expires_at"].is_null());
    site.ok(&["company", "key", "rotate", "a", &prefix, "--grace", "60"]);
    assert_eq!(list().len(), 3);
    site.ok(&["company", "key", "revoke", "a", &prefix]);
    assert!(list().iter().all(|key| key["prefix"] != prefix.as_str()));
    let gone = site.run(&["company", "key", "revoke", "a", &prefix]);
    assert!(!gone.status.success() && String::from_utf8_lossy(&gone.stderr).contains("key list a"));
}
