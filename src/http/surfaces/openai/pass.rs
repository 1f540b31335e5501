//! Passes a request on to a provider, and the provider's answer back as it comes: nothing of it is read.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, Sleep, sleep};

use super::{error, models};
use crate::http::App;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::pipeline::live::Occupied;
use crate::ports::upstream::{Answer, Call, Error, Method, Refusal, Upstream};

/// Where a request goes.
pub(super) struct Target {
    /// The provider.
    pub(super) upstream: Arc<dyn Upstream>,
    /// The model's name there; none where the request names none.
    pub(super) model: Option<String>,
}

/// The provider that has a model. A request without one goes to the only provider.
pub(super) async fn target(app: &App, model: Option<&str>) -> Result<Target, Problem> {
    let Some(model) = model else {
        let only = app.listings.only().ok_or_else(|| {
            super::refused(
                "missing_required_parameter",
                "model",
                "`model` is missing, and there is more than one provider",
            )
        })?;
        return Ok(Target { upstream: Arc::clone(only), model: None });
    };
    let (upstream, model) = app.listings.find(model).await.ok_or_else(|| models::unknown(model))?;
    Ok(Target { upstream, model: Some(model) })
}

/// What has to be known of a document that is passed on.
#[derive(Deserialize)]
pub(super) struct Shape<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
}

impl Shape<'_> {
    /// The model's name, if there is one.
    pub(super) fn name(&self) -> Result<Option<Cow<'_, str>>, Problem> {
        self.model.map(name_of).transpose()
    }

    /// The document with the model's name as its provider knows it.
    pub(super) fn readied(&self, document: &Bytes, model: Option<&str>, target: &Target) -> Bytes {
        match (self.model, target.model.as_deref()) {
            (Some(raw), Some(named)) if model != Some(named) => replaced(document, raw, named),
            _ => document.clone(),
        }
    }
}

/// The name of a model.
pub(super) fn name_of(model: &RawValue) -> Result<Cow<'_, str>, Problem> {
    let name = serde_json::from_str::<Name<'_>>(model.get()).ok().map(|name| name.0);
    name.filter(|name| !name.is_empty()).ok_or_else(|| super::refused("invalid_type", "model", "`model` is no name"))
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Passes a JSON document on to the provider that has its model, and the answer back.
pub(super) async fn document(
    app: &App,
    caller: &Caller,
    path: &str,
    document: &Bytes,
    shape: &Shape<'_>,
    model: Option<&str>,
) -> Result<Response, Problem> {
    let target = target(app, model).await?;
    let place = app.engine.occupy(&caller.scope)?;
    let body = shape.readied(document, model, &target);
    json(app, place, target.upstream.as_ref(), path, body).await
}

/// Replaces a value of a JSON document in its text. What is around it stays as it is, byte for byte.
pub(super) fn replaced(document: &Bytes, value: &RawValue, by: &str) -> Bytes {
    let text = value.get();
    let Some(start) = (text.as_ptr() as usize).checked_sub(document.as_ptr() as usize) else { return document.clone() };
    let by = serde_json::Value::from(by).to_string();
    spliced(document, start..start + text.len(), by.as_bytes())
}

/// Puts bytes into the place of others.
pub(super) fn spliced(bytes: &Bytes, place: std::ops::Range<usize>, by: &[u8]) -> Bytes {
    let (Some(before), Some(after)) = (bytes.get(..place.start), bytes.get(place.end..)) else { return bytes.clone() };
    [before, by, after].concat().into()
}

/// Passes a JSON body on, and the answer back.
pub(super) async fn json(
    app: &App,
    place: Occupied,
    upstream: &dyn Upstream,
    path: &str,
    body: Bytes,
) -> Result<Response, Problem> {
    body_of(app, place, upstream, path, "application/json".to_owned(), body).await
}

