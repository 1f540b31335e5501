//! Which pages may read answers (<https://fetch.spec.whatwg.org/#http-cors-protocol>): those of the origins that are set and
//! of this machine, and of any origin where publishable keys are for. Never all at once by `*`, and with credentials only
//! those that are set.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use super::auth;
use crate::config::{AuthMode, Settings};

/// How long a browser may believe what it was told.
const BELIEVED: Duration = Duration::from_secs(600);
/// What begins the paths of turns. A page asks there with a publishable key; the key names its origins, and the request
/// with it is checked against them.
const FOR_PAGES: &[&str] = &["/api/unified/", "/api/stream/", "/api/flows/", "/session", "/chat/", "/qwen/chat"];
/// Headers of answers that a page may read.
const READABLE: [HeaderName; 4] = [
    HeaderName::from_static("retry-after"),
    HeaderName::from_static("etag"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-vercel-ai-ui-message-stream"),
];

/// The layer for all routes.
pub(super) fn layer(settings: &Settings) -> CorsLayer {
    let (origins, mode) = (settings.server.cors_origins.clone(), settings.auth.mode);
    let may_read = move |origin: &HeaderValue, path: &str| {
        let is_let = is_set(&origins, origin) || auth::is_of_this_machine(origin);
        !is_console(path) && (is_let || (mode == AuthMode::Keys && is_for_pages(path)))
    };
    let (origins, with_credentials) = (settings.server.cors_origins.clone(), settings.server.cors_credentials);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, request| may_read(origin, request.uri.path())))
        .allow_credentials(AllowCredentials::predicate(move |origin, _| with_credentials && is_set(&origins, origin)))
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ]))
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(READABLE))
        .max_age(BELIEVED)
}

fn is_set(origins: &[String], origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| origins.iter().any(|set| set.eq_ignore_ascii_case(origin)))
}

/// The console is for its own pages alone: what others could read there they could send its forms with.
fn is_console(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/")
}

fn is_for_pages(path: &str) -> bool {
    FOR_PAGES.iter().any(|begin| path.starts_with(begin))
}
