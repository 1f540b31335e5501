//! Models, embeddings, images and videos.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MODELS, Place, error};
use crate::support::openai::{Api, Lists};
use crate::support::{models, wait_for};

async fn tried_by(test: &str, program: &str) {
    let api = Api::start(&["plain", "listed"]).await;
    let place = Place::with("", &api).await;
    if place.run(test, program).is_none() {
        return;
    }
    // The form went through whole, with the model's name as the provider knows it.
    let asked = api.asked("/v1/images/edits").pop().unwrap();
    let form = String::from_utf8_lossy(&asked.body);
    assert!(form.contains("\r\npainter\r\n") && !form.contains("mock/painter"), "the name is not as it should be");
    assert!(form.contains("picture.png") && form.contains("at night"));
    assert_eq!(api.asked("/v1/images/generations")[0].json()["model"], "painter");
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_client_lists_embeds_and_paints() {
    tried_by("pythons_client_lists_embeds_and_paints", "openai_more.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascripts_client_lists_embeds_and_paints() {
    tried_by("javascripts_client_lists_embeds_and_paints", "openai_more.mjs").await;
}

async fn listed(place: &Place, query: &str) -> Vec<(String, String)> {
    let list: Value = place.client.get(&format!("/v1/models{query}")).await.json().await.unwrap();
    let models = list["data"].as_array().unwrap().iter();
    models
        .map(|model| (model["id"].as_str().unwrap().to_owned(), model["owned_by"].as_str().unwrap().to_owned()))
        .collect()
}

fn has(list: &[(String, String)], id: &str, owner: &str) -> bool {
    list.iter().any(|(found, by)| found == id && by == owner)
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_the_union_of_all_providers_and_a_dead_one_hides_none() {
    let (one, two) = (Api::start(&["shared", "one-alone"]).await, Api::start(&["shared", "two-alone"]).await);
    let dead = "[providers.dead]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"gone\"]\n";
    let place = Place::of(&format!("{}{}{dead}", one.config("one", &["set"]), two.config("two", &["set"])));
    let list = listed(&place, "").await;
    for (id, owner) in [
        ("turnpike", "turnpike"),
        ("set", "one"),
        ("two/set", "two"),
        ("shared", "one"),
        ("two/shared", "two"),
        ("one-alone", "one"),
        ("two-alone", "two"),
        ("gone", "dead"),
    ] {
        assert!(has(&list, id, owner), "{id} of {owner} is not in {list:?}");
    }
    let mut ids: Vec<_> = list.iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), list.len(), "a name stands for two models");
    // A model that is listed and not set is found by its plain name.
    let answer = place.chat(json!({"model": "two-alone", "messages": super::question()})).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(two.asked("/v1/chat/completions").len(), 1);

    // Lists are kept until they are old or somebody insists; one that stops to answer keeps its last one and delays by
    // its own patience at most.
    one.has(&["new"]);
    two.lists(Lists::Never);
    assert!(!has(&listed(&place, "").await, "new", "one"));
    assert_eq!((one.asked("/v1/models").len(), two.asked("/v1/models").len()), (1, 1));
    let began = Instant::now();
    let (list, again) = tokio::join!(listed(&place, "?force_refresh=true"), listed(&place, "?force_refresh=true"));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(has(&list, "new", "one") && has(&list, "two-alone", "two"), "{list:?}");
    assert_eq!(list, again);
    assert_eq!(two.asked("/v1/models").len(), 2, "two who ask at once are one question");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_lists_are_shown_while_new_ones_are_asked_for() {
    let api = Api::start(&["old"]).await;
    let place = Place::with("[models]\ncatalog_cache_s = 0.05\n", &api).await;
    assert!(has(&listed(&place, "").await, "old", "mock"));
    api.has(&["new"]);
    wait_for("the new list", || async { has(&listed(&place, "").await, "new", "mock").then_some(()) }).await;
    api.lists(Lists::Never);
    let began = Instant::now();
    for _ in 0..5 {
        assert!(has(&listed(&place, "").await, "new", "mock"));
    }
    assert!(began.elapsed() < Duration::from_millis(2500), "an old list was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qwen_provider_that_lists_nothing_has_its_known_families() {
    let (qwen, other) = (Api::start(&[]).await, Api::start(&[]).await);
    qwen.lists(Lists::Nothing);
    other.lists(Lists::Nothing);
    let place = Place::of(&format!("{}{}", qwen.config("qwen", &["q"]), other.config("mock", &["m"])));
    let list = listed(&place, "").await;
    let family = list.iter().filter(|(id, by)| id.starts_with("qwen") && by == "qwen").count();
    assert_eq!(family, 27, "{list:?}");
    for id in ["qwen-max-thinking", "qwen-turbo-latest", "qwen-long-video", "qwen3-coder-plus", "qwen-deep-research"] {
        assert!(has(&list, id, "qwen"), "{id}");
    }
    // The seed's own request.
    let body = json!({"model": "qwen-turbo-latest", "messages": [{"role": "user", "content": "Hello!"}], "stream": false,
        "max_tokens": 4096, "temperature": 0.7, "top_p": 1.0, "tools": [{"type": "web_search"}], "enable_thinking": true,
        "thinking_budget": 30000});
    assert_eq!(place.chat(body).await.status(), 200);
    assert_eq!(qwen.asked("/v1/chat/completions")[0].json()["thinking_budget"], 30000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_model_embeds() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let body = json!({"model": "turnpike", "input": "xin chào"});
    assert_eq!(error(place.post("/v1/embeddings", &body).await).await, (404, "model_not_found".to_owned()));
    let Some(dir) = models("the_services_own_model_embeds") else { return };
    let settings = format!("[embedder]\nenabled = true\nmodels_dir = {:?}\n", dir.display().to_string());
    let place = Place::with(&settings, &api).await;
    let body = json!({"model": "turnpike", "input": ["A loan for a house", "A mortgage", "The weather"]});
    let made: Value = place.post("/v1/embeddings", &body).await.json().await.unwrap();
    let vector = |n: usize| -> Vec<f64> {
        made["data"][n]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let cosine = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>();
    assert!(cosine(vector(0), vector(1)) > cosine(vector(0), vector(2)) + 0.2, "{made}");
    assert!(api.asked("/v1/embeddings").is_empty());
    for (body, status, code) in [
        (json!({"model": "turnpike", "input": []}), 400, "empty_input"),
        (json!({"model": "turnpike", "input": ["x", " "]}), 400, "empty_input"),
        (json!({"model": "turnpike", "input": [[1, 2]]}), 400, "invalid_json"),
        (json!({"model": "turnpike", "input": vec!["x"; 257]}), 413, "input_too_large"),
        (json!({"model": "turnpike", "input": "x", "dimensions": 5}), 400, "invalid_value"),
    ] {
        assert_eq!(error(place.post("/v1/embeddings", &body).await).await, (status, code.to_owned()), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_without_images_and_videos_are_said_to_have_none() {
    let api = Api::start(&["plain"]).await;
    api.knows_text_alone();
    let place = Place::with("", &api).await;
    for path in ["/v1/images/generations", "/v1/videos/generations"] {
        let response = place.post(path, &json!({"model": "plain", "prompt": "x"})).await;
        assert_eq!(error(response).await, (501, "not_supported_by_provider".to_owned()), "{path}");
        let response = place.post(path, &json!({"model": "nobodys", "prompt": "x"})).await;
        assert_eq!(error(response).await, (404, "model_not_found".to_owned()), "{path}");
    }
    let none = Place::of("");
    let response = none.post("/v1/images/generations", &json!({"prompt": "x"})).await;
    assert_eq!(error(response).await, (400, "missing_required_parameter".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_bounded_in_size_and_time() {
    let api = Api::start(&["plain"]).await;
    let settings = "[server]\nbody_timeout_s = 0.5\n[limits]\nupload_bytes = 20000\n";
    let place = Place::with(settings, &api).await;
    let send = |content_type: &'static str, body: Vec<u8>| {
        place.client.post("/v1/images/edits").header("content-type", content_type).body(body).send()
    };
    let form = "multipart/form-data; boundary=xyz";
    for (content_type, body, status, code) in [
        (
            form,
            b"--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nplain".to_vec(),
            400,
            "invalid_multipart",
        ),
        (form, b"no form".to_vec(), 400, "invalid_multipart"),
        (form, vec![b'x'; 30_000], 413, "body_too_large"),
        ("multipart/form-data", b"x".to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"{}".to_vec(), 415, "unsupported_media_type"),
    ] {
        assert_eq!(error(send(content_type, body).await.unwrap()).await, (status, code.to_owned()), "{code}");
    }
    // One that never ends.
    let address = place.server.base.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/images/edits HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {form}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\n--xyz\r\n",
        place.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_string(&mut answer)).await;
    read.expect("it stays open").unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"body_timeout\""), "{answer}");
    assert!(api.asked("/v1/images/edits").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_waited_for_and_its_progress_told() {
    let api = Api::start(&["video", "video-at-once"]).await;
    let place = Place::with("", &api).await;
    let make = |more: Value| {
        let mut body = json!({"model": "mock/video", "prompt": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let place = &place;
        async move { place.post("/v1/videos/generations", &body).await }
    };
    let at_once: Value = make(json!({"model": "video-at-once"})).await.json().await.unwrap();
    assert_eq!(at_once["data"][0]["url"], "https://videos.example/1.mp4");

    let text = make(json!({"stream": true})).await.text().await.unwrap();
    let events: Vec<Value> =
        text.split("\n\n").filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok()).collect();
    let steps: Vec<_> = events.iter().map(|event| event["progress"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 30, 60, 90, 100], "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"));
    let id = events[0]["id"].as_str().unwrap();
    assert!(events.iter().all(|event| event["id"] == id), "{text}");

    let whole: Value = make(json!({})).await.json().await.unwrap();
    assert_eq!(whole["data"][0]["url"], "https://videos.example/7.mp4");
    // The task is the company's alone.
    let path = format!("/v1/videos/generations/{id}");
    let looked: Value = place.client.get(&path).await.json().await.unwrap();
    assert_eq!((looked["status"].as_str(), looked["id"].as_str()), (Some("completed"), Some(id)));
    let other = place.site.company("other");
    let other = crate::support::client::Client::new(&place.server, "other", &other);
    assert_eq!(error(other.get(&path).await).await, (404, "not_found".to_owned()));
    assert_eq!(error(place.client.get(&format!("{path}x")).await).await, (404, "not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_takes_longer_is_left_as_a_task() {
    let api = Api::start(&["video"]).await;
    let place = Place::with("[models]\ntotal_timeout_s = 0.6\n", &api).await;
    let response = place.post("/v1/videos/generations", &json!({"model": "video", "prompt": "x"})).await;
    assert_eq!(response.status(), 202);
    let task: Value = response.json().await.unwrap();
    let path = format!("/v1/videos/generations/{}", task["id"].as_str().unwrap());
    wait_for("the video", || async {
        let looked: Value = place.client.get(&path).await.json().await.unwrap();
        (looked["status"] == "completed").then_some(())
    })
    .await;
}
