//! Two gateways side by side, with a worker behind them: a client may come to either of them at any time.

use serde_json::Value;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::{clients, services, wait_for};

/// Two gateways and a worker on servers that other tests use too, under names of their own.
struct Pair {
    provider: Provider,
    one: Server,
    other: Server,
    _worker: Server,
    sites: Vec<Site>,
    key: String,
    /// The database's server, and the name of database and queues.
    mongodb: String,
    name: String,
}

impl Pair {
    async fn start(test: &str, model: &str) -> Option<Self> {
        let (rabbitmq, mongodb) = (services::rabbitmq(test)?, services::mongodb(test)?);
        let provider = Provider::start().await;
        let name = format!("t{}", Uuid::new_v4().simple());
        let config = format!(
            "[bus]\nbackend = \"rabbitmq\"\nurl = {rabbitmq:?}\nnamespace = {name:?}\n\
             [store]\nbackend = \"mongodb\"\nuri = {mongodb:?}\ndatabase = {name:?}\n{}",
            provider.config("mock", &[model])
        );
        tokio::task::block_in_place(|| {
            let sites: Vec<Site> = (0..3).map(|_| Site::new(&config)).collect();
            sites[0].ok(&["migrate"]);
            let key = sites[0].company("acme");
            let start = |site: &Site, role| Server::start(site.command(&["serve", "--roles", role]));
            let (one, other) = (start(&sites[0], "gateway"), start(&sites[1], "gateway"));
            let _worker = start(&sites[2], "worker");
            Some(Self { provider, one, other, _worker, sites, key, mongodb, name })
        })
    }

    fn clients(&self) -> (Client, Client) {
        let one = Client::new(&self.one, "acme", &self.key);
        let other = one.at(&self.other.base);
        (one, other)
    }
}

