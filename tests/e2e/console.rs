//! The console: who gets in, what they see, and what they can do there.

mod doors;
mod pages;
mod walls;
mod webhooks;

use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};

use crate::support::process::{Server, Site};

/// The operator's token in these tests.
const TOKEN: &str = "operator-token-of-the-console-0123456789";

fn config() -> String {
    format!("[auth]\nadmin_token = \"{TOKEN}\"\n")
}

/// A key of a company that opens all of it.
#[track_caller]
fn admin_key(site: &Site, company: &str) -> String {
    let out = site.ok(&["company", "key", "add", company, "--scope", "admin"]);
    out.split_whitespace().rfind(|word| word.starts_with("tp_")).expect("a key is printed").to_owned()
}

/// Someone with a browser's manners and no browser: they keep a cookie and follow nothing.
#[derive(Clone)]
struct Visitor {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

/// What a browser does with a form.
trait Form {
    fn form(self, fields: &[(&str, &str)]) -> Self;
}

impl Form for reqwest::RequestBuilder {
    fn form(self, fields: &[(&str, &str)]) -> Self {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(pairs.join("&"))
    }
}

/// What was answered.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Visitor {
    fn new(server: &Server) -> Self {
        // An error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { http, base: server.base.clone(), cookie: String::new() }
    }

    /// A visitor who has logged in.
    async fn in_with(server: &Server, secret: &str) -> Self {
        let mut visitor = Self::new(server);
        let seen = visitor.log_in(secret).await;
        assert_eq!(seen.status, 303, "{}", seen.text);
        visitor.cookie = seen.cookie().split(';').next().unwrap().to_owned();
        visitor
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if self.cookie.is_empty() { request } else { request.header(COOKIE, &self.cookie) }
    }

    async fn log_in(&self, secret: &str) -> Seen {
        Seen::of(self.request(Method::POST, "/console/login").form(&[("secret", secret)])).await
    }

    async fn get(&self, path: &str) -> Seen {
        Seen::of(self.request(Method::GET, path)).await
    }

    /// Sends a form with these fields alone.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        Seen::of(self.request(Method::POST, path).form(fields)).await
    }

    /// The token that the forms of a session have.
    async fn form_token(&self, path: &str) -> String {
        let seen = self.get(path).await;
        let after = seen.text.split("name=\"form_token\" value=\"").nth(1).expect("the page has a form");
        after.split('"').next().unwrap().to_owned()
    }
}

impl Seen {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    fn cookie(&self) -> &str {
        self.headers.get(SET_COOKIE).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a page, with what keeps foreign things out of it.
    #[track_caller]
    fn page(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let policy = self.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.headers["content-type"], "text/html; charset=utf-8");
        assert!(!self.text.contains(" style=") && !self.text.contains("<style"), "an inline style is kept out anyway");
        assert!(!self.text.to_lowercase().contains("onclick="), "{}", self.text);
        self.text
    }
}
