//! What RabbitMQ answers when it refuses.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

use crate::ports::bus::Error;

/// Why the server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broker {
    /// It refused, or the connection broke.
    #[error("{0}")]
    Refused(#[from] lapin::Error),
    /// It did not answer.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
}

/// What callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// A queue or exchange is not there.
    NotFound,
    /// It exists with other arguments.
    Different,
    /// The user may not do it.
    Refused,
    /// Anything else: mostly a connection that is gone.
    Other,
}

impl Broker {
    /// What callers treat differently.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Refused(error) => code(error),
            Self::Silent(_) => Code::Other,
        }
    }

    /// A name that does not fit into a frame.
    pub(super) fn name_too_long() -> Self {
        Self::Refused(std::io::Error::other("a name of more than 255 bytes").into())
    }
}

impl From<Broker> for Error {
    fn from(error: Broker) -> Self {
        Self::Unavailable(format!("RabbitMQ: {error}"))
    }
}

/// The error of a declaration: one that asking again would not change is `Invalid`.
pub(super) fn declaring(kind: &str, name: &str, error: &Broker) -> Error {
    match error.code() {
        Code::Different => Error::Invalid(format!(
            "{kind} {name} exists, but not as it should be: {error}; delete it when it is empty, or choose another \
             namespace"
        )),
        Code::Refused => Error::Invalid(format!("{kind} {name} may not be declared by this user: {error}")),
        Code::NotFound | Code::Other => Error::Unavailable(format!("{kind} {name}: {error}")),
    }
}

fn code(error: &lapin::Error) -> Code {
    let ErrorKind::ProtocolError(error) = error.kind() else { return Code::Other };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Code::NotFound,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Code::Different,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Code::Refused,
        _ => Code::Other,
    }
}
