//! Compressed tokens: validated, refreshed, and everything that is wrong with one.

use std::io::Write;

use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{MODELS, Place, error};
use crate::support::client::Client;
use crate::support::openai::Api;

fn packed(json: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(json).unwrap();
    base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap())
}

fn token(key: &str, expires_at: Option<&str>) -> String {
    packed(json!({"v": 1, "key": key, "expires_at": expires_at}).to_string().as_bytes())
}

/// Whether a token opens anything as a bearer key.
async fn opens(place: &Place, token: &str) -> bool {
    let response = Client::new(&place.server, "acme", token).get("/v1/models").await;
    match response.status().as_u16() {
        200 => true,
        401 => {
            assert_eq!(error(response).await.1, "unauthorized");
            false
        }
        other => panic!("{other}"),
    }
}

async fn validated(place: &Place, token: &str) -> Value {
    let response = place.post("/v1/validate", &json!({ "token": token })).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_key_does_and_nothing_wrong_opens_anything() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let good = token(&place.key, Some("2999-01-01T00:00:00Z"));
    assert!(opens(&place, &good).await);
    // On every surface.
    let client = Client::new(&place.server, "acme", &good);
    client.ask("Lãi suất?", "s").await.rest().await;
    let said = validated(&place, &good).await;
    assert_eq!(
        said,
        json!({"valid": true, "company_id": "acme", "scope": "admin", "expires_at": "2999-01-01T00:00:00Z"})
    );
    assert_eq!(validated(&place, &token(&place.key, None)).await["expires_at"], Value::Null);

    let truncated = &good[..good.len() - 20];
    let cookies = packed(br#"{"user_id":"u","session_token":"secret-of-a-browser","cookies":{"a":"b"}}"#);
    let cases = [
        (packed(&vec![b' '; 2 << 20]), "unpacks to more"),
        (packed(&vec![b' '; 60 << 20]), "longer than"),
        (truncated.to_owned(), "damaged"),
        (token("tp_ffffffffffffffffffffffffffffffffffffffffffffffff", None), "not known"),
        (token(&place.key, Some("2020-01-01T00:00:00Z")), "expired"),
        (cookies, "no key"),
        (token(&good, None), "no key"),
        ("H4sI".to_owned(), "damaged"),
        ("nonsense".to_owned(), "not known"),
    ];
    for (wrong, reason) in cases {
        assert!(!opens(&place, &wrong).await, "{reason}");
        let said = validated(&place, &wrong).await;
        assert!(said["valid"] == false && said["reason"].as_str().unwrap().contains(reason), "{said} for {reason}");
        let refreshed = place.post("/v1/refresh", &json!({ "token": wrong })).await;
        assert_eq!(error(refreshed).await, (401, "unauthorized".to_owned()), "{reason}");
    }
    let log = place.server.log();
    assert!(!log.contains("secret-of-a-browser") && !log.contains(&place.key), "{log}");
}

async fn refreshed(place: &Place, token: &str) -> Value {
    let response = place.post("/v1/refresh", &json!({ "token": token })).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_rotates_and_ends_with_the_key_that_it_came_from() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    // A key that lives for good gets a token of its own, and goes on.
    let first = refreshed(&place, &token(&place.key, None)).await;
    assert!(first["expires_at"].is_string() && first["company_id"] == "acme" && first["scope"] == "admin", "{first}");
    let first = first["token"].as_str().unwrap().to_owned();
    assert!(opens(&place, &first).await && opens(&place, &place.key).await);
    // A token of a key that ends is replaced: the old one stops at once.
    let second = refreshed(&place, &first).await["token"].as_str().unwrap().to_owned();
    assert!(opens(&place, &second).await);
    assert!(!opens(&place, &first).await, "the old token still opens");
    let again = place.post("/v1/refresh", &json!({ "token": first })).await;
    assert_eq!(error(again).await, (401, "unauthorized".to_owned()));
    // Who refreshes one token twice at a time gets one.
    let ask = || async {
        let response = place.post("/v1/refresh", &json!({ "token": second })).await;
        (response.status() == 200, response.json::<Value>().await.unwrap())
    };
    let (one, two) = tokio::join!(ask(), ask());
    assert!(one.0 != two.0, "{one:?} {two:?}");
    let winner = if one.0 { one.1 } else { two.1 };
    let winner = winner["token"].as_str().unwrap();
    assert!(opens(&place, winner).await);
    // When the key that all of them came from is revoked, no token is renewed any more.
    let prefix = &place.key[..11];
    place.site.ok(&["company", "key", "revoke", "acme", prefix]);
    let response = place.post("/v1/refresh", &json!({ "token": winner })).await;
    assert_eq!(error(response).await, (401, "unauthorized".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_stands_in_pages_is_not_refreshed_by_who_has_seen_it() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let out =
        place.site.ok(&["company", "key", "add", "acme", "--scope", "publishable", "--origin", "https://shop.example"]);
    let key = out.split_whitespace().find(|word| word.starts_with("tp_pub_") && word.len() > 30).unwrap();
    assert_eq!(validated(&place, &token(key, None)).await["scope"], "publishable");
    let response = place.post("/v1/refresh", &json!({ "token": token(key, None) })).await;
    assert_eq!(error(response).await, (403, "not_refreshable".to_owned()));
    // It asks for turns, from its own pages, and for nothing else.
    let from_its_page = |body: Value| {
        let client = Client::new(&place.server, "acme", key);
        client.post("/v1/chat/completions").header("origin", "https://shop.example").json(&body).send()
    };
    let ask = |model: &str, role: &str| json!({"model": model, "messages": [{"role": role, "content": "x"}, {"role": "user", "content": "Lãi suất?"}]});
    assert_eq!(from_its_page(ask("turnpike", "user")).await.unwrap().status(), 200);
    let relayed = from_its_page(ask("plain", "user")).await.unwrap();
    assert_eq!(error(relayed).await, (403, "scope_too_small".to_owned()));
    let instructed = from_its_page(ask("turnpike", "system")).await.unwrap();
    assert_eq!(error(instructed).await, (403, "instructions_not_allowed".to_owned()));
}
