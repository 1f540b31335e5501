//! Webhooks in the console: followed from an endpoint to a delivery and its tries, and set right from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::pages::{log_in, text};
use super::{TOKEN, Visitor, admin_key, config};
use crate::support::browser::{self, LAPTOP, element, script, violations};
use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::{PATIENCE, wait_for};

/// A receiver that fails until it is mended, and says something that is nobody's business.
async fn broken() -> (Receiver, Arc<AtomicBool>) {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let receiver = Receiver::start(move |_| match mended.load(Ordering::SeqCst) {
        true => Act::status(200),
        false => Act::Answer {
            status: 500,
            headers: vec![("set-cookie", "session=of-the-receiver".to_owned()), ("x-trace", "<b>t-1</b>".to_owned())],
            body: "<script>alert('the database is locked')</script>".to_owned(),
        },
    })
    .await;
    (receiver, is_mended)
}

fn quick() -> String {
    format!("{}[webhooks]\ndeadline_s = 1\ninitial_delay_s = 0.05\nmax_delay_s = 0.2\ngive_up_after_s = 1\n", config())
}

/// The address that a page has for something.
fn link(page: &str, start: &str) -> Option<String> {
    let rest = page.split(&format!("href=\"{start}")).nth(1)?;
    Some(format!("{start}{}", rest.split(['"', '?']).next()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_delivery_is_followed_to_its_tries_and_turns_green_when_it_is_replayed() {
    let Some(driver) = browser::driver("a failing delivery in the console").await else { return };
    let (receiver, is_mended) = broken().await;
    let site = Site::new(&quick());
    let key = site.company("acme");
    site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    Client::new(&server, "acme", &key).ask("xin chào", "s1").await.rest().await;
    let browser = browser::browser(&driver, LAPTOP).await;
    browser.goto(&server.url("/console/webhooks")).await.unwrap();
    log_in(&browser).await;
    // From all endpoints to the one that fails, and from it to what was given up.
    wait_for("the endpoint to be seen to fail", || async {
        let seen = text(&browser, ".list tbody").await;
        (seen.contains("failing") || seen.contains("left alone")).then_some(())
    })
    .await;
    element(&browser, ".list tbody th a").await.click().await.unwrap();
    element(&browser, "[data-testid=endpoint-state].bad").await;
    element(&browser, "tr[data-state=dead] a").await;
    element(&browser, "[data-testid=replay-dead]").await;
    let endpoint = browser.current_url().await.unwrap();
    element(&browser, "tr[data-state=dead] a").await.click().await.unwrap();
    element(&browser, "[data-testid=delivery-state][data-state=dead]").await;
    let tries = text(&browser, ".attempts").await;
    assert!(tries.contains("500") && tries.contains("Try 1") && tries.contains("waiting"), "{tries}");
    script(&browser, "document.querySelectorAll('details').forEach(one => { one.open = true })").await;
    let tries = text(&browser, ".attempts").await;
    assert!(tries.contains("alert('the database is locked')") && tries.contains("<b>t-1</b>"), "{tries}");
    assert!(!tries.contains("of-the-receiver"), "a cookie is shown: {tries}");
    assert_eq!(violations(&browser).await, json!([]));
    // The receiver is mended, the delivery is replayed, and the page that is open shows it.
    is_mended.store(true, Ordering::SeqCst);
    element(&browser, "[data-testid=replay]").await.click().await.unwrap();
    element(&browser, ".said").await;
    script(&browser, "window.isTheSamePage = true").await;
    element(&browser, "[data-testid=delivery-state].good[data-state=delivered]").await;
    assert_eq!(
        script(&browser, "return window.isTheSamePage === true").await,
        json!(true),
        "the page was loaded again"
    );
    let requests = receiver.received();
    let ids: Vec<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "a replay has another webhook-id: {ids:?}");
    browser.goto(endpoint.as_str()).await.unwrap();
    element(&browser, "[data-testid=endpoint-state]:not(.bad)").await;
    assert!(text(&browser, "[data-part=deliveries]").await.contains("replayed"));
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_replayed_at_once_and_an_endpoint_is_switched_off_and_on() {
    let (receiver, is_mended) = broken().await;
    let site = Site::new(&quick());
    let key = site.company("acme");
    site.company("rival");
    site.endpoint("acme", &receiver.url("/hook"));
    let (admin, rival) = (admin_key(&site, "acme"), admin_key(&site, "rival"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for n in 0..3 {
        client.ask("xin chào", &format!("s{n}")).await.rest().await;
    }
    let company = Visitor::in_with(&server, &admin).await;
    let list = company.get("/console/companies/acme/webhooks").await.page(200);
    let endpoint = link(&list, "/console/companies/acme/webhooks/ep_").unwrap();
    let dead = wait_for("all to be given up", || async {
        let page = company.get(&format!("{endpoint}?state=dead")).await.page(200);
        (page.matches("data-state=\"dead\"").count() == 3).then_some(page)
    })
    .await;
    let delivery = link(&dead, "/console/companies/acme/deliveries/").unwrap();
    // Filters choose.
    for (query, count) in [("state=delivered", 0), ("state=dead&since=hour", 3), ("event=conversation.updated", 3)] {
        let page = company.get(&format!("{endpoint}?{query}")).await.page(200);
        assert_eq!(page.matches("<tr data-state=").count(), count, "{query}");
    }
    company.get(&format!("{endpoint}?state=lost")).await.page(400);
    company.get(&format!("{endpoint}?event=turn.completed")).await.page(400);
    // Another company can neither see nor do any of it, by its own address or by theirs.
    let other = Visitor::in_with(&server, &rival).await;
    let token = other.form_token("/console/companies/rival").await;
    for address in [&endpoint, &delivery] {
        for address in [address.clone(), address.replace("acme", "rival")] {
            other.get(&address).await.page(404);
            for action in ["replay", "disable", "enable", "test"] {
                let seen = other.post(&format!("{address}/{action}"), &[("form_token", &token)]).await;
                assert_eq!(seen.status, 404, "{address}/{action}");
            }
        }
    }
    // Nothing is done without the form's token.
    let token = company.form_token(&endpoint).await;
    for action in ["replay", "disable", "enable", "test"] {
        company.post(&format!("{endpoint}/{action}"), &[]).await.page(403);
    }
    company.post(&format!("{delivery}/replay"), &[]).await.page(403);
    let before = receiver.received().len();
    is_mended.store(true, Ordering::SeqCst);
    let seen = company.post(&format!("{endpoint}/replay"), &[("form_token", &token), ("since", "day")]).await;
    assert_eq!(seen.location(), format!("{endpoint}?said=replaying"));
    receiver.wait_for(before + 3, PATIENCE).await;
    let page = wait_for("all of them to be shown as delivered", || async {
        let page = company.get(&format!("{endpoint}?said=replaying")).await.page(200);
        (page.matches("data-state=\"delivered\"").count() == 3 && page.contains(">done<")).then_some(page)
    })
    .await;
    assert!(page.contains("The replay is under way") && page.contains("class=\"state"), "{page}");
    let seen = company.post(&format!("{endpoint}/test"), &[("form_token", &token)]).await;
    assert!(
        company.get(seen.location()).await.page(200).contains("The test arrived: 200 after"),
        "{}",
        seen.location()
    );
    // Off, and on again.
    let seen = company.post(&format!("{endpoint}/disable"), &[("form_token", &token)]).await;
    assert_eq!(seen.location(), format!("{endpoint}?said=disabled"));
    assert!(company.get(&endpoint).await.page(200).contains("disabled by the company in the console"));
    let before = receiver.received().len();
    client.ask("còn ai không", "s9").await.rest().await;
    wait_for("the delivery to be left out", || async {
        let page = company.get(&format!("{endpoint}?state=discarded")).await.page(200);
        page.contains("data-state=\"discarded\"").then_some(())
    })
    .await;
    company.post(&format!("{endpoint}/enable"), &[("form_token", &token)]).await;
    client.ask("xin chào", "s10").await.rest().await;
    receiver.wait_for(before + 1, PATIENCE).await;
    let page = company.get(&endpoint).await.page(200);
    assert!(page.contains("data-testid=\"disable\"") && !page.contains("class=\"state bad\""), "{page}");
    let operator = Visitor::in_with(&server, TOKEN).await;
    assert!(operator.get("/console/webhooks").await.page(200).contains(&receiver.url("/hook")));
    company.get("/console/webhooks").await.page(404);
}
