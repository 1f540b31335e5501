//! Logging in and out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::Failure;
use super::form::{self, Nothing, Sent};
use super::visit::{self, Visit};
use super::{Console, layout};
use crate::config::AuthMode;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::server::Peer;

/// Tries of one address at once, and the time in which it gets another.
const TRIES: (NonZeroU32, Duration) = (NonZeroU32::MIN.saturating_add(9), Duration::from_secs(30));
/// Tries of all addresses together in a minute.
const TRIES_OF_ALL: NonZeroU32 = NonZeroU32::MIN.saturating_add(119);
/// Addresses remembered before those are forgotten that could try anew anyway.
const ADDRESSES: usize = 10_000;

/// How often somebody may try to log in.
pub(super) struct Logins {
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    all: DefaultDirectRateLimiter,
}

impl Logins {
    pub(super) fn new() -> Self {
        let (tries, another) = TRIES;
        let quota = Quota::with_period(another).map_or(Quota::per_minute(tries), |quota| quota.allow_burst(tries));
        Self { by_address: RateLimiter::keyed(quota), all: RateLimiter::direct(Quota::per_minute(TRIES_OF_ALL)) }
    }

    /// Counts a try. An address that tries too often does not use up the tries of the others.
    ///
    /// # Errors
    /// How long to wait.
    fn count(&self, address: IpAddr) -> Result<(), Duration> {
        if self.by_address.len() > ADDRESSES {
            self.by_address.retain_recent();
        }
        let now = DefaultClock::default().now();
        self.by_address.check_key(&address).map_err(|denied| denied.wait_time_from(now))?;
        self.all.check().map_err(|denied| denied.wait_time_from(now))
    }
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Next {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    secret: String,
    next: Option<String>,
}

/// What the page says above its form.
enum Note {
    None,
    Wrong,
    TooOften(Duration),
    Problem(Problem),
}

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Query(Next { next }): Query<Next>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let next = place(next);
    console.app.gate.refuse_foreign_pages(&headers)?;
    if console.app.gate.session(visit::cookie(&headers).as_deref()).await?.is_some() {
        return Ok(Redirect::to(&next).into_response());
    }
    Ok(shown(&console, StatusCode::OK, &next, &Note::None))
}

/// Logs in.
pub(super) async fn log_in(
    State(console): State<Arc<Console>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    console.app.gate.refuse_foreign_pages(&headers)?;
    let bytes = form::read(&console, &headers, body).await?;
    let Login { secret, next } = form::fields(bytes).await?;
    let next = place(next);
    let address = visit::source(&headers, peer.map(|Extension(peer)| peer));
    if let Err(wait) = console.logins.count(address) {
        metrics::counter!("turnpike_console_logins_total", "outcome" => "refused").increment(1);
        tracing::warn!(%address, "too many tries to log in to the console");
        let mut response = shown(&console, StatusCode::TOO_MANY_REQUESTS, &next, &Note::TooOften(wait));
        response.headers_mut().insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
        return Ok(response);
    }
    let opened = match console.app.gate.open_session(secret.trim()).await {
        Ok(opened) => opened,
        Err(problem) => return Ok(shown(&console, problem.status(), &next, &Note::Problem(problem))),
    };
    let Some(text) = opened else {
        metrics::counter!("turnpike_console_logins_total", "outcome" => "wrong").increment(1);
        tracing::warn!(%address, "a login to the console failed");
        return Ok(shown(&console, StatusCode::UNAUTHORIZED, &next, &Note::Wrong));
    };
    metrics::counter!("turnpike_console_logins_total", "outcome" => "opened").increment(1);
    Ok(with_cookie(Redirect::to(&next), &text, &headers))
}

/// Logs out.
pub(super) async fn log_out(State(console): State<Arc<Console>>, headers: HeaderMap, sent: Sent<Nothing>) -> Response {
    console.app.gate.end_session(&sent.visit.session).await;
    with_cookie(Redirect::to("/console/login"), "", &headers)
}

/// Whether there is a session: asked by the login page itself, which a browser that followed a link from another site
/// shows without having sent its cookie.
pub(super) async fn session(_: Visit) -> StatusCode {
    StatusCode::NO_CONTENT
}

fn with_cookie(response: impl IntoResponse, text: &str, headers: &HeaderMap) -> Response {
    let mut response = response.into_response();
    if let Some(line) = visit::set_cookie(text, visit::is_https(headers)) {
        response.headers_mut().insert(header::SET_COOKIE, line);
    }
    response
}

/// A place of the console to go to, whatever an address says.
fn place(next: Option<String>) -> String {
    let is_ours = |next: &String| {
        let rest = next.strip_prefix("/console");
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        is_below
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !next.starts_with("/console/log")
    };
    next.filter(is_ours).unwrap_or_else(|| "/console".to_owned())
}

fn shown(console: &Console, status: StatusCode, next: &str, note: &Note) -> Response {
    let settings = &console.app.settings.auth;
    let has_token = settings.admin_token.is_some() || settings.mode == AuthMode::Open;
    let body = html! {
        h1 { "Log in to the console" }
        p.lead {
            "As the operator with the admin token, or as a company with one of its API keys of scope admin or backend."
        }
        @if !has_token {
            div.note {
                p { strong { "No admin token is set." } " Only companies can log in." }
                p {
                    "To log in as the operator, start the service with " code { "TURNPIKE_ADMIN_TOKEN" }
                    " (or " code { "auth.admin_token" } " in turnpike.toml): 16 characters or more, such as those of "
                    code { "openssl rand -hex 24" } "."
                }
            }
        }
        (said(note))
        form.login method="post" action="/console/login" {
            input type="hidden" name="next" value=(next);
            label for="secret" { "Token or key" }
            input #secret type="password" name="secret" autocomplete="current-password" autocapitalize="none"
                spellcheck="false" required autofocus data-testid="secret";
            button.primary type="submit" data-testid="log-in" { "Log in" }
        }
        p.fine { "A session lasts eight hours, or until you log out." }
    };
    layout::plain(status, "Log in", &body)
}

fn said(note: &Note) -> Markup {
    let text = match note {
        Note::None => return Markup::default(),
        Note::Wrong => "This is neither the admin token nor a key that works.".to_owned(),
        Note::TooOften(wait) => {
            format!("There were too many tries to log in. Wait {} seconds and try again.", wait.as_secs() + 1)
        }
        Note::Problem(problem) => format!("You cannot log in: {}.", problem.detail().trim_end_matches('.')),
    };
    html! { p.alarm role="alert" data-testid="login-problem" { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for good in ["/console", "/console/companies/acme?after=x%20y", "/console?x=1"] {
            assert_eq!(place(Some(good.to_owned())), good);
        }
        for bad in [
            "https://evil.example/console",
            "//evil.example/console",
            "/consoles",
            "/console\\evil",
            "/console/\r\nset-cookie: a=b",
            "/console/login?next=/console",
            "/console/logout",
            "",
        ] {
            assert_eq!(place(Some(bad.to_owned())), "/console", "{bad:?}");
        }
        assert_eq!(place(None), "/console");
    }

    #[test]
    fn an_address_that_tries_too_often_is_stopped_and_no_other() {
        let logins = Logins::new();
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for _ in 0..10 {
            logins.count(a).unwrap();
        }
        let wait = logins.count(a).unwrap_err();
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
        logins.count(b).unwrap();
        let refused = (0..=255).filter(|n| logins.count([10, 1, 0, *n].into()).is_err()).count();
        assert!(refused > 100, "all together have no limit: {refused}");
    }
}
