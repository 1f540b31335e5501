//! What the pages load, all of it part of the binary. An address changes with its content, and so may be kept for long.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::Console;
use crate::web::console::{SCRIPT, STYLE};

/// Where the style is.
pub(super) static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| address("console.css", STYLE));
/// Where the script is.
pub(super) static SCRIPT_ADDRESS: LazyLock<String> = LazyLock::new(|| address("console.js", SCRIPT));

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/assets/console.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/console/assets/console.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
}

fn address(name: &str, content: &str) -> String {
    let hash = Sha256::digest(content.as_bytes());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("/console/assets/{name}?v={hash}")
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
