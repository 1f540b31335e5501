//! The OpenAI-compatible surface, spoken to by OpenAI's own clients, in front of a provider that speaks the whole API.

mod chat;
mod errors;
mod models;
mod relay;
mod tokens;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::openai::Api;
use crate::support::process::{Server, Site};

/// What the provider `mock` has, by name.
const MODELS: &[&str] =
    &["plain", "busy-twice", "bad-key", "telltale", "hangs", "breaks", "silent", "slow", "web-page", "moved"];

/// What the company knows.
const RATES: &str = "# Lãi suất vay mua nhà\n\nLãi suất vay mua nhà cố định 12 tháng là 6,8%/năm.\n\n# Lãi suất tiết kiệm\n\nLãi suất tiết kiệm 12 tháng là 5,2%/năm.\n";

/// A company with some knowledge in front of a provider.
struct Place {
    site: Site,
    server: Server,
    key: String,
    client: Client,
}

impl Place {
    /// `settings` comes before the provider's.
    async fn with(settings: &str, api: &Api) -> Self {
        Self::of(&format!("{settings}\n{}", api.config("mock", MODELS)))
    }

    fn of(settings: &str) -> Self {
        let site = Site::new(settings);
        let key = site.company("acme");
        site.knowledge("acme", &[("rates.md", RATES)]);
        let server = site.serve();
        let client = Client::new(&server, "acme", &key);
        Self { site, server, key, client }
    }

    /// Runs a program with the official client of its language.
    fn run(&self, test: &str, program: &str) -> Option<String> {
        let settings = [("URL", self.server.url("/v1")), ("KEY", self.key.clone()), ("SECRET", "sk-secret".to_owned())];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        crate::support::clients::run(test, program, &settings)
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client.post(path).json(body).send().await.unwrap()
    }

    async fn chat(&self, body: Value) -> reqwest::Response {
        self.post("/v1/chat/completions", &body).await
    }
}

fn question() -> Value {
    json!([{"role": "user", "content": "Lãi suất vay mua nhà?"}])
}

/// The status and the code of an error in OpenAI's form.
async fn error(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
    assert!(!error["message"].as_str().unwrap().is_empty() && error["type"].is_string(), "{body}");
    assert_eq!(error.len(), 4, "{body}");
    (status, error["code"].as_str().unwrap_or_default().to_owned())
}
