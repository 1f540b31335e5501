//! Companies: added, listed, changed, removed with everything.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Paging, cursor, etag, keys, named};
use crate::domain::key::Wanted;
use crate::domain::{Company, CompanyId, KeyScope, Language};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::ports::erasure::{self, CompanyReceipt};
use crate::runtime::tasks;

/// Longest name and industry, in characters.
const NAME_CHARS: usize = 200;
/// Longest description in characters: it goes into every prompt.
const DESCRIPTION_CHARS: usize = 2_000;
/// Most languages.
const LANGUAGES: usize = 50;
/// Longest retention in days.
const RETENTION_DAYS: u32 = 36_500;
/// How often a change is tried when others change the same company at the same time.
const TRIES: usize = 5;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(one, change, remove))
}

/// Companies, by id.
#[derive(Serialize, ToSchema)]
struct Companies {
    /// The companies.
    companies: Vec<Company>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

/// A company that was added.
#[derive(Serialize, ToSchema)]
struct AddedCompany {
    /// The company.
    company: Company,
    /// Its first key, of scope `admin`.
    key: keys::Key,
    /// The key's whole secret. It is told here and never again.
    secret: String,
}

/// A company to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCompany {
    /// Its id: 1 to 64 ASCII letters, digits, `_` and `-`.
    id: CompanyId,
    /// What its customers call it; its id unless this says otherwise.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Its industry, which chooses the pipeline.
    #[schema(max_length = 200)]
    industry: Option<String>,
    /// The languages its customers write in, by code; none for any.
    #[serde(default)]
    #[schema(max_items = 50)]
    languages: Vec<Language>,
    /// A pipeline by name, instead of its industry's.
    pipeline: Option<String>,
    /// One or two sentences about it that go into every prompt.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Days after which its turns are removed; never, unless this says so.
    #[schema(minimum = 1, maximum = 36500)]
    retention_days: Option<u32>,
}

/// What is to be changed of a company. What is not named stays; `null` takes it away.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompanyChange {
    /// What its customers call it.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Option<Option<String>>,
    /// Its industry, which chooses the pipeline.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 200)]
    industry: Option<Option<String>>,
    /// The languages its customers write in, by code; none for any.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Vec<Language>>, max_items = 50)]
    languages: Option<Option<Vec<Language>>>,
    /// A pipeline by name, instead of its industry's.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    pipeline: Option<Option<String>>,
    /// One or two sentences about it that go into every prompt.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Option<Option<String>>,
    /// Days after which its turns are removed.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 36500)]
    retention_days: Option<Option<u32>>,
}

/// List companies
///
/// By id. For the operator.
#[utoipa::path(
    get, path = "/api/companies", tag = "Companies", operation_id = "list_companies", security(("bearer" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Companies), openapi::Admission),
)]
async fn list(
    State(app): State<Arc<App>>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Companies>, Problem> {
    app.gate.admit_operator(&headers)?;
    let after = paging.after()?;
    let mut companies = app.directory.companies().await?;
    companies.retain(|company| after.as_ref().is_none_or(|after| company.id.as_str() > after.as_str()));
    let has_more = companies.len() > paging.limit();
    companies.truncate(paging.limit());
    let next_cursor = companies.last().filter(|_| has_more).map(|last| cursor(last.id.as_str()));
    Ok(Json(Companies { companies, next_cursor }))
}

/// Add a company
///
/// With its first key. For the operator.
#[utoipa::path(
    post, path = "/api/companies", tag = "Companies", operation_id = "add_company", security(("bearer" = [])),
    request_body(content = NewCompany, description = "The company.",
        example = json!({"id": "acme", "name": "Acme", "industry": "retail", "languages": ["vi", "en"]})),
    responses(
        (status = 201, description = "The company, with its key's secret.", body = AddedCompany),
        openapi::Admission, openapi::JsonBody, openapi::Conflict,
    ),
)]
async fn add(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<AddedCompany>), Problem> {
    app.gate.admit_operator(&headers)?;
    let NewCompany { id, name, industry, languages, pipeline, description, retention_days } =
        super::json(&app, &headers, body).await?;
    let settings = CompanyChange {
        name: name.map(Some),
        industry: Some(industry),
        languages: Some(Some(languages)),
        pipeline: Some(pipeline),
        description: Some(description),
        retention_days: Some(retention_days),
    };
    let now = OffsetDateTime::now_utc();
    let company = settings.apply(&app, Company::new(id, now))?;
    if !app.directory.add_company(&company).await? {
        let detail = format!("there is a company {} already", company.id);
        return Err(Problem::new(StatusCode::CONFLICT, "company_exists", detail));
    }
    app.gate.forget_company(&company.id).await;
    let scope = app.gate.grant_operator(&headers, &company.id)?;
    let wanted = Wanted { scope: KeyScope::Admin, ..Wanted::default() };
    let (key, secret) = keys::make(&app, &scope, wanted).await?;
    Ok((StatusCode::CREATED, Json(AddedCompany { company, key: key.into(), secret })))
}

/// Read a company
#[utoipa::path(
    get, path = "/api/companies/{company_id}", tag = "Companies", operation_id = "read_company",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    responses(
        (status = 200, description = "The company.", body = Company, headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is as `If-None-Match` says."),
        openapi::Admission,
    ),
)]
async fn one(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    // What the gate remembers may be some seconds old, and whoever edits must see what is there.
    let company = find(&app, caller.scope.company()).await?;
    Ok(etag::tagged(&headers, StatusCode::OK, &company))
}

