//! The widget in a real browser, on a page of another origin.

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use base64::Engine;
use fantoccini::Client as Browser;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::browser::{self, Driver, LAPTOP, PHONE, script};
use crate::support::client::{Client, http};
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::proxy::Proxy;
use crate::support::wait_for;

const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';
const SHIFT: char = '\u{E008}';
const ESCAPE: char = '\u{E00C}';

/// A site of another name than the service, as the browser sees it, whose pages allow scripts and requests of
/// the service and nothing else.
struct Shop {
    origin: String,
    task: tokio::task::JoinHandle<()>,
}

impl Shop {
    /// The address of its page, before there is one.
    async fn listen() -> (tokio::net::TcpListener, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://shop.example:{}", listener.local_addr().unwrap().port());
        (listener, origin)
    }

    fn open(listener: tokio::net::TcpListener, origin: String, service: &str, attributes: &str) -> Self {
        // The page's own style is allowed by its hash, and no other.
        let style = "body * { display: none !important; color: red !important; font-size: 99px !important }";
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
        let policy = format!(
            "default-src 'none'; script-src {service}; connect-src {service}; style-src 'sha256-{hash}'; \
             require-trusted-types-for 'script'"
        );
        let page = format!(
            "<!doctype html><html lang=\"en\"><title>A shop</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{style}</style><body><h1>A shop</h1>\
             <script src=\"{service}/widget.js\" {attributes} defer></script></body></html>"
        );
        let answer = move || {
            let (policy, page) = (policy.clone(), page.clone());
            async move { ([("content-security-policy", policy)], Html(page)) }
        };
        let router = Router::new().route("/", get(answer));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { origin, task }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that a visit needs.
struct Visit {
    browser: Browser,
    client: Client,
    provider: Provider,
    proxy: Proxy,
    _shop: Shop,
    server: Server,
    _driver: Driver,
    _site: Site,
}

/// Whose pages the key is for.
enum For {
    TheShop,
    SomeoneElse,
}

async fn visit(test: &str, model: &str, key_is: For, size: (u32, u32), attributes: &str) -> Option<Visit> {
    let driver = browser::driver(test).await?;
    let provider = Provider::start().await;
    let site = Site::new(&provider.config("mock", &[model]));
    let secret = site.company("acme");
    let text = "---\nurl: https://acme.example/rates\n---\n\n# Lãi suất vay\n\nLãi suất vay mua nhà là 7% một năm.\n";
    site.knowledge("acme", &[("rate.md", text)]);
    let (listener, origin) = Shop::listen().await;
    let allowed = match key_is {
        For::TheShop => origin.as_str(),
        For::SomeoneElse => "https://someone-else.example",
    };
    let made = site.ok(&["company", "key", "add", "acme", "--scope", "publishable", "--origin", allowed]);
    let key = made.split_whitespace().rfind(|word| word.starts_with("tp_pub_")).unwrap().to_owned();
    let server = site.serve();
    // The browser comes through a line that can be cut.
    let proxy = Proxy::before(&server.base).await;
    let shop = Shop::open(listener, origin, &proxy.url(&server.base), &format!("data-key=\"{key}\" {attributes}"));
    let browser = browser::browser(&driver, size).await;
    browser.goto(&shop.origin).await.unwrap();
    let client = Client::new(&server, "acme", &secret);
    Some(Visit { browser, client, provider, proxy, _shop: shop, server, _driver: driver, _site: site })
}

impl Visit {
    /// What a script gives back in which `$` finds an element of the widget by its test id, and `$$` all of them.
    async fn see(&self, expression: &str) -> Value {
        let source = format!(
            "const root = document.querySelector('turnpike-chat')?.shadowRoot;
             const $ = id => root?.querySelector(`[data-testid='${{id}}']`);
             const $$ = id => [...root?.querySelectorAll(`[data-testid='${{id}}']`) ?? []];
             return {expression};"
        );
        script(&self.browser, &source).await
    }

    async fn text(&self, id: &str) -> String {
        self.see(&format!("$('{id}')?.innerText")).await.as_str().unwrap_or_default().to_owned()
    }

    async fn until(&self, what: &str, expression: &str) {
        wait_for(what, || async { (self.see(expression).await == true).then_some(()) }).await;
    }

    /// Presses keys one after the other, as at a keyboard.
    async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let pressed = keys.into_iter().fold(KeyActions::new("keyboard".to_owned()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.browser.perform_actions(pressed).await.unwrap();
    }

    async fn press_with_shift(&self, value: char) {
        let pressed = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value: SHIFT })
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value })
            .then(KeyAction::Up { value: SHIFT });
        self.browser.perform_actions(pressed).await.unwrap();
    }

    /// Opens the panel and asks.
    async fn ask(&self, question: &str) {
        self.until("the launcher", "!!$('launcher')").await;
        if self.see("$('panel').hidden").await == true {
            self.see("$('launcher').click()").await;
        }
        self.press(question.chars().chain([ENTER])).await;
    }

    async fn finished(&self, finish: &str) {
        self.until(
            &format!("the answer to end with {finish}"),
            &format!("$$('turn').at(-1)?.dataset.finish === '{finish}'"),
        )
        .await;
    }

    async fn close(self) {
        self.browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_gets_answers_by_the_keyboard_alone() {
    let Some(visit) = visit("the widget", "citing", For::TheShop, LAPTOP, "data-lang=\"vi\"").await else { return };
    visit.until("the launcher", "!!$('launcher')").await;
    visit.press([TAB, ENTER]).await;
    visit.until("the message box to have the focus", "root.activeElement === $('message')").await;
    assert_eq!(
        visit.see("$('panel').getAttribute('role') + $('panel').getAttribute('aria-modal')").await,
        "dialogtrue"
    );
    assert_eq!(visit.see("$('launcher').getAttribute('aria-expanded')").await, "true");
    // The page's own styles, which hide everything, do not reach in.
    assert_ne!(visit.see("$('panel').offsetHeight").await, 0);

    visit.press("Lãi suất".chars()).await;
    visit.press_with_shift(ENTER).await;
    visit.press("vay?".chars()).await;
    assert_eq!(visit.see("$('message').value").await, "Lãi suất\nvay?");
    visit.press([ENTER]).await;
    visit.finished("stop").await;
    assert_eq!(visit.see("$('question').innerText").await, "Bạn:\nLãi suất\nvay?");
    assert_eq!(visit.text("answer").await, "Lãi suất là 7% 1 và hoặc.");
    assert_eq!(
        visit.see("$$('source').map(one => one.querySelector('a').href)").await,
        json!(["https://acme.example/rates"])
    );
    // Read out once, as a whole.
    assert_eq!(visit.text("voice").await, "Trả lời: Lãi suất là 7% 1 và hoặc.");

    visit.see("$('up').click()").await;
    visit.until("the thumb to be taken", "$('up').getAttribute('aria-pressed') === 'true'").await;
    assert_eq!(visit.text("voice").await, "Cảm ơn bạn đã góp ý.");

    // The focus stays within, in both directions, until Escape gives it back.
    for _ in 0..12 {
        visit.press([TAB]).await;
        assert_eq!(visit.see("$('panel').contains(root.activeElement)").await, true);
    }
    for _ in 0..3 {
        visit.press_with_shift(TAB).await;
        assert_eq!(visit.see("$('panel').contains(root.activeElement)").await, true);
    }
    visit.press([ESCAPE]).await;
    assert_eq!(visit.see("$('panel').hidden && root.activeElement === $('launcher')").await, true);
    assert_eq!(visit.see("$('launcher').getAttribute('aria-expanded')").await, "false");

    // Nobody else was asked, and the page's policy had nothing against it.
    let asked = visit.see("performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)").await;
    let service = visit.proxy.url(&visit.server.base);
    assert!(asked.as_array().unwrap().iter().all(|origin| *origin == service.as_str()), "{asked}");
    assert_eq!(browser::violations(&visit.browser).await, json!([]));

    // It is a turn like any other.
    let session = visit.see("Object.entries(localStorage).find(([name]) => name.endsWith(':session'))[1]").await;
    let stored =
        wait_for("the turn to be stored", || async { visit.client.stored().await.into_iter().flatten().next() }).await;
    assert_eq!(stored["session_id"], format!("pub:{}", session.as_str().unwrap()));
    assert_eq!(stored["channel"], "web");
    visit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_grows_outlives_a_cut_line_and_a_reload_and_stops_where_it_is_told_to() {
    let Some(visit) = visit("the widget's streams", "slow", For::TheShop, PHONE, "").await else { return };
    visit.ask("Lãi suất?").await;
    visit.until("text", "$('answer')?.innerText.length > 10").await;
    let first = visit.text("answer").await;
    visit.until("more text", &format!("$('answer').innerText.length > {}", first.chars().count() + 10)).await;
    // On a phone it is the whole screen, and not more.
    assert_eq!(visit.see("[$('panel').offsetWidth, document.documentElement.scrollWidth]").await, json!([390, 390]));

    let connections = visit.proxy.accepted();
    visit.proxy.refuse();
    visit.until("the loss to be told", "$('turn').innerText.includes('Reconnecting')").await;
    visit.proxy.restore();
    let before = visit.text("answer").await;
    visit
        .until("the answer to go on", &format!("$('answer').innerText.length > {}", before.chars().count() + 10))
        .await;
    assert!(visit.proxy.accepted() > connections);
    assert!(visit.text("answer").await.starts_with(before.trim()));

    let session = "Object.entries(localStorage).find(([name]) => name.endsWith(':session'))[1]";
    let of_before = visit.see(session).await;
    let before = visit.text("answer").await;
    visit.browser.refresh().await.unwrap();
    visit
        .until("the answer after the reload", &format!("$('answer')?.innerText.length > {}", before.chars().count()))
        .await;
    assert_eq!(visit.see(session).await, of_before);
    assert_eq!(visit.text("question").await, "You:\nLãi suất?");
    assert_eq!(visit.provider.requests(), 1, "it was asked again");

    visit.see("$('stop').click()").await;
    visit.finished("stopped").await;
    let shown = visit.text("answer").await;
    let stored =
        wait_for("the turn to be stored", || async { visit.client.stored().await.into_iter().flatten().next() }).await;
    assert_eq!(stored["answer"].as_str().unwrap().trim(), shown.trim());
    assert_eq!(stored["finish_reason"], "stopped");
    visit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_key_is_not_for_is_told_so_in_words_and_gets_nothing() {
    let Some(visit) = visit("the widget elsewhere", "citing", For::SomeoneElse, LAPTOP, "").await else { return };
    visit.ask("Lãi suất?").await;
    visit.finished("failed").await;
    assert_eq!(visit.text("problem").await, "The chat may not be used on this page.");
    assert_eq!(visit.text("answer").await, "");
    assert_eq!(visit.provider.requests(), 0);
    assert!(visit.client.stored().await.is_empty());
    visit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_is_shown_and_never_run() {
    let Some(visit) = visit("the widget's text", "echo", For::TheShop, LAPTOP, "data-theme=\"dark\"").await else {
        return;
    };
    visit
        .ask("<img src=x onerror=\"document.title='run'\"> [a](javascript:alert(1)) [b](https://acme.example/b) **c** https://acme.example/d.")
        .await;
    visit.finished("stop").await;
    let answer = visit.text("answer").await;
    assert!(answer.contains("<img src=x onerror=") && answer.contains("[a](javascript:alert(1))"), "{answer}");
    let drawn = "[...new Set([...$('answer').querySelectorAll('*')].map(one => one.localName))].sort()";
    assert_eq!(visit.see(drawn).await, json!(["a", "p", "strong"]));
    let links = "[...new Set([...$('answer').querySelectorAll('a')].map(one => `${one.href} ${one.target} ${one.rel}`))].sort()";
    assert_eq!(
        visit.see(links).await,
        json!([
            "https://acme.example/b _blank noopener noreferrer nofollow",
            "https://acme.example/d _blank noopener noreferrer nofollow",
        ])
    );
    assert_eq!(visit.see("document.title").await, "A shop");
    visit.close().await;
}

#[tokio::test]
async fn the_script_may_be_loaded_by_any_page_and_is_not_sent_twice() {
    let server = Site::new("").serve();
    let (http, url) = (http(), server.url("/widget.js"));
    let first = http.get(&url).header("origin", "https://shop.example").send().await.unwrap();
    let headers = first.headers().clone();
    assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(headers["cache-control"].to_str().unwrap().contains("max-age=300"));
    let size = first.bytes().await.unwrap().len();
    assert!((10_000..60_000).contains(&size), "{size} bytes");
    let again =
        http.get(&url).header("if-none-match", &headers["etag"]).timeout(Duration::from_secs(5)).send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(again.headers()["etag"], headers["etag"]);
}
