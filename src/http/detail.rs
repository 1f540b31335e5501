//! Errors in the form of surfaces that follow FastAPI: `{"detail": "…"}`.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;

/// An error as these surfaces tell it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"detail": "there is no such session", "code": "unknown_session"}))]
pub(super) struct Detail {
    /// What is wrong, for people.
    detail: String,
    /// A short name for programs.
    code: String,
    #[serde(skip)]
    #[schema(ignore)]
    problem: Problem,
}

impl From<Problem> for Detail {
    fn from(problem: Problem) -> Self {
        Self { detail: problem.detail().to_owned(), code: problem.code().to_owned(), problem }
    }
}

impl IntoResponse for Detail {
    fn into_response(self) -> Response {
        self.problem.clone().respond(&self)
    }
}
