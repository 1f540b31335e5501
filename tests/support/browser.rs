//! A real browser, driven over WebDriver.

use std::process::{Child, Command, Stdio};

use fantoccini::{Client as Browser, ClientBuilder, Locator};
use serde_json::{Value, json};

use super::{PATIENCE, say, wait_for};

/// A phone, and a laptop.
pub const PHONE: (u32, u32) = (390, 844);
pub const LAPTOP: (u32, u32) = (1280, 800);

/// A running chromedriver.
pub struct Driver(Child, u16);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A driver on a port of its own; none where there is no browser.
pub async fn driver(test: &str) -> Option<Driver> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child =
        Command::new("chromedriver").arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(child) = child else {
        say(&format!("SKIPPED {test}: chromedriver is not installed; `make tools` brings it on Debian"));
        return None;
    };
    let driver = Driver(child, port);
    wait_for("chromedriver to listen", || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() })
        .await;
    Some(driver)
}

/// A browser whose screen has a size.
pub async fn browser(driver: &Driver, (width, height): (u32, u32)) -> Browser {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        // So a page can be of an origin that is not this machine's.
        "--host-resolver-rules=MAP *.example 127.0.0.1",
    ];
    let capabilities = json!({"goog:chromeOptions": {
        "args": arguments,
        "mobileEmulation": {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1.0, "touch": false}},
    }});
    let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
    builder.capabilities(capabilities.as_object().unwrap().clone());
    builder.connect(&format!("http://127.0.0.1:{}", driver.1)).await.unwrap()
}

/// The element that a selector finds, as soon as it is there.
pub async fn element(browser: &Browser, css: &str) -> fantoccini::elements::Element {
    browser.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap()
}

/// What a script gives back.
pub async fn script(browser: &Browser, source: &str) -> Value {
    browser.execute(source, vec![]).await.unwrap()
}

/// What a page's own policy kept it from, from its beginning on.
pub async fn violations(browser: &Browser) -> Value {
    let source = "const done = arguments[0]; const seen = [];
        const observer = new ReportingObserver(reports => seen.push(...reports), {types: ['csp-violation'], buffered: true});
        observer.observe();
        setTimeout(() => { seen.push(...observer.takeRecords()); done(seen.map(report => report.body.toJSON())); }, 100);";
    browser.execute_async(source, vec![]).await.unwrap()
}
