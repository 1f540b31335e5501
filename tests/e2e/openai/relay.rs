//! What is passed on to providers, and what comes back.

use std::time::Duration;

use serde_json::{Value, json};

use super::{MODELS, Place, error, question};
use crate::support::openai::{Api, CHUNKS, KEY};
use crate::support::wait_for;

/// A request as no library writes it, with everything that there is and more.
fn raw(model: &str) -> String {
    format!(
        "{{ \"messages\" : [ {{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"Gì \\u0111\\u00e2y?\"}},{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"data:image/png;base64,AAAA\"}}}}]}} ],\n  \"seed\":12345678901234567890, \"temperature\":0.70, \"model\"  :  \"{model}\" , \"stop\":[\"\\n\"],\"logprobs\":true,\"response_format\":{{\"type\":\"json_object\"}},\"stream\":true,\"x_unknown\":{{\"deep\":[1,2.50,null]}},\"tools\":[{{\"type\":\"web_search\"}}] }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn request_and_answer_pass_byte_for_byte() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let send = |body: String| {
        place.client.post("/v1/chat/completions").header("content-type", "application/json").body(body).send()
    };
    let mut answers = Vec::new();
    for model in ["slow", "mock/slow"] {
        let response = send(raw(model)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-request-id"], "req_7");
        assert!(!response.headers().contains_key("x-ratelimit-remaining-requests"), "other companies' use shows");
        answers.push(response.bytes().await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer == CHUNKS.as_bytes()));
    let asked = api.asked("/v1/chat/completions");
    assert!(asked.iter().all(|asked| asked.body == raw("slow").as_bytes()), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == format!("Bearer {KEY}").as_str()));
    // It is no turn: nothing is stored.
    assert!(place.client.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_is_told_by_both_names_whether_to_think() {
    let api = Api::start(&[]).await;
    let place = Place::of(&format!("{}\n{}", api.config("qwen", &["q"]), api.config("mock", &["m"])));
    for (model, more, told) in [
        ("q", json!({"enable_thinking": true}), json!({"enable_thinking": true})),
        ("qwen/q", json!({"enable_thinking": false}), json!({"enable_thinking": false})),
        ("q", json!({"enable_thinking": true, "chat_template_kwargs": {"x": 1}}), json!({"x": 1})),
        ("q", json!({}), Value::Null),
        ("m", json!({"enable_thinking": true, "thinking_budget": 9}), Value::Null),
    ] {
        let mut body = json!({"model": model, "messages": question()});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(place.chat(body.clone()).await.status(), 200);
        let mut asked = api.asked("/v1/chat/completions").last().unwrap().json();
        assert_eq!(asked["chat_template_kwargs"], told, "{body}");
        // Nothing else changes but the model's name.
        for document in [&mut asked, &mut body] {
            let document = document.as_object_mut().unwrap();
            document.remove("chat_template_kwargs");
            document.remove("model");
        }
        assert_eq!(asked, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_refuses_is_told_with_its_status_and_without_its_secrets() {
    let api = Api::start(MODELS).await;
    let dead = "[providers.dead]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"gone\"]\n";
    let place = Place::with(&format!("[models]\nrelay_idle_timeout_s = 0.5\n{dead}"), &api).await;
    for (model, status, code) in [
        ("telltale", 400, "telltale"),
        ("bad-key", 502, "provider_refuses_key"),
        ("mock/unknown", 404, "model_not_found"),
        ("busy-twice", 429, "rate_limit_exceeded"),
        ("web-page", 500, ""),
        ("moved", 502, "provider_misbehaves"),
        ("silent", 504, "provider_timeout"),
        ("gone", 502, "provider_unreachable"),
        ("nobodys", 404, "model_not_found"),
        ("turnpike/nowhere", 404, "model_not_found"),
    ] {
        let response = place.chat(json!({"model": model, "messages": question(), "stream": true})).await;
        if model == "busy-twice" {
            assert_eq!(response.headers()["retry-after-ms"], "20");
        }
        assert_eq!(error(response).await, (status, code.to_owned()), "{model}");
    }
    let response = place.chat(json!({"model": "telltale", "messages": question()})).await;
    let said = response.text().await.unwrap();
    assert!(said.contains("your key [redacted] is not for this"), "{said}");
    assert!(!place.server.log().contains("sk-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_or_falls_silent_is_not_taken_for_the_whole() {
    let api = Api::start(MODELS).await;
    let place = Place::with("[models]\nrelay_idle_timeout_s = 0.5\n", &api).await;
    for model in ["breaks", "hangs"] {
        let response = place.chat(json!({"model": model, "messages": question(), "stream": true})).await;
        assert_eq!(response.status(), 200);
        let read = tokio::time::timeout(Duration::from_secs(20), response.bytes()).await.expect("it stays open");
        assert!(read.is_err(), "{model}: a broken answer ends like a whole one");
    }
    wait_for("the provider to be left", || async { (api.open() == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_the_request_at_the_provider_and_frees_its_place() {
    let api = Api::start(MODELS).await;
    let place = Place::with("[limits]\nstreams_per_company = 2\n", &api).await;
    let ask = || place.chat(json!({"model": "hangs", "messages": question(), "stream": true}));
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    wait_for("both to be open", || async { (api.open() == 2).then_some(()) }).await;
    // Turns and relayed answers share the places.
    let third = ask().await;
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(error(third).await, (429, "too_many_streams".to_owned()));
    let turn = place.chat(json!({"model": "turnpike", "messages": question()})).await;
    assert_eq!(error(turn).await, (429, "too_many_streams".to_owned()));
    drop(first);
    wait_for("the provider to be left", || async { (api.open() == 1).then_some(()) }).await;
    wait_for("the place to be free", || async {
        let turn = place.chat(json!({"model": "turnpike", "messages": question()})).await;
        (turn.status() == 200).then_some(())
    })
    .await;
    drop(second);
}
