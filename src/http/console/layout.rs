//! What all pages share: the head, the way around, and the headers that keep everything foreign out.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::{SCRIPT_ADDRESS, STYLE_ADDRESS};
use super::form;
use super::live::Part;
use super::visit::{Place, Visit};
use crate::domain::{Company, KeyScope};
use crate::http::auth::Visitor;

/// Only what the pages themselves bring is run, loaded or asked, and their forms go nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The sign in front of the name.
const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 24 24\" width=\"24\" height=\"24\" aria-hidden=\"true\"><rect \
    width=\"24\" height=\"24\" rx=\"6\" fill=\"currentColor\"/><path class=\"gate\" d=\"M7 19V9m0 3 11-6\" fill=\"none\" \
    stroke-width=\"2.4\" stroke-linecap=\"round\"/></svg>";
/// The same in a tab of the browser.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Crect width='24' \
    height='24' rx='6' fill='%230c6b5c'/%3E%3Cpath d='M7 19V9m0 3 11-6' fill='none' stroke='%23fff' stroke-width='2.4' \
    stroke-linecap='round'/%3E%3C/svg%3E";

/// The pages of a company, and what a key must open for each.
const OF_COMPANY: [(&str, &str, KeyScope); 6] = [
    ("webhooks", "Webhooks", KeyScope::Admin),
    ("conversations", "Conversations", KeyScope::Backend),
    ("documents", "Documents", KeyScope::Admin),
    ("search", "Search", KeyScope::Backend),
    ("usage", "Usage", KeyScope::Backend),
    ("keys", "Keys", KeyScope::Admin),
];

/// A page: what it is called, where it stands, and what is on it.
pub(super) struct Page<'a> {
    /// Its title.
    pub(super) title: &'a str,
    /// Whose company it is about.
    pub(super) company: Option<&'a Company>,
    /// The addresses and names of the pages above it.
    pub(super) above: Vec<(String, String)>,
    /// What stands beside the title.
    pub(super) aside: Markup,
    /// What it holds, in its order.
    pub(super) parts: Vec<Part>,
    /// Whether it is kept up to date.
    pub(super) is_live: bool,
}

impl<'a> Page<'a> {
    /// A page that is shown once.
    pub(super) fn new(title: &'a str, content: Markup) -> Self {
        let parts = vec![Part::new("content", content)];
        Self { title, company: None, above: Vec::new(), aside: Markup::default(), parts, is_live: false }
    }

    /// A page whose parts are kept up to date.
    pub(super) fn live(title: &'a str, parts: Vec<Part>) -> Self {
        Self { is_live: true, parts, ..Self::new(title, Markup::default()) }
    }

    /// The page of a company, below those of its pages that are named.
    pub(super) fn of(self, visit: &Visit, place: &'a Place, below: &[(&str, &str)]) -> Self {
        let mut above = Vec::new();
        if visit.is_operator() {
            above.push(("/console/companies".to_owned(), "Companies".to_owned()));
            above.push((place.address(""), place.company.name.clone()));
        }
        above.extend(below.iter().map(|(page, name)| (place.address(page), (*name).to_owned())));
        Self { company: Some(&place.company), above, ..self }
    }

    /// The page as it is answered.
    pub(super) fn respond(self, visit: &Visit) -> Response {
        let Self { title, company, above, aside, parts, is_live } = self;
        let here = visit.path.split('?').next().unwrap_or_default();
        let body = html! {
            a.skip href="#main" { "Skip to the content" }
            div.frame {
                header.side {
                    a.brand href="/console" { (PreEscaped(MARK)) span { "Turnpike" } }
                    (around(visit, company, here))
                    div.foot {
                        button.quiet type="button" data-theme-toggle { "Theme" }
                        @if visit.session.was_opened() {
                            form method="post" action="/console/logout" {
                                (form::token(&visit.session))
                                button.quiet type="submit" data-testid="log-out" { "Log out" }
                            }
                        }
                        p.fine { (who(visit)) }
                    }
                }
                main #main tabindex="-1" data-live-page[is_live] {
                    @if !above.is_empty() {
                        nav.crumbs aria-label="Above this page" {
                            ol { @for (address, name) in &above { li { a href=(address) { (name) } } } }
                        }
                    }
                    div.title {
                        h1 { (title) }
                        @if is_live { span.pulse data-live-state role="status" { "Live" } }
                        div.aside { (aside) }
                    }
                    @for part in &parts { (part.slot()) }
                }
            }
        };
        answer(StatusCode::OK, title, &body, false)
    }
}

/// A page that stands alone: for who is not logged in, and for what went wrong.
pub(super) fn plain(status: StatusCode, title: &str, content: &Markup) -> Response {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        div.alone {
            header.head {
                a.brand href="/console" { (PreEscaped(MARK)) span { "Turnpike" } }
                button.quiet type="button" data-theme-toggle { "Theme" }
            }
            main #main tabindex="-1" { (content) }
        }
    };
    answer(status, title, &body, true)
}

/// The ways to other pages.
fn around(visit: &Visit, company: Option<&Company>, here: &str) -> Markup {
    let link = |address: &str, name: &str, is_root: bool| {
        let is_here = here == address || (!is_root && here.starts_with(&format!("{address}/")));
        html! { li { a href=(address) aria-current=[is_here.then_some("page")] { (name) } } }
    };
    html! {
        nav aria-label="Console" {
            @if visit.is_operator() {
                ul {
                    (link("/console", "Overview", true))
                    (link("/console/queues", "Queues", false))
                    (link("/console/webhooks", "Webhooks", false))
                    (link("/console/companies", "Companies", true))
                }
            }
            @if let Some(company) = company {
                @let root = format!("/console/companies/{}", company.id);
                p.of { (company.name) }
                ul {
                    (link(&root, "Numbers", true))
                    @for (page, name, needed) in OF_COMPANY {
                        @if visit.opens(needed) { (link(&format!("{root}/{page}"), name, false)) }
                    }
                }
            }
        }
    }
}

fn who(visit: &Visit) -> String {
    match &visit.session.visitor {
        Visitor::Operator if visit.session.was_opened() => "Logged in as the operator".to_owned(),
        Visitor::Operator => "Open to everyone on this machine".to_owned(),
        Visitor::Company(key) if key.scope == KeyScope::Admin => format!("Logged in with {}…", key.prefix),
        Visitor::Company(key) => format!("Logged in with {}…, which shows less than a key of scope admin", key.prefix),
    }
}

fn answer(status: StatusCode, title: &str, body: &Markup, is_plain: bool) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                title { (title) " · Turnpike" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(*STYLE_ADDRESS);
                // Before the body, so that the page is not seen in the wrong colours first.
                script src=(*SCRIPT_ADDRESS) {}
            }
            body class=[is_plain.then_some("plain")] { (body) }
        }
    };
    let mut response = (status, page).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        // Not `no-referrer`: with that a browser keeps back where its own forms come from.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
