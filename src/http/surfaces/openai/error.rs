//! OpenAI's form of an error, for all that is answered below `/v1`: what is not found and what has panicked too.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::http::problem::Problem;
use crate::ports::upstream::Refusal;

/// An error in OpenAI's form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// For people.
    #[schema(example = "there is no model \"gpt-9\"")]
    message: String,
    /// The kind of error, such as `invalid_request_error`.
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: String,
    /// The field of the request that it is about.
    #[schema(example = "model")]
    param: Option<String>,
    /// A short name for programs.
    #[schema(example = "model_not_found")]
    code: Option<String>,
}

/// What every route below `/v1` may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes responses, and none is made of it")]
pub(super) enum Errors {
    /// The request is malformed.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// There is no key, or none that is known or works any more.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key opens another company, or not so much of it.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is no such model or resource.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body took too long.
    #[response(status = 408)]
    Timeout(ErrorBody),
    /// The provider is at odds with what is there.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body or the message is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is of another media type.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
    /// The `Idempotency-Key` stands for another request, or the provider does not want what is in the request.
    #[response(status = 422)]
    Unprocessable(ErrorBody),
    /// Too many requests or streams; `Retry-After` says when to come back.
    #[response(status = 429)]
    TooMany(ErrorBody),
    /// Something went wrong here or at the provider.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// The provider does not have what is asked for.
    #[response(status = 501)]
    NotImplemented(ErrorBody),
    /// The provider cannot be reached, or refuses this service.
    #[response(status = 502)]
    BadGateway(ErrorBody),
    /// Something is missing right now; `Retry-After` says when to come back.
    #[response(status = 503)]
    Unavailable(ErrorBody),
    /// The provider did not answer in time.
    #[response(status = 504)]
    GatewayTimeout(ErrorBody),
    /// Any other refusal of a provider, with its status.
    #[response(status = "4XX")]
    Other(ErrorBody),
}

/// Gives what is answered below `/v1` OpenAI's form where it is an error.
pub(in crate::http::surfaces) async fn in_form(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_ours = path == "/v1" || path.starts_with("/v1/");
    let mut response = next.run(request).await;
    if !is_ours {
        return response;
    }
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) => formed(&problem, response),
        None => response,
    }
}

fn formed(problem: &Problem, response: Response) -> Response {
    let error = ErrorDetail {
        message: problem.detail().to_owned(),
        kind: kind_of(problem.status()).to_owned(),
        param: problem.param().map(str::to_owned),
        code: Some(problem.code().to_owned()),
    };
    let body = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// What a provider says, with its status.
pub(super) fn of_provider(status: StatusCode, refusal: Refusal) -> Response {
    let Refusal { message, kind, param, code, .. } = refusal;
    let kind = kind.unwrap_or_else(|| kind_of(status).to_owned());
    metrics::counter!("turnpike_http_problems_total", "code" => "provider_refused").increment(1);
    (status, Json(ErrorBody { error: ErrorDetail { message, kind, param, code } })).into_response()
}

/// The kind of an error, by the names that OpenAI's clients know.
fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}
