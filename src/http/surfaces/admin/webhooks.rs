//! A company's webhook endpoints: added, listed, changed, tested, switched off, removed. A secret is told once, when it is
//! made or replaced; the values of headers never are.

mod form;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::form::{Disabling, EndpointChange, NewEndpoint, SecretRotation};
use self::view::{EndpointView, Endpoints, MadeEndpoint, TestResult};
use super::etag;
use crate::domain::event::EventType;
use crate::domain::webhook::{Disabled, Endpoint, InvalidForm, InvalidSecret, Secret};
use crate::domain::{CompanyId, CompanyScope, EndpointId, KeyScope};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::{App, openapi};
use crate::ports::webhook;

/// How often a change is tried when others change the same endpoint at the same time.
const TRIES: usize = 5;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(one, change, remove))
        .routes(routes!(rotate))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(test))
}

/// List webhook endpoints
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks", tag = "Webhooks", operation_id = "list_webhooks",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    responses((status = 200, description = "All of them.", body = Endpoints), openapi::Admission),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Endpoints>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let endpoints = app.directory.endpoints(&caller.scope).await?;
    Ok(Json(Endpoints { endpoints: endpoints.iter().map(EndpointView::of).collect() }))
}

/// Add a webhook endpoint
///
/// Its address is looked up: a name has to be known, and to lead to a public address. The secret is in the answer and
/// nowhere else.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks", tag = "Webhooks", operation_id = "add_webhook",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    request_body(content = NewEndpoint, description = "What it is to be.",
        example = json!({"url": "https://hooks.example.com/turnpike", "event_types": ["conversation.updated"]})),
    responses(
        (status = 201, description = "The endpoint, with its secret.", body = MadeEndpoint,
            headers(("ETag" = String, description = "Its tag."))),
        openapi::Admission, openapi::JsonBody, openapi::Conflict, openapi::Unprocessable,
    ),
)]
async fn add(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let wanted: NewEndpoint = super::json(&app, &headers, body).await?;
    let secret = chosen(wanted.secret.as_deref(), wanted.asymmetric, false)?;
    let (id, now) = (EndpointId::generate(), OffsetDateTime::now_utc());
    let company = caller.scope.company().clone();
    let types = vec![EventType::ConversationUpdated];
    let mut endpoint = Endpoint::new(id, company, wanted.url.clone(), secret, types, now);
    wanted.fill(&mut endpoint)?;
    let most = app.settings.webhooks.endpoints_per_company;
    if app.directory.endpoints(&caller.scope).await?.len() >= most {
        let detail = format!("the company has {most} endpoints already; remove those that nobody uses");
        return Err(Problem::new(StatusCode::CONFLICT, "too_many_endpoints", detail));
    }
    endpoint.url = app.webhooks.check(&endpoint.url).await?;
    app.directory.add_endpoint(&caller.scope, &endpoint).await?;
    Ok(etag::respond(StatusCode::CREATED, &MadeEndpoint::of(&endpoint), &etag::of(&endpoint)))
}

/// Read a webhook endpoint
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/{endpoint_id}", tag = "Webhooks",
    operation_id = "read_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
    ),
    responses(
        (status = 200, description = "The endpoint.", body = EndpointView,
            headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is as `If-None-Match` says."),
        openapi::Admission,
    ),
)]
async fn one(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let endpoint = find(&app, &caller.scope, &endpoint_id).await?;
    Ok(etag::tagged_as(&headers, &EndpointView::of(&endpoint), &etag::of(&endpoint)))
}

