//! Bad input below `/v1`, each answered in OpenAI's form.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MODELS, Place, error, question};
use crate::support::client::Client;
use crate::support::openai::Api;
use crate::support::process::Site;

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_request_gets_its_own_answer() {
    let api = Api::start(MODELS).await;
    let place = Place::with("[limits]\nupload_bytes = 20000\nmessage_chars = 100\n", &api).await;
    let path = "/v1/chat/completions";
    let send = |body: Vec<u8>| place.client.post(path).header("content-type", "application/json").body(body).send();
    let user = |text: &str| json!([{"role": "user", "content": text}]);
    let image = format!("data:image/png;base64,{}", "A".repeat(30_000));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]);
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]);
    let assistant = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]);
    let cases: Vec<(reqwest::Response, u16, &str)> = vec![
        (send(b"{\"model\": \"x\"".to_vec()).await.unwrap(), 400, "invalid_json"),
        (send(b"{\"model\": \"\xff\"}".to_vec()).await.unwrap(), 400, "invalid_utf8"),
        (send(b"[]".to_vec()).await.unwrap(), 400, "invalid_json"),
        (place.chat(json!({"messages": question()})).await, 400, "missing_required_parameter"),
        (place.chat(json!({"model": 7, "messages": question()})).await, 400, "invalid_type"),
        (place.chat(json!({"model": "", "messages": question()})).await, 400, "invalid_type"),
        (place.chat(json!({"model": "plain"})).await, 400, "invalid_json"),
        (place.chat(json!({"model": "plain", "messages": {}})).await, 400, "invalid_json"),
        (place.chat(json!({"model": "plain", "messages": []})).await, 400, "empty_array"),
        (place.chat(json!({"model": "turnpike", "messages": []})).await, 400, "empty_array"),
        (place.chat(json!({"model": "plain", "messages": assistant})).await, 400, "last_message_is_assistants"),
        (place.chat(json!({"model": "turnpike", "messages": assistant})).await, 400, "last_message_is_assistants"),
        (place.chat(json!({"model": "plain", "messages": [{"content": "x"}]})).await, 400, "invalid_json"),
        (place.chat(json!({"model": "plain", "messages": user("x"), "tools": {}})).await, 400, "invalid_json"),
        (place.chat(json!({"model": "plain", "messages": user("x"), "tools": ["x"]})).await, 400, "invalid_json"),
        (
            place.chat(json!({"model": "plain", "messages": user("x"), "tools": [{"type": "function"}]})).await,
            400,
            "invalid_tool",
        ),
        (
            place
                .chat(json!({"model": "plain", "messages": user("x"), "tools": [{"type": "function", "function": {"name": 3}}]}))
                .await,
            400,
            "invalid_tool",
        ),
        (place.chat(json!({"model": "plain", "messages": image})).await, 413, "body_too_large"),
        (place.chat(json!({"model": "turnpike", "messages": user(&"x".repeat(101))})).await, 413, "message_too_long"),
        (place.chat(json!({"model": "turnpike", "messages": user("  ")})).await, 400, "empty_message"),
        (place.chat(json!({"model": "turnpike", "messages": picture})).await, 400, "unsupported_content"),
        (place.chat(json!({"model": "turnpike", "messages": user("x"), "temperature": 3})).await, 400, "invalid_value"),
        (
            place.chat(json!({"model": "turnpike", "messages": [{"role": "tool", "content": "x"}]})).await,
            400,
            "invalid_role",
        ),
        (
            place.chat(json!({"model": "turnpike", "messages": user("x"), "metadata": {"company_id": "b"}})).await,
            403,
            "company_mismatch",
        ),
        (
            place.client.post(path).header("content-type", "text/plain").body("x").send().await.unwrap(),
            415,
            "unsupported_media_type",
        ),
        (place.client.get(path).await, 405, "method_not_allowed"),
        (place.client.get("/v1/nowhere").await, 404, "not_found"),
        (place.client.get("/v1/models/no/such").await, 404, "model_not_found"),
        (place.client.get("/v1/models?force_refresh=maybe").await, 400, "invalid_query"),
    ];
    for (n, (response, status, code)) in cases.into_iter().enumerate() {
        assert_eq!(error(response).await, (status, code.to_owned()), "case {n}");
    }
    let response = place.chat(json!({"model": "plain", "messages": user("x"), "tools": [{"type": 5}]})).await;
    let said: Value = response.json().await.unwrap();
    assert_eq!(said["error"]["param"], "tools[0].type", "{said}");
    assert!(api.asked(path).is_empty(), "something of it reached the provider");
    // An assistant's beginning may be written on where the provider is told so.
    let begun = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "prefix": true}]);
    assert_eq!(place.chat(json!({"model": "plain", "messages": begun})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_read_before_the_key_is_known() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let stranger = Client::new(&place.server, "acme", "tp_wrong");
    let body = json!({"model": "plain", "messages": question()});
    let response = stranger.post("/v1/chat/completions").json(&body).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(error(response).await, (401, "unauthorized".to_owned()));
    // The body is announced and never sent.
    let address = place.server.base.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tp_wrong\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), socket.read(&mut answer)).await;
    let read = read.expect("it waits for the body").unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_open_mode_the_metadata_names_the_company() {
    let api = Api::start(MODELS).await;
    let site = Site::new(&format!("[auth]\nmode = \"open\"\n{}", api.config("mock", MODELS)));
    site.company("acme");
    site.company("other");
    let server = site.serve();
    let client = Client::new(&server, "acme", "");
    let ask = |metadata: Value| {
        let body = json!({"model": "turnpike", "messages": question(), "metadata": metadata});
        client.post("/v1/chat/completions").json(&body).send()
    };
    assert_eq!(error(ask(json!({})).await.unwrap()).await, (400, "company_missing".to_owned()));
    assert_eq!(error(ask(json!({"company_id": "ghost"})).await.unwrap()).await, (404, "unknown_company".to_owned()));
    let answer: Value = ask(json!({"company_id": "other"})).await.unwrap().json().await.unwrap();
    let id = answer["turnpike"]["turn_id"].as_str().unwrap();
    Client::new(&server, "other", "").stored_turn(id).await;
    assert_eq!(client.get("/v1/models?company_id=acme").await.status(), 200);
}
