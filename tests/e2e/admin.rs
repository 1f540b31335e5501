//! Administration over HTTP.

mod companies;
mod conversations;
mod documents;
mod keys;
mod usage;
mod webhooks;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::process::{Server, Site};

/// The operator's token in these tests.
const TOKEN: &str = "operator-token-of-the-tests-0123456789";

/// Settings with the operator's token.
fn config() -> String {
    format!("[auth]\nadmin_token = \"{TOKEN}\"\n")
}

/// Looks for a text in every file of a site.
#[track_caller]
fn nothing_holds(site: &Site, text: &str) {
    let mut folders = vec![site.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                // Files come and go while the service runs.
                let bytes = std::fs::read(&path).unwrap_or_default();
                let holds = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!holds, "{} still has it", path.display());
            }
        }
    }
}

/// Someone who asks with a secret.
#[derive(Clone)]
struct Admin {
    http: reqwest::Client,
    base: String,
    secret: String,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Admin {
    fn new(server: &Server, secret: &str) -> Self {
        // An error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base: server.base.clone(), secret: secret.to_owned() }
    }

    fn with(&self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.secret)
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        Answer::of(self.request(method, path).json(&body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body).await
    }
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    /// The body of an answer with a status.
    #[track_caller]
    fn with(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// Checks that it is a problem document with a status and a code.
    #[track_caller]
    fn problem(self, status: u16, code: &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let problem = self.with(status);
        assert_eq!(problem["code"], code, "{problem}");
    }
}
