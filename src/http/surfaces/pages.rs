//! The pages and what they load, all of it part of the binary.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::Config;

use crate::http::App;
use crate::http::problem::Problem;
use crate::web::{chat, docs, widget};

/// Only what the page itself brings is run, loaded or asked.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", chat::PAGE) }))
        .route("/assets/chat.css", get(|| async { file("text/css; charset=utf-8", chat::STYLE) }))
        .route("/assets/chat.js", get(|| async { file("text/javascript; charset=utf-8", chat::SCRIPT) }))
        .route("/widget.js", get(|headers: HeaderMap| async move { widget(&headers) }))
        .route("/docs", get(|| async { file("text/html; charset=utf-8", docs::PAGE) }))
        .route("/docs/assets/docs.css", get(|| async { file("text/css; charset=utf-8", docs::STYLE) }))
        .route("/docs/assets/docs.js", get(|| async { file("text/javascript; charset=utf-8", docs::SCRIPT) }))
        .route("/docs/assets/swagger-ui.css", get(|| async { library("text/css; charset=utf-8", "swagger-ui.css") }))
        .route(
            "/docs/assets/swagger-ui-bundle.js",
            get(|| async { library("text/javascript; charset=utf-8", "swagger-ui-bundle.js") }),
        )
}

/// The widget's script, which pages of any site may load; what it may ask is decided by its key.
fn widget(headers: &HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let hash = Sha256::digest(widget::SCRIPT.as_bytes());
        format!("\"{}\"", hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>())
    });
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == *TAG);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => widget::SCRIPT.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        // Some minutes, so that a new version is with all visitors soon, and a visit asks for it once.
        (header::CACHE_CONTROL, "public, max-age=300, stale-while-revalidate=86400"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&TAG) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// A file of Swagger UI.
fn library(content_type: &'static str, name: &str) -> Response {
    match utoipa_swagger_ui::serve(name, Arc::new(Config::default())) {
        Ok(Some(found)) => {
            let mut response = file(content_type, found.bytes.into_owned());
            // It is large, and changes with the library alone.
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
            response
        }
        Ok(None) => Problem::not_found("page").into_response(),
        Err(error) => {
            tracing::error!(%error, name, "a file of the binary cannot be read");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side")
                .into_response()
        }
    }
}

fn file(content_type: &'static str, content: impl IntoResponse) -> Response {
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The binary may be replaced at any time by one with another page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
