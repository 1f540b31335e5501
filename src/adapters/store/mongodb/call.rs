//! One call of the database: bounded in time, counted, and its failures told apart.

use std::time::{Duration, Instant};

use ::mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use super::MongoStore;
use crate::ports::store::Error;

/// A unique index has the key already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// Longest time for what touches all that a company has, or builds an index.
pub(super) const LONG: Duration = Duration::from_secs(30 * 60);

/// What a server answers to a document that it will never take: malformed, not as the validator wants it, or too large.
/// All else may pass, or be set right by an operator; a turn that waits is better than one given up.
const NEVER: &[i32] = &[22, 52, 121, 10_334, 17_280, 17_419, 17_420];

impl MongoStore {
    /// Runs an operation under the store's timeout, and counts it. What was written when time ran out may have been
    /// written or not, as after any lost connection; all operations may be done again.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let limit = self.settings.timeout;
        let begun = Instant::now();
        let result = self.call_within(limit, operation, work).await;
        if begun.elapsed() < limit {
            self.pulse.heard();
        } else if self.pulse.missed(limit) {
            self.reconnect();
        }
        result
    }

    /// The same for what may take longer than a caller on some request's path would wait.
    pub(super) async fn call_within<T>(
        &self,
        limit: Duration,
        operation: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let started = Instant::now();
        // The driver's futures are large, and they are held in other large ones.
        let result = match tokio::time::timeout(limit, Box::pin(work)).await {
            Ok(result) => result,
            Err(_) => Err(out_of_time(limit)),
        };
        metrics::histogram!("turnpike_store_seconds", "operation" => operation).record(started.elapsed().as_secs_f64());
        if let Err(error) = &result {
            let kind = match error {
                Error::Unavailable(_) => "unavailable",
                Error::Invalid(_) => "invalid",
                Error::Removed => "removed",
            };
            metrics::counter!("turnpike_store_errors_total", "operation" => operation, "kind" => kind).increment(1);
        }
        result
    }
}

/// The failure of what took too long.
pub(super) fn out_of_time(limit: Duration) -> Error {
    Error::Unavailable(format!("MongoDB did not answer within {} s", limit.as_secs_f64()))
}

/// The failure of a URI, which is the operator's unless names could not be looked up.
pub(super) fn uri_error(error: DriverError) -> Error {
    match *error.kind {
        ErrorKind::InvalidArgument { message, .. } | ErrorKind::InvalidTlsConfig { message, .. } => {
            Error::Invalid(format!("MongoDB's URI: {message}"))
        }
        _ => Error::from(error),
    }
}

/// Whether a write failed because a unique index has the key already.
pub(super) fn is_duplicate(error: &DriverError) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(failure)) => failure.code == DUPLICATE_KEY,
        ErrorKind::Command(failure) => failure.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// The failure that a code and a message in an answer stand for.
pub(super) fn refused(code: i32, message: &str) -> Error {
    let text = format!("MongoDB: {message} (code {code})");
    if NEVER.contains(&code) { Error::Invalid(text) } else { Error::Unavailable(text) }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        match &*error.kind {
            ErrorKind::Write(WriteFailure::WriteError(failure)) => refused(failure.code, &failure.message),
            ErrorKind::Write(WriteFailure::WriteConcernError(failure)) => {
                Self::Unavailable(format!("MongoDB: {} (code {})", failure.message, failure.code))
            }
            ErrorKind::Command(failure) => refused(failure.code, &failure.message),
            ErrorKind::Bson(failure) => Self::Invalid(format!("MongoDB: {failure}")),
            other => Self::Unavailable(format!("MongoDB: {other}")),
        }
    }
}

impl From<::mongodb::bson::error::Error> for Error {
    fn from(error: ::mongodb::bson::error::Error) -> Self {
        Self::Invalid(format!("a document of the database: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_never_be_taken_is_invalid() {
        assert!(matches!(refused(121, "Document failed validation"), Error::Invalid(_)));
        for passing in [10_107, 11_600, 91, 50, 13, 18, 64] {
            assert!(matches!(refused(passing, ""), Error::Unavailable(_)), "{passing}");
        }
    }
}
