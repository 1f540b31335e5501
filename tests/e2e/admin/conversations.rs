//! Conversations: found, read page by page, exported, ended, removed.

use serde_json::{Value, json};

use super::{Admin, TOKEN, config, nothing_holds};
use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::wait_for;

const CONVERSATIONS: &str = "/api/companies/a/conversations";

async fn ask(client: &Client, message: &str, session: &str) -> String {
    let mut turn = client.ask(message, session).await;
    turn.rest().await;
    let conversation = turn.find("start").unwrap()["conversation_id"].as_str().unwrap().to_owned();
    client.stored_turn(&turn.turn_id()).await;
    conversation
}

async fn started(provider: &Provider) -> (Site, Server, Client, Admin) {
    let site = Site::new(&format!("{}{}", provider.config("mock", &["plain"]), config()));
    let key = site.company("a");
    let server = site.serve();
    let client = Client::new(&server, "a", &key);
    let admin = Admin::new(&server, &key);
    (site, server, client, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_found_read_and_exported() {
    let provider = Provider::start().await;
    let (site, server, client, admin) = started(&provider).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(ask(&client, &format!("Lãi suất vay số {n} là bao nhiêu?"), &format!("s{n}")).await);
    }
    for n in 0..4 {
        ask(&client, &format!("What are the opening hours, question {n}?"), "s2").await;
    }
    let list = async |query: &str| -> Vec<Value> {
        let page = admin.get(&format!("{CONVERSATIONS}?{query}")).await.with(200);
        page["conversations"].as_array().unwrap().iter().map(|one| one["session_id"].clone()).collect()
    };
    assert_eq!(list("").await, ["s2", "s1", "s0"]);
    assert_eq!(list("session_id=s1").await, ["s1"]);
    assert_eq!(list("language=en").await, ["s2"]);
    assert_eq!(list("language=vi&channel=web").await, ["s1", "s0"]);
    assert_eq!(list("channel=zalo").await, Vec::<Value>::new());
    assert_eq!(list("status=ENDED").await, Vec::<Value>::new());
    assert_eq!(list("from=2200-01-01T00:00:00Z").await, Vec::<Value>::new());
    assert_eq!(list("until=2020-01-01T00:00:00Z").await, Vec::<Value>::new());
    for query in ["status=OVER", "language=klingon", "from=yesterday", "limit=x", "session_id=%00"] {
        let answer = admin.get(&format!("{CONVERSATIONS}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }

    let (mut sequences, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{CONVERSATIONS}/{}/turns?limit=2{cursor}", ids[2])).await.with(200);
        sequences.extend(page["turns"].as_array().unwrap().iter().map(|turn| turn["sequence"].as_u64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    admin.get(&format!("{CONVERSATIONS}/{}/turns?cursor=eHg", ids[2])).await.problem(400, "invalid_cursor");

    let export = admin.get(&format!("{CONVERSATIONS}/export")).await;
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&String> = lines.iter().map(|line| line.as_object().unwrap().keys().next().unwrap()).collect();
    assert_eq!((lines.len(), kinds.iter().filter(|kind| **kind == "turn").count()), (10, 7));
    assert_eq!(lines[0]["conversation"]["session_id"], "s2");
    assert_eq!((&lines[1]["turn"]["sequence"], &lines[5]["turn"]["sequence"]), (&json!(1), &json!(5)));
    let some = admin.get(&format!("{CONVERSATIONS}/export?session_id=s0")).await;
    assert_eq!(some.text.lines().count(), 2);

    // Another company sees none of it.
    let b = admin.with(&site.company("b"));
    for path in ["", "/export"] {
        b.get(&format!("{CONVERSATIONS}{path}")).await.problem(403, "company_mismatch");
    }
    for (path, own) in [("", "b"), ("/turns", "b")] {
        let path = format!("/api/companies/{own}/conversations/{}{path}", ids[0]);
        b.get(&path).await.problem(404, "not_found");
    }
    b.post(&format!("/api/companies/b/conversations/{}/end", ids[0]), json!({})).await.problem(404, "not_found");
    b.delete(&format!("/api/companies/b/conversations/{}", ids[0])).await.problem(404, "not_found");
    b.delete(&format!("{CONVERSATIONS}/{}", ids[0])).await.problem(403, "company_mismatch");
    admin.get(&format!("{CONVERSATIONS}/{}", ids[0])).await.with(200);
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_ends_and_its_session_begins_it_again() {
    let provider = Provider::start().await;
    let (_site, _server, client, admin) = started(&provider).await;
    let id = ask(&client, "Xin chào", "s").await;
    let end = format!("{CONVERSATIONS}/{id}/end");
    let ended = admin.post(&end, json!({})).await.with(200);
    assert_eq!(ended["status"], "ENDED");
    assert!(ended["ended_at"].is_string());
    assert_eq!(admin.post(&end, json!({})).await.with(200), ended, "it ends once");
    let listed = admin.get(&format!("{CONVERSATIONS}?status=ENDED")).await.with(200);
    assert_eq!(listed["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&client, "Tôi quay lại rồi", "s").await, id);
    let read = admin.get(&format!("{CONVERSATIONS}/{id}")).await.with(200);
    assert_eq!((&read["conversation"]["status"], &read["conversation"]["ended_at"]), (&json!("ACTIVE"), &Value::Null));
    admin.post(&format!("{CONVERSATIONS}/nothing/end"), json!({})).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_conversation_is_nowhere_and_its_session_may_begin_again() {
    let provider = Provider::start().await;
    let (site, server, client, admin) = started(&provider).await;
    // Nobody takes its webhooks, so they wait in the queue.
    site.endpoint("a", "http://127.0.0.1:9/hook");
    let canary = "chim sẻ 0xBEEF";
    let id = ask(&client, &format!("Tôi tên là {canary}"), "s").await;
    let other = ask(&client, "Giờ mở cửa thế nào?", "other").await;
    let mut running = client.ask(&format!("Tôi là ai, {canary}?"), "s").await;
    running.until("start").await.unwrap();
    let receipt = admin.delete(&format!("{CONVERSATIONS}/{id}")).await.with(200);
    assert_eq!(receipt["conversation_id"], id.as_str());
    assert!(receipt["turns"].as_u64().unwrap() >= 1, "{receipt}");
    assert!(receipt["messages"].as_u64().unwrap() >= 1, "{receipt}");
    running.rest().await;
    let path = format!("{CONVERSATIONS}/{id}");
    admin.get(&path).await.problem(404, "not_found");
    admin.delete(&path).await.problem(404, "not_found");
    assert_eq!(client.resume(&running.turn_id(), 0).await.status(), 404);
    nothing_holds(&site, canary);
    admin.get(&format!("{CONVERSATIONS}/{other}")).await.with(200);

    // The session goes on without a past.
    assert_eq!(ask(&client, "Bạn có nhớ tôi không?", "s").await, id);
    assert!(!provider.last_body().to_string().contains(canary), "{}", provider.last_body());
    let turns = admin.get(&path).await.with(200)["turns"].clone();
    assert_eq!((turns.as_array().unwrap().len(), &turns[0]["sequence"]), (1, &json!(1)));
    wait_for("the books to balance", || async { (site.ledger()["balances"] == true).then_some(()) }).await;
    let operator = admin.with(TOKEN);
    operator.delete(&format!("{CONVERSATIONS}/{id}")).await.with(200);
    server.stop();
    nothing_holds(&site, canary);
}
