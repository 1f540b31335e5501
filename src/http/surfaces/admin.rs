//! Administration: one file for each kind of thing. All of it is for the operator's token and for keys of the company.

pub(super) mod keys;

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;

use crate::config::AuthMode;
use crate::http::problem::Problem;
use crate::http::{App, body};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(keys::routes())
}

/// A JSON body within the usual limits.
async fn json<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let must_say_so = app.gate.mode() == AuthMode::Open;
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    body::json(headers, body, limits.body_bytes, server.body_timeout, must_say_so).await
}
