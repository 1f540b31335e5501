//! What went wrong, as a page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::{layout, words};
use crate::http::problem::Problem;

/// Why a page is not shown.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody has to log in first.
    NotLoggedIn {
        /// Where they wanted to go.
        next: String,
    },
    /// Something is wrong with the request, or with the service.
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::NotLoggedIn { next } => {
                return Redirect::to(&format!("/console/login?next={}", words::encode(&next))).into_response();
            }
            Self::Problem(problem) => problem,
        };
        let status = problem.status();
        metrics::counter!("turnpike_http_problems_total", "code" => problem.code().to_owned()).increment(1);
        let title = match status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "This is not for you",
            StatusCode::TOO_MANY_REQUESTS => "Too many tries",
            _ if status.is_server_error() => "This does not work right now",
            _ => "This cannot be done",
        };
        let body = html! {
            h1 { (title) }
            p.lead { (sentence(problem.detail())) }
            p { a.button href="/console" { "To the console" } }
        };
        let mut response = layout::plain(status, title, &body);
        if let Some(wait) = problem.wait() {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        response
    }
}

/// What is wrong, as a sentence of its own.
fn sentence(detail: &str) -> String {
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    words::begun(detail) + end
}
