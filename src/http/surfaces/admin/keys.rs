//! A company's keys: made, listed, replaced, revoked. A secret is told once, when its key is made.

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

use crate::domain::key::{self, Wanted};
use crate::domain::{ApiKey, CompanyId, CompanyScope, KeyScope};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::openapi;
use crate::http::problem::Problem;

/// How long a key works on that another one takes the place of, in seconds: unless the request says otherwise, and at most.
const GRACE_S: (u32, u32) = (24 * 3600, 30 * 24 * 3600);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(revoke)).routes(routes!(rotate))
}

/// A key as it is shown: all but its secret, of which nobody knows more than the prefix.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "prefix": "tp_pub_1f6c02aa", "scope": "publishable", "name": "Shop", "origins": ["https://shop.example"],
    "requests_per_minute": null, "created_at": "2026-11-20T10:00:00Z", "expires_at": null,
    "last_used_at": "2026-11-20T11:30:00Z"
}))]
pub(super) struct Key {
    /// The first characters of the secret: the key's name in addresses.
    prefix: String,
    /// What it opens.
    scope: KeyScope,
    /// What people call it.
    name: Option<String>,
    /// The origins whose pages may use it, if it is publishable.
    origins: Vec<String>,
    /// Requests per minute, where that is not what is usual for its scope.
    requests_per_minute: Option<u32>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When it stops to work.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// When it was last used, give or take a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

/// A company's keys.
#[derive(Serialize, ToSchema)]
struct Keys {
    /// Oldest first; expired ones too, until they are removed.
    keys: Vec<Key>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeKey {
    /// The key.
    key: Key,
    /// The whole secret. It is told here and never again.
    #[schema(example = "tp_1f6c02aa5be9d1130cde4f71a2b8c3d4e5f60718293a4b5c")]
    secret: String,
}

/// What a new key is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What it opens: `backend` unless this says otherwise.
    #[serde(default)]
    scope: KeyScope,
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// The origins whose pages may use it. A publishable key needs at least one, others have none.
    #[serde(default)]
    #[schema(max_items = 20)]
    origins: Vec<String>,
    /// Requests per minute, instead of what is usual for its scope.
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
    /// When it stops to work; never, unless this says so.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// How a key is to be replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyRotation {
    /// How long the old key works on, in seconds; 24 hours unless this says otherwise.
    #[schema(maximum = 2_592_000)]
    grace_s: Option<u32>,
    /// When the new key stops to work; unless this says so, it lives as long as the old one was to.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// List a company's keys
#[utoipa::path(
    get, path = "/api/companies/{company_id}/keys", tag = "Keys", operation_id = "list_keys", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company.")),
    responses(
        (status = 200, description = "All of them.", body = Keys),
        openapi::Admission,
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Keys>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let keys = app.directory.keys(&caller.scope).await?;
    Ok(Json(Keys { keys: keys.into_iter().map(Key::from).collect() }))
}

/// Make a key
///
/// The secret is in the answer and nowhere else.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/keys", tag = "Keys", operation_id = "add_key", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company.")),
    request_body(content = NewKey, description = "What it is to be.",
        example = json!({"scope": "publishable", "name": "Shop", "origins": ["https://shop.example"]})),
    responses(
        (status = 201, description = "The key, with its secret.", body = MadeKey),
        openapi::Admission, openapi::JsonBody, openapi::Conflict,
    ),
)]
async fn add(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let NewKey { scope, name, origins, requests_per_minute, expires_at } = super::json(&app, &headers, body).await?;
    let wanted = Wanted { scope, name, origins, requests_per_minute, expires_at };
    let (key, secret) = make(&app, &caller.scope, wanted).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { key: key.into(), secret })))
}

