//! The description of the HTTP interface against the service itself, and its page in a real browser.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::browser::{self, LAPTOP, PHONE, element, script};
use crate::support::client::{Client, http};
use crate::support::clients::{self, Language};
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::wait_for;

/// Everything that the page asked for.
const ASKED: &str = "return performance.getEntriesByType('resource').map(entry => entry.name)";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_every_operation_and_asks_no_other_host() {
    let Some(driver) = browser::driver("the page of the interface").await else { return };
    let server = Site::new("").serve();
    let described: Value = http().get(server.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let operations: usize =
        described["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    for size in [LAPTOP, PHONE] {
        let browser = browser::browser(&driver, size).await;
        browser.goto(&server.url("/docs")).await.unwrap();
        wait_for("all operations", || async {
            let shown = script(&browser, "return document.querySelectorAll('.opblock').length").await;
            (shown == operations).then_some(())
        })
        .await;
        // One of them opened, with all that is drawn then.
        element(&browser, "#operations-Chat-chat .opblock-summary-control").await.click().await.unwrap();
        element(&browser, "#operations-Chat-chat .opblock-body .responses-table").await;
        let asked = script(&browser, ASKED).await;
        let asked: Vec<&str> = asked.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(asked.contains(&server.url("/openapi.json").as_str()), "{asked:?}");
        for address in asked {
            assert!(address.starts_with(&server.base) || address.starts_with("data:"), "it asked {address}");
        }
        let kept_from = browser::violations(&browser).await;
        assert_eq!(kept_from, json!([]), "its own policy is in its way");
        let width = script(&browser, "return document.documentElement.scrollWidth").await;
        assert!(width.as_u64().unwrap() <= u64::from(size.0), "wider than the screen: {width}");
        browser.close().await.unwrap();
    }
}

/// A service with a company that knows something and has been asked something, and what stands for what in
/// `tests/clients/schemathesis.toml`.
async fn tried() -> (Site, Server, Provider, Vec<(&'static str, String)>) {
    let provider = Provider::start().await;
    let limits = "[limits]\nrequests_per_minute = 1000000\npublishable_requests_per_minute = 1000000\n";
    let providers = ["qwen", "gemini"].map(|name| provider.config(name, &["citing"]));
    let site = Site::new(&format!("{limits}{}", providers.concat()));
    let key = site.company("acme");
    site.knowledge("acme", &[("rate.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,5% một năm.\n")]);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let mut turn = client.ask("Lãi suất vay?", "s-1").await;
    turn.rest().await;
    let stored = client.stored_turn(&turn.turn_id()).await;
    let wanted = json!({"url": "http://127.0.0.1:9/hook"});
    let endpoint = client.post("/api/companies/acme/webhooks").json(&wanted).send().await.unwrap();
    let endpoint: Value = endpoint.json().await.unwrap();
    let text = |name: &str| stored[name].as_str().unwrap().to_owned();
    let names = vec![
        ("KEY", key),
        ("COMPANY", "acme".to_owned()),
        ("TURN", text("turn_id")),
        ("CONVERSATION", text("conversation_id")),
        ("ENDPOINT", endpoint["endpoint"]["endpoint_id"].as_str().unwrap().to_owned()),
    ];
    (site, server, provider, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_what_its_description_says() {
    let Some(mut command) = clients::command("the description, tried", Language::Python) else { return };
    let (site, server, _provider, names) = tried().await;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schemathesis.toml");
    command.args(["-m", "schemathesis.cli", "--no-color", "--config-file"]).arg(config);
    command.args(["run", &server.url("/openapi.json"), "--phases", "examples,coverage,fuzzing"]);
    // A WebSocket is no matter of single requests.
    command.args(["--exclude-path", "/api/unified/chat-ws"]);
    command.envs(names).env("NO_PROXY", "127.0.0.1,localhost").env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(site.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