/// Passes a body of any type on, and the answer back.
pub(super) async fn body_of(
    app: &App,
    place: Occupied,
    upstream: &dyn Upstream,
    path: &str,
    content_type: String,
    body: Bytes,
) -> Result<Response, Problem> {
    let patience = app.settings.models.relay_idle_timeout;
    let call = Call { method: Method::Post, path: path.to_owned(), content_type: Some(content_type), body, patience };
    let answer = ask(upstream, call).await?;
    Ok(back(app, answer, upstream, path, place))
}

/// Asks a provider.
///
/// # Errors
/// 502 and 504.
pub(super) async fn ask(upstream: &dyn Upstream, call: Call) -> Result<Answer, Problem> {
    upstream.call(call).await.map_err(|error| {
        let provider = upstream.name();
        tracing::warn!(provider, %error, "a provider does not answer what is passed on");
        let (status, code) = match error {
            Error::Timeout => (StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
            Error::Unreachable(_) | Error::Broken(_) => (StatusCode::BAD_GATEWAY, "provider_unreachable"),
        };
        Problem::new(status, code, format!("the provider {provider} does not answer; try again in a moment"))
    })
}

/// What a provider answered, as a response.
pub(super) fn back(app: &App, answer: Answer, upstream: &dyn Upstream, path: &str, place: Occupied) -> Response {
    let (idle, is_stream) = (app.settings.models.relay_idle_timeout, is_event_stream(&answer));
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = match answer.refusal {
        Some(refusal) => refused(status, refusal, upstream.name(), path),
        None => (status, Body::from_stream(Relayed::new(answer.body, place, idle))).into_response(),
    };
    let is_error = !status.is_success();
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && !(is_error && name == header::CONTENT_TYPE)
        {
            headers.insert(name, value);
        }
    }
    if is_stream {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    response
}

/// Whether an answer is a stream of events.
pub(super) fn is_event_stream(answer: &Answer) -> bool {
    answer.headers.iter().any(|(name, value)| name == "content-type" && value.starts_with("text/event-stream"))
}

/// What a provider says instead of an answer.
fn refused(status: StatusCode, refusal: Refusal, provider: &str, path: &str) -> Response {
    // Its message goes to the client alone: providers repeat there what they were sent.
    let code = refusal.code.as_deref().unwrap_or_default();
    tracing::info!(provider, status = status.as_u16(), path, error.code = code, "a provider refuses");
    match status {
        // It is this service's key that the provider does not take; the client's is as good as it was.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_refuses_key",
            format!("the provider {provider} refuses the key that this service has for it"),
        )
        .into_response(),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if !refusal.is_of_the_api => Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "not_supported_by_provider",
            format!("the provider {provider} has no {path}"),
        )
        .into_response(),
        status if status.is_client_error() || status.is_server_error() => error::of_provider(status, refusal),
        status => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_misbehaves",
            format!("the provider {provider} answered with status {}", status.as_u16()),
        )
        .into_response(),
    }
}

/// A provider's answer on its way to the client. Dropped with the client's connection, it ends the request at the
/// provider, and frees its place. What breaks off there breaks off here, so that nobody takes a part for the whole.
struct Relayed {
    body: BoxStream<'static, Result<Bytes, Error>>,
    idle: Duration,
    /// Rings once in a while, not set anew by each piece: pieces are many.
    timer: Pin<Box<Sleep>>,
    /// Whether anything came since it rang last.
    has_moved: bool,
    _place: Occupied,
}

impl Relayed {
    fn new(body: BoxStream<'static, Result<Bytes, Error>>, place: Occupied, idle: Duration) -> Self {
        Self { body, idle, timer: Box::pin(sleep(idle)), has_moved: false, _place: place }
    }
}

impl Stream for Relayed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.as_mut().poll_next(context);
        if polled.is_ready() {
            self.has_moved = true;
            return polled;
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if !self.has_moved {
                metrics::counter!("turnpike_http_relay_timeouts_total").increment(1);
                return Poll::Ready(Some(Err(Error::Timeout)));
            }
            self.has_moved = false;
            let next = Instant::now() + self.idle;
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}
