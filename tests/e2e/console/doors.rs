//! Who gets in, and how they get out.

use reqwest::Method;
use serde_json::Value;

use super::{Form, Seen, TOKEN, Visitor, admin_key, config};
use crate::support::PATIENCE;
use crate::support::process::Site;

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_and_the_cookie_is_for_the_console_alone() {
    let site = Site::new(&config());
    let server = site.serve();
    let nobody = Visitor::new(&server);
    for path in ["/console", "/console/queues", "/console/companies?q=x", "/console/companies/acme"] {
        let seen = nobody.get(path).await;
        assert_eq!(seen.status, 303, "{path}");
        assert!(seen.location().starts_with("/console/login?next=%2Fconsole"), "{}", seen.location());
    }
    for wrong in ["", "x", &TOKEN[1..], &format!("{TOKEN}x"), "tp_000000000000000000000000000000000000000000000000"] {
        let seen = nobody.log_in(wrong).await;
        assert_eq!(seen.cookie(), "", "{wrong:?}");
        assert!(seen.page(401).contains("neither the admin token nor a key"), "{wrong:?}");
    }
    let seen = nobody.log_in(TOKEN).await;
    let cookie = seen.cookie().to_owned();
    for part in ["Path=/console", "HttpOnly", "SameSite=Strict", "Max-Age=28800"] {
        assert!(cookie.split("; ").any(|found| found == part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(TOKEN), "{cookie}");
    let secure = nobody.request(Method::POST, "/console/login").header("x-forwarded-proto", "https");
    assert!(Seen::of(secure.form(&[("secret", TOKEN)])).await.cookie().ends_with("; Secure"));
    // A cookie that somebody made or changed is none.
    let mut forged = Visitor::in_with(&server, TOKEN).await;
    assert!(forged.get("/console").await.page(200).contains("Overview"));
    let good = forged.cookie.clone();
    let (claims, tag) = good.split_once('.').unwrap();
    let other = if tag.starts_with('A') { "B" } else { "A" };
    for bad in [claims.to_owned(), format!("{claims}."), format!("{claims}.{other}{}", &tag[1..]), format!("{good}AA")]
    {
        forged.cookie = bad;
        assert_eq!(forged.get("/console").await.status, 303, "{}", forged.cookie);
    }
    // It opens nothing else.
    forged.cookie = good;
    assert_eq!(forged.get("/api/companies").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_where_it_was_asked_for_and_nowhere_else() {
    let site = Site::new(&config());
    let server = site.serve();
    let visitor = Visitor::new(&server);
    for (next, place) in [
        ("/console/queues", "/console/queues"),
        ("https://evil.example/console", "/console"),
        ("//evil.example", "/console"),
        ("/api/companies", "/console"),
    ] {
        let seen = visitor.post("/console/login", &[("secret", TOKEN), ("next", next)]).await;
        assert_eq!((seen.status.as_u16(), seen.location()), (303, place), "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_counted_by_address_and_the_right_token_waits_too() {
    let site = Site::new(&config());
    let server = site.serve();
    let visitor = Visitor::new(&server);
    for _ in 0..10 {
        visitor.log_in("wrong").await.page(401);
    }
    for secret in ["wrong", TOKEN] {
        let seen = visitor.log_in(secret).await;
        let wait: u64 = seen.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=31).contains(&wait), "{wait}");
        assert_eq!(seen.cookie(), "");
        assert!(seen.page(429).contains("too many tries"));
    }
    // Someone else behind the same proxy is not held up.
    let other = visitor.request(Method::POST, "/console/login").header("x-forwarded-for", "203.0.113.7");
    assert_eq!(Seen::of(other.form(&[("secret", TOKEN)])).await.status, 303);
    let log = server.log();
    assert!(log.contains("a login to the console failed") && !log.contains(TOKEN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_the_token_or_from_another_origin_changes_nothing() {
    let site = Site::new(&config());
    let server = site.serve();
    let operator = Visitor::in_with(&server, TOKEN).await;
    let other = Visitor::in_with(&server, TOKEN).await;
    let (own, others) = (operator.form_token("/console").await, other.form_token("/console").await);
    assert_ne!(own, others);
    for fields in [&[][..], &[("form_token", "")], &[("form_token", "x")], &[("form_token", others.as_str())]] {
        for path in ["/console/queues/redrive", "/console/logout"] {
            assert!(operator.post(path, fields).await.page(403).contains("not sent from a page of the console"));
        }
    }
    let with = |name: &'static str, value: &'static str| {
        let request = operator.request(Method::POST, "/console/logout").header(name, value);
        Seen::of(request.form(&[("form_token", &own)]))
    };
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        with(name, value).await.page(403);
    }
    let foreign = operator.request(Method::POST, "/console/login").header("origin", "https://evil.example");
    Seen::of(foreign.form(&[("secret", TOKEN)])).await.page(403);
    assert_eq!(operator.get("/console").await.status, 200, "the session was ended by one of them");
    assert_eq!(with("sec-fetch-site", "same-origin").await.status, 303);
    // No page of another origin may read what the console shows, whatever may read the rest.
    let site = Site::new(&format!(
        "[server]\ncors_origins = [\"https://shop.example\"]\ncors_credentials = true\n{}",
        config()
    ));
    let server = site.serve();
    let operator = Visitor::in_with(&server, TOKEN).await;
    for (path, is_readable) in
        [("/livez", true), ("/console", false), ("/console/login", false), ("/console/queues", false)]
    {
        let seen = Seen::of(operator.request(Method::GET, path).header("origin", "https://shop.example")).await;
        assert_eq!(seen.headers.contains_key("access-control-allow-origin"), is_readable, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_logging_out_with_its_key_and_with_the_token() {
    let site = Site::new(&config());
    site.company("acme");
    let key = admin_key(&site, "acme");
    let server = site.serve();
    let operator = Visitor::in_with(&server, TOKEN).await;
    let other = Visitor::in_with(&server, TOKEN).await;
    let token = operator.form_token("/console").await;
    let seen = operator.post("/console/logout", &[("form_token", &token)]).await;
    assert!(
        seen.cookie().starts_with("turnpike_console=;") && seen.cookie().contains("Max-Age=0"),
        "{}",
        seen.cookie()
    );
    // Whoever has kept the cookie has nothing of it.
    assert_eq!(operator.get("/console").await.status, 303);
    assert_eq!(other.get("/console").await.status, 200);
    // A key that is removed takes its sessions along.
    let company = Visitor::in_with(&server, &key).await;
    assert_eq!(company.get("/console/companies/acme").await.status, 200);
    site.ok(&["company", "key", "revoke", "acme", key.get(..11).unwrap()]);
    assert_eq!(company.get("/console/companies/acme").await.status, 303);
    // Another gateway, here the same after a restart, knows the session; with another token it does not.
    server.stop();
    let server = site.serve();
    let again = Visitor { base: server.base.clone(), ..other };
    assert_eq!(again.get("/console").await.status, 200);
    server.stop();
    site.configure("[auth]\nadmin_token = \"another-token-of-the-console-0123456789\"\n");
    let server = site.serve();
    assert_eq!(Visitor { base: server.base.clone(), ..again }.get("/console").await.status, 303);
}

/// Reads a live page until it says something.
async fn until(response: &mut reqwest::Response, said: &str) -> bool {
    let mut seen = String::new();
    while let Some(piece) = response.chunk().await.unwrap_or_default() {
        seen.push_str(&String::from_utf8_lossy(&piece));
        if seen.contains(said) {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_page_ends_with_its_session_and_does_not_hold_up_the_service() {
    let site = Site::new(&config());
    let mut server = site.serve();
    let operator = Visitor::in_with(&server, TOKEN).await;
    let live = async |visitor: &Visitor| {
        let request = visitor.request(Method::GET, "/console").header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    };
    let mut page = live(&operator).await;
    assert!(until(&mut page, "event: part").await);
    let token = operator.form_token("/console").await;
    operator.post("/console/logout", &[("form_token", &token)]).await;
    assert!(tokio::time::timeout(PATIENCE, until(&mut page, "event: over")).await.unwrap());
    assert!(page.chunk().await.unwrap().is_none(), "the page goes on without its session");
    let operator = Visitor::in_with(&server, TOKEN).await;
    let mut page = live(&operator).await;
    assert!(until(&mut page, "event: part").await);
    let begun = std::time::Instant::now();
    server.terminate();
    assert!(server.wait().success(), "{}", server.log());
    // Open streams may go on for 20 s.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_page_says_what_to_do_and_companies_get_in() {
    let site = Site::new("");
    site.company("acme");
    let key = admin_key(&site, "acme");
    let public = site.ok(&["company", "key", "add", "acme", "--scope", "publishable", "--origin", "https://a.example"]);
    let public = public.split_whitespace().rfind(|word| word.starts_with("tp_pub_")).unwrap().to_owned();
    let server = site.serve();
    let nobody = Visitor::new(&server);
    assert!(nobody.get("/console/login").await.page(200).contains("TURNPIKE_ADMIN_TOKEN"));
    nobody.log_in("").await.page(401);
    assert!(nobody.log_in(&public).await.page(403).contains("You cannot log in"));
    let company = Visitor::in_with(&server, &key).await;
    assert_eq!(company.get("/console").await.location(), "/console/companies/acme");
    assert!(!company.get("/console/companies/acme").await.page(200).contains("Queues"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_logs_in_the_console_is_open_to_this_machine_alone() {
    let site = Site::new("[auth]\nmode = \"open\"\n");
    site.company("acme");
    let server = site.serve();
    let anyone = Visitor::new(&server);
    let page = anyone.get("/console").await.page(200);
    assert!(page.contains("Overview") && !page.contains("Log out"));
    assert_eq!(anyone.get("/console/login").await.location(), "/console");
    // A name of somebody else's that leads here is no name of this machine.
    let rebound = anyone.request(Method::GET, "/console").header("host", "rebound.example");
    Seen::of(rebound).await.page(403);
    anyone.post("/console/queues/redrive", &[]).await.page(403);
    let known: Value =
        anyone.http.get(format!("{}/api/companies", server.base)).send().await.unwrap().json().await.unwrap();
    assert_eq!(known["companies"][0]["id"], "acme");
}
