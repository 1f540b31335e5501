//! Documents: put, uploaded, listed, read, removed, and found or not found.

use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{Admin, Answer, config};
use crate::support::process::{Server, Site};
use crate::support::wait_for;

const DOCUMENTS: &str = "/api/companies/a/documents";

fn started() -> (Site, Server, Admin) {
    let site = Site::new(&config());
    let key = site.company("a");
    let server = site.serve();
    let admin = Admin::new(&server, &key);
    (site, server, admin)
}

/// A job when it has come to its end.
async fn ended(admin: &Admin, answer: Answer) -> Value {
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    answer.with(202);
    wait_for("the job to end", || async {
        let job = admin.get(&location).await.with(200);
        (job["status"] == "done" || job["status"] == "failed").then_some(job)
    })
    .await
}

async fn put(admin: &Admin, id: &str, media: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = admin.request(Method::PUT, &format!("{DOCUMENTS}/{id}"));
    Answer::of(request.header("content-type", media).body(body)).await
}

async fn found(admin: &Admin, query: &str) -> Vec<String> {
    let found = admin.post("/api/companies/a/search", json!({"query": query})).await.with(200);
    found["results"].as_array().unwrap().iter().map(|one| one["document_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_found_when_its_job_is_done_and_not_after_it_was_removed() {
    let (_site, _server, admin) = started();
    let markdown = "# Chính sách đổi trả\n\nKhách hàng được đổi trả trong 7 ngày.\n";
    let job = ended(&admin, put(&admin, "policy%2Freturns", "text/markdown", markdown).await).await;
    assert_eq!((&job["status"], &job["documents"][0]["outcome"]), (&json!("done"), &json!("added")), "{job}");
    assert_eq!(found(&admin, "chinh sach doi tra").await, ["policy/returns"]);
    // The same again is no work.
    let again = ended(&admin, put(&admin, "policy%2Freturns", "text/markdown", markdown).await).await;
    assert_eq!(again["documents"][0]["outcome"], "unchanged");
    let body = json!({"title": "Giờ mở cửa", "url": "https://a.example/hours", "content": "Cửa hàng mở từ 8 giờ đến 17 giờ.",
        "content_type": "text/plain", "language": "vi"});
    let answer = admin.send(Method::PUT, &format!("{DOCUMENTS}/hours"), body).await;
    assert_eq!(ended(&admin, answer).await["status"], "done");
    let listed = admin.get(DOCUMENTS).await.with(200);
    let ids: Vec<&Value> = listed["documents"].as_array().unwrap().iter().map(|one| &one["document_id"]).collect();
    assert_eq!(ids, ["hours", "policy/returns"]);
    assert_eq!(
        (&listed["documents"][0]["title"], &listed["documents"][0]["language"]),
        (&json!("Giờ mở cửa"), &json!("vi"))
    );
    let page = admin.get(&format!("{DOCUMENTS}?limit=1")).await.with(200);
    let next = format!("{DOCUMENTS}?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = admin.get(&next).await.with(200);
    assert_eq!((&page["documents"][0]["document_id"], &page["next_cursor"]), (&json!("policy/returns"), &Value::Null));

    let path = format!("{DOCUMENTS}/policy%2Freturns");
    let read = admin.get(&path).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    assert!(read.with(200)["passages"][0]["text"].as_str().unwrap().contains("7 ngày"));
    let replace =
        |tag: &str| admin.request(Method::PUT, &path).header("if-match", tag).header("content-type", "text/plain");
    let replaced = Answer::of(replace(&tag).body("Đổi trả trong 30 ngày.")).await;
    assert_eq!(ended(&admin, replaced).await["documents"][0]["outcome"], "updated");
    Answer::of(replace(&tag).body("Đổi trả trong 1 ngày.")).await.problem(412, "changed_meanwhile");

    let removed = ended(&admin, admin.delete(&path).await).await;
    assert_eq!(removed["documents"][0]["outcome"], "removed");
    assert_eq!(found(&admin, "chinh sach doi tra").await, [""; 0]);
    admin.get(&path).await.problem(404, "not_found");
    let absent = ended(&admin, admin.delete(&path).await).await;
    assert_eq!(absent["documents"][0]["outcome"], "absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_as_one_job_and_each_fails_for_itself() {
    let (_site, _server, admin) = started();
    let file = |name: &str, bytes: &[u8]| Part::bytes(bytes.to_vec()).file_name(name.to_owned());
    let form = Form::new()
        .part("file", file("fees.html", "<h1>Phí</h1><p>Phí chuyển khoản là 5.000 đồng.</p>".as_bytes()))
        .part("file", file("../../picture.png", &[0x89, b'P', b'N', b'G', 0, 0, 1, 2]))
        .part("file", file("noise.txt", &[0, 159, 146, 150]))
        .part("file", file("empty.md", b""));
    let answer = Answer::of(admin.request(Method::POST, DOCUMENTS).multipart(form)).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let events = admin.request(Method::GET, &format!("{location}/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");
    let seen: Vec<Value> = events
        .bytes_stream()
        .eventsource()
        .map(|event| serde_json::from_str(&event.unwrap().data).unwrap())
        .collect()
        .await;
    // The stream ends with the job.
    let last = seen.last().unwrap();
    assert_eq!(*last, admin.get(&location).await.with(200));
    assert_eq!(
        (&last["status"], &last["total"], &last["done"], &last["failed"]),
        (&json!("failed"), &json!(4), &json!(1), &json!(3))
    );
    let outcomes: Vec<(&Value, &Value)> =
        last["documents"].as_array().unwrap().iter().map(|one| (&one["document_id"], &one["error"]["code"])).collect();
    assert_eq!(outcomes[0], (&json!("fees"), &Value::Null));
    assert_eq!(outcomes[1], (&json!("picture"), &json!("unsupported_format")));
    assert_eq!(outcomes[2].1, &json!("binary"));
    assert_eq!(outcomes[3].1, &json!("empty"));
    assert_eq!(found(&admin, "phi chuyen khoan").await, ["fees"]);
    for form in [Form::new(), Form::new().text("title", "no file")] {
        Answer::of(admin.request(Method::POST, DOCUMENTS).multipart(form)).await.problem(400, "invalid_form");
    }
    admin.post(DOCUMENTS, json!({})).await.problem(415, "unsupported_media_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_no_document_is_refused_and_other_companies_see_nothing() {
    let site = Site::new(&format!("{}[limits]\ndocument_bytes = 2000\n", config()));
    let (key, other) = (site.company("a"), site.company("b"));
    let server = site.serve();
    let (admin, other) = (Admin::new(&server, &key), Admin::new(&server, &other));
    put(&admin, "large", "text/plain", "x".repeat(2_001)).await.problem(413, "body_too_large");
    let json = |body: Value| admin.send(Method::PUT, "/api/companies/a/documents/d", body);
    json(json!({"content": "x".repeat(2_001)})).await.problem(413, "document_too_large");
    json(json!({"text": "no content"})).await.problem(400, "invalid_json");
    json(json!({"content": "x", "url": "javascript:alert(1)"})).await.problem(400, "invalid_document");
    put(&admin, "d", "image/png", "x").await.problem(415, "unsupported_media_type");
    put(&admin, "%00", "text/plain", "x").await.problem(400, "invalid_document_id");
    let form = Form::new().part("file", Part::bytes(vec![b'x'; 2_001]).file_name("large.txt"));
    Answer::of(admin.request(Method::POST, DOCUMENTS).multipart(form)).await.problem(413, "document_too_large");
    let unread = ended(&admin, json(json!({"content": "x", "content_type": "application/pdf"})).await).await;
    assert_eq!(unread["documents"][0]["error"]["code"], "unsupported_format");

    let answer = put(&admin, "own", "text/plain", "Bí mật của công ty A.").await;
    let job = answer.headers["location"].to_str().unwrap().to_owned();
    ended(&admin, answer).await;
    for path in [DOCUMENTS, "/api/companies/a/documents/own", &job, &format!("{job}/events")] {
        other.get(path).await.problem(403, "company_mismatch");
    }
    other.get(&job.replace("/a/", "/b/")).await.problem(404, "not_found");
    other.get("/api/companies/b/documents/own").await.problem(404, "not_found");
    other.delete("/api/companies/a/documents/own").await.problem(403, "company_mismatch");
    put(&other, "own", "text/plain", "x").await.problem(403, "company_mismatch");
    other.post("/api/companies/a/search", json!({"query": "bí mật"})).await.problem(403, "company_mismatch");
    let found = other.post("/api/companies/b/search", json!({"query": "bí mật"})).await.with(200);
    assert_eq!(found["results"], json!([]));
    // A backend searches, and changes nothing.
    let made = admin.post("/api/companies/a/keys", json!({})).await.with(201);
    let backend = admin.with(made["secret"].as_str().unwrap());
    backend.post("/api/companies/a/search", json!({"query": "bí mật"})).await.with(200);
    put(&backend, "own", "text/plain", "x").await.problem(403, "scope_too_small");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_explains_each_rank() {
    let (_site, _server, admin) = started();
    for n in 0..12 {
        let text = format!("# Sản phẩm {n}\n\nLãi suất vay số {n} là {n},5% cho kỳ hạn {} tháng.\n", n % 3);
        ended(&admin, put(&admin, &format!("p{n:02}"), "text/markdown", text).await).await;
    }
    ended(&admin, put(&admin, "other", "text/plain", "Vay mượn sách ở thư viện là miễn phí.").await).await;
    let search = async |body: Value| admin.post("/api/companies/a/search", body).await.with(200);
    let query = "lãi suất vay số 7";
    let plain = search(json!({"query": query, "limit": 5})).await;
    let explained = search(json!({"query": query, "limit": 5, "explain": true})).await;
    assert!(plain["results"][0].get("explanation").is_none());
    let ids = |found: &Value, all: bool| -> Vec<Value> {
        let results = found["results"].as_array().unwrap().iter();
        let shown = results.filter(|one| all || one["explanation"]["is_below_threshold"] == false);
        shown.map(|one| one["document_id"].clone()).take(5).collect()
    };
    assert_eq!(ids(&plain, true), ids(&explained, false));
    assert_eq!(plain["results"][0]["document_id"], "p07");
    assert_eq!((&explained["language"], &explained["is_dense"]), (&json!("vi"), &json!(false)));
    let mut last = f64::MAX;
    for (place, result) in explained["results"].as_array().unwrap().iter().enumerate() {
        let explanation = &result["explanation"];
        assert_eq!(explanation["rank"], place + 1);
        assert!(explanation["dense"].is_null(), "there is no embedding model");
        let (rank, score) = (explanation["sparse"]["rank"].as_u64().unwrap(), explanation["score"].as_f64().unwrap());
        assert!((score - 1.0 / (60.0 + rank as f64)).abs() < 1e-6, "{explanation}");
        assert!(score <= last);
        last = score;
        let is_below = result["relevance"].as_f64().unwrap() < explained["threshold"].as_f64().unwrap();
        assert_eq!(explanation["is_below_threshold"], is_below, "{result}");
    }
    for (body, code) in [
        (json!({"query": " "}), "empty_query"),
        (json!({"query": "x", "limit": 0}), "invalid_limit"),
        (json!({"query": "x", "limit": 101}), "invalid_limit"),
        (json!({"query": "x", "language": "klingon"}), "invalid_json"),
        (json!({}), "invalid_json"),
    ] {
        admin.post("/api/companies/a/search", body).await.problem(400, code);
    }
}
