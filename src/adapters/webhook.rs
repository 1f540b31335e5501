//! Posts webhooks with `reqwest`. Receivers are not trusted: no redirect is followed, no proxy used, one deadline covers
//! everything, little of the answer is read, and addresses are checked at every connection.

mod address;
mod answer;
mod phases;
mod resolver;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

pub use self::address::is_public;
use self::phases::{Measured, Phases};
use self::resolver::Resolver;
use crate::config;
use crate::ports::webhook::{Answer, Error, Posted, Request, Sender};

/// Idle connections are closed before common receivers close theirs (Node and uvicorn after 5 s): a request that crosses
/// the receiver's close fails, and a webhook must not be blindly repeated.
const IDLE: Duration = Duration::from_secs(4);

/// What one stream of HTTP/2 may send ahead, in bytes: the least that the protocol knows.
const H2_STREAM_WINDOW: u32 = 65_535;
/// What all streams of a connection may send ahead.
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
/// How often a receiver that is being waited for is asked whether it is still there, and how long it may take to say so.
const H2_PING: Duration = Duration::from_secs(5);

/// Why the sender cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The process has not chosen its TLS implementation yet.
    #[error("no TLS provider is installed in this process")]
    NoTlsProvider,
    /// The client cannot be made, for example without any root certificate.
    #[error("the HTTP client for webhooks cannot be made")]
    Client(#[from] reqwest::Error),
}

/// Posts webhooks over HTTP.
pub struct HttpSender {
    client: Client,
    resolver: Resolver,
    deadline: Duration,
    response_bytes: usize,
    allow_private: bool,
}

impl HttpSender {
    /// A sender. The process's TLS provider must be installed before.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(settings: &config::Webhooks) -> Result<Self, BuildError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::NoTlsProvider);
        }
        let resolver = Resolver { allow_private: settings.allow_private };
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(resolver)
            .connector_layer(Measured)
            // A small compressed answer may be a large one. None is asked for.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            // What an answer may send ahead of being read: little more than is read of it.
            .http2_initial_stream_window_size(H2_STREAM_WINDOW)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
            // All requests to a receiver share a connection, so that one that died in silence would take them all with it.
            .http2_keep_alive_interval(H2_PING)
            .http2_keep_alive_timeout(H2_PING)
            .pool_idle_timeout(IDLE)
            // Many endpoints may share a host, such as an integration service's.
            .pool_max_idle_per_host(settings.concurrency)
            .build()?;
        Ok(Self {
            client,
            resolver,
            deadline: settings.deadline,
            response_bytes: settings.response_bytes,
            allow_private: settings.allow_private,
        })
    }

    async fn exchange(&self, request: Request, phases: &Phases) -> Result<Answer, Error> {
        let url = parse(&request.url, self.allow_private)?;
        let mut builder = self.client.post(url).body(request.body);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let response = builder.send().await.map_err(|error| classify(&error))?;
        phases.first_byte(response.remote_addr());
        let answer = answer::read(response, self.response_bytes).await.map_err(|error| classify(&error))?;
        Ok(answer::masked(answer, &request.headers))
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn post(&self, request: Request) -> Posted {
        let phases = Phases::begin();
        let exchange = phases.during(self.exchange(request, &phases));
        let result = match tokio::time::timeout(self.deadline, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout(self.deadline)),
        };
        let (timing, remote_address) = phases.end();
        Posted { result, timing, remote_address }
    }

    async fn check(&self, url: &str) -> Result<(), Error> {
        let url = parse(url, self.allow_private)?;
        let host = url.host_str().ok_or(Error::Url("it names no host"))?;
        if literal(host).is_some() {
            return Ok(());
        }
        match tokio::time::timeout(self.deadline, self.resolver.addresses(host)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Timeout(self.deadline)),
        }
    }
}

/// Whether a URL can be a webhook's: `http` or `https`, a host, no credentials, no fragment, and no address written out
/// that is not allowed. Names are not looked up.
///
/// # Errors
/// `Url` with what is wrong, or `Address`.
pub fn check_url(url: &str, allow_private: bool) -> Result<(), Error> {
    parse(url, allow_private).map(|_| ())
}

fn parse(text: &str, allow_private: bool) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|_| Error::Url("it cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Url("it must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Url("it must not hold a user name or password"));
    }
    if url.fragment().is_some() {
        return Err(Error::Url("it must not have a fragment (#)"));
    }
    let host = url.host_str().ok_or(Error::Url("it names no host"))?;
    if !allow_private {
        // The client connects to a written-out address without asking the resolver.
        if literal(host).is_some_and(|address| !is_public(address)) {
            return Err(Error::Address(host.to_owned()));
        }
        let name = host.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            return Err(Error::Address(host.to_owned()));
        }
    }
    Ok(url)
}

/// The address that a URL's host is, if it is one. The parser has already turned all of IPv4's spellings into four
/// decimal numbers.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').parse().ok()
}

/// Finds the cause in the client's error. The outer error is not quoted: it repeats the URL, which may hold a secret.
fn classify(error: &reqwest::Error) -> Error {
    let mut deepest = None;
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(resolver) = error.downcast_ref::<Error>() {
            return resolver.clone();
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Error::Tls(tls.to_string());
        }
        deepest = Some(error.to_string());
        // An IO error passes over the error that it wraps when it is asked for its source.
        cause = error
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref())
            .map(|inner| inner as &(dyn StdError + 'static))
            .or_else(|| error.source());
    }
    let detail = deepest.unwrap_or_else(|| "no reason given".to_owned());
    if error.is_dns() {
        Error::Dns(detail)
    } else if error.is_connect() {
        Error::Connect(detail)
    } else {
        Error::Protocol(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_webhooks() {
        for good in ["https://example.com/hook?a=b", "http://example.com:8080/", "https://93.184.216.34/x"] {
            assert_eq!(check_url(good, false), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/hook",
            "ftp://example.com/",
            "https://u:p@example.com/",
            "https://u@example.com/",
            "https://example.com/#x",
        ] {
            assert!(matches!(check_url(bad, true), Err(Error::Url(_))), "{bad}");
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
        ] {
            assert!(matches!(check_url(bad, false), Err(Error::Address(_))), "{bad} gave {:?}", check_url(bad, false));
            assert_eq!(check_url(bad, true), Ok(()), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_client_asks_the_filtering_resolver() {
        // Another test may have installed it.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let settings = config::Webhooks {
            deadline: Duration::from_secs(5),
            initial_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            give_up_after: Duration::ZERO,
            concurrency: 1,
            concurrency_per_endpoint: 1,
            response_bytes: 1,
            allow_private: false,
        };
        let sender = HttpSender::new(&settings).unwrap();
        // Past `parse`, which knows this name: a name that nobody knows to lead home gets as far as this.
        let error = sender.client.post("http://localhost:9/").send().await.unwrap_err();
        assert_eq!(classify(&error), Error::Address("localhost".to_owned()));
    }
}
