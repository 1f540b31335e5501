//! Turns as chat completions.

use serde_json::{Value, json};

use super::{MODELS, Place, error, question};
use crate::support::PATIENCE;
use crate::support::llm::Provider;
use crate::support::openai::Api;
use crate::support::process::Site;
use crate::support::receiver::Receiver;
use crate::support::{client::Client, wait_for};

/// The stored turns, and what a webhook told of them.
async fn proved(place: &Place, receiver: &Receiver, said: &str) {
    let mut lines = said.splitn(3, '\n');
    let (streamed, whole) = (lines.next().unwrap(), lines.next().unwrap());
    let turn = place.client.stored_turn(streamed).await;
    assert_eq!(turn["answer"].as_str().unwrap(), lines.next().unwrap().trim_end_matches('\n'));
    let told = receiver.wait_for(2, PATIENCE).await;
    for id in [streamed, whole] {
        place.client.stored_turn(id).await;
        assert!(told.iter().any(|request| request.json()["data"]["turn_id"] == id), "no webhook tells of {id}");
    }
}

async fn tried_by(test: &str, program: &str) {
    let (api, receiver) = (Api::start(MODELS).await, Receiver::healthy().await);
    let site = Site::new(&api.config("mock", MODELS));
    let key = site.company("acme");
    site.knowledge("acme", &[("rates.md", super::RATES)]);
    site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let place = Place { site, server, key, client };
    let Some(said) = place.run(test, program) else { return };
    proved(&place, &receiver, &said).await;
    wait_for("the stream that was left to end at the provider", || async { (api.open() == 0).then_some(()) }).await;
    assert!(!place.server.log().contains("sk-secret"), "the provider's key is in the log");
    assert_eq!(place.site.ledger()["balances"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_client_chats_through_turns_and_through_the_relay() {
    tried_by("pythons_client_chats_through_turns_and_through_the_relay", "openai_chat.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascripts_client_chats_through_turns_and_through_the_relay() {
    tried_by("javascripts_client_chats_through_turns_and_through_the_relay", "openai_chat.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_wants_otherwise_reaches_the_model() {
    let provider = Provider::start().await;
    let place = Place::of(&provider.config("mock", &["plain"]));
    let body = json!({
        "model": "turnpike",
        "messages": [
            {"role": "system", "content": "Xưng hô lễ phép."},
            {"role": "user", "content": [{"type": "text", "text": "Tôi có 100 triệu."}]},
            {"role": "assistant", "content": "Vâng ạ."},
            {"role": "user", "content": "Lãi suất tiết kiệm?"},
        ],
        "temperature": 0.25, "max_tokens": 77, "enable_thinking": false, "user": "u-1",
    });
    let answer: Value = place.chat(body).await.json().await.unwrap();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["turnpike"]["session_id"], "u-1");
    let asked = provider.last_body();
    let messages = asked["messages"].as_array().unwrap();
    assert!(messages[0]["content"].as_str().unwrap().ends_with("Xưng hô lễ phép."), "{asked}");
    assert_eq!(messages[1]["content"], "Tôi có 100 triệu.");
    assert_eq!(messages[2], json!({"role": "assistant", "content": "Vâng ạ."}));
    assert_eq!((asked["temperature"].as_f64(), asked["max_tokens"].as_u64()), (Some(0.25), Some(77)));
    assert_eq!(asked["enable_thinking"], false);
    // With nothing but a question, what was said in the session before is what the store has of it.
    let body = json!({"model": "turnpike", "messages": question(), "metadata": {"session_id": "u-1"}});
    place.chat(body).await.json::<Value>().await.unwrap();
    assert_eq!(provider.last_body()["messages"][1]["content"], "Lãi suất tiết kiệm?");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_reads_the_same_in_both_forms() {
    let provider = Provider::start().await;
    let place = Place::of(&provider.config("mock", &["citing"]));
    let native: Value = place
        .client
        .post("/api/unified/chat")
        .header("idempotency-key", "k-1")
        .json(&json!({"message": "Lãi suất vay mua nhà?", "session_id": "s", "company_id": "acme"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let body = json!({"model": "turnpike", "messages": question(), "metadata": {"session_id": "t"}});
    let answer: Value = place.chat(body).await.json().await.unwrap();
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], native["answer"]);
    let sources = native["sources"].as_array().unwrap();
    let annotations = message["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), sources.len());
    for (annotation, source) in annotations.iter().zip(sources) {
        let cited = &annotation["url_citation"];
        for field in ["n", "document_id", "title", "snippet"] {
            assert_eq!(cited[field], source[field], "{field}");
        }
    }
    // Its place in the text is that of the mark, in characters.
    let cited = &annotations[0]["url_citation"];
    let (start, end) = (cited["start_index"].as_u64().unwrap(), cited["end_index"].as_u64().unwrap());
    let text: Vec<char> = message["content"].as_str().unwrap().chars().collect();
    assert_eq!(text[start as usize..end as usize].iter().collect::<String>(), "[1]");
    for (theirs, ours) in [("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")] {
        assert_eq!(answer["usage"][theirs], native["usage"][ours]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_begins_again_ends_the_stream_with_an_error() {
    let provider = Provider::start().await;
    let quick = "[models]\nretries = 0\nidle_timeout_s = 0.4\nchain = [\"mock/drop\", \"mock/plain\"]\n";
    let place = Place::of(&format!("{quick}{}", provider.config("mock", &["drop", "plain"])));
    let body = json!({"model": "turnpike", "messages": question(), "stream": true});
    let text = place.chat(body).await.text().await.unwrap();
    assert!(text.contains("Một phần 0") && text.contains("\"answer_restarted\""), "{text}");
    assert!(!text.contains("[DONE]") && !text.contains("từ 0"), "{text}");
    // As one document there is nothing to take back.
    let body = json!({"model": "turnpike", "messages": question()});
    let answer: Value = place.chat(body).await.json().await.unwrap();
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        said.starts_with("từ 0") && answer["turnpike"]["degraded"].as_array().unwrap().contains(&json!("provider"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_under_one_key_is_one_turn() {
    let api = Api::start(MODELS).await;
    let place = Place::with("", &api).await;
    let ask = |text: &'static str| {
        let body = json!({"model": "turnpike", "messages": [{"role": "user", "content": text}]});
        place.client.post("/v1/chat/completions").header("idempotency-key", "k").json(&body).send()
    };
    let first: Value = ask("Lãi suất?").await.unwrap().json().await.unwrap();
    let second: Value = ask("Lãi suất?").await.unwrap().json().await.unwrap();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(first["choices"], second["choices"]);
    assert_eq!(error(ask("Khác?").await.unwrap()).await, (422, "idempotency_key_reused".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_deleted_by_its_session_its_id_or_one_of_its_completions() {
    let provider = Provider::start().await;
    let place = Place::of(&provider.config("mock", &["echo"]));
    let chat = async |session: &str| -> Value {
        let body = json!({"model": "turnpike", "messages": question(), "metadata": {"session_id": session}});
        let answer: Value = place.chat(body).await.json().await.unwrap();
        place.client.stored_turn(answer["turnpike"]["turn_id"].as_str().unwrap()).await;
        answer
    };
    let answers = [chat("a").await, chat("b").await, chat("c").await, chat("kept").await];
    let by_id = answers[1]["turnpike"]["conversation_id"].as_str().unwrap();
    let by_completion = answers[2]["id"].as_str().unwrap();
    let delete = async |query: &str, body: Option<Value>| {
        let url = place.server.url(&format!("/v1/chats/delete{query}"));
        let request = crate::support::client::http().delete(url).bearer_auth(&place.key);
        body.iter().fold(request, |request, body| request.json(body)).send().await.unwrap()
    };
    for (query, body, answer) in [
        ("?session_id=a".to_owned(), None, &answers[0]),
        (format!("?chat_id={by_id}"), None, &answers[1]),
        (String::new(), Some(json!({"chat_id": by_completion})), &answers[2]),
    ] {
        let response = delete(&query, body.clone()).await;
        assert_eq!(response.status(), 200, "{query}");
        let deleted: Value = response.json().await.unwrap();
        let expected = json!({
            "object": "chat.deleted", "id": answer["turnpike"]["conversation_id"], "deleted": true, "turns": 1,
        });
        assert_eq!(deleted, expected);
        assert_eq!(error(delete(&query, body).await).await, (404, "not_found".to_owned()), "{query} a second time");
    }
    let left: Vec<Value> = place.client.stored().await.concat();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["session_id"], "kept");
    // The session is as new: the model is told nothing of what was deleted.
    chat("a").await;
    assert_eq!(provider.last_body()["messages"].as_array().unwrap().len(), 2);
    let missing = (400, "missing_required_parameter".to_owned());
    assert_eq!(error(delete("", None).await).await, missing);
    assert_eq!(error(delete("?session_id=a&chat_id=b", None).await).await, missing);
}