/// Revoke a key
///
/// It stops to work at once here, and within seconds at other gateways.
#[utoipa::path(
    delete, path = "/api/companies/{company_id}/keys/{prefix}", tag = "Keys", operation_id = "revoke_key", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), ("prefix" = String, Path, description = "How the key begins.")),
    responses(
        (status = 204, description = "It is gone."),
        openapi::Admission,
    ),
)]
async fn revoke(
    State(app): State<Arc<App>>,
    Path((company_id, prefix)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let key = find(&app, &caller.scope, &prefix).await?;
    let was_there = app.directory.remove_key(&caller.scope, &key.hash).await?;
    app.gate.forget_key(&key.hash).await;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("key")) }
}

/// Replace a key
///
/// Makes one that is like it. The old one works on for a while, so that nobody is locked out while the new secret is
/// brought to where it is used.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/keys/{prefix}/rotate", tag = "Keys", operation_id = "rotate_key", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), ("prefix" = String, Path, description = "How the key begins.")),
    request_body(content = KeyRotation, description = "How long the old one works on.", example = json!({"grace_s": 3600})),
    responses(
        (status = 201, description = "The key, with its secret.", body = MadeKey),
        openapi::Admission, openapi::JsonBody, openapi::Conflict,
    ),
)]
async fn rotate(
    State(app): State<Arc<App>>,
    Path((company_id, prefix)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let rotation: KeyRotation = super::json(&app, &headers, body).await?;
    let grace_s = rotation.grace_s.unwrap_or(GRACE_S.0);
    if grace_s > GRACE_S.1 {
        return Err(Problem::bad_request("invalid_grace", format!("`grace_s` is at most {}", GRACE_S.1)));
    }
    let old = find(&app, &caller.scope, &prefix).await?;
    let now = OffsetDateTime::now_utc();
    let again = old.again(now);
    let wanted = Wanted { expires_at: rotation.expires_at.or(again.expires_at), ..again };
    let (key, secret) = make(&app, &caller.scope, wanted).await?;
    let outgoing = old.outgoing(Duration::seconds(i64::from(grace_s)), now);
    let replaced = app.directory.put_key(&caller.scope, &outgoing).await;
    app.gate.forget_key(&old.hash).await;
    if !matches!(replaced, Ok(true)) {
        // Nobody is told the new secret then, so its key must not stay.
        app.directory.remove_key(&caller.scope, &key.hash).await?;
        replaced?;
        return Err(Problem::not_found("key"));
    }
    Ok((StatusCode::CREATED, Json(MadeKey { key: key.into(), secret })))
}

/// Makes a key and keeps it.
pub(in crate::http::surfaces) async fn make(
    app: &App,
    scope: &CompanyScope,
    wanted: Wanted,
) -> Result<(ApiKey, String), Problem> {
    let now = OffsetDateTime::now_utc();
    let known = app.directory.keys(scope).await?;
    let wanted = wanted.check(&known, now)?;
    loop {
        let mut entropy = [0; 24];
        getrandom::fill(&mut entropy)
            .map_err(|_| Problem::unavailable("no_random_bytes", "the system gives no random bytes right now"))?;
        let (key, secret) = ApiKey::make(scope.company().clone(), wanted.clone(), entropy, now);
        if !key.is_named_like(&known) {
            app.directory.add_key(&key).await?;
            return Ok((key, secret));
        }
    }
}

async fn find(app: &App, scope: &CompanyScope, prefix: &str) -> Result<ApiKey, Problem> {
    let keys = app.directory.keys(scope).await?;
    keys.into_iter().find(|key| key.prefix == prefix).ok_or_else(|| Problem::not_found("key"))
}

impl From<ApiKey> for Key {
    fn from(key: ApiKey) -> Self {
        Self {
            prefix: key.prefix,
            scope: key.scope,
            name: key.name,
            origins: key.origins,
            requests_per_minute: key.requests_per_minute,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

impl From<key::Error> for Problem {
    fn from(error: key::Error) -> Self {
        match error {
            key::Error::TooManyKeys => Self::new(StatusCode::CONFLICT, "too_many_keys", error.to_string()),
            _ => Self::bad_request("invalid_key", error.to_string()),
        }
    }
}
