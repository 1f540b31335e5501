//! A client of the native surface.

use eventsource_stream::{EventStream, Eventsource};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use super::process::Server;

/// A client that asks whoever it is told to, by no proxy.
pub fn http() -> reqwest::Client {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Speaks for one company.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    company: String,
}

/// One event as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub id: usize,
    pub data: Value,
}

impl Seen {
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

type Bytes = BoxStream<'static, Result<bytes::Bytes, reqwest::Error>>;

/// A stream of a turn.
pub struct Turn {
    events: EventStream<Bytes>,
    pub headers: reqwest::header::HeaderMap,
    pub seen: Vec<Seen>,
}

impl Turn {
    fn of(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        let bytes: Bytes = response.bytes_stream().boxed();
        Self { events: bytes.eventsource(), headers, seen: Vec::new() }
    }

    /// The next event; none when the stream ended or broke.
    pub async fn next(&mut self) -> Option<Seen> {
        let event =
            tokio::time::timeout(super::PATIENCE, self.events.next()).await.expect("the stream stands still")?;
        let event = event.ok()?;
        let seen = Seen { id: event.id.parse().unwrap(), data: serde_json::from_str(&event.data).unwrap() };
        self.seen.push(seen.clone());
        Some(seen)
    }

    /// Reads until an event of a kind.
    pub async fn until(&mut self, kind: &str) -> Option<Seen> {
        while let Some(seen) = self.next().await {
            if seen.kind() == kind {
                return Some(seen);
            }
        }
        None
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> &[Seen] {
        while self.next().await.is_some() {}
        &self.seen
    }

    /// The text that was read, as a client shows it.
    pub fn text(&self) -> String {
        self.seen.iter().fold(String::new(), |mut text, seen| {
            match seen.kind() {
                "content" => text.push_str(seen.data["chunk"].as_str().unwrap_or_default()),
                "reset" => text.clear(),
                _ => {}
            }
            text
        })
    }

    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.seen.iter().map(Seen::kind).collect();
        kinds.dedup();
        kinds
    }

    pub fn find(&self, kind: &str) -> Option<&Value> {
        self.seen.iter().find(|seen| seen.kind() == kind).map(|seen| &seen.data)
    }

    pub fn turn_id(&self) -> String {
        self.find("start").expect("a stream begins with start")["turn_id"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn new(server: &Server, company: &str, key: &str) -> Self {
        Self::of(&server.base, company, key)
    }

    /// A client of whatever serves at `base`.
    pub fn of(base: &str, company: &str, key: &str) -> Self {
        Self { http: http(), base: base.to_owned(), key: key.to_owned(), company: company.to_owned() }
    }

    /// The same client at another gateway.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    pub fn body(&self, message: &str, session: &str) -> Value {
        json!({"message": message, "company_id": self.company, "session_id": session,
               "user_info": {"user_id": "user_1", "source": "web_device"}})
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.key).send().await.unwrap()
    }

    /// Asks, and gives the stream; none when the service could not be reached.
    pub async fn try_ask(&self, message: &str, session: &str) -> Option<Turn> {
        let response = self.post("/api/unified/chat-stream").json(&self.body(message, session)).send().await.ok()?;
        response.status().is_success().then(|| Turn::of(response))
    }

    pub async fn ask(&self, message: &str, session: &str) -> Turn {
        let response = self.post("/api/unified/chat-stream").json(&self.body(message, session)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        Turn::of(response)
    }

    /// Asks with further headers.
    pub async fn ask_with(&self, message: &str, session: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let request = self.post("/api/unified/chat-stream").json(&self.body(message, session));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    /// Asks, under a key if one is given; an error is the answer of a service that refuses, or that it is not there.
    pub async fn try_ask_with(&self, message: &str, session: &str, key: Option<&str>) -> Result<Turn, String> {
        let request = self.post("/api/unified/chat-stream").json(&self.body(message, session));
        Self::stream(key.into_iter().fold(request, |request, key| request.header("idempotency-key", key))).await
    }

    /// Takes a stream up again after an event; an error is as for asking.
    pub async fn try_resume(&self, turn_id: &str, after: usize) -> Result<Turn, String> {
        let url = format!("{}/api/unified/turns/{turn_id}/stream", self.base);
        Self::stream(self.http.get(url).bearer_auth(&self.key).header("Last-Event-ID", after.to_string())).await
    }

    async fn stream(request: reqwest::RequestBuilder) -> Result<Turn, String> {
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        match status.is_success() {
            true => Ok(Turn::of(response)),
            false => Err(format!("{status} {}", response.text().await.unwrap_or_default())),
        }
    }

    pub fn turn(&self, response: reqwest::Response) -> Turn {
        Turn::of(response)
    }

    /// Takes a stream up again after an event.
    pub async fn resume(&self, turn_id: &str, after: usize) -> reqwest::Response {
        let url = format!("{}/api/unified/turns/{turn_id}/stream", self.base);
        self.http.get(url).bearer_auth(&self.key).header("Last-Event-ID", after.to_string()).send().await.unwrap()
    }

    pub async fn stop(&self, turn_id: &str) -> reqwest::StatusCode {
        self.post(&format!("/api/unified/turns/{turn_id}/stop")).send().await.unwrap().status()
    }

    /// All stored turns of the company, by conversation.
    pub async fn stored(&self) -> Vec<Vec<Value>> {
        let mut conversations = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Value = self
                .get(&format!("/api/companies/{}/conversations?limit=100{cursor}", self.company))
                .await
                .json()
                .await
                .unwrap();
            for conversation in page["conversations"].as_array().unwrap() {
                let id = conversation["conversation_id"].as_str().unwrap();
                let path = format!("/api/companies/{}/conversations/{id}", self.company);
                let one: Value = self.get(&path).await.json().await.unwrap();
                conversations.push(one["turns"].as_array().unwrap().clone());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return conversations,
            }
        }
    }

    /// Waits until a turn is stored.
    pub async fn stored_turn(&self, turn_id: &str) -> Value {
        super::wait_for("the turn to be stored", || async {
            self.stored().await.into_iter().flatten().find(|turn| turn["turn_id"] == turn_id)
        })
        .await
    }
}
