//! Which pages may read answers.

use reqwest::header::HeaderMap;
use serde_json::json;

use super::Place;

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
