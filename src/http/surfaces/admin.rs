//! Administration: one file for each kind of thing. Companies are the operator's; what a company has is its own, for keys of
//! the scope that it needs.

mod companies;
pub(super) mod conversations;
mod deliveries;
mod documents;
mod etag;
mod jobs;
pub(super) mod keys;
mod replays;
mod search;
mod usage;
mod webhooks;

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::config::AuthMode;
use crate::http::problem::Problem;
use crate::http::{App, body};

/// What is on a page unless the request says otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(companies::routes())
        .merge(keys::routes())
        .merge(documents::routes())
        .merge(jobs::routes())
        .merge(search::routes())
        .merge(usage::routes())
        .merge(conversations::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(replays::routes())
}

/// Which page of a list is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// How many at most: 50 unless it is said, and never more than 200.
    limit: Option<usize>,
    /// Where the page before this one ended: its `next_cursor`.
    cursor: Option<String>,
}

impl Paging {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1)
    }

    /// What the page before this one ended with.
    fn after(&self) -> Result<Option<String>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| no_cursor())?;
        String::from_utf8(bytes).map(Some).map_err(|_| no_cursor())
    }
}

/// The cursor of a page that ended with something: nothing that a client could read more into.
fn cursor(end: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(end)
}

fn no_cursor() -> Problem {
    Problem::bad_request("invalid_cursor", "`cursor` is not the `next_cursor` of a page")
}

/// As [`json`] for requests that need no body.
async fn json_or_default<T: DeserializeOwned + Default>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let must_say_so = app.gate.mode() == AuthMode::Open;
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    body::json_or_default(headers, body, limits.body_bytes, server.body_timeout, must_say_so).await
}

/// A JSON body within the usual limits.
async fn json<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let must_say_so = app.gate.mode() == AuthMode::Open;
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    body::json(headers, body, limits.body_bytes, server.body_timeout, must_say_so).await
}

/// Tells a field that is `null` from one that is not there.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
