//! Each surface as its own clients see it, and that what comes in by it is stored and told like any other turn.

use serde_json::Value;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::receiver::Receiver;

mod cors;
mod qwen;
mod sessions;
mod streams;
mod unified;
mod websocket;
mod wires;

/// A company with knowledge, a webhook and a provider.
struct Place {
    site: Site,
    server: Server,
    client: Client,
    key: String,
    provider: Provider,
    receiver: Receiver,
}

impl Place {
    /// A place whose provider `mock` has a model; `config` comes on top.
    async fn new(model: &str, config: &str) -> Self {
        let provider = Provider::start().await;
        let config = format!("{config}\n{}", provider.config("mock", &[model]));
        Self::with(provider, &config).await
    }

    async fn with(provider: Provider, config: &str) -> Self {
        let receiver = Receiver::healthy().await;
        let site = Site::new(config);
        let key = site.company("acme");
        site.endpoint("acme", &receiver.url("/hook"));
        site.knowledge("acme", &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm.\n")]);
        let server = site.serve();
        let client = Client::new(&server, "acme", &key);
        Self { site, server, client, key, provider, receiver }
    }

    fn settings<'a>(&'a self, base: &'a str) -> [(&'a str, &'a str); 2] {
        [("URL", base), ("KEY", &self.key)]
    }

    /// A turn is stored, and told by webhook. Gives the stored one.
    async fn is_kept(&self, turn_id: &str) -> Value {
        let stored = self.client.stored_turn(turn_id).await;
        crate::support::wait_for("the webhook", || async {
            let told = self.receiver.received();
            told.iter().any(|request| request.json()["data"]["turn_id"] == turn_id).then_some(())
        })
        .await;
        stored
    }
}

/// The lines of a stream that has ended.
fn lines(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The text of chunk lines, as a client shows it.
fn shown(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        if line["reset"] == true {
            text.clear();
        }
        text + line["chunk"].as_str().unwrap_or_default()
    })
}
