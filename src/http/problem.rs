//! Errors as RFC 9457 problem documents (<https://www.rfc-editor.org/rfc/rfc9457>): the only place that maps an error to a
//! status.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::pipeline::ask::Refused;
use crate::ports::{bus, operations, outbox, store};

/// How long a client that met a limit is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A problem document.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status and the code say what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong and where, for people.
    detail: String,
    /// A short name for programs.
    #[schema(value_type = String)]
    code: Cow<'static, str>,
    /// The field of the request that it is about.
    #[serde(skip)]
    param: Option<Box<str>>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with a status, a short name for programs and a sentence for people.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.into(),
            param: None,
            retry_after: None,
        }
    }

    /// The request is malformed.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing, or not for this caller.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// The same request may succeed after a while.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER)
    }

    /// Names the field of the request that it is about.
    pub fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into().into_boxed_str());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The short name for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// When to come back, if it says so.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The field of the request that it is about.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// The same answer with a JSON body of another form, for surfaces that have their own form of errors.
    pub fn respond(self, body: &impl Serialize) -> Response {
        let status = self.status();
        metrics::counter!("turnpike_http_problems_total", "code" => self.code.clone().into_owned()).increment(1);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }

    /// Says when to come back.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.clone().respond(&self);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // Surfaces that have another form for errors find here what there is to say.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::TooManyStreams => Self::unavailable("too_many_streams", detail),
            Refused::TooManyStreamsOfCompany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail).retry_after(RETRY_AFTER)
            }
            Refused::Outbox(_) => Self::unavailable("spool_full", detail),
            Refused::KeyReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail),
            Refused::Unreachable => Self::unavailable("turn_unreachable", detail),
            Refused::ShuttingDown => Self::unavailable("shutting_down", detail),
        }
    }
}

impl From<outbox::Error> for Problem {
    fn from(error: outbox::Error) -> Self {
        Self::unavailable("spool_full", error.to_string())
    }
}

impl From<bus::Error> for Problem {
    fn from(error: bus::Error) -> Self {
        match error {
            bus::Error::Unavailable(reason) => {
                tracing::warn!(reason, "the bus did not answer a request");
                Self::unavailable("bus_unavailable", "the queues cannot be read right now")
            }
            bus::Error::Invalid(reason) => Self::bad_request("invalid", reason),
        }
    }
}

impl From<operations::Error> for Problem {
    fn from(error: operations::Error) -> Self {
        match error {
            operations::Error::Bus(error) => error.into(),
            operations::Error::Store(error) => error.into(),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(reason) => {
                tracing::warn!(reason, "the store did not answer a request");
                Self::unavailable("store_unavailable", "the store cannot be read right now")
            }
            store::Error::Invalid(reason) => Self::bad_request("invalid", reason),
            store::Error::Removed => Self::not_found("conversation"),
        }
    }
}
