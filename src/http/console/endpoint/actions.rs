//! What can be done about an endpoint.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::Console;
use super::super::failure::Failure;
use super::super::form::{Nothing, Sent};
use super::super::visit::Place;
use super::find;
use super::wanted::Since;
use crate::domain::delivery::{Filter, State as Standing};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{EndpointId, KeyScope};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::replays;
use crate::ports::webhook::{self, Posted, Unsigned};

/// How often a change is tried again that somebody else's came before.
const TRIES: usize = 5;

/// Sends nothing to an endpoint any more.
pub(in crate::http::console) async fn disable(
    State(console): State<Arc<Console>>,
    Path((company, endpoint)): Path<(String, String)>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    let endpoint = find(&console, &place.scope, &endpoint).await?;
    let who = if sent.visit.is_operator() { "the operator" } else { "the company" };
    let disabled = Disabled::now(format!("disabled by {who} in the console"));
    console.app.directory.disable_endpoint(&place.scope, &endpoint.id, &disabled).await?;
    tracing::info!(company.id = %place.company.id, endpoint.id = %endpoint.id, who, "an endpoint was disabled in the console");
    Ok(back(&place, &endpoint.id, "disabled"))
}

/// Sends to an endpoint again.
pub(in crate::http::console) async fn enable(
    State(console): State<Arc<Console>>,
    Path((company, endpoint)): Path<(String, String)>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    for _ in 0..TRIES {
        let known = find(&console, &place.scope, &endpoint).await?;
        let changed = Endpoint { disabled: None, ..known.clone() };
        if console.app.directory.change_endpoint(&place.scope, &known, &changed).await? {
            tracing::info!(company.id = %place.company.id, endpoint.id = %known.id, "an endpoint was enabled in the console");
            return Ok(back(&place, &known.id, "enabled"));
        }
    }
    let detail = "others change the endpoint all the time; try again";
    Err(Problem::new(StatusCode::CONFLICT, "changed_meanwhile", detail).into())
}

/// Sends an endpoint a webhook that says nothing but that it arrives.
pub(in crate::http::console) async fn test(
    State(console): State<Arc<Console>>,
    Path((company, endpoint)): Path<(String, String)>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    let endpoint = find(&console, &place.scope, &endpoint).await?;
    let said = match console.app.webhooks.test(&endpoint).await {
        Err(Unsigned(_)) => "tested&kind=secret".to_owned(),
        Ok(Posted { result: Ok(answer), timing, .. }) => {
            format!("tested&status={}&ms={}", answer.status, timing.total.as_millis())
        }
        Ok(Posted { result: Err(error), .. }) => format!("tested&kind={}", kind(&error)),
    };
    Ok(back(&place, &endpoint.id, &said))
}

fn kind(error: &webhook::Error) -> &'static str {
    match error {
        webhook::Error::Url(_) => "url",
        webhook::Error::Address(_) => "address",
        webhook::Error::Dns(_) => "dns",
        webhook::Error::Connect(_) => "connect",
        webhook::Error::Tls(_) => "tls",
        webhook::Error::Timeout(_) => "timeout",
        webhook::Error::Protocol(_) => "protocol",
    }
}

/// What is to be made again.
#[derive(Deserialize)]
pub(in crate::http::console) struct Again {
    #[serde(default)]
    since: Since,
}

/// Makes again what was given up.
pub(in crate::http::console) async fn replay(
    State(console): State<Arc<Console>>,
    Path((company, endpoint)): Path<(String, String)>,
    sent: Sent<Again>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    let endpoint = find(&console, &place.scope, &endpoint).await?;
    let filter = Filter {
        endpoint_id: Some(endpoint.id.clone()),
        states: [Standing::Dead].into(),
        from: sent.fields.since.from(OffsetDateTime::now_utc()),
        ..Filter::default()
    };
    replays::begin(&console.app, &place.scope, filter).await?;
    Ok(back(&place, &endpoint.id, "replaying"))
}

/// Where a replay was stopped from.
#[derive(Deserialize)]
pub(in crate::http::console) struct Stopped {
    endpoint: Option<EndpointId>,
}

/// Stops a replay.
pub(in crate::http::console) async fn cancel(
    State(console): State<Arc<Console>>,
    Path((company, replay)): Path<(String, Uuid)>,
    sent: Sent<Stopped>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    console.app.deliveries.cancel_replay(&place.scope, replay, OffsetDateTime::now_utc()).await?;
    match sent.fields.endpoint {
        Some(endpoint) => Ok(back(&place, &endpoint, "cancelled")),
        None => Ok(Redirect::to(&place.address("webhooks")).into_response()),
    }
}

fn back(place: &Place, endpoint: &EndpointId, said: &str) -> Response {
    Redirect::to(&place.address(&format!("webhooks/{endpoint}?said={said}"))).into_response()
}
