//! Asks for answers, straight at the provider or through the service, and notes when each frame came.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sites::COMPANY;
use crate::support::process::Server;

/// The longest that a stream may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One way to the provider, with connections of its own.
#[derive(Clone)]
pub(crate) struct Asker {
    http: reqwest::Client,
    url: String,
    /// The key of the company, on the way through the service.
    key: Option<String>,
    /// Whether a turn is asked for, and not what OpenAI's protocol has.
    is_turn: bool,
}

/// What was seen of a stream, in milliseconds from before the request was sent.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) language: Option<f64>,
    pub(crate) contents: Vec<f64>,
    pub(crate) conversation_id: Option<String>,
}

impl Seen {
    /// Milliseconds until the first piece of the answer.
    pub(crate) fn first_content(&self) -> f64 {
        *self.contents.first().expect("an answer has a first piece")
    }

    /// Milliseconds between the pieces.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = f64> {
        self.contents.windows(2).map(|pair| pair[1] - pair[0])
    }
}

fn http() -> reqwest::Client {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap()
}

impl Asker {
    /// Straight at something that speaks OpenAI's protocol.
    pub(crate) fn direct(base_url: &str) -> Self {
        Self { http: http(), url: format!("{base_url}/chat/completions"), key: None, is_turn: false }
    }

    /// Through the service.
    pub(crate) fn through(server: &Server, key: &str) -> Self {
        Self { http: http(), url: server.url("/api/unified/chat-stream"), key: Some(key.to_owned()), is_turn: true }
    }

    /// Through the service, passed on as it is.
    pub(crate) fn relayed(server: &Server, key: &str) -> Self {
        Self { http: http(), url: server.url("/v1/chat/completions"), key: Some(key.to_owned()), is_turn: false }
    }

    /// Sends a question and waits for the head of the answer.
    pub(crate) async fn send(&self, question: &str, session: &str) -> reqwest::Response {
        let request = self.http.post(&self.url);
        let request = self.key.iter().fold(request, |request, key| request.bearer_auth(key));
        let request = request.json(&match self.is_turn {
            true => json!({
                "message": question, "company_id": COMPANY, "session_id": session,
                "user_info": {"user_id": session, "source": "web_device"},
            }),
            false => json!({
                "model": "m", "stream": true, "messages": [{"role": "user", "content": question}],
            }),
        });
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{} from {}", response.status(), self.url);
        response
    }

    /// Asks and reads the answer to its end.
    pub(crate) async fn ask(&self, question: &str, session: &str) -> Seen {
        tokio::time::timeout(PATIENCE, self.read(question, session)).await.expect("a stream stands still")
    }

    async fn read(&self, question: &str, session: &str) -> Seen {
        let sent = Instant::now();
        let mut response = self.send(question, session).await;
        let mut seen = Seen::default();
        let (mut buffer, mut last) = (Vec::new(), String::new());
        while let Some(chunk) = response.chunk().await.unwrap() {
            let at = sent.elapsed().as_secs_f64() * 1000.0;
            buffer.extend_from_slice(&chunk);
            let Some(end) = buffer.iter().rposition(|&byte| byte == b'\n') else { continue };
            let whole: Vec<u8> = buffer.drain(..=end).collect();
            for line in std::str::from_utf8(&whole).unwrap().lines().filter_map(|line| line.strip_prefix("data: ")) {
                self.note(&mut seen, at, line);
                last = line.to_owned();
            }
        }
        self.check(&seen, &last);
        seen
    }

    fn note(&self, seen: &mut Seen, at: f64, line: &str) {
        if !self.is_turn {
            if line.contains(r#""content":"#) {
                seen.contents.push(at);
            }
        } else if line.starts_with(r#"{"type":"content""#) {
            seen.contents.push(at);
        } else if line.starts_with(r#"{"type":"language""#) {
            seen.language = Some(at);
        } else if line.starts_with(r#"{"type":"start""#) {
            let start: Value = serde_json::from_str(line).unwrap();
            seen.conversation_id = start["conversation_id"].as_str().map(str::to_owned);
        }
    }

    /// An answer that was not the provider's would be measured for nothing.
    fn check(&self, seen: &Seen, last: &str) {
        assert!(!seen.contents.is_empty(), "no answer came: {last}");
        if self.is_turn {
            let done: Value = serde_json::from_str(last).unwrap();
            let stood_in = ["llm", "provider"].iter().any(|part| done["degraded"].to_string().contains(part));
            assert!(done["type"] == "done" && done["finish_reason"] == "stop" && !stood_in, "{last}");
        } else {
            assert_eq!(last, "[DONE]");
        }
    }
}
