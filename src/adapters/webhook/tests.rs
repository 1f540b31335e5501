//! Tests of what needs no receiver.

use std::io;
use std::net::IpAddr;

use super::*;

/// Names that all have the same addresses.
struct Everyone(&'static [&'static str]);

#[async_trait]
impl Lookup for Everyone {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.iter().map(|text| text.parse().unwrap()).collect())
    }
}

fn settings(allow_private: bool, allow_addresses: &[&str]) -> config::Webhooks {
    config::Webhooks {
        deadline: Duration::from_secs(5),
        initial_delay: Duration::ZERO,
        max_delay: Duration::ZERO,
        give_up_after: Duration::ZERO,
        concurrency: 1,
        concurrency_per_endpoint: 1,
        response_bytes: 1,
        allow_private,
        allow_addresses: allow_addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ca_file: None,
        disable_after: None,
        keep_deliveries: Duration::from_secs(1),
        endpoints_per_company: 1,
    }
}

fn form(url: &str, settings: &config::Webhooks) -> Result<(), Error> {
    parse(url, &Allowed::by(settings)).map(|_| ())
}

fn resolver(settings: &config::Webhooks, addresses: &'static [&'static str]) -> Resolver {
    Resolver { lookup: Arc::new(Everyone(addresses)), allowed: Allowed::by(settings) }
}

fn sender(settings: &config::Webhooks, lookup: Arc<dyn Lookup>) -> HttpSender {
    // Another test may have installed it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    HttpSender::with_lookup(settings, lookup).unwrap()
}

#[test]
fn urls_of_webhooks() {
    for good in ["https://example.com/hook?a=b", "http://example.com:8080/", "https://93.184.216.34/x"] {
        assert_eq!(form(good, &settings(false, &[])), Ok(()), "{good}");
    }
    for bad in [
        "",
        "/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://u:p@example.com/",
        "https://u@example.com/",
        "https://example.com/#x",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://",
        "https://exa mple.com/",
    ] {
        assert!(matches!(form(bad, &settings(true, &[])), Err(Error::Url(_))), "{bad}");
    }
}

#[test]
fn hosts_of_other_scripts_are_asked_for_in_their_ascii_form() {
    for (written, asked) in [
        ("https://b\u{fc}cher.example/x", "https://xn--bcher-kva.example/x"),
        ("HTTPS://Ng\u{e2}nH\u{e0}ng.VN:8443", "https://xn--ngnhng-ltan.vn:8443/"),
    ] {
        assert_eq!(parse(written, &Allowed::by(&settings(false, &[]))).unwrap().as_str(), asked);
    }
}

#[test]
fn every_spelling_of_a_private_address_is_refused() {
    for bad in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.1.2.3:80/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://\u{ff11}27.0.0.1/",
        "http://127\u{3002}0\u{3002}0\u{3002}1/",
        "http://\u{2460}27.0.0.1/",
    ] {
        let closed = form(bad, &settings(false, &[]));
        assert!(matches!(closed, Err(Error::Address(_))), "{bad} gave {closed:?}");
        assert_eq!(form(bad, &settings(true, &[])), Ok(()), "{bad}");
    }
}

#[test]
fn a_block_that_is_allowed_opens_nothing_else() {
    let settings = settings(false, &["127.0.0.0/8"]);
    for good in ["http://127.0.0.1/", "http://127.9.9.9/", "http://localhost/", "http://[::ffff:127.0.0.1]/"] {
        assert_eq!(form(good, &settings), Ok(()), "{good}");
    }
    for bad in ["http://10.0.0.1/", "http://[::1]/", "http://[64:ff9b::7f00:1]/", "http://169.254.169.254/"] {
        assert!(matches!(form(bad, &settings), Err(Error::Address(_))), "{bad}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_left_out_of_a_mixed_answer() {
    let mixed = &["10.0.0.1", "8.8.8.8", "::1"];
    let found = async |settings: &config::Webhooks| {
        let found = resolver(settings, mixed).addresses("mixed.example").await.unwrap();
        found.into_iter().map(|address| address.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&settings(false, &[])).await, ["8.8.8.8"]);
    assert_eq!(found(&settings(false, &["10.0.0.0/8"])).await, ["10.0.0.1", "8.8.8.8"]);
    assert_eq!(found(&settings(true, &[])).await, *mixed);
    let none = resolver(&settings(false, &[]), &[]).addresses("none.example").await;
    assert!(matches!(none, Err(Error::Dns(_))), "{none:?}");
}

#[tokio::test]
async fn a_name_that_leads_home_is_refused_at_registration() {
    let check = async |addresses| {
        lead("https://hooks.example.com/", &resolver(&settings(false, &[]), addresses), Duration::from_secs(5)).await
    };
    assert_eq!(check(&["93.184.216.34"]).await.as_deref(), Ok("https://hooks.example.com/"));
    for home in
        [&["127.0.0.1"][..], &["::1"], &["10.0.0.1", "192.168.0.1"], &["::ffff:127.0.0.1"], &["169.254.169.254"]]
    {
        assert_eq!(check(home).await, Err(Error::Address("hooks.example.com".to_owned())), "{home:?}");
    }
}

#[tokio::test]
async fn the_client_asks_the_filtering_resolver() {
    let sender = sender(&settings(false, &[]), Arc::new(System));
    // Past `parse`, which knows this name: a name that nobody knows to lead home gets as far as this.
    let error = sender.client.post("http://localhost:9/").send().await.unwrap_err();
    assert_eq!(classify(&error), Error::Address("localhost".to_owned()));
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(false, &[]);
    for (name, text) in [("missing.pem", None), ("empty.pem", Some("")), ("other.pem", Some("not a certificate"))] {
        let path = dir.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        settings.ca_file = Some(path);
        let Err(error) = HttpSender::new(&settings) else { panic!("{name} was taken") };
        let said = error.to_string();
        assert!(said.contains("`webhooks.ca_file`") && said.contains(name), "{said}");
    }
}
