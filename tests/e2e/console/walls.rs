//! What a visitor does not see: other companies, secrets, and names that are more than names.

use super::{TOKEN, Visitor, admin_key, config};
use crate::support::client::Client;
use crate::support::process::{Server, Site};
use crate::support::wait_for;

/// What a company's pages are called, after its address.
const PAGES: [&str; 8] =
    ["", "?span=hour", "/webhooks", "/conversations", "/documents", "/search?q=fee", "/usage", "/keys"];

/// A conversation of a company, as soon as it is stored.
async fn conversation(visitor: &Visitor, company: &str) -> String {
    let start = format!("/console/companies/{company}/conversations/");
    wait_for("the conversation to be stored", || async {
        let list = visitor.get(&format!("/console/companies/{company}/conversations")).await.text;
        let rest = list.split(&start).nth(1)?;
        Some(format!("{start}{}", rest.split('"').next()?))
    })
    .await
}

async fn ask(server: &Server, company: &str, key: &str, question: &str) {
    Client::new(server, company, key).ask(question, "s1").await.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companys_key_shows_that_company_and_nothing_of_another() {
    let site = Site::new(&config());
    let (keys, marks) = (["acme", "rival"].map(|company| (company, site.company(company))), ["7-apples", "9-pears"]);
    for ((company, _), mark) in keys.iter().zip(marks) {
        site.knowledge(company, &[("fees.md", &format!("# Fees of {mark}\n\nThe fee is {mark} a month.\n"))]);
        site.endpoint(company, &format!("http://127.0.0.1:9/{mark}"));
    }
    let admin = admin_key(&site, "acme");
    let server = site.serve();
    for ((company, key), mark) in keys.iter().zip(marks) {
        ask(&server, company, key, &format!("What is the fee of {mark}?")).await;
    }
    let operator = Visitor::in_with(&server, TOKEN).await;
    let theirs = conversation(&operator, "rival").await;
    let company = Visitor::in_with(&server, &admin).await;
    let own = conversation(&company, "acme").await;
    assert!(company.get(&own).await.page(200).contains("7-apples"));
    for page in PAGES {
        let address = format!("/console/companies/acme{page}");
        let page = company.get(&address).await.page(200);
        assert!(!page.contains("rival") && !page.contains("9-pears"), "{address} tells of another company");
        assert!(
            !page.contains("href=\"/console/companies\"") && !page.contains("href=\"/console/queues\""),
            "{address}"
        );
        // What is another's is as if it were not there.
        let foreign = company.get(&address.replace("acme", "rival")).await.page(404);
        let missing = company.get(&address.replace("acme", "nobody")).await.page(404);
        assert_eq!(foreign.replace("rival", "nobody"), missing, "{address}");
    }
    for path in [
        theirs.clone(),
        theirs.replace("rival", "acme"),
        "/console/queues".to_owned(),
        "/console/companies".to_owned(),
        "/console/companies/rival/documents/fees".to_owned(),
    ] {
        let page = company.get(&path).await.page(404);
        assert!(!page.contains("9-pears"), "{path}");
    }
    let token = company.form_token("/console/companies/acme").await;
    company.post("/console/queues/redrive", &[("form_token", &token)]).await.page(404);
    // A key that opens less shows less.
    let made = site.ok(&["company", "key", "add", "acme"]);
    let backend = made.split_whitespace().rfind(|word| word.starts_with("tp_")).unwrap();
    let backend = Visitor::in_with(&server, backend).await;
    for (page, status) in
        [("", 200), ("/conversations", 200), ("/search?q=fee", 200), ("/documents", 403), ("/keys", 403)]
    {
        backend.get(&format!("/console/companies/acme{page}")).await.page(status);
    }
    assert!(!backend.get("/console/companies/acme").await.page(200).contains("/console/companies/acme/keys"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_holds_a_secret() {
    let site = Site::new(&config());
    let key = site.company("acme");
    let (admin, secret) = (admin_key(&site, "acme"), site.endpoint("acme", "http://127.0.0.1:9/hook"));
    let server = site.serve();
    ask(&server, "acme", &key, "xin chào").await;
    let operator = Visitor::in_with(&server, TOKEN).await;
    let company = Visitor::in_with(&server, &admin).await;
    let mut pages = vec!["/console".to_owned(), "/console/queues".to_owned(), "/console/companies".to_owned()];
    pages.extend(PAGES.iter().map(|page| format!("/console/companies/acme{page}")));
    pages.push(conversation(&operator, "acme").await);
    let list = operator.get("/console/companies/acme/webhooks").await.text;
    let endpoint =
        list.split("/console/companies/acme/webhooks/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    pages.push(format!("/console/companies/acme/webhooks/{endpoint}"));
    for page in &pages {
        for visitor in [&operator, &company] {
            let seen = visitor.get(page).await;
            let text = seen.text;
            for secret in
                [TOKEN, &key, &admin, secret.trim_start_matches("whsec_"), visitor.cookie.split('=').nth(1).unwrap()]
            {
                assert!(!text.contains(secret), "{page} holds {secret}");
            }
        }
    }
    let log = server.log();
    assert!(!log.contains(TOKEN) && !log.contains(&admin), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text() {
    const HOSTILE: &str = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>";
    let site = Site::new(&config());
    let out = site.ok(&["company", "add", "acme", "--name", HOSTILE, "--language", "vi,en"]);
    let key = out.split_whitespace().find(|word| word.starts_with("tp_")).unwrap().to_owned();
    site.ok(&["webhook", "add", "--company", "acme", "--url", "http://127.0.0.1:9/x", "--description", HOSTILE]);
    site.ok(&["company", "key", "add", "acme", "--name", HOSTILE]);
    let server = site.serve();
    let operator = Visitor::in_with(&server, TOKEN).await;
    let document =
        serde_json::json!({"title": HOSTILE, "content_type": "text/plain", "content": format!("A fee. {HOSTILE}")});
    let put = operator.http.put(server.url("/api/companies/acme/documents/x")).bearer_auth(&key).json(&document);
    assert_eq!(put.send().await.unwrap().status(), 202);
    wait_for("the document to be there", || async {
        (operator.get("/console/companies/acme/documents/x").await.status == 200).then_some(())
    })
    .await;
    ask(&server, "acme", &key, &format!("fee {HOSTILE}")).await;
    let mut pages = vec!["/console/companies".to_owned(), "/console/companies/acme/documents/x".to_owned()];
    pages.extend(PAGES.iter().map(|page| format!("/console/companies/acme{page}")));
    pages.push("/console/companies?q=%3Cscript%3E%22%3E".to_owned());
    pages.push(
        "/console/companies/acme/search?q=fee%20%3Cscript%3Ealert(1)%3C/script%3E%22%3E%3Cimg%20src=x%3E".to_owned(),
    );
    pages.push("/console/login?next=/console/%22%3E%3Cscript%3E".to_owned());
    pages.push(conversation(&operator, "acme").await);
    let list = operator.get("/console/companies/acme/webhooks").await.text;
    let endpoint =
        list.split("/console/companies/acme/webhooks/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    pages.push(format!("/console/companies/acme/webhooks/{endpoint}"));
    pages.push(format!("/console/companies/acme/webhooks/{endpoint}?said=%3Cscript%3E&state=&kind=%3Cimg"));
    let shown = operator.get("/console/companies/acme/documents").await.text;
    assert!(shown.contains("&lt;script&gt;alert('x')&lt;/script&gt;"), "the title is not shown as it is: {shown}");
    for page in pages {
        let seen = operator.get(&page).await;
        assert!(!seen.text.contains("<script>") && !seen.text.contains("<img"), "{page}: {}", seen.text);
    }
}
