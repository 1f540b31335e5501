//! The routes, one file for each group of them.

mod admin;
mod analytics;
mod chat_ws;
mod feedback;
mod openai;
mod pages;
mod qwen;
mod sessions;
mod streams;
mod unified;
mod wires;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::console;
use super::cors;
use super::health::{self, Health};
use super::openapi::{self, Description};
use super::problem::Problem;

/// The routes that are described, and their description.
fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(unified::routes())
        .merge(feedback::routes())
        .merge(analytics::routes())
        .merge(chat_ws::routes())
        .merge(wires::routes())
        .merge(sessions::routes())
        .merge(streams::routes())
        .merge(qwen::routes())
        .merge(admin::routes())
        .merge(openai::routes())
}

/// The description of all routes of a gateway.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut description = described().into_openapi();
    description.merge(health::routes().into_openapi());
    // The router's sign for a parameter that may hold slashes is none of the description's.
    let paths = std::mem::take(&mut description.paths.paths);
    description.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    openapi::describe_streams(&mut description);
    description
}

/// All routes of a gateway.
pub fn router(app: Arc<App>, health: Arc<Health>) -> Router {
    let description = Bytes::from(serde_json::to_vec(&description()).unwrap_or_default());
    let document = async move || ([(header::CONTENT_TYPE, "application/json")], description.clone());
    let cors = cors::layer(&app.settings);
    let console = console::routes(&app, &health);
    let routes = Router::from(described()).merge(pages::routes()).route("/openapi.json", get(document)).with_state(app);
    finish(routes.merge(console).merge(Router::from(health::routes()).with_state(health))).layer(cors)
}

/// The routes of a worker, which nobody asks but who looks after it.
pub fn health_router(health: Arc<Health>) -> Router {
    finish(Router::from(health::routes()).with_state(health))
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
        .layer(axum::middleware::from_fn(openai::in_form))
}
