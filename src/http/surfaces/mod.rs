//! The routes, one file for each group of them.

mod analytics;
mod conversations;
mod pages;
mod unified;

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::health::{self, Health};
use super::problem::Problem;

/// What the interface's description says besides its routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "Turnpike",
    description = "Event-driven RAG chat for company chatbots: streams answers from a company's own knowledge, stores \
                   conversations and tells backends of them by webhook."
))]
struct Description;

/// The routes that are described, and their description.
fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(unified::routes())
        .merge(conversations::routes())
        .merge(analytics::routes())
}

/// All routes of a gateway.
pub fn router(app: Arc<App>, health: Arc<Health>) -> Router {
    let (routes, description) = described().split_for_parts();
    let routes = routes.merge(pages::routes()).route("/openapi.json", get(async || Json(description))).with_state(app);
    finish(routes.merge(health::routes(health)))
}

/// The routes of a worker, which nobody asks but who looks after it.
pub fn health_router(health: Arc<Health>) -> Router {
    finish(health::routes(health))
}

/// What holds for all routes.
fn finish(routes: Router) -> Router {
    routes
        .fallback(|| async { Problem::not_found("page") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this method is not for this address")
        })
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| -> Response {
            metrics::counter!("turnpike_task_panics_total", "task" => "request").increment(1);
            tracing::error!("a request's handler panicked");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side")
                .into_response()
        }))
}
