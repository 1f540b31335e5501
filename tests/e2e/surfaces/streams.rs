//! Streams by provider.

use fantoccini::Client as Browser;
use serde_json::{Value, json};

use super::{Place, lines, shown};
use crate::support::browser::{LAPTOP, browser, driver};
use crate::support::clients;
use crate::support::llm::Provider;

const OPEN: &str = "[auth]\nmode = \"open\"\n";

/// A place with two providers, of which each has a model of its own.
async fn place(config: &str, gemini: &str, openai: &str) -> Place {
    let provider = Provider::start().await;
    let providers = [provider.config("gemini", &[gemini]), provider.config("openai", &[openai])].concat();
    Place::with(provider, &format!("{config}{providers}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_that_is_named_answers() {
    let place = place("", "plain", "echo").await;
    for (name, model) in [("gemini", "gemini/plain"), ("openai", "openai/echo")] {
        let body = json!({"user_input": "Xin chào, bạn có khỏe không?", "provider": name});
        let response = place.client.post("/api/stream/chat").json(&body).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        let lines = lines(&response.text().await.unwrap());
        let (end, pieces) = lines.split_last().unwrap();
        assert!(pieces.len() > 1 && pieces.iter().all(|line| line["done"] == false), "{lines:?}");
        assert_eq!((&end["chunk"], &end["done"]), (&json!(""), &json!(true)));
        let stored = place.is_kept(end["turn_id"].as_str().unwrap()).await;
        assert_eq!((&stored["model"], stored["answer"].as_str()), (&json!(model), Some(shown(&lines).as_str())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_steps_in_and_the_last_line_says_so() {
    let place = place("[models]\nretries = 0\n", "plain", "broken").await;
    let body = json!({"user_input": "Lãi suất vay mua nhà?", "provider": "openai"});
    let response = place.client.post("/api/stream/chat").json(&body).send().await.unwrap();
    let lines = lines(&response.text().await.unwrap());
    let end = lines.last().unwrap();
    assert_eq!(end["degraded"], json!(["embedder", "provider"]));
    assert!(shown(&lines).starts_with("từ 0"));

    let answer: Value = place.client.post("/api/flows/ask").json(&body).send().await.unwrap().json().await.unwrap();
    assert!(answer["response"].as_str().unwrap().starts_with("từ 0"), "{answer}");
    assert_eq!(answer["degraded"], json!(["embedder", "provider"]));
    place.is_kept(answer["turn_id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_form_that_the_client_can_read() {
    let place = place("", "plain", "plain").await;
    let cases = [
        (json!({"user_input": "Xin chào", "provider": "claude"}), "unknown_provider"),
        (json!({"user_input": "  ", "provider": "openai"}), "empty_input"),
        (json!({"provider": "openai"}), "invalid_json"),
        (json!({"user_input": "x".repeat(9000)}), "message_too_long"),
    ];
    for (body, code) in cases {
        for path in ["/api/stream/chat", "/api/flows/ask"] {
            let response = place.client.post(path).json(&body).send().await.unwrap();
            assert!(response.status().is_client_error(), "{path} {code}: {}", response.status());
            let refused: Value = response.json().await.unwrap();
            assert_eq!((&refused["done"], &refused["code"]), (&json!(true), &json!(code)), "{path}");
            assert!(refused["error"].as_str().is_some_and(|text| !text.is_empty()));
        }
        let streamed = place.client.post("/api/stream/chat").header("accept", "text/event-stream").json(&body);
        let response = streamed.send().await.unwrap();
        assert_eq!(response.status(), 200, "{code}");
        let lines = lines(&response.text().await.unwrap());
        assert_eq!((lines.len(), &lines[0]["code"], &lines[0]["done"]), (1, &json!(code), &json!(true)));
    }
    let nobody = reqwest::get(place.server.url("/api/stream/chat-get?user_input=x")).await.unwrap();
    assert_eq!(nobody.status(), 401);
    let refused: Value = nobody.json().await.unwrap();
    assert_eq!(refused["done"], true);
    let secret = format!("/api/stream/chat-get?user_input=x&key={}", place.key);
    let refused = reqwest::get(place.server.url(&secret)).await.unwrap();
    assert_eq!(refused.status(), 403, "a secret key was taken from an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_streams_and_ends() {
    let place = place(OPEN, "plain", "plain").await;
    let text = reqwest::get(place.server.url("/api/stream/sse")).await.unwrap().text().await.unwrap();
    let lines = lines(&text);
    assert!(lines.len() > 5 && lines.len() < 100);
    assert_eq!(lines.last().unwrap(), &json!({"chunk": "", "done": true}));
    assert_eq!(place.provider.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_client_reads_to_the_end() {
    let place = place(OPEN, "plain", "plain").await;
    let Some(said) = clients::run("the sample client", "stream_sample.py", &place.settings(&place.server.base)) else {
        return;
    };
    assert!(said.starts_with("từ 0 từ 1 ") && said.trim_end().ends_with("✅ Done!"), "{said}");
}

/// What the browser's `EventSource` gets of an address, as a list of what its page sees.
async fn events(browser: &Browser, address: &str) -> Vec<Value> {
    let script = r"
        const [address, done] = arguments;
        const seen = [], source = new EventSource(address);
        const end = () => { source.close(); done(seen); };
        source.onmessage = event => {
            const data = JSON.parse(event.data);
            seen.push({data, id: event.lastEventId, at: performance.now()});
            if (data.done) end();
        };
        source.onerror = () => { seen.push({failed: source.readyState}); if (source.readyState === 2) end(); };
    ";
    let seen = browser.execute_async(script, vec![json!(address)]).await.unwrap();
    seen.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_reads_the_stream_and_its_errors() {
    let Some(driver) = driver("EventSource").await else { return };
    let place = place(OPEN, "slowly", "plain").await;
    let browser = browser(&driver, LAPTOP).await;
    browser.goto(&place.server.url("/")).await.unwrap();
    let seen = events(&browser, "/api/stream/chat-get?user_input=Xin%20ch%C3%A0o&provider=gemini").await;
    let (end, pieces) = seen.split_last().unwrap();
    assert!(pieces.len() >= 5, "it came at once: {seen:?}");
    let took = end["at"].as_f64().unwrap() - pieces[0]["at"].as_f64().unwrap();
    assert!(took > 500.0, "the text came within {took} ms");
    let stored = place.is_kept(end["data"]["turn_id"].as_str().unwrap()).await;
    let data: Vec<Value> = seen.iter().map(|event| event["data"].clone()).collect();
    assert_eq!(stored["answer"].as_str().unwrap(), shown(&data));
    // What no EventSource could read of a status comes in the stream.
    for (query, code) in [("user_input=x&provider=claude", "unknown_provider"), ("user_input=", "empty_input")] {
        let seen = events(&browser, &format!("/api/stream/chat-get?{query}")).await;
        assert_eq!((seen.len(), &seen[0]["data"]["code"]), (1, &json!(code)), "{seen:?}");
    }
    assert_eq!(place.provider.requests(), 1);
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_reads_on_in_the_same_turn() {
    let place = place("", "slowly", "plain").await;
    let address = "/api/stream/chat-get?user_input=Xin%20ch%C3%A0o&provider=gemini";
    let mut response = place.client.get(address).await;
    let mut read = String::new();
    while read.matches("data: ").count() < 3 || !read.ends_with("\n\n") {
        read.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(response);
    let last = read.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let request = reqwest::Client::new().get(place.server.url(address)).bearer_auth(&place.key);
    let rest = request.header("last-event-id", last).send().await.unwrap().text().await.unwrap();
    let lines = [lines(&read), lines(&rest)].concat();
    let stored = place.is_kept(lines.last().unwrap()["turn_id"].as_str().unwrap()).await;
    assert_eq!(
        (stored["answer"].as_str().unwrap(), &stored["finish_reason"]),
        (shown(&lines).as_str(), &json!("stop"))
    );
    assert_eq!(place.provider.requests(), 1, "it was asked again");
}