/// Change a company
///
/// A JSON merge patch (RFC 7396). With `If-Match` nothing is changed that somebody else has changed meanwhile.
#[utoipa::path(
    patch, path = "/api/companies/{company_id}", tag = "Companies", operation_id = "change_company",
    security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("If-Match" = Option<String>, Header, description = "The tag of what is to be changed."),
    ),
    request_body(content = CompanyChange, description = "What is to be changed.",
        example = json!({"name": "Acme Bank", "description": null})),
    responses(
        (status = 200, description = "The company as it is now.", body = Company,
            headers(("ETag" = String, description = "Its tag."))),
        openapi::Admission, openapi::JsonBody, openapi::PreconditionFailed, openapi::Conflict,
    ),
)]
async fn change(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let change: CompanyChange = super::json(&app, &headers, body).await?;
    for _ in 0..TRIES {
        let known = find(&app, caller.scope.company()).await?;
        etag::check(&headers, &known)?;
        let changed = change.apply(&app, known.clone())?;
        if app.directory.change_company(&caller.scope, &known, &changed).await? {
            app.gate.forget_company(&changed.id).await;
            return Ok(etag::tagged(&HeaderMap::new(), StatusCode::OK, &changed));
        }
    }
    Err(Problem::new(StatusCode::CONFLICT, "changed_meanwhile", "others change the company all the time; try again"))
}

/// Remove a company
///
/// With everything that is kept of it, for good. It takes nothing more as soon as this begins; the answer comes when nothing
/// of it is left, some seconds later. For the operator.
#[utoipa::path(
    delete, path = "/api/companies/{company_id}", tag = "Companies", operation_id = "remove_company",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    responses((status = 200, description = "What was removed.", body = CompanyReceipt), openapi::Admission),
)]
async fn remove(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CompanyReceipt>, Problem> {
    let id: CompanyId =
        company_id.parse().map_err(|error| Problem::bad_request("invalid_company_id", format!("{error}")))?;
    let scope = app.gate.grant_operator(&headers, &id)?;
    let was_there = app.directory.company(&id).await?.is_some();
    // A client that goes away does not leave a company removed by half.
    let removing = tasks::spawn("remove company", async move {
        let keys = app.directory.keys(&scope).await?;
        // What is on its way into the knowledge goes first, or it would arrive afterwards.
        app.ingestion.close(&id).await;
        let removed = app.erasure.company(&scope).await;
        app.ingestion.reopen(&id);
        app.gate.forget_company(&id).await;
        for key in keys {
            app.gate.forget_key(&key.hash).await;
        }
        Ok::<_, Problem>(removed?)
    });
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side");
    let receipt = removing.await.ok().flatten().ok_or_else(failed)??;
    // One that was removed by half before is gone from the directory, and the rest of it was removed now.
    if !was_there && receipt.is_empty() {
        return Err(Problem::not_found("company"));
    }
    Ok(Json(receipt))
}

async fn find(app: &App, id: &CompanyId) -> Result<Company, Problem> {
    app.directory.company(id).await?.ok_or_else(|| Problem::not_found("company"))
}

impl CompanyChange {
    /// A company with this changed.
    fn apply(&self, app: &App, known: Company) -> Result<Company, Problem> {
        let changed = Company {
            name: text("name", self.name.as_ref(), Some(known.name), NAME_CHARS)?
                .ok_or_else(|| invalid("`name` cannot be taken away"))?,
            industry: text("industry", self.industry.as_ref(), known.industry, NAME_CHARS)?,
            languages: self.languages.clone().map_or(known.languages, Option::unwrap_or_default),
            pipeline: text("pipeline", self.pipeline.as_ref(), known.pipeline, NAME_CHARS)?,
            description: text("description", self.description.as_ref(), known.description, DESCRIPTION_CHARS)?,
            retention_days: self.retention_days.unwrap_or(known.retention_days),
            ..known
        };
        if changed.languages.len() > LANGUAGES {
            return Err(invalid(format!("`languages` names more than {LANGUAGES}")));
        }
        if changed.retention_days.is_some_and(|days| !(1..=RETENTION_DAYS).contains(&days)) {
            return Err(invalid(format!("`retention_days` is between 1 and {RETENTION_DAYS}, or null")));
        }
        let catalog = app.engine.catalog();
        if let Some(pipeline) = self.pipeline.as_ref().and(changed.pipeline.as_ref())
            && catalog.get(pipeline).is_none()
        {
            let known: Vec<&str> = catalog.iter().map(|pipeline| pipeline.definition.name.as_str()).collect();
            return Err(invalid(format!("there is no pipeline {pipeline:?}; there are {}", known.join(", "))));
        }
        Ok(changed)
    }
}

/// A text as it is after a change.
fn text(
    field: &str,
    change: Option<&Option<String>>,
    known: Option<String>,
    limit: usize,
) -> Result<Option<String>, Problem> {
    let Some(change) = change else { return Ok(known) };
    let Some(text) = change else { return Ok(None) };
    let text = text.nfc().collect::<String>().trim().to_owned();
    let chars = text.chars().count();
    if chars == 0 || chars > limit || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(invalid(format!("`{field}` has 1 to {limit} characters, none of them control characters")));
    }
    Ok(Some(text))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::bad_request("invalid_company", detail)
}

impl From<erasure::Error> for Problem {
    fn from(error: erasure::Error) -> Self {
        tracing::error!(%error, "something could not be removed");
        Self::unavailable("removed_in_part", "not everything could be removed; doing it again goes on")
    }
}
