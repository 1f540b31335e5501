//! Each type of event at a receiver that asked for it, in full and thin, and what an endpoint does not hear of.

use serde_json::{Value, json};

use crate::support::client::{Client, http};
use crate::support::process::{Server, Site};
use crate::support::receiver::{Act, Received, Receiver};
use crate::support::{PATIENCE, wait_for};

/// All types that can be asked for.
const ALL: &[&str] = &[
    "conversation.updated",
    "conversation.created",
    "message.created",
    "conversation.ended",
    "turn.feedback",
    "knowledge.updated",
    "endpoint.disabled",
];

/// Adds an endpoint over HTTP, and gives its secret.
async fn add(client: &Client, body: Value) -> String {
    let made = client.post("/api/companies/acme/webhooks").json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201, "{}", made.text().await.unwrap());
    made.json::<Value>().await.unwrap()["secret"].as_str().unwrap().to_owned()
}

/// The data of the events of a type that came.
fn told(received: &[Received], event_type: &str) -> Vec<Value> {
    let bodies = received.iter().map(Received::json);
    bodies.filter(|body| body["type"] == event_type).map(|body| body["data"].clone()).collect()
}

/// Waits until so many events of a type came.
async fn wait_told(receiver: &Receiver, event_type: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} {event_type}"), || async {
        Some(told(&receiver.received(), event_type)).filter(|told| told.len() >= count)
    })
    .await
}

/// Asks a question, and gives the ids of its turn and conversation once they are stored.
async fn asked(client: &Client, session: &str) -> (String, String) {
    let mut turn = client.ask("Lãi suất vay?", session).await;
    turn.rest().await;
    let stored = client.stored_turn(&turn.turn_id()).await;
    (turn.turn_id(), stored["conversation_id"].as_str().unwrap().to_owned())
}

async fn end(client: &Client, conversation: &str) {
    let path = format!("/api/companies/acme/conversations/{conversation}/end");
    assert_eq!(client.post(&path).send().await.unwrap().status(), 200);
}

