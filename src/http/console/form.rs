//! What a form sends: bounded, from a page of the console, and with the token that only such a page knows.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};
use ring::hmac;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Console;
use super::failure::Failure;
use super::visit::{self, Visit};
use crate::http::auth::Session;
use crate::http::body;
use crate::http::problem::Problem;

/// Largest form in bytes.
const FORM_BYTES: usize = 64 * 1024;

/// A form that a visitor sent from a page of theirs.
pub(super) struct Sent<T> {
    pub(super) visit: Visit,
    pub(super) fields: T,
}

/// The fields of a form that is a button alone.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    form_token: String,
}

impl<T: DeserializeOwned> FromRequest<Arc<Console>> for Sent<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, console).await?;
        let bytes = read(console, &parts.headers, body).await?;
        let Token { form_token } = fields(bytes.clone()).await?;
        if !is_same(&form_token, &visit.session.form_token) {
            return Err(refused().into());
        }
        Ok(Self { visit, fields: fields(bytes).await? })
    }
}

/// The bytes of a form that a page of the console sent.
///
/// # Errors
/// 403 for one of a page of another origin, 413 and 408 for one that is too large or too slow.
pub(super) async fn read(console: &Console, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    if !visit::is_own_page(headers) {
        return Err(refused());
    }
    let patience = console.app.settings.server.body_timeout;
    body::read(headers, body, FORM_BYTES, patience).await.map(Into::into)
}

/// The fields of a form.
///
/// # Errors
/// 400 when they are not those of the form.
pub(super) async fn fields<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, Problem> {
    let invalid = |detail: String| Problem::bad_request("invalid_form", detail);
    let request = Request::post("/")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(bytes))
        .map_err(|error| invalid(error.to_string()))?;
    let axum::Form(fields) =
        axum::Form::from_request(request, &()).await.map_err(|rejection| invalid(rejection.body_text()))?;
    Ok(fields)
}

/// The field that each form of a session has.
pub(super) fn token(session: &Session) -> Markup {
    html! { input type="hidden" name="form_token" value=(session.form_token); }
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "foreign_form",
        "this form was not sent from a page of the console, or from one of another session; load the page again",
    )
}

/// Compares in a time that does not tell how much is right.
fn is_same(a: &str, b: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b.as_bytes());
    hmac::verify(&key, b"form", hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, a.as_bytes()), b"form").as_ref()).is_ok()
}
