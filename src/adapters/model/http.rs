//! The HTTP client that all providers share: connections stay open between turns, so that a turn pays for no handshake.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Proxy, RequestBuilder, Response, Url, redirect};

use crate::ports::model;

#[cfg(test)]
pub(super) mod fake_server;
mod refusal;

pub(super) use refusal::{in_stream, of_answer as refusal, root_cause};

/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);

/// How long a connection may be silent before it is probed: less than the idle limit of common load balancers.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes that a stream over HTTP/2 may send ahead of its reader: what a slow client can make the process hold.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How long opening a connection ahead may take.
const WARM_LIMIT: Duration = Duration::from_secs(10);

/// Why a provider cannot be set up. The texts name settings, never their secret values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base URL is not one.
    #[error("base_url of provider {provider} must be an http or https address: {reason}")]
    BaseUrl {
        /// The provider's name in the settings.
        provider: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key cannot be sent as a header.
    #[error("the key of provider {provider} holds characters that no header may hold")]
    Key {
        /// The provider's name in the settings.
        provider: String,
    },
    /// The proxy's address is not one.
    #[error("the proxy for model providers is not an address: {0}")]
    Proxy(String),
    /// The client cannot be made, mostly because the machine has no root certificates.
    #[error("cannot set up HTTPS ({0}); are root certificates (package ca-certificates) installed?")]
    Client(String),
}

/// How to reach providers.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Longest time to open a connection, TLS included.
    pub connect_timeout: Duration,
    /// A proxy for all providers. None means none: the environment's proxy variables are not read.
    pub proxy: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), proxy: None }
    }
}

/// Makes the client. It is cheap to clone and clones share connections: make one for the process.
///
/// # Errors
/// When the proxy's address is wrong or TLS cannot be set up.
pub fn client(options: &ClientOptions) -> Result<Client, Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race against another installation is fine: either way there is a provider afterwards.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    let builder = Client::builder()
        .user_agent(concat!("turnpike/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .http2_keep_alive_interval(KEEPALIVE)
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        // A redirect would carry the prompt, and on the same host the key, to where no one configured.
        .redirect(redirect::Policy::none())
        .no_proxy();
    let builder = match &options.proxy {
        Some(address) => builder.proxy(Proxy::all(address).map_err(|error| Error::Proxy(root_cause(&error)))?),
        None => builder,
    };
    builder.build().map_err(|error| Error::Client(root_cause(&error)))
}

/// Opens a connection to a provider and leaves it in the pool. Failure is no error: the next request opens its own.
pub async fn warm(client: &Client, base_url: &Url) {
    // The answer does not matter (it mostly is a 404), and no key goes along.
    if let Err(error) = client.head(base_url.clone()).timeout(WARM_LIMIT).send().await {
        tracing::debug!(error = root_cause(&error), "could not open a connection ahead");
    }
}

/// Reads a base URL, without a slash at its end.
pub(super) fn base_url(provider: &str, text: &str) -> Result<Url, Error> {
    let wrong = |reason: String| Error::BaseUrl { provider: provider.to_owned(), reason };
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it has another scheme or no host".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user name or password; put the key into its own setting".to_owned()));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A base URL with a path after it.
pub(super) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A secret as a header value that is kept out of logs.
pub(super) fn secret_header(provider: &str, text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Key { provider: provider.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends a request and returns the answer once it is clear that it is an event stream; any other answer is an error.
/// `secret` never shows in the error, even where the provider repeats it.
pub(super) async fn open(request: RequestBuilder, secret: Option<&str>) -> Result<Response, model::Error> {
    let response = request.header(ACCEPT, "text/event-stream").send().await.map_err(|error| {
        if error.is_timeout() {
            model::Error::Timeout("opening a connection")
        } else {
            model::Error::Unavailable(root_cause(&error))
        }
    })?;
    if !response.status().is_success() {
        return Err(refusal::of_status(response, secret).await);
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        // Small servers forget the header; what they send then shows whether it is an event stream.
        "text/event-stream" | "" => Ok(response),
        _ => Err(refusal::of_content_type(response, &essence, secret).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_read_with_and_without_a_slash() {
        for text in ["https://api.example.com/v1", " https://api.example.com/v1/ "] {
            let base = base_url("p", text).unwrap();
            assert_eq!(join(&base, &["chat", "completions"]).as_str(), "https://api.example.com/v1/chat/completions");
        }
        let base = base_url("p", "http://127.0.0.1:9").unwrap();
        assert_eq!(join(&base, &["a b", "c/d"]).as_str(), "http://127.0.0.1:9/a%20b/c%2Fd");
    }

    #[test]
    fn base_urls_that_are_none_are_refused_without_their_secrets() {
        for text in ["api.example.com/v1", "ftp://example.com", "", "https://user:hunter2@example.com/v1"] {
            let error = base_url("p", text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_key_does_not_show_in_debug_output() {
        let value = secret_header("p", "Bearer sk-very-secret").unwrap();
        assert!(!format!("{value:?}").contains("secret"));
        assert!(secret_header("p", "with\nnewline").is_err());
    }

    #[tokio::test]
    async fn a_warmed_connection_is_the_one_that_is_used() {
        let server = fake_server::FakeServer::start(vec![
            fake_server::Reply::text("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").keep_open(),
            fake_server::Reply::text("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"),
        ])
        .await;
        let client = client(&ClientOptions::default()).unwrap();
        let url = base_url("p", &server.url()).unwrap();
        warm(&client, &url).await;
        // The connection's own task must run once to give it back.
        tokio::task::yield_now().await;
        open(client.post(url), None).await.unwrap();
        assert_eq!(server.connections(), 1);
    }
}
