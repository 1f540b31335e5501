//! The chat page in a real browser.

use std::time::Duration;

use fantoccini::{Client as Browser, Locator};

use crate::support::browser::{self, Driver, LAPTOP, PHONE};
use crate::support::client::http;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::{PATIENCE, wait_for};

async fn page(test: &str, model: &str, size: (u32, u32)) -> Option<(Site, Server, Provider, Driver, Browser)> {
    let driver = browser::driver(test).await?;
    let provider = Provider::start().await;
    let site = Site::new(&format!("[auth]\nmode = \"open\"\n{}", provider.config("mock", &[model])));
    site.company("acme");
    site.knowledge("acme", &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm.\n")]);
    let server = site.serve();
    let browser = browser::browser(&driver, size).await;
    browser.goto(&server.url("/")).await.unwrap();
    Some((site, server, provider, driver, browser))
}

fn by(testid: &str) -> String {
    format!("[data-testid=\"{testid}\"]")
}

async fn element(browser: &Browser, testid: &str) -> fantoccini::elements::Element {
    browser::element(browser, &by(testid)).await
}

async fn text(browser: &Browser, testid: &str) -> String {
    match browser.find(Locator::Css(&by(testid))).await {
        Ok(element) => element.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

async fn ask(browser: &Browser, question: &str) {
    element(browser, "composer").await.send_keys(question).await.unwrap();
    element(browser, "send").await.click().await.unwrap();
}

async fn finished(browser: &Browser, finish: &str) {
    let css = format!("{}[data-finish=\"{finish}\"]", by("message-assistant"));
    browser.wait().at_most(PATIENCE).for_element(Locator::Css(&css)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_its_stages_as_they_come() {
    let Some((_site, _server, _provider, _driver, browser)) = page("the page", "citing", PHONE).await else {
        return;
    };
    ask(&browser, "Lãi suất vay mua nhà là bao nhiêu?").await;
    finished(&browser, "stop").await;
    assert!(text(&browser, "message-user").await.contains("Lãi suất"));
    assert!(text(&browser, "answer-text").await.contains("7%"));
    assert!(
        element(&browser, "stage-language").await.attr("data-code").await.unwrap().is_some_and(|code| code == "vi")
    );
    element(&browser, "stage-intent").await;
    element(&browser, "source-item").await;
    // Nothing is wider than a phone.
    let width = browser.execute("return document.documentElement.scrollWidth", vec![]).await.unwrap();
    assert!(width.as_u64().unwrap() <= 390, "{width}");
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_grows_and_stop_keeps_it() {
    let Some((_site, server, _provider, _driver, browser)) = page("stop on the page", "slow", LAPTOP).await else {
        return;
    };
    ask(&browser, "Lãi suất?").await;
    let first =
        wait_for("text", || async { Some(text(&browser, "answer-text").await).filter(|text| !text.is_empty()) }).await;
    wait_for("more text", || async { (text(&browser, "answer-text").await.len() > first.len()).then_some(()) }).await;
    element(&browser, "stop").await.click().await.unwrap();
    finished(&browser, "stopped").await;
    let shown = text(&browser, "answer-text").await;
    let http = http();
    let stored = wait_for("the turn to be stored", || async {
        let list: serde_json::Value =
            http.get(server.url("/api/companies/acme/conversations")).send().await.ok()?.json().await.ok()?;
        let id = list["conversations"][0]["conversation_id"].as_str()?.to_owned();
        let one: serde_json::Value = http
            .get(server.url(&format!("/api/companies/acme/conversations/{id}")))
            .send()
            .await
            .ok()?
            .json()
            .await
            .ok()?;
        one["turns"][0]["answer"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(shown.trim(), stored.trim());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_in_mid_answer_goes_on_with_the_same_turn() {
    let Some((_site, _server, provider, _driver, browser)) = page("reload", "slow", LAPTOP).await else {
        return;
    };
    ask(&browser, "Lãi suất?").await;
    let before =
        wait_for("text", || async { Some(text(&browser, "answer-text").await).filter(|text| text.len() > 20) }).await;
    browser.refresh().await.unwrap();
    wait_for("the answer to go on", || async {
        let now = text(&browser, "answer-text").await;
        (now.len() > before.len() && now.starts_with(before.trim())).then_some(())
    })
    .await;
    tokio::time::timeout(PATIENCE + Duration::from_secs(5), finished(&browser, "stop")).await.unwrap();
    assert_eq!(provider.requests(), 1, "the reload asked again");
    browser.close().await.unwrap();
}
