//! Which pages may read answers.

use reqwest::header::HeaderMap;
use serde_json::json;

use super::Place;
use crate::support::browser::{LAPTOP, browser, driver};

/// A preflight as a browser sends it: the headers of the answer.
async fn preflight(place: &Place, path: &str, origin: &str) -> HeaderMap {
    let request = reqwest::Client::new().request(reqwest::Method::OPTIONS, place.server.url(path));
    let asked = request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    asked.send().await.unwrap().headers().clone()
}

fn allowed(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_set_origins_and_this_machine_read_and_pages_with_their_own_keys() {
    let config = "[server]\ncors_origins = [\"https://shop.example\"]\ncors_credentials = true\n";
    let place = Place::new("plain", config).await;
    let (turns, records) = ("/api/unified/chat-stream", "/api/companies/acme/conversations");
    for origin in ["https://shop.example", "http://localhost:3000", "http://127.0.0.1:7860"] {
        for path in [turns, records] {
            let headers = preflight(&place, path, origin).await;
            assert_eq!(allowed(&headers), Some(origin), "{path}");
            let is_set = origin == "https://shop.example";
            assert_eq!(headers.contains_key("access-control-allow-credentials"), is_set, "{origin}");
        }
    }
    for origin in ["https://evil.example", "https://shop.example.evil.example", "http://localhost.evil.example", "null"]
    {
        let headers = preflight(&place, turns, origin).await;
        assert_eq!(allowed(&headers), Some(origin), "publishable keys are for pages of any origin");
        assert!(!headers.contains_key("access-control-allow-credentials"), "{origin}");
        let headers = preflight(&place, records, origin).await;
        assert_eq!(allowed(&headers), None, "{origin} may read records");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_foreign_page_stays_refused() {
    let place = Place::new("plain", "[auth]\nmode = \"open\"\n").await;
    let ask = async |origin: &str| {
        let body = json!({"message": "Xin chào", "company_id": "acme"});
        let request = place.client.post("/api/unified/chat").header("origin", origin).json(&body);
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        (response.status().as_u16(), allowed(&headers).map(str::to_owned))
    };
    assert_eq!(ask("http://localhost:3000").await, (200, Some("http://localhost:3000".to_owned())));
    assert_eq!(ask("https://evil.example").await, (403, None));
    assert_eq!(allowed(&preflight(&place, "/api/unified/chat", "https://evil.example").await), None);
}

/// A key as `company key add` prints it.
fn publishable(place: &Place, origin: &str) -> String {
    let said = place.site.ok(&["company", "key", "add", "acme", "--scope", "publishable", "--origin", origin]);
    let words = said.split_whitespace().filter(|word| word.starts_with("tp_pub_"));
    words.max_by_key(|word| word.len()).expect("a key is printed").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_asks_with_its_publishable_key_and_no_other_page_does() {
    let Some(driver) = driver("pages of other origins").await else { return };
    let place = Place::new("plain", "").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let blank = axum::Router::new().fallback(async || axum::response::Html("<!doctype html><title>shop</title>"));
    let pages = tokio::spawn(async move { axum::serve(listener, blank).await.unwrap() });
    let key = publishable(&place, &format!("http://shop.example:{port}"));
    let script = r"
        const [base, key, done] = arguments;
        const chat = {message: 'Xin chào', session_id: 'p'};
        const headers = {'Authorization': `Bearer ${key}`, 'Content-Type': 'application/json'};
        const fetched = fetch(`${base}/api/unified/chat`, {method: 'POST', headers, body: JSON.stringify(chat)})
            .then(response => response.status).catch(() => 'blocked');
        const streamed = new Promise(resolve => {
            const source = new EventSource(`${base}/api/stream/chat-get?user_input=Xin%20ch%C3%A0o&key=${key}`);
            const end = what => { source.close(); resolve(what); };
            source.onmessage = event => { const data = JSON.parse(event.data); if (data.done) end(data.code ?? 'done'); };
            source.onerror = () => end('blocked');
        });
        const talked = new Promise(resolve => {
            const socket = new WebSocket(`${base.replace('http', 'ws')}/api/unified/chat-ws?key=${key}`);
            socket.onopen = () => socket.send(JSON.stringify({type: 'chat', ...chat}));
            socket.onmessage = event => {
                const data = JSON.parse(event.data);
                if (['done', 'error'].includes(data.type)) resolve(data.type);
            };
            socket.onerror = () => resolve('blocked');
        });
        Promise.all([fetched, streamed, talked]).then(done);
    ";
    let browser = browser(&driver, LAPTOP).await;
    for (name, expected) in
        [("shop", json!([200, "done", "done"])), ("evil", json!([403, "origin_not_allowed", "blocked"]))]
    {
        browser.goto(&format!("http://{name}.example:{port}/")).await.unwrap();
        let arguments = vec![json!(place.server.base), json!(key)];
        assert_eq!(browser.execute_async(script, arguments).await.unwrap(), expected, "{name}");
    }
    browser.close().await.unwrap();
    pages.abort();
}
