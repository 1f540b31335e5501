//! Compressed bearer tokens: whether one works, and a new one in its place.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use crate::config::AuthMode;
use crate::domain::key::Wanted;
use crate::domain::{ApiKey, CompanyId, CompanyScope, KeyScope};
use crate::http::App;
use crate::http::auth::Verified;
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::surfaces::admin::keys;
use crate::http::token::Token;

/// How long a token lives whose key lives for good.
const LIFETIME: Duration = Duration::hours(24);
/// How the names of keys begin that were made for tokens.
const NAME: &str = "token of ";

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(validate)).routes(routes!(refresh))
}

/// A token.
#[derive(Deserialize, ToSchema)]
struct Presented {
    /// The token, or a key as it is.
    token: String,
}

/// Whether a token works.
#[derive(Serialize, ToSchema)]
struct Validity {
    /// Whether it does.
    valid: bool,
    /// The company that it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    company_id: Option<CompanyId>,
    /// What it opens of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<KeyScope>,
    /// When it stops to work; nothing means that it does not.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
struct Refreshed {
    /// The token.
    #[schema(example = "H4sIAAAAAAAA…")]
    token: String,
    /// The company that it opens.
    company_id: CompanyId,
    /// What it opens of it.
    scope: KeyScope,
    /// When it stops to work.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// Say whether a compressed token works
///
/// The token is all that is asked for. One that does not work is no error: the answer says why.
#[utoipa::path(post, path = "/v1/validate", operation_id = "validate_token", tag = "OpenAI", security(()),
    request_body(content = Presented, example = json!({"token": "H4sIAAAAAAAA…"})),
    responses((status = 200, description = "Whether it works.", body = Validity), Errors))]
async fn validate(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Validity>, Problem> {
    let token = presented(&app, &headers, body).await?;
    match app.gate.verify(&headers, &token).await {
        Ok(Verified { key, expires_at, .. }) => Ok(Json(Validity {
            valid: true,
            company_id: Some(key.company_id.clone()),
            scope: Some(key.scope),
            expires_at,
            reason: None,
        })),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let reason = Some(problem.detail().to_owned());
            Ok(Json(Validity { valid: false, company_id: None, scope: None, expires_at: None, reason }))
        }
        Err(problem) => Err(problem),
    }
}

/// Put a new compressed token in the place of one
///
/// A token whose key lives for good gets a key of its own that lives for 24 hours. A token whose key ends gets a new key
/// that lives as long as that one did, and the old key stops to work at once.
#[utoipa::path(post, path = "/v1/refresh", operation_id = "refresh_token", tag = "OpenAI", security(()),
    request_body(content = Presented, example = json!({"token": "H4sIAAAAAAAA…"})),
    responses((status = 200, description = "The new token; it is told here and never again.", body = Refreshed), Errors))]
async fn refresh(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Refreshed>, Problem> {
    let token = presented(&app, &headers, body).await?;
    let Verified { key, scope, .. } = app.gate.verify(&headers, &token).await?;
    if key.scope == KeyScope::Publishable {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_refreshable",
            "a publishable key stands in pages for everyone to see: whoever has seen it must not replace it",
        ));
    }
    let now = OffsetDateTime::now_utc();
    let known = app.directory.keys(&scope).await?;
    let parent = key.name.as_ref().and_then(|name| name.strip_prefix(NAME));
    if parent.is_some_and(|parent| !known.iter().any(|key| key.prefix == parent && key.is_valid_at(now))) {
        // Or whoever has had a key once could go on for ever after it was revoked.
        return Err(unauthorized("the key that the token was made from does not work any more"));
    }
    forget_expired(&app, &scope, &known, now).await?;
    let wanted = match key.expires_at {
        Some(_) => key.again(now),
        None => {
            let name = Some(format!("{NAME}{}", key.prefix));
            Wanted { name, expires_at: Some(now + LIFETIME), ..key.again(now) }
        }
    };
    let (made, secret) = keys::make(&app, &scope, wanted).await?;
    if key.expires_at.is_some() {
        let was_there = app.directory.remove_key(&scope, &key.hash).await?;
        app.gate.forget_key(&key.hash).await;
        if !was_there {
            // The same token was refreshed at the same moment, and only one of the two may go on.
            app.directory.remove_key(&scope, &made.hash).await?;
            return Err(unauthorized("the token was refreshed before"));
        }
    }
    let ApiKey { company_id, scope, expires_at, .. } = made;
    let token = Token::new(secret, expires_at).pack();
    Ok(Json(Refreshed { token, company_id, scope, expires_at }))
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

async fn presented(app: &App, headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let is_open = app.gate.mode() == AuthMode::Open;
    let (limits, server) = (&app.settings.limits, &app.settings.server);
    let Presented { token } = body::json(headers, body, limits.body_bytes, server.body_timeout, is_open).await?;
    Ok(token)
}

/// Keys of tokens that are over would fill the company's list.
async fn forget_expired(app: &App, scope: &CompanyScope, known: &[ApiKey], now: OffsetDateTime) -> Result<(), Problem> {
    for key in known {
        let is_of_token = key.name.as_ref().is_some_and(|name| name.starts_with(NAME));
        if is_of_token && !key.is_valid_at(now) {
            app.directory.remove_key(scope, &key.hash).await?;
        }
    }
    Ok(())
}
