//! Webhook endpoints over HTTP: added, changed, tested, their secrets replaced, switched off and on, removed; and what is
//! refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Admin, TOKEN, config};
use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::{PATIENCE, wait_for};

const WEBHOOKS: &str = "/api/companies/acme/webhooks";

fn path(made: &Value) -> String {
    let endpoint = if made["endpoint"].is_object() { &made["endpoint"] } else { made };
    format!("{WEBHOOKS}/{}", endpoint["endpoint_id"].as_str().unwrap())
}

fn secret(made: &Value) -> &str {
    made["secret"].as_str().unwrap()
}

/// Waits until nothing waits to be delivered.
async fn delivered(site: &Site) {
    wait_for("deliveries to come to their end", || async {
        let ledger = site.ledger();
        (0..3).all(|queue| ledger["queues"][queue]["pending"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_added_hears_and_is_changed() {
    let receiver = Receiver::healthy().await;
    let site = Site::new(&config());
    let key = site.company("acme");
    let server = site.serve();
    let admin = Admin::new(&server, &key);
    let added = admin
        .post(
            WEBHOOKS,
            json!({"url": receiver.url("/in"), "description": " CRM ", "headers": {"X-Api-Key": "k-1", "x-other": "o"},
                   "filter": {"channels": ["web"]}, "rate_limit": 50, "order": "ordered",
                   "retries": {"give_up_after_s": 3600}}),
        )
        .await;
    let tag = added.headers["etag"].to_str().unwrap().to_owned();
    let made = added.with(201);
    let (endpoint, path) = (&made["endpoint"], path(&made));
    assert_eq!(endpoint["event_types"], json!(["conversation.updated"]));
    assert_eq!(endpoint["header_names"], json!(["x-api-key", "x-other"]));
    assert_eq!((&endpoint["description"], &endpoint["signature"]), (&json!("CRM"), &json!("v1")));
    assert_eq!((&endpoint["rate_limit"], &endpoint["order"]), (&json!(50), &json!("ordered")));
    assert_eq!(endpoint["retries"]["give_up_after_s"], 3600);

    // What was told once is not told again, nor are the values of headers.
    for answer in [admin.get(WEBHOOKS).await, admin.get(&path).await] {
        assert!(!answer.text.contains(secret(&made)) && !answer.text.contains("k-1"), "{}", answer.text);
        answer.with(200);
    }
    assert_eq!(admin.get(&path).await.headers["etag"], tag.as_str());
    let known = admin.request(Method::GET, &path).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(known.status(), 304);

    let client = Client::new(&server, "acme", &key);
    client.ask("xin chào", "s1").await.rest().await;
    let first = receiver.wait_for(1, PATIENCE).await.remove(0);
    first.verify(secret(&made)).unwrap();
    assert_eq!((first.header("x-api-key"), first.header("x-other")), ("k-1", "o"));

    // A header is set, another goes, the rest stays; whoever knew it otherwise changes nothing.
    let change = json!({"headers": {"X-API-KEY": "k-2", "x-other": null}, "rate_limit": null, "payload": "thin"});
    let changed = admin.request(Method::PATCH, &path).header("if-match", &tag).json(&change).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    let stale = admin.request(Method::PATCH, &path).header("if-match", &tag).json(&change).send().await.unwrap();
    assert_eq!(stale.status(), 412);
    let shown = admin.get(&path).await.with(200);
    assert_eq!((&shown["header_names"], &shown["rate_limit"]), (&json!(["x-api-key"]), &Value::Null));
    assert_eq!((&shown["filter"]["channels"], &shown["payload"]), (&json!(["web"]), &json!("thin")));
    client.ask("còn gì nữa?", "s1").await.rest().await;
    let second = receiver.wait_for(2, PATIENCE).await.remove(1);
    assert_eq!((second.header("x-api-key"), second.header("x-other")), ("k-2", ""));
    assert_eq!(second.json()["data"]["messages"], Value::Null);

    // Of other channels it does not hear.
    admin.send(Method::PATCH, &path, json!({"filter": {"channels": ["zalo"]}})).await.with(200);
    client.ask("alo?", "s1").await.rest().await;
    delivered(&site).await;
    assert_eq!(receiver.received().len(), 2);

    admin.delete(&path).await.with(204);
    admin.delete(&path).await.problem(404, "not_found");
    admin.get(&path).await.problem(404, "not_found");
    assert_eq!(admin.get(WEBHOOKS).await.with(200)["endpoints"], json!([]));
    for told in [secret(&made), "k-1", "k-2"] {
        assert!(!server.log().contains(told), "a secret is logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_sign_after_a_rotation_and_one_that_is_off_gets_nothing() {
    let (receiver, other) = (Receiver::healthy().await, Receiver::healthy().await);
    let site = Site::new(&config());
    let key = site.company("acme");
    let server = site.serve();
    let admin = Admin::new(&server, &key);
    let own = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let made = admin.post(WEBHOOKS, json!({"url": receiver.url("/in"), "secret": own})).await.with(201);
    assert_eq!(secret(&made), own);
    let path = path(&made);
    let rotated = admin.request(Method::POST, &format!("{path}/rotate")).send().await.unwrap();
    assert_eq!(rotated.status(), 200);
    let rotated: Value = rotated.json().await.unwrap();
    assert_ne!(secret(&rotated), own);
    assert!(rotated["endpoint"]["old_secret_until"].is_string(), "{rotated}");
    let client = Client::new(&server, "acme", &key);
    client.ask("xin chào", "s1").await.rest().await;
    let request = receiver.wait_for(1, PATIENCE).await.remove(0);
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    request.verify(own).unwrap();
    request.verify(secret(&rotated)).unwrap();

    // To a key pair: the public half can be read at any time, and there is no secret to tell.
    let pair = admin.post(&format!("{path}/rotate"), json!({"asymmetric": true})).await.with(200);
    assert_eq!((&pair["secret"], &pair["endpoint"]["signature"]), (&Value::Null, &json!("v1a")));
    let shown = admin.get(&path).await.with(200);
    assert!(shown["public_key"].as_str().unwrap().starts_with("whpk_"), "{shown}");
    // And the next one is of the same kind.
    let again = admin.post(&format!("{path}/rotate"), json!({})).await.with(200);
    assert_ne!(again["endpoint"]["public_key"], shown["public_key"]);

    admin.post(WEBHOOKS, json!({"url": other.url("/in")})).await.with(201);
    let off = admin.post(&format!("{path}/disable"), json!({"reason": "dọn nhà"})).await.with(200);
    assert_eq!(off["disabled"]["reason"], "dọn nhà");
    assert!(off["disabled"]["since"].is_string(), "{off}");
    let off_again = admin.post(&format!("{path}/disable"), json!({})).await.with(200);
    assert_eq!(off_again["disabled"], off["disabled"], "the first reason stays");
    client.ask("còn ai không?", "s2").await.rest().await;
    other.wait_for(1, PATIENCE).await;
    delivered(&site).await;
    assert_eq!(receiver.received().len(), 1, "one that is off was sent to");
    let on = admin.request(Method::POST, &format!("{path}/enable")).send().await.unwrap();
    assert_eq!(on.json::<Value>().await.unwrap()["disabled"], Value::Null);
    client.ask("alo?", "s2").await.rest().await;
    receiver.wait_for(2, PATIENCE).await;
    for told in [secret(&made), secret(&rotated)] {
        assert!(!server.log().contains(told), "a secret is logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_tells_what_came_back() {
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/echo" => Act::Answer { status: 202, headers: vec![], body: format!("you sent {}", request.header("x-key")) },
        "/moved" => Act::with_header(302, "location", "http://127.0.0.1:1/"),
        "/garbage" => Act::Garbage,
        _ => Act::Hang,
    })
    .await;
    let site = Site::new(&format!("{}[webhooks]\ndeadline_s = 0.5\n", config()));
    let key = site.company("acme");
    let server = site.serve();
    let admin = Admin::new(&server, &key);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    for (url, status, error) in [
        (receiver.url("/echo"), json!(202), Value::Null),
        (receiver.url("/moved"), json!(302), Value::Null),
        (receiver.url("/garbage"), Value::Null, json!("protocol")),
        (receiver.url("/hang"), Value::Null, json!("timeout")),
        (closed, Value::Null, json!("connect")),
    ] {
        let wanted = json!({"url": url, "headers": {"x-key": "a-value-nobody-sees"}});
        let made = admin.post(WEBHOOKS, wanted).await.with(201);
        let tested = admin.request(Method::POST, &format!("{}/test", path(&made))).send().await.unwrap();
        let tested: Value = tested.json().await.unwrap();
        assert_eq!((&tested["status"], &tested["error"]["code"]), (&status, &error), "{url}: {tested}");
        assert_eq!(tested["delivered"], status == json!(202), "{tested}");
        assert!(tested["took_ms"].as_f64().unwrap() < 5000.0, "{tested}");
        if status == json!(202) {
            let body = tested["body"].as_str().unwrap();
            assert!(body.starts_with("you sent ") && !body.contains("nobody-sees"), "{body}");
            let request = receiver.received().pop().unwrap();
            request.verify(secret(&made)).unwrap();
            assert_eq!(request.json()["data"]["is_test"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_opens_nothing_and_a_company_has_so_many_endpoints() {
    let receiver = Receiver::healthy().await;
    let site = Site::new(&format!("{}[webhooks]\nendpoints_per_company = 2\n", config()));
    let (key, foreign) = (site.company("acme"), site.company("other"));
    let server = site.serve();
    let (admin, other) = (Admin::new(&server, &key), Admin::new(&server, &foreign));
    let body = json!({"url": receiver.url("/in")});
    let made = admin.post(WEBHOOKS, body.clone()).await.with(201);
    let path = path(&made);
    let id = made["endpoint"]["endpoint_id"].as_str().unwrap();
    for (method, end) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/rotate"),
        (Method::POST, "/disable"),
        (Method::POST, "/enable"),
        (Method::POST, "/test"),
    ] {
        other.send(method.clone(), &format!("{path}{end}"), json!({})).await.problem(403, "company_mismatch");
        let under_own = format!("/api/companies/other/webhooks/{id}{end}");
        other.send(method.clone(), &under_own, json!({})).await.problem(404, "not_found");
        let backend = admin.post("/api/companies/acme/keys", json!({})).await.with(201);
        let backend = admin.with(backend["secret"].as_str().unwrap());
        backend.send(method.clone(), &format!("{path}{end}"), json!({})).await.problem(403, "scope_too_small");
        admin.with("tp_none").send(method, &format!("{path}{end}"), json!({})).await.problem(401, "unauthorized");
    }
    other.get(WEBHOOKS).await.problem(403, "company_mismatch");
    other.post(WEBHOOKS, body.clone()).await.problem(403, "company_mismatch");
    assert!(receiver.received().is_empty());
    // The operator may, like the company.
    let operator = admin.with(TOKEN);
    assert_eq!(operator.get(WEBHOOKS).await.with(200)["endpoints"].as_array().unwrap().len(), 1);
    operator.post(WEBHOOKS, body.clone()).await.with(201);
    admin.post(WEBHOOKS, body.clone()).await.problem(409, "too_many_endpoints");
    let refused = site.run(&["webhook", "add", "--company", "acme", "--url", &receiver.url("/in")]);
    assert!(!refused.status.success());
    other.post("/api/companies/other/webhooks", body).await.with(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_endpoint_is_refused_with_a_code_of_its_own() {
    let site = Site::new(&format!("{}[webhooks]\nallow_private = false\n", config()));
    let key = site.company("acme");
    let server = site.serve();
    let admin = Admin::new(&server, &key);
    const GOOD: &str = "http://93.184.216.34:8080/in";
    for (url, status, code) in [
        ("", 400, "invalid_url"),
        ("hooks", 400, "invalid_url"),
        ("file:///etc/passwd", 400, "invalid_url"),
        ("ftp://example.com/", 400, "invalid_url"),
        ("https://user:hunter2@example.com/", 400, "invalid_url"),
        ("https://user@example.com/", 400, "invalid_url"),
        ("https://example.com/#part", 400, "invalid_url"),
        ("https://example.com:0/", 400, "invalid_url"),
        ("https://example.com:99999/", 400, "invalid_url"),
        ("http://127.0.0.1/", 422, "address_not_allowed"),
        ("http://\u{ff11}27.0.0.1/", 422, "address_not_allowed"),
        ("http://2130706433/", 422, "address_not_allowed"),
        ("http://[::ffff:10.0.0.1]/", 422, "address_not_allowed"),
        ("http://169.254.169.254/latest/meta-data", 422, "address_not_allowed"),
        ("http://localhost:8080/", 422, "address_not_allowed"),
        ("http://no-such-name.invalid/", 422, "name_not_resolved"),
    ] {
        let answer = admin.post(WEBHOOKS, json!({"url": url})).await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        answer.problem(status, code);
    }
    let long = format!("http://93.184.216.34/{}", "x".repeat(2048));
    let lists = |count: usize| (0..count).map(|n| format!("channel-{n}")).collect::<Vec<_>>();
    for (more, code) in [
        (json!({"url": long}), "invalid_url"),
        (json!({"secret": "whsec_c2hvcnQ="}), "invalid_secret"),
        (json!({"secret": format!("whsec_{}", "QUFB".repeat(30))}), "invalid_secret"),
        (json!({"secret": "whsec_not base64"}), "invalid_secret"),
        (json!({"secret": "hunter2hunter2hunter2hunter2"}), "invalid_secret"),
        (json!({"secret": "whsk_QUFB"}), "invalid_secret"),
        (json!({"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "asymmetric": true}), "invalid_secret"),
        (json!({"headers": {"x-key": "a\r\nwebhook-id: b"}}), "invalid_header"),
        (json!({"headers": {"x key": "a"}}), "invalid_header"),
        (json!({"headers": {"Webhook-Signature": "v1,forged"}}), "invalid_header"),
        (json!({"headers": {"host": "elsewhere"}}), "invalid_header"),
        (json!({"headers": {"x-key": "a".repeat(1025)}}), "invalid_header"),
        (json!({"event_types": ["conversation.exploded"]}), "unknown_event_type"),
        (json!({"event_types": ["turn.completed"]}), "unknown_event_type"),
        (json!({"event_types": ["webhook.attempt"]}), "unknown_event_type"),
        (json!({"event_types": []}), "unknown_event_type"),
        (json!({"filter": {"channels": lists(51)}}), "invalid_filter"),
        (json!({"filter": {"intents": ["x".repeat(101)]}}), "invalid_filter"),
        (json!({"description": "x".repeat(501)}), "invalid_description"),
        (json!({"rate_limit": 0}), "invalid_rate_limit"),
        (json!({"rate_limit": 1001}), "invalid_rate_limit"),
        (json!({"retries": {"initial_delay_s": 0}}), "invalid_retries"),
        (json!({"retries": {"max_delay_s": 86401}}), "invalid_retries"),
        (json!({"order": "random"}), "invalid_json"),
        (json!({"payload": "fat"}), "invalid_json"),
        (json!({"secrets": "x"}), "invalid_json"),
        (json!({"filter": {"channel": []}}), "invalid_json"),
    ] {
        let mut body = json!({"url": GOOD});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = admin.post(WEBHOOKS, body).await;
        assert!(!answer.text.contains("hunter2") && !answer.text.contains("forged"), "{}", answer.text);
        answer.problem(400, code);
    }
    assert_eq!(admin.get(WEBHOOKS).await.with(200)["endpoints"], json!([]), "something was added all the same");

    // The error names what there is to ask for.
    let answer = admin.post(WEBHOOKS, json!({"url": GOOD, "event_types": ["x"]})).await.with(400);
    assert!(answer["detail"].as_str().unwrap().contains("conversation.updated, conversation.created"), "{answer}");
    // Odd ports and hosts in other spellings are taken, and shown as they are asked for.
    let made = admin.post(WEBHOOKS, json!({"url": "HTTP://93.184.216.\u{ff13}4:9/a b"})).await.with(201);
    assert_eq!(made["endpoint"]["url"], "http://93.184.216.34:9/a%20b");
    let path = path(&made);
    for (change, status, code) in [
        (json!({"url": null}), 400, "invalid_url"),
        (json!({"url": "http://10.0.0.1/"}), 422, "address_not_allowed"),
        (json!({"headers": {"x-key": "a\nb"}}), 400, "invalid_header"),
        (json!({"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}), 400, "invalid_json"),
    ] {
        admin.send(Method::PATCH, &path, change).await.problem(status, code);
    }
    let reason = json!({"reason": "x".repeat(201)});
    admin.post(&format!("{path}/disable"), reason).await.problem(400, "invalid_reason");
    admin.post(&format!("{path}/rotate"), json!({"secret": "whsec_"})).await.problem(400, "invalid_secret");
    admin.get(&format!("{WEBHOOKS}/no%20id")).await.problem(404, "not_found");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
