//! Chat with Qwen first.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Place, lines, shown};
use crate::support::clients;
use crate::support::llm::{Provider, mute};
use crate::support::process::{Server, Site};

/// A place whose `qwen` is set as its users do, by variables without a version in the address.
async fn place(model: &str) -> Place {
    let provider = Provider::start().await;
    let address = provider.base_url.strip_suffix("/v1").unwrap().to_owned();
    let mut place = Place::with(provider, "").await;
    place.restart(&[("QWEN_BASE_URL", &address), ("QWEN_MODEL", model), ("QWEN_TIMEOUT", "120")]);
    place
}

impl Place {
    fn restart(&mut self, variables: &[(&str, &str)]) {
        self.server.terminate();
        self.server.wait();
        let mut command = self.site.command(&["serve"]);
        command.envs(variables.iter().copied());
        self.server = Server::start(command);
        self.client = self.client.at(&self.server.base);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_and_its_turns_are_kept() {
    let place = place("Qwen/Qwen3-0.6B").await;
    let body = json!({"message": "Lãi suất vay mua nhà là bao nhiêu?"});
    let first: Value = place.client.post("/qwen/chat").json(&body).send().await.unwrap().json().await.unwrap();
    assert!(first["response"].as_str().unwrap().starts_with("từ 0 "), "{first}");
    assert_eq!((&first["model"], &first["finish_reason"]), (&json!("Qwen/Qwen3-0.6B"), &json!("stop")));
    assert_eq!(first["usage"], json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}));
    let conversation = first["conversation_id"].as_str().unwrap();
    assert!(conversation.starts_with("qwen_conv_"), "{conversation}");
    let stored = place.is_kept(first["turn_id"].as_str().unwrap()).await;
    assert_eq!((&stored["model"], &stored["answer"]), (&json!("qwen/Qwen/Qwen3-0.6B"), &first["response"]));

    let body = json!({"message": "Còn vay mua xe?", "conversation_id": conversation});
    let response = place.client.post("/qwen/chat/stream").json(&body).send().await.unwrap();
    let lines = lines(&response.text().await.unwrap());
    assert!(lines.iter().all(|line| line["conversation_id"] == conversation), "{lines:?}");
    assert!(place.provider.last_body()["messages"].to_string().contains("mua nhà"), "the first question is forgotten");
    let stored = place.is_kept(lines.last().unwrap()["turn_id"].as_str().unwrap()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), shown(&lines));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_with_a_message_reaches_the_model() {
    let place = place("m").await;
    let body = json!({
        "message": "Xin chào", "system_prompt": "Trả lời như một hải tặc.", "temperature": 0.7, "max_tokens": 2048,
        "enable_thinking": true, "thinking_budget": 256,
    });
    assert_eq!(place.client.post("/qwen/chat").json(&body).send().await.unwrap().status(), 200);
    let asked = place.provider.last_body();
    let system = asked["messages"][0]["content"].as_str().unwrap();
    assert!(system.ends_with("Trả lời như một hải tặc.") && system.len() > 60, "{system}");
    assert_eq!((&asked["temperature"], &asked["max_tokens"]), (&json!(0.7), &json!(2048)));
    assert_eq!((&asked["enable_thinking"], &asked["thinking_budget"]), (&json!(true), &json!(256)));
    let body = json!({"message": "Xin chào", "enable_thinking": false});
    assert_eq!(place.client.post("/qwen/chat").json(&body).send().await.unwrap().status(), 200);
    let asked = place.provider.last_body();
    assert_eq!(asked["chat_template_kwargs"], json!({"enable_thinking": false}));
    assert_eq!(asked.get("thinking_budget"), None);
    for (wrong, code) in [
        (json!({"message": "x", "temperature": 2.5}), "invalid_temperature"),
        (json!({"message": "x", "max_tokens": 0}), "invalid_max_tokens"),
        (json!({"message": " "}), "empty_message"),
        (json!({"message": "x", "enable_thinking": "yes"}), "invalid_json"),
    ] {
        for path in ["/qwen/chat", "/qwen/chat/stream"] {
            let response = place.client.post(path).json(&wrong).send().await.unwrap();
            assert_eq!(response.status(), 400, "{wrong}");
            let body: Value = response.json().await.unwrap();
            assert!(body["detail"].is_string() && body["code"] == code, "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_the_same_turn() {
    let place = place("m").await;
    let ask = async || -> Value {
        let request = place.client.post("/qwen/chat").header("idempotency-key", "k1").json(&json!({"message": "Chào"}));
        request.send().await.unwrap().json().await.unwrap()
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((&first["turn_id"], &first["conversation_id"]), (&again["turn_id"], &again["conversation_id"]));
    assert_eq!(place.provider.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_that_of_the_models_server() {
    let mut place = place("m").await;
    let response = place.client.get("/qwen/health").await;
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["status"], &body["model"]), (&json!("healthy"), &json!("m")));
    let info: Value = place.client.get("/qwen/info").await.json().await.unwrap();
    assert_eq!((&info["provider"], &info["model"], &info["timeout_s"]), (&json!("qwen"), &json!("m"), &json!(120.0)));

    let (nobody, _task) = mute().await;
    for address in [nobody.as_str(), "http://127.0.0.1:9"] {
        place.restart(&[("QWEN_BASE_URL", address)]);
        let asked = Instant::now();
        let response = place.client.get("/qwen/health").await;
        assert_eq!(response.status(), 503, "{address}");
        assert!(asked.elapsed() < Duration::from_secs(8), "it took {:?}", asked.elapsed());
        let text = response.text().await.unwrap();
        assert!(text.contains("\"detail\"") && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_qwen_it_says_what_to_set() {
    let place = Place::new("plain", "").await;
    for response in [
        place.client.get("/qwen/health").await,
        place.client.get("/qwen/info").await,
        place.client.post("/qwen/chat").json(&json!({"message": "x"})).send().await.unwrap(),
        place.client.post("/qwen/chat/stream").json(&json!({"message": "x"})).send().await.unwrap(),
    ] {
        assert_eq!(response.status(), 503);
        let body: Value = response.json().await.unwrap();
        assert!(body["detail"].as_str().unwrap().contains("QWEN_BASE_URL"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_time_out_is_its_own() {
    let provider = Provider::start().await;
    let quick = "[models]\nretries = 0\nfirst_token_timeout_s = 30\n";
    let config = format!("{quick}{}timeout_s = 0.3\n", provider.config("qwen", &["silent"]));
    let place = Place::with(provider, &config).await;
    let asked = Instant::now();
    let body: Value = place
        .client
        .post("/qwen/chat")
        .json(&json!({"message": "Lãi suất?"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(asked.elapsed() < Duration::from_secs(15), "it took {:?}", asked.elapsed());
    assert_eq!((&body["degraded"], &body["model"]), (&json!(["embedder", "llm"]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_client_passes() {
    let provider = Provider::start().await;
    let config = format!("[auth]\nmode = \"open\"\n{}", provider.config("qwen", &["plain"]));
    let site = Site::new(&config);
    site.company("acme");
    let server = site.serve();
    let Some(said) = clients::run("Qwen's sample client", "qwen_sample.py", &[("URL", &server.base)]) else { return };
    assert_eq!(said.matches("✅").count(), 5, "{said}");
}