/// Change a webhook endpoint
///
/// A JSON merge patch (RFC 7396): a header that is named is set, one that is `null` goes, the others stay. With `If-Match`
/// nothing is changed that somebody else has changed meanwhile. What is on its way already is sent as it was made.
#[utoipa::path(
    patch, path = "/api/companies/{company_id}/webhooks/{endpoint_id}", tag = "Webhooks",
    operation_id = "change_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
        ("If-Match" = Option<String>, Header, description = "The tag of what is to be changed."),
    ),
    request_body(content = EndpointChange, description = "What is to be changed.",
        example = json!({"filter": {"channels": ["web"]}, "rate_limit": 20, "headers": {"x-api-key": "k-2026"}})),
    responses(
        (status = 200, description = "The endpoint as it is now.", body = EndpointView,
            headers(("ETag" = String, description = "Its tag."))),
        openapi::Admission, openapi::JsonBody, openapi::Conflict, openapi::PreconditionFailed, openapi::Unprocessable,
    ),
)]
async fn change(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let change: EndpointChange = super::json(&app, &headers, body).await?;
    // Nothing is looked up for an endpoint that is not there.
    find(&app, &caller.scope, &endpoint_id).await?;
    let url = match change.url()? {
        Some(url) => Some(app.webhooks.check(&url).await?),
        None => None,
    };
    let changed = edit(&app, &caller.scope, &endpoint_id, &headers, |endpoint| change.fill(endpoint, url.clone()));
    let changed = changed.await?;
    Ok(etag::respond(StatusCode::OK, &EndpointView::of(&changed), &etag::of(&changed)))
}

/// Remove a webhook endpoint
///
/// What is on its way to it is given up.
#[utoipa::path(
    delete, path = "/api/companies/{company_id}/webhooks/{endpoint_id}", tag = "Webhooks",
    operation_id = "remove_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
    ),
    responses((status = 204, description = "It is gone."), openapi::Admission),
)]
async fn remove(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = id_of(&endpoint_id)?;
    let was_there = app.directory.remove_endpoint(&caller.scope, &id).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("endpoint")) }
}

/// Replace an endpoint's secret
///
/// For 24 hours both sign, the new one first. The new secret is in the answer and nowhere else.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/{endpoint_id}/rotate", tag = "Webhooks",
    operation_id = "rotate_webhook_secret", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
        ("If-Match" = Option<String>, Header, description = "The tag of what is to be changed."),
    ),
    request_body(content = Option<SecretRotation>, description = "What signs from now on; a secret of the same kind unless this says otherwise.",
        example = json!({})),
    responses(
        (status = 200, description = "The endpoint, with its secret.", body = MadeEndpoint,
            headers(("ETag" = String, description = "Its tag."))),
        openapi::Admission, openapi::JsonBody, openapi::Conflict, openapi::PreconditionFailed,
    ),
)]
async fn rotate(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let SecretRotation { secret, asymmetric } = super::json_or_default(&app, &headers, body).await?;
    let known = find(&app, &caller.scope, &endpoint_id).await?;
    let secret = chosen(secret.as_deref(), asymmetric, !known.secret.is_shared())?;
    let rotated = edit(&app, &caller.scope, &endpoint_id, &headers, |endpoint| {
        endpoint.rotate(secret.clone(), OffsetDateTime::now_utc());
        Ok(())
    });
    let rotated = rotated.await?;
    Ok(etag::respond(StatusCode::OK, &MadeEndpoint::of(&rotated), &etag::of(&rotated)))
}

/// Switch a webhook endpoint off
///
/// It gets nothing until it is switched on again, and what is on its way to it is given up. One that is off already stays as
/// it is.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/{endpoint_id}/disable", tag = "Webhooks",
    operation_id = "disable_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
    ),
    request_body(content = Option<Disabling>, description = "Why.", example = json!({"reason": "moving house"})),
    responses(
        (status = 200, description = "The endpoint as it is now.", body = EndpointView), openapi::Admission,
        openapi::JsonBody,
    ),
)]
async fn disable(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EndpointView>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let disabling: Disabling = super::json_or_default(&app, &headers, body).await?;
    let disabled = Disabled::now(disabling.reason()?);
    app.directory.disable_endpoint(&caller.scope, &id_of(&endpoint_id)?, &disabled).await?;
    Ok(Json(EndpointView::of(&find(&app, &caller.scope, &endpoint_id).await?)))
}