async fn put_document(server: &Server, key: &str, text: &str) {
    let path = server.url("/api/companies/acme/documents/rates");
    let put = http().put(path).bearer_auth(key).json(&json!({"title": "Rates", "content": text}));
    assert_eq!(put.send().await.unwrap().status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_is_asked_for_comes_signed_in_full_and_thin() {
    let (full, thin) = (Receiver::healthy().await, Receiver::healthy().await);
    let gone = Receiver::start(|_| Act::status(410)).await;
    let site = Site::new("");
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let secret = add(&client, json!({"url": full.url("/"), "event_types": ALL})).await;
    add(&client, json!({"url": thin.url("/"), "event_types": ALL, "payload": "thin"})).await;
    add(&client, json!({"url": gone.url("/gone"), "description": "Old CRM"})).await;

    let (turn, conversation) = asked(&client, "s-1").await;
    let feedback = json!({"rating": "up", "comment": "Đúng điều tôi cần."});
    let path = format!("/api/unified/turns/{turn}/feedback");
    assert_eq!(client.post(&path).json(&feedback).send().await.unwrap().status(), 202);
    end(&client, &conversation).await;
    put_document(&server, &key, "From 5% on.").await;
    wait_told(&full, "knowledge.updated", 1).await;
    put_document(&server, &key, "From 6% on.").await;
    wait_told(&full, "knowledge.updated", 2).await;
    let removed = http().delete(server.url("/api/companies/acme/documents/rates")).bearer_auth(&key);
    assert_eq!(removed.send().await.unwrap().status(), 202);

    let of_turn = |data: &Value| {
        assert_eq!((&data["company_id"], &data["channel"]), (&json!("acme"), &json!("web")), "{data}");
        assert_eq!((&data["conversation_id"], &data["session_id"]), (&json!(conversation), &json!("s-1")), "{data}");
        assert_eq!(data["turn_id"], json!(turn), "{data}");
    };
    let data = wait_told(&full, "turn.feedback", 1).await.remove(0);
    of_turn(&data);
    assert_eq!((&data["rating"], &data["comment"]), (&json!("up"), &json!("Đúng điều tôi cần.")));
    let data = wait_told(&thin, "turn.feedback", 1).await.remove(0);
    of_turn(&data);
    assert_eq!((&data["rating"], data.get("comment")), (&json!("up"), None));

    let data = wait_told(&full, "conversation.ended", 1).await.remove(0);
    of_turn(&data);
    assert_eq!((&data["status"], &data["message_count"]), (&json!("ENDED"), &json!(2)));
    assert!(data["ended_at"].is_string() && data["summary"] == "Lãi suất vay?", "{data}");
    let data = wait_told(&thin, "conversation.ended", 1).await.remove(0);
    of_turn(&data);
    assert_eq!((&data["message_count"], data.get("summary")), (&json!(2), None));
    // It is told as an update too, as the last turn's and without messages.
    let updates = wait_told(&full, "conversation.updated", 2).await;
    let by_end = updates.iter().find(|data| data["status"] == "ENDED").unwrap();
    assert_eq!((&by_end["sequence"], &by_end["messages"]), (&json!(1), &json!([])));

    let data = wait_told(&full, "knowledge.updated", 3).await;
    let actions: Vec<&str> = data.iter().map(|data| data["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["added", "updated", "removed"]);
    for data in &data {
        assert_eq!((&data["document_id"], &data["title"]), (&json!("rates"), &json!("Rates")));
        assert_eq!((&data["company_id"], &data["passages"]), (&json!("acme"), &json!(1)));
        assert!(data.get("conversation_id").is_none(), "{data}");
    }
    let data = wait_told(&thin, "knowledge.updated", 3).await.remove(0);
    assert_eq!((&data["document_id"], &data["passages"], data.get("title")), (&json!("rates"), &json!(1), None));

    let data = wait_told(&full, "endpoint.disabled", 1).await.remove(0);
    assert_eq!((&data["reason"], &data["description"]), (&json!("answered 410 Gone"), &json!("Old CRM")));
    assert!(data["url"] == gone.url("/gone").as_str() && data["disabled_at"].is_string(), "{data}");
    let data = wait_told(&thin, "endpoint.disabled", 1).await.remove(0);
    assert!(data["endpoint_id"].is_string() && data.get("url").is_none(), "{data}");

    for request in full.received() {
        request.verify(&secret).unwrap();
    }
    for event_type in ALL {
        assert!(!told(&full.received(), event_type).is_empty(), "{event_type} did not come");
    }
    wait_for("the queues to be empty", || async {
        let ledger = site.ledger();
        (ledger["balances"] == true && ledger["queues"][1]["pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(site.ledger()["queues"][1]["dead"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_for_does_not_come_and_filters_hold_for_all_types() {
    let (usual, elsewhere, feedback) =
        (Receiver::healthy().await, Receiver::healthy().await, Receiver::healthy().await);
    let site = Site::new("");
    let key = site.company("acme");
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    add(&client, json!({"url": usual.url("/")})).await;
    add(&client, json!({"url": elsewhere.url("/"), "event_types": ALL, "filter": {"channels": ["zalo"]}})).await;
    add(&client, json!({"url": feedback.url("/"), "event_types": ["turn.feedback"]})).await;
    let (turn, conversation) = asked(&client, "s-1").await;
    let path = format!("/api/unified/turns/{turn}/feedback");
    assert_eq!(client.post(&path).json(&json!({"rating": "down"})).send().await.unwrap().status(), 202);
    end(&client, &conversation).await;
    put_document(&server, &key, "From 5% on.").await;
    // What is of no conversation is of no channel either, so that all hear of it who ask for it.
    wait_told(&elsewhere, "knowledge.updated", 1).await;
    feedback.wait_for(1, PATIENCE).await;
    usual.wait_for(2, PATIENCE).await;
    wait_for("the queues to be empty", || async { (site.ledger()["queues"][1]["pending"] == 0).then_some(()) }).await;
    assert_eq!(told(&usual.received(), "conversation.updated").len(), 2);
    assert_eq!((usual.received().len(), elsewhere.received().len(), feedback.received().len()), (2, 1, 1));
    assert_eq!(feedback.received()[0].json()["data"]["comment"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_a_command_brings_are_told_of_when_the_service_runs() {
    let receiver = Receiver::healthy().await;
    let site = Site::new("");
    site.company("acme");
    let url = receiver.url("/");
    site.knowledge("acme", &[("early.md", "# Early\n\nNobody asked to hear of it.\n")]);
    site.ok(&["webhook", "add", "--company", "acme", "--url", &url, "--event", "knowledge.updated"]);
    site.knowledge("acme", &[("rates.md", "# Rates\n\nFrom 5% on.\n"), ("hours.md", "# Hours\n\nFrom 8 to 18.\n")]);
    let _server = site.serve();
    let received = receiver.wait_for(2, PATIENCE).await;
    let mut titles: Vec<Value> = received.iter().map(|request| request.json()["data"]["title"].clone()).collect();
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, ["Hours", "Rates"]);
    assert!(received.iter().all(|request| request.json()["data"]["action"] == "added"));
}
