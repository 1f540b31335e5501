//! Posts webhooks with `reqwest`. Receivers are not trusted: no redirect is followed, no proxy used, one deadline covers
//! everything, little of the answer is read, and addresses are checked at every connection.

mod address;
mod answer;
mod phases;
mod resolver;

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use self::address::Allowed;
pub use self::address::is_public;
use self::phases::{Measured, Phases};
pub use self::resolver::Lookup;
use self::resolver::{Resolver, System};
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
    /// The file of authorities cannot be read.
    #[error("`webhooks.ca_file`: {path} cannot be read: {error}")]
    CaFile {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file of authorities holds none, or something else.
    #[error("`webhooks.ca_file`: {0} holds no certificates in PEM")]
    Certificates(PathBuf),
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
}

impl HttpSender {
    /// A sender. The process's TLS provider must be installed before.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(settings: &config::Webhooks) -> Result<Self, BuildError> {
        Self::with_lookup(settings, Arc::new(System))
    }

    /// A sender that finds receivers by another way than the system's.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn with_lookup(settings: &config::Webhooks, lookup: Arc<dyn Lookup>) -> Result<Self, BuildError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::NoTlsProvider);
        }
        let resolver = Resolver { lookup, allowed: Allowed::by(settings) };
        let client = Client::builder()
            .tls_certs_merge(authorities(settings)?)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(resolver.clone())
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
        Ok(Self { client, resolver, deadline: settings.deadline, response_bytes: settings.response_bytes })
    }

    async fn exchange(&self, request: Request, phases: &Phases) -> Result<Answer, Error> {
        let url = parse(&request.url, &self.resolver.allowed)?;
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

    async fn check(&self, url: &str) -> Result<String, Error> {
        lead(url, &self.resolver, self.deadline).await
    }
}

/// Follows a URL as far as its addresses, and gives it as it is asked for.
async fn lead(url: &str, resolver: &Resolver, deadline: Duration) -> Result<String, Error> {
    let url = parse(url, &resolver.allowed)?;
    let host = url.host_str().ok_or(Error::Url("it names no host"))?;
    if literal(host).is_some() {
        return Ok(url.into());
    }
    match tokio::time::timeout(deadline, resolver.addresses(host)).await {
        Ok(found) => found.map(|_| url.into()),
        Err(_) => Err(Error::Timeout(deadline)),
    }
}

/// The authorities of the settings.
fn authorities(settings: &config::Webhooks) -> Result<Vec<Certificate>, BuildError> {
    let Some(path) = &settings.ca_file else { return Ok(Vec::new()) };
    let text = std::fs::read(path).map_err(|error| BuildError::CaFile { path: path.clone(), error })?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(BuildError::Certificates(path.clone())),
    }
}

/// Whether a URL can be a webhook's: `http` or `https`, a host, no credentials, no fragment, and no address written out
/// that is not allowed. Names are not looked up.
fn parse(text: &str, allowed: &Allowed) -> Result<Url, Error> {
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
    if url.port() == Some(0) {
        return Err(Error::Url("port 0 is none"));
    }
    let host = url.host_str().ok_or(Error::Url("it names no host"))?;
    // The client connects to a written-out address without asking the resolver.
    if literal(host).is_some_and(|address| !allowed.permits(address)) {
        return Err(Error::Address(host.to_owned()));
    }
    let name = host.trim_end_matches('.');
    if (name == "localhost" || name.ends_with(".localhost")) && !allowed.permits_loopback() {
        return Err(Error::Address(host.to_owned()));
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
mod tests;