/// Switch a webhook endpoint on
///
/// It gets what happens from now on.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/{endpoint_id}/enable", tag = "Webhooks",
    operation_id = "enable_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
        ("If-Match" = Option<String>, Header, description = "The tag of what is to be changed."),
    ),
    responses(
        (status = 200, description = "The endpoint as it is now.", body = EndpointView), openapi::Admission,
        openapi::Conflict, openapi::PreconditionFailed,
    ),
)]
async fn enable(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<EndpointView>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let enabled = edit(&app, &caller.scope, &endpoint_id, &headers, |endpoint| {
        endpoint.disabled = None;
        Ok(())
    });
    Ok(Json(EndpointView::of(&enabled.await?)))
}

/// Test a webhook endpoint
///
/// Posts one webhook now that says nothing but that it arrives, signed like all, and tells what came back. It is not tried
/// again, and one that is switched off is tested all the same.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/{endpoint_id}/test", tag = "Webhooks",
    operation_id = "test_webhook", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
    ),
    responses(
        (status = 200, description = "What came back, be it nothing.", body = TestResult), openapi::Admission,
        openapi::Unprocessable,
    ),
)]
async fn test(
    State(app): State<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<TestResult>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let endpoint = find(&app, &caller.scope, &endpoint_id).await?;
    let posted = app
        .webhooks
        .test(&endpoint)
        .await
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_secret", error.to_string()))?;
    Ok(Json(TestResult::of(&posted)))
}

/// Changes an endpoint that may be changed by others at the same time.
async fn edit(
    app: &App,
    scope: &CompanyScope,
    id: &str,
    headers: &HeaderMap,
    change: impl Fn(&mut Endpoint) -> Result<(), Problem>,
) -> Result<Endpoint, Problem> {
    for _ in 0..TRIES {
        let known = find(app, scope, id).await?;
        etag::check(headers, &known)?;
        let mut changed = known.clone();
        change(&mut changed)?;
        if app.directory.change_endpoint(scope, &known, &changed).await? {
            return Ok(changed);
        }
    }
    Err(Problem::new(StatusCode::CONFLICT, "changed_meanwhile", "others change the endpoint all the time; try again"))
}

async fn find(app: &App, scope: &CompanyScope, id: &str) -> Result<Endpoint, Problem> {
    let found = app.directory.endpoint(scope, &id_of(id)?).await?;
    found.ok_or_else(|| Problem::not_found("endpoint"))
}

fn id_of(id: &str) -> Result<EndpointId, Problem> {
    id.parse().map_err(|_| Problem::not_found("endpoint"))
}

/// The secret that was given, or one that is made now, of the usual kind unless more is said.
fn chosen(given: Option<&str>, asymmetric: Option<bool>, is_usually_asymmetric: bool) -> Result<Secret, Problem> {
    match (given, asymmetric) {
        (Some(given), None) => return Ok(given.parse::<Secret>()?),
        (Some(_), Some(_)) => {
            let detail = "give a `secret`, or say with `asymmetric` what is to be made, and not both";
            return Err(Problem::bad_request("invalid_secret", detail));
        }
        (None, _) => {}
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| Problem::unavailable("no_random_bytes", "the system gives no random bytes right now"))?;
    let asymmetric = asymmetric.unwrap_or(is_usually_asymmetric);
    Ok(if asymmetric { Secret::key_pair(bytes) } else { Secret::shared(bytes) })
}

impl From<InvalidForm> for Problem {
    fn from(error: InvalidForm) -> Self {
        Self::bad_request(error.code(), error.to_string())
    }
}

impl From<InvalidSecret> for Problem {
    fn from(error: InvalidSecret) -> Self {
        Self::bad_request("invalid_secret", error.to_string())
    }
}

/// Why an address cannot be an endpoint's.
impl From<webhook::Error> for Problem {
    fn from(error: webhook::Error) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            webhook::Error::Url(_) => (StatusCode::BAD_REQUEST, "invalid_url"),
            webhook::Error::Address(_) => (StatusCode::UNPROCESSABLE_ENTITY, "address_not_allowed"),
            webhook::Error::Dns(_) => (StatusCode::UNPROCESSABLE_ENTITY, "name_not_resolved"),
            _ => return Self::unavailable("name_not_resolved", detail),
        };
        Self::new(status, code, detail)
    }
}
