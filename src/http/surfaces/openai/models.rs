//! The models: those of all providers, and those that run a turn.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::{Named, OWN};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::listings::Listed;
use crate::http::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one))
}

/// How the list is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Whether the providers are asked again, however fresh their lists are.
    #[serde(default)]
    force_refresh: bool,
    /// The company, for the operator and where no keys are asked for.
    #[param(value_type = Option<crate::domain::CompanyId>)]
    company_id: Option<String>,
}

/// All models.
#[derive(Serialize, ToSchema)]
struct ModelList {
    /// Always `list`.
    object: &'static str,
    /// The models.
    data: Vec<Model>,
}

/// A model.
#[derive(Serialize, ToSchema)]
struct Model {
    /// Its name in requests.
    #[schema(example = "turnpike/banking")]
    id: String,
    /// Always `model`.
    object: &'static str,
    /// When it was made, in seconds since 1970; 0 when its provider does not say.
    created: u64,
    /// The provider that has it, or `turnpike`.
    owned_by: String,
}

impl From<Listed> for Model {
    fn from(listed: Listed) -> Self {
        Self { id: listed.id, object: "model", created: listed.created, owned_by: listed.owned_by }
    }
}

/// List the models of all providers, and those that run a whole turn
///
/// Lists are kept for `models.catalog_cache_s`; a provider that does not answer keeps its last list, and delays the
/// answer by three seconds at most.
#[utoipa::path(get, path = "/v1/models", operation_id = "list_models", tag = "OpenAI", params(Wanted), security(("bearer" = [])),
    responses((status = 200, description = "The models.", body = ModelList), Errors))]
async fn list(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Json<ModelList>, Problem> {
    super::admit(&app, &headers, Named { company_id: wanted.company_id }).await?;
    Ok(Json(ModelList { object: "list", data: all(&app, wanted.force_refresh).await }))
}

/// Show one model
///
/// Its name may have slashes.
#[utoipa::path(get, path = "/v1/models/{*model}", operation_id = "show_model", tag = "OpenAI",
    params(("model" = String, Path, description = "The model's name."), Named), security(("bearer" = [])), responses((status = 200, description = "The model.", body = Model), Errors))]
async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(named): Query<Named>,
    headers: HeaderMap,
) -> Result<Json<Model>, Problem> {
    super::admit(&app, &headers, named).await?;
    let found = all(&app, false).await.into_iter().find(|model| model.id == id);
    found.map(Json).ok_or_else(|| unknown(&id))
}

async fn all(app: &App, force: bool) -> Vec<Model> {
    let mut pipelines: Vec<&str> =
        app.engine.catalog().iter().map(|pipeline| pipeline.definition.name.as_str()).collect();
    pipelines.sort_unstable();
    let own = std::iter::once(OWN.to_owned()).chain(pipelines.into_iter().map(|name| format!("{OWN}/{name}")));
    let own = own.map(|id| Model { id, object: "model", created: 0, owned_by: OWN.to_owned() });
    own.chain(app.listings.all(force).await.into_iter().map(Model::from)).collect()
}

/// No provider has the model.
pub(super) fn unknown(model: &str) -> Problem {
    let model: String = model.chars().take(200).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "model_not_found",
        format!("there is no model {model:?}; GET /v1/models lists those there are"),
    )
    .about("model")
}
