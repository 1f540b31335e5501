//! The pages in a real browser.

use fantoccini::Client as Browser;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{TOKEN, config};
use crate::support::browser::{self, Driver, LAPTOP, PHONE, element, script, violations};
use crate::support::client::Client;
use crate::support::process::{Server, Site};
use crate::support::wait_for;

async fn opened(test: &str, size: (u32, u32)) -> Option<(Site, Server, String, Driver, Browser)> {
    let driver = browser::driver(test).await?;
    let site = Site::new(&config());
    let key = site.company("acme");
    site.knowledge("acme", &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm.\n")]);
    let server = site.serve();
    let browser = browser::browser(&driver, size).await;
    browser.goto(&server.url("/console")).await.unwrap();
    Some((site, server, key, driver, browser))
}

pub(super) async fn log_in(browser: &Browser) {
    element(browser, "[data-testid=secret]").await.send_keys(TOKEN).await.unwrap();
    element(browser, "[data-testid=log-in]").await.click().await.unwrap();
    element(browser, "[data-live-page]").await;
}

/// Presses keys, each together with those before it.
async fn press(browser: &Browser, keys: &[Key]) {
    let down = keys.iter().map(|key| KeyAction::Down { value: char::from(*key) });
    let up = keys.iter().rev().map(|key| KeyAction::Up { value: char::from(*key) });
    let actions = down.chain(up).fold(KeyActions::new("keyboard".to_owned()), |all, one| all.then(one));
    browser.perform_actions(actions).await.unwrap();
}

/// The text of an element; nothing while it is not there.
pub(super) async fn text(browser: &Browser, css: &str) -> String {
    let found = script(browser, &format!("return document.querySelector({css:?})?.innerText ?? ''")).await;
    found.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    let Some((_site, _server, _, _driver, browser)) = opened("the console by keyboard", LAPTOP).await else { return };
    // The field has the focus; its form is sent by Enter.
    element(&browser, "[data-testid=secret]").await;
    let typed = format!("wrong{}", char::from(Key::Enter));
    browser.active_element().await.unwrap().send_keys(&typed).await.unwrap();
    element(&browser, "[data-testid=login-problem]").await;
    let typed = format!("{TOKEN}{}", char::from(Key::Enter));
    browser.active_element().await.unwrap().send_keys(&typed).await.unwrap();
    element(&browser, "[data-live-page]").await;
    // From the top, Tab comes by the skip link, the ways to the pages and the buttons, and each shows that it is there.
    let mut seen = Vec::new();
    for _ in 0..8 {
        press(&browser, &[Key::Tab]).await;
        let told = script(
            &browser,
            "const at = document.activeElement, style = getComputedStyle(at);
             return [at.innerText.trim(), style.outlineStyle, parseFloat(style.outlineWidth)];",
        )
        .await;
        let (name, style, width) = (told[0].as_str().unwrap(), told[1].as_str().unwrap(), told[2].as_f64().unwrap());
        assert!(style != "none" && width >= 1.0, "no ring around {name:?}");
        seen.push(name.to_owned());
    }
    for name in ["Skip to the content", "Overview", "Queues", "Webhooks", "Companies", "Log out"] {
        assert!(seen.iter().any(|seen| seen == name), "{name} is not reached: {seen:?}");
    }
    while script(&browser, "return document.activeElement.innerText.trim()").await != "Log out" {
        press(&browser, &[Key::Shift, Key::Tab]).await;
    }
    press(&browser, &[Key::Enter]).await;
    element(&browser, "[data-testid=secret]").await;
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_without_a_reload() {
    let Some((_site, server, key, _driver, browser)) = opened("the live console", LAPTOP).await else { return };
    log_in(&browser).await;
    element(&browser, "[data-live-state][data-state=live]").await;
    script(&browser, "window.isTheSamePage = true").await;
    const TURNS: &str = ".tile:nth-child(2) .value";
    assert_eq!(text(&browser, TURNS).await, "0");
    let client = Client::new(&server, "acme", &key);
    for n in 0..3 {
        client.ask("Lãi suất vay là bao nhiêu?", &format!("s{n}")).await.rest().await;
    }
    wait_for("the turns to be counted on the page", || async { (text(&browser, TURNS).await == "3").then_some(()) })
        .await;
    assert!(text(&browser, ".shares tbody").await.to_lowercase().contains("3"));
    // A table that was opened stays open while the page goes on.
    script(&browser, "document.querySelector('details[data-keep=turns]').open = true").await;
    client.ask("Lãi suất?", "s9").await.rest().await;
    wait_for("the next turn", || async { (text(&browser, TURNS).await == "4").then_some(()) }).await;
    assert_eq!(script(&browser, "return document.querySelector('details[data-keep=turns]').open").await, json!(true));
    assert_eq!(script(&browser, "return window.isTheSamePage === true").await, json!(true));
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_a_phone_and_a_laptop_and_keep_to_their_own_policy() {
    for size in [PHONE, LAPTOP] {
        let Some((_site, server, key, _driver, browser)) = opened("the console's pages", size).await else { return };
        Client::new(&server, "acme", &key).ask("Lãi suất vay mua nhà?", "s1").await.rest().await;
        log_in(&browser).await;
        let conversation = wait_for("the conversation", || async {
            browser.goto(&server.url("/console/companies/acme/conversations")).await.unwrap();
            let found =
                script(&browser, "return document.querySelector('.list a')?.getAttribute('href') ?? null").await;
            found.as_str().map(str::to_owned)
        })
        .await;
        for path in [
            "/console",
            "/console/queues",
            "/console/companies",
            "/console/companies/acme",
            "/console/webhooks",
            "/console/companies/acme/webhooks",
            "/console/companies/acme/documents",
            "/console/companies/acme/documents/rate",
            "/console/companies/acme/search?q=L%C3%A3i%20su%E1%BA%A5t%20vay",
            "/console/companies/acme/usage",
            "/console/companies/acme/keys",
            "/console/nothing",
            conversation.as_str(),
        ] {
            browser.goto(&server.url(path)).await.unwrap();
            element(&browser, "h1").await;
            let width = script(&browser, "return document.documentElement.scrollWidth").await;
            assert!(width.as_u64().unwrap() <= u64::from(size.0), "{path} is {width} wide");
            assert_eq!(violations(&browser).await, json!([]), "{path}");
            let nameless = script(
                &browser,
                "return [...document.querySelectorAll('a, button, input:not([type=hidden]), select, table, th')]
                     .filter(one => !(one.matches('table') ? one.caption?.textContent
                         : one.matches('input, select') ? one.labels?.[0]?.textContent : one.textContent.trim()))
                     .map(one => one.outerHTML.slice(0, 200))",
            )
            .await;
            assert_eq!(nameless, json!([]), "{path}");
        }
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_is_chosen_and_kept() {
    let Some((_site, _server, _, _driver, browser)) = opened("the console's theme", LAPTOP).await else { return };
    let ground = async || script(&browser, "return getComputedStyle(document.body).backgroundColor").await;
    let mut seen: Vec<Value> = vec![ground().await];
    for _ in 0..2 {
        element(&browser, "[data-theme-toggle]").await.click().await.unwrap();
        seen.push(ground().await);
    }
    assert_ne!(seen[1], seen[2], "light and dark look alike");
    browser.refresh().await.unwrap();
    element(&browser, "[data-theme-toggle]").await;
    assert_eq!(ground().await, seen[2]);
    browser.close().await.unwrap();
}
