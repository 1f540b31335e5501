//! Calls of the server: each under a deadline, measured, and with its error told in the port's terms.

use std::future::Future;
use std::time::{Duration, Instant};

use hyper::Uri;
use qdrant_client::{Qdrant, QdrantError};

use super::Settings;
use crate::ports::index::Error;

/// The port of Qdrant's REST interface, which people have in `QDRANT_URL`, and that of its gRPC interface beside it.
const REST_PORT: u16 = 6333;
const GRPC_PORT: u16 = 6334;

/// Status codes of gRPC, <https://grpc.io/docs/guides/status-codes/>.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// The server and the collection in it.
pub(super) struct Client {
    server: Qdrant,
    address: String,
    pub(super) collection: String,
    timeout: Duration,
    write_timeout: Duration,
}

impl Client {
    /// Connects when it is first needed.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let address = address(&settings.url)?;
        let mut builder = Qdrant::from_url(&address)
            .timeout(settings.write_timeout.max(settings.timeout))
            .connect_timeout(settings.timeout)
            .keep_alive_while_idle()
            .skip_compatibility_check();
        if let Some(key) = &settings.api_key {
            let key = key.reveal();
            // The client would repeat a key that cannot be sent in its error.
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
                return Err(Error::Unavailable(
                    "the API key holds characters that cannot be sent; check QDRANT_API_KEY".into(),
                ));
            }
            builder = builder.api_key(key);
        }
        let server = builder.build().map_err(|error| told(&error, &address, &settings.collection))?;
        let (timeout, write_timeout) = (settings.timeout, settings.write_timeout);
        Ok(Self { server, address, collection: settings.collection.clone(), timeout, write_timeout })
    }

    /// Where the server is, without credentials.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks the server, for as long as a reader waits.
    pub(super) async fn read<T, F: Future<Output = Result<T, QdrantError>>>(
        &self,
        operation: &'static str,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<T, Error> {
        self.within(self.timeout, operation, call).await
    }

    /// Has the server change something, for as long as a write may take.
    pub(super) async fn write<T, F: Future<Output = Result<T, QdrantError>>>(
        &self,
        operation: &'static str,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<T, Error> {
        self.within(self.write_timeout, operation, call).await
    }

    async fn within<T, F: Future<Output = Result<T, QdrantError>>>(
        &self,
        deadline: Duration,
        operation: &'static str,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<T, Error> {
        let started = Instant::now();
        // The client tries a broken connection twice, so its own deadlines may add up beyond ours.
        let answer = match tokio::time::timeout(deadline, Box::pin(call(self.server.clone()))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(told(&error, &self.address, &self.collection)),
            Err(_elapsed) => Err(Error::Unavailable(format!("{} did not answer within {deadline:?}", self.address))),
        };
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(Error::Unavailable(_)) => "unavailable",
            Err(_) => "failed",
        };
        metrics::histogram!("turnpike_index_request_seconds", "operation" => operation)
            .record(started.elapsed().as_secs_f64());
        metrics::counter!("turnpike_index_requests_total", "operation" => operation, "outcome" => outcome).increment(1);
        answer
    }

    /// What the server is told to take at most for a read, in whole seconds as it wants it.
    pub(super) fn read_seconds(&self) -> Option<u64> {
        Some(seconds(self.timeout))
    }

    /// What the server is told to take at most for a write.
    pub(super) fn write_seconds(&self) -> Option<u64> {
        Some(seconds(self.write_timeout))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).field("collection", &self.collection).finish()
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The gRPC address that a URL means. The URL may name the REST port, or none.
fn address(url: &str) -> Result<String, Error> {
    let wrong = |what: &str| Error::Unavailable(format!("the address of the index {what}; write http://HOST:6334"));
    let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("names no scheme or no host"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("begins with neither http:// nor https://"));
    }
    if authority.as_str().contains('@') {
        return Err(wrong("holds credentials, which belong into QDRANT_API_KEY"));
    }
    let port = match authority.port_u16() {
        None | Some(REST_PORT) => GRPC_PORT,
        Some(port) => port,
    };
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}

/// The client's error in the port's terms: what is worth another try, and what is not.
fn told(error: &QdrantError, address: &str, collection: &str) -> Error {
    let status = match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => status,
        QdrantError::Io(error) => return Error::Unavailable(format!("no connection to {address}: {error}")),
        other => return Error::Failed(other.to_string()),
    };
    let message = status.message();
    match i32::from(status.code()) {
        code::INTERNAL if message.starts_with("Failed to connect") => {
            Error::Unavailable(format!("no connection to {address}: {}", reason(message)))
        }
        code::UNAUTHENTICATED | code::PERMISSION_DENIED => {
            Error::Unavailable(format!("{address} refuses the API key; check QDRANT_API_KEY"))
        }
        code::NOT_FOUND => Error::Unavailable(format!(
            "{address} has no collection {collection}; run `turnpike migrate` ({message})"
        )),
        code::UNIMPLEMENTED => Error::Failed(format!("{address} does not know the request: {message}")),
        code::UNAVAILABLE
        | code::DEADLINE_EXCEEDED
        | code::RESOURCE_EXHAUSTED
        | code::CANCELLED
        // Connections that break in the middle of an answer.
        | code::UNKNOWN => Error::Unavailable(format!("{address}: {message}")),
        _ if message.contains("vector name") => Error::Unavailable(format!(
            "the collection {collection} lacks a vector; run `turnpike migrate` ({message})"
        )),
        _ => Error::Failed(format!("{address}: {message}")),
    }
}

/// Why a connection was not made, out of the debug output that the client gives for it.
fn reason(message: &str) -> &'static str {
    let text = message.to_ascii_lowercase();
    let is = |word: &str| text.contains(word);
    if is("connectionrefused") || is("connection refused") {
        "it was refused: is the server running, and is this its gRPC port?"
    } else if is("dns") || is("lookup") {
        "the name of the host is unknown"
    } else if is("certificate") || is("tls") || is("handshake") {
        "TLS failed: is it the right certificate, and does the server speak TLS there?"
    } else if is("timed out") || is("timeout") || is("elapsed") {
        "it took too long"
    } else {
        "it broke: is this the gRPC port?"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_port_and_no_port_mean_the_grpc_port() {
        for (url, meant) in [
            ("http://localhost:6333", "http://localhost:6334"),
            ("http://localhost", "http://localhost:6334"),
            ("https://example.test/", "https://example.test:6334"),
            ("https://example.test:443", "https://example.test:443"),
            ("http://[::1]:7000/", "http://[::1]:7000"),
        ] {
            assert_eq!(address(url).unwrap(), meant);
        }
        for wrong in ["localhost:6334", "ftp://localhost", "http://", "http://user:secret@localhost:6334", ""] {
            let error = address(wrong).unwrap_err().to_string();
            assert!(error.contains("http://HOST:6334") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_not_repeated() {
        let key = Some(crate::config::Secret::new("geheim\nnis"));
        let settings = Settings { api_key: key, ..Settings::new("http://localhost") };
        let error = Client::new(&settings).unwrap_err().to_string();
        assert!(error.contains("QDRANT_API_KEY") && !error.contains("geheim"), "{error}");
    }
}
