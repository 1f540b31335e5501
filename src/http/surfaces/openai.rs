//! The OpenAI-compatible surface, below `/v1`: turns as chat completions for models named `turnpike`, and everything else
//! passed on to the provider that has the model.

mod chat;
mod chats;
mod embeddings;
mod error;
mod images;
mod models;
mod multipart;
mod pass;
mod schema;
mod tokens;
mod turn;
mod videos;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::config::AuthMode;
use crate::domain::KeyScope;
use crate::http::App;
use crate::http::auth::Caller;
use crate::http::problem::Problem;

pub(super) use error::in_form;

/// How the models are named that run a whole turn.
const OWN: &str = "turnpike";

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Errors::openapi())
        .merge(chat::routes())
        .merge(chats::routes())
        .merge(models::routes())
        .merge(embeddings::routes())
        .merge(images::routes())
        .merge(videos::routes())
        .merge(tokens::routes())
}

/// The form of errors, which the routes name without describing it.
#[derive(OpenApi)]
#[openapi(components(schemas(error::ErrorBody, error::ErrorDetail)))]
struct Errors;

/// The company, where no key says it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Named {
    /// The company, for the operator and where no keys are asked for.
    #[param(value_type = Option<crate::domain::CompanyId>)]
    company_id: Option<String>,
}

/// Who asks, as far as the head of the request says it.
struct Entrance {
    known: Option<Caller>,
    named: Option<String>,
}

impl Entrance {
    /// Checks the key before the body is read: bodies are large here. Only where no keys are asked for, which is on this
    /// machine alone, may the body be what names the company.
    async fn open(app: &App, headers: &HeaderMap, named: Named) -> Result<Self, Problem> {
        let named = named.company_id;
        let known = match app.gate.mode() {
            AuthMode::Keys => Some(app.gate.admit(headers, named.as_deref(), KeyScope::Publishable).await?),
            AuthMode::Open => {
                app.gate.refuse_foreign_pages(headers)?;
                None
            }
        };
        Ok(Self { known, named })
    }

    /// Who asks, given the company that the body names and what a key must open.
    async fn caller(
        self,
        app: &App,
        headers: &HeaderMap,
        named: Option<&str>,
        needed: KeyScope,
    ) -> Result<Caller, Problem> {
        let caller = match self.known {
            Some(caller) => {
                caller.must_open(needed)?;
                caller
            }
            None => app.gate.admit(headers, self.named.as_deref().or(named), needed).await?,
        };
        match named {
            Some(named) if named != caller.company.id.as_str() => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "company_mismatch",
                "the request names another company than the one whose key it brings",
            )
            .about("metadata.company_id")),
            _ => Ok(caller),
        }
    }
}

/// Who asks for something that has no body, or none that names a company.
async fn admit(app: &App, headers: &HeaderMap, named: Named) -> Result<Caller, Problem> {
    app.gate.admit(headers, named.company_id.as_deref(), KeyScope::Backend).await
}

/// What is asked for is of no use to a model that runs a turn, or not known.
fn refused(code: &'static str, param: &str, detail: impl Into<String>) -> Problem {
    Problem::bad_request(code, detail).about(param)
}