/// The user's messages that a provider was asked with last.
fn questions(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().unwrap();
    let users = messages.iter().filter(|message| message["role"] == "user");
    users.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_whole_at_the_other_gateway_when_the_client_names_the_turn_before() {
    let test = "history_is_whole_at_the_other_gateway_when_the_client_names_the_turn_before";
    let Some(pair) = Pair::start(test, "instant").await else { return };
    let (one, other) = pair.clients();
    for conversation in 0..6 {
        let session = format!("s-{conversation}");
        let (mut asked, mut previous) = (Vec::new(), Value::Null);
        for turn in 0..4 {
            let question = format!("I want to open account number {conversation}{turn} at your bank today");
            asked.push(question.clone());
            let client = if turn % 2 == 0 { &one } else { &other };
            let mut body = client.body(&question, &session);
            body["previous_turn_id"] = previous;
            let request = client.post("/api/unified/chat-stream").json(&body);
            let mut stream = client.turn(request.send().await.unwrap());
            stream.rest().await;
            previous = stream.turn_id().into();
            let done = stream.find("done").unwrap_or_else(|| panic!("{:?}", stream.seen));
            assert_eq!(done["degraded"], serde_json::json!(["embedder"]), "{done}");
            assert_eq!(questions(&pair.provider.last_body()), asked);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_the_other_gateway_has_heard_of_is_waited_for_or_said_to_be_missing() {
    let test = "a_turn_that_the_other_gateway_has_heard_of_is_waited_for_or_said_to_be_missing";
    let Some(pair) = Pair::start(test, "echo").await else { return };
    let (one, other) = pair.clients();
    for conversation in 0..4 {
        let session = format!("s-{conversation}");
        let first = format!("I want to open account number {conversation} at your bank today");
        let second = format!("Please send the papers for account {conversation} to my address in town");
        let mut stream = one.ask(&first, &session).await;
        stream.until("content").await;
        wait_for("the turn to be heard of", async || {
            other.resume(&stream.turn_id(), 0).await.status().is_success().then_some(())
        })
        .await;
        stream.rest().await;
        // The client says nothing of the turn before, and comes at once.
        let mut next = other.ask(&second, &session).await;
        next.rest().await;
        // Waiting has its bounds, and where they were reached the client is told.
        let is_degraded = next.find("done").unwrap()["degraded"].to_string().contains("store");
        let asked = questions(&pair.provider.last_body());
        assert!(asked == [first, second] || is_degraded, "{asked:?}, and nothing says that a turn is missing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stands_for_one_turn_at_both_gateways() {
    let Some(pair) = Pair::start("a_key_stands_for_one_turn_at_both_gateways", "echo").await else { return };
    let (one, other) = pair.clients();
    // A session for each key: the provider is to be asked once for each turn, and not for the meaning of a follow-up.
    let ask = async |client: &Client, message: &str, key: &str| {
        client.ask_with(message, key, &[("idempotency-key", key)]).await
    };
    for n in 0..6 {
        let key = format!("key-{n}");
        // Both at the same moment, and one more when it is over.
        let (first, second) = tokio::join!(ask(&one, "How much is it?", &key), ask(&other, "How much is it?", &key));
        let (mut first, mut second) = (one.turn(first), other.turn(second));
        let (_, _) = tokio::join!(first.rest(), second.rest());
        assert_eq!(first.turn_id(), second.turn_id());
        assert!(!first.text().is_empty() && first.text() == second.text());
        let mut again = other.turn(ask(&other, "How much is it?", &key).await);
        again.rest().await;
        assert_eq!((again.turn_id(), again.text()), (first.turn_id(), first.text()));
        assert_eq!(ask(&other, "Something else?", &key).await.status(), 422);
    }
    assert_eq!(pair.provider.requests(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_a_gateway_took_and_died_with_is_not_lost() {
    let Some(pair) = Pair::start("a_key_that_a_gateway_took_and_died_with_is_not_lost", "echo").await else { return };
    let (one, other) = pair.clients();
    let ask =
        async |client: &Client, key: &str| client.ask_with("How much is it?", "s-1", &[("idempotency-key", key)]).await;
    let mut first = one.turn(ask(&one, "key-0").await);
    first.rest().await;
    // The same claim under other keys, for turns of which nothing else was ever written.
    let client = mongodb::Client::with_uri_str(&pair.mongodb).await.unwrap();
    let claims = client.database(&pair.name).collection::<mongodb::bson::Document>("claims");
    let mut claim = claims.find_one(mongodb::bson::doc! { "_id": "acme/key-0" }).await.unwrap().unwrap();
    let began = |seconds_ago: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, now - seconds_ago, 0)).to_string()
    };
    let (fresh, stale) = (began(0), began(90));
    for (key, turn) in [("key-fresh", &fresh), ("key-stale", &stale)] {
        claim.extend(mongodb::bson::doc! { "_id": format!("acme/{key}"), "key": key, "turn_id": turn.as_str() });
        claims.insert_one(&claim).await.unwrap();
    }
    // Whoever took the key a moment ago may say yet where its turn is.
    let refused = ask(&other, "key-fresh").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "turn_unreachable");
    let mut run = other.turn(ask(&other, "key-stale").await);
    run.rest().await;
    assert!(run.find("done").is_some() && run.turn_id() != stale, "{:?}", run.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_and_stops_at_the_other_gateway() {
    let Some(pair) = Pair::start("a_stream_goes_on_and_stops_at_the_other_gateway", "slow").await else { return };
    let (one, other) = pair.clients();
    let mut begun = one.ask("How much is it?", "s").await;
    let last = begun.until("content").await.unwrap();
    let text = begun.text();
    let turn = begun.turn_id();
    drop(begun);
    let mut resumed = other.turn(other.resume(&turn, last.id).await);
    let next = resumed.next().await.unwrap();
    // No event is missed and none comes twice.
    assert_eq!((next.id, next.kind()), (last.id + 1, "content"));
    assert_eq!(other.stop(&turn).await, 202);
    resumed.rest().await;
    assert_eq!(resumed.find("done").unwrap()["finish_reason"], "stopped");
    let whole = format!("{text}{}", resumed.text());
    let stored = wait_for("the turn to be stored", async || other.stored().await.concat().pop()).await;
    assert_eq!(stored["answer"].as_str().unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_whose_gateway_died_is_said_to_be_out_of_reach_until_it_is_mended() {
    let test = "a_turn_whose_gateway_died_is_said_to_be_out_of_reach_until_it_is_mended";
    let Some(mut pair) = Pair::start(test, "slow").await else { return };
    let (one, other) = pair.clients();
    let mut begun = one.ask("How much is it?", "s").await;
    begun.until("content").await.unwrap();
    // The other gateway has to have been told before this one dies.
    wait_for("the turn to be known elsewhere", async || {
        other.resume(&begun.turn_id(), 0).await.status().is_success().then_some(())
    })
    .await;
    pair.one.kill();
    begun.rest().await;
    let answer = other.resume(&begun.turn_id(), 0).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "turn_unreachable");
    pair.one = tokio::task::block_in_place(|| Server::start(pair.sites[0].command(&["serve", "--roles", "gateway"])));
    let stored = wait_for("the turn to be stored", async || other.stored().await.concat().pop()).await;
    assert_eq!(stored["finish_reason"], "interrupted");
    assert!(stored["answer"].as_str().unwrap().starts_with(&begun.text()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_is_removed_while_all_processes_run_and_nothing_of_it_stays() {
    let test = "a_company_is_removed_while_all_processes_run_and_nothing_of_it_stays";
    let Some(pair) = Pair::start(test, "echo").await else { return };
    let (one, other) = pair.clients();
    let canary = "xylophone-4711";
    for n in 0..3 {
        one.ask(&format!("Tell me about the {canary} number {n}"), "s").await.rest().await;
        other.ask(&format!("Tell me about the {canary} as well {n}"), "t").await.rest().await;
    }
    wait_for("the turns to be stored", async || {
        (one.stored().await.iter().map(Vec::len).sum::<usize>() == 6).then_some(())
    })
    .await;
    let receipt = tokio::task::block_in_place(|| pair.sites[2].ok(&["company", "remove", "acme", "--yes"]));
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((&receipt["conversations"], &receipt["turns"], &receipt["keys"]), (&2.into(), &6.into(), &1.into()));
    assert_eq!(receipt["counted_turns"], 6, "{receipt}");

    // The gateways let go of what their spools held, without being stopped.
    for site in &pair.sites[..2] {
        wait_for("the spool to be empty of it", async || (!mentions(&site.data_dir(), canary)).then_some(())).await;
    }
    let client = mongodb::Client::with_uri_str(&pair.mongodb).await.unwrap();
    let database = client.database(&pair.name);
    for collection in database.list_collection_names().await.unwrap() {
        let mut found =
            database.collection::<mongodb::bson::Document>(&collection).find(mongodb::bson::doc! {}).await.unwrap();
        while let Some(document) = futures::TryStreamExt::try_next(&mut found).await.unwrap() {
            let text = document.to_string();
            assert!(!text.contains(canary), "{collection} holds {text}");
        }
    }
    wait_for("the key to open nothing", async || (one.ask_with("hello", "s", &[]).await.status() == 401).then_some(()))
        .await;
}

/// Whether any file below a folder holds a text.
fn mentions(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return mentions(&path, text);
        }
        // A file may be gone since it was listed.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_read_on_and_a_session_known_at_the_other_gateway() {
    let test = "a_websocket_is_read_on_and_a_session_known_at_the_other_gateway";
    // Long enough to be met while it runs, however slow the database is.
    let Some(pair) = Pair::start(test, "slow").await else { return };
    let (one, other) = pair.clients();
    // Nothing is stored of a session in which nothing was asked.
    let begun: Value = one.post("/session").send().await.unwrap().json().await.unwrap();
    let body = serde_json::json!({"message": "Xin chào", "session_id": begun["session_id"]});
    assert_eq!(other.post("/chat/stream").json(&body).send().await.unwrap().status(), 200);

    let address = |server: &Server| format!("{}/api/unified/chat-ws", server.base.replace("http://", "ws://"));
    let (first, second) = (address(&pair.one), address(&pair.other));
    let settings = [("ONE", first.as_str()), ("OTHER", second.as_str()), ("KEY", pair.key.as_str())];
    let Some(said) = clients::run(test, "websocket_elsewhere.py", &settings) else { return };
    let said: Value = serde_json::from_str(&said).unwrap();
    let ids: Vec<u64> = said["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    assert!(ids.iter().copied().eq(1..=ids.len() as u64), "an event is missing or came twice: {ids:?}");
    assert_eq!(said["turns"], serde_json::json!([said["turn"]]));
    let stored = one.stored_turn(said["turn"].as_str().unwrap()).await;
    assert_eq!((&stored["answer"], &stored["finish_reason"]), (&said["text"], &"stop".into()));
    assert_eq!(said["stopped"], "stopped");
}
