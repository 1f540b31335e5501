//! Webhook endpoints and how they do: of a company, and of all of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt, stream};
use maud::{Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;

use super::failure::Failure;
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{Tone, badge, empty, moment};
use super::visit::{Place, Visit};
use super::{Console, words};
use crate::domain::KeyScope;
use crate::domain::delivery::Health;
use crate::domain::webhook::Endpoint;
use crate::http::extract::{Path, Query};
use crate::ports::store::Error;

/// Endpoints on the operator's page; a company's are all on one.
const ENDPOINTS: usize = 100;
/// Endpoints that are looked at at a time.
const AT_ONCE: usize = 8;
/// The share of deliveries below which something is wrong.
const FINE: f64 = 0.98;

/// An endpoint with how it does.
struct Row {
    place: Place,
    endpoint: Endpoint,
    health: Health,
}

/// The endpoints of a company.
pub(super) async fn of_company(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    if live::is_asked(&headers) {
        let from = Arc::clone(&console);
        return live::stream(&console, visit, move || {
            let (console, place) = (Arc::clone(&from), place.clone());
            async move { company_parts(&console, &place).await }
        });
    }
    let parts = company_parts(&console, &place).await?;
    Ok(Page::live("Webhooks", parts).of(&visit, &place, &[]).respond(&visit))
}

async fn company_parts(console: &Console, place: &Place) -> Result<Vec<Part>, Failure> {
    let endpoints = console.app.directory.endpoints(&place.scope).await?;
    let rows = with_health(console, endpoints.into_iter().map(|endpoint| (place.clone(), endpoint)).collect()).await?;
    let content = html! {
        section.panel {
            @if rows.is_empty() {
                (empty("There are no webhook endpoints yet.", &html! {
                    "Add one with " code { "turnpike webhook add --company " (place.company.id) " --url https://…" }
                    ", or over HTTP. It hears of each conversation that goes on."
                }))
            } @else { (table(&rows, false)) }
        }
    };
    Ok(vec![Part::new("endpoints", content)])
}

/// Which endpoints are wanted.
#[derive(Clone, Deserialize)]
pub(super) struct Wanted {
    /// Those of companies with an id after this one.
    after: Option<String>,
}

/// The endpoints of all companies, for the operator.
pub(super) async fn of_all(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    visit.must_be_operator()?;
    if live::is_asked(&headers) {
        let (from, watcher) = (Arc::clone(&console), visit.clone());
        return live::stream(&console, visit, move || {
            let (console, visit, wanted) = (Arc::clone(&from), watcher.clone(), wanted.clone());
            async move { all_parts(&console, &visit, &wanted).await }
        });
    }
    let parts = all_parts(&console, &visit, &wanted).await?;
    Ok(Page::live("Webhooks", parts).respond(&visit))
}

async fn all_parts(console: &Console, visit: &Visit, wanted: &Wanted) -> Result<Vec<Part>, Failure> {
    let mut companies = console.app.directory.companies().await?;
    companies.retain(|company| wanted.after.as_ref().is_none_or(|after| company.id.as_str() > after.as_str()));
    let mut endpoints = Vec::new();
    let mut rest = companies.into_iter();
    let mut last = None;
    for company in rest.by_ref() {
        let place = visit.company(console, company.id.as_str(), KeyScope::Admin).await?;
        let own = console.app.directory.endpoints(&place.scope).await?;
        endpoints.extend(own.into_iter().map(|endpoint| (place.clone(), endpoint)));
        last = Some(company.id);
        if endpoints.len() >= ENDPOINTS {
            break;
        }
    }
    let next = last.filter(|_| rest.next().is_some());
    let mut rows = with_health(console, endpoints).await?;
    // What needs somebody first; otherwise by company.
    let now = OffsetDateTime::now_utc();
    rows.sort_by_key(|row| outlook(&row.endpoint, &row.health, now).0.rank());
    let content = html! {
        section.panel {
            @if rows.is_empty() {
                (empty("No company has a webhook endpoint yet.", &html! {
                    "One is added with " code { "turnpike webhook add" } " or over HTTP."
                }))
            } @else { (table(&rows, true)) }
            @if next.is_some() || wanted.after.is_some() {
                p.more-pages {
                    @if wanted.after.is_some() { a.button href="/console/webhooks" { "From the beginning" } }
                    @if let Some(next) = next {
                        a.button href={ "/console/webhooks?after=" (words::encode(next.as_str())) } { "More companies" }
                    }
                }
            }
        }
    };
    Ok(vec![Part::new("endpoints", content)])
}

async fn with_health(console: &Console, endpoints: Vec<(Place, Endpoint)>) -> Result<Vec<Row>, Error> {
    let asked = endpoints.into_iter().map(|(place, endpoint)| async move {
        let health = console.app.deliveries.health(&place.scope, &endpoint.id).await?;
        Ok(Row { place, endpoint, health })
    });
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

fn table(rows: &[Row], is_of_all: bool) -> Markup {
    let now = OffsetDateTime::now_utc();
    html! {
        div.table {
            table.list {
                caption.unseen { "Webhook endpoints and how they do" }
                thead {
                    tr {
                        th scope="col" { "Endpoint" }
                        @if is_of_all { th scope="col" { "Company" } }
                        th scope="col" { "State" } th.num scope="col" { "Success" } th.num scope="col" { "p50" }
                        th.num scope="col" { "p95" } th.num scope="col" { "On the way" } th scope="col" { "Next try" }
                        th.num scope="col" { "Given up" }
                    }
                }
                tbody {
                    @for Row { place, endpoint, health } in rows {
                        tr {
                            th.wide scope="row" {
                                a href=(address(place, endpoint)) { (endpoint.description.as_deref().unwrap_or(&endpoint.url)) }
                                @if endpoint.description.is_some() { div.fine { (endpoint.url) } }
                                div.fine { (events(endpoint)) }
                            }
                            @if is_of_all { td { a href=(place.address("webhooks")) { (place.company.name) } } }
                            td { (state(endpoint, health, now)) }
                            td.num { (success(health).map_or("–".to_owned(), words::percent)) }
                            td.num { (health.p50_ms.map_or("–".to_owned(), words::milliseconds)) }
                            td.num { (health.p95_ms.map_or("–".to_owned(), words::milliseconds)) }
                            td.num { (words::number(health.pending)) }
                            td { @if let Some(at) = health.next_attempt_at { (moment(at)) } @else { "–" } }
                            td.num { @if health.dead > 0 { span.bad-text { (words::number(health.dead)) } } @else { "0" } }
                        }
                    }
                }
            }
        }
    }
}

/// Where an endpoint's page is.
pub(super) fn address(place: &Place, endpoint: &Endpoint) -> String {
    place.address(&format!("webhooks/{}", endpoint.id))
}

/// What an endpoint hears of.
pub(super) fn events(endpoint: &Endpoint) -> String {
    endpoint.event_types.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ")
}

/// The share of the deliveries tried last that arrived; none without any.
pub(super) fn success(health: &Health) -> Option<f64> {
    (health.recent > 0).then(|| f64::from(health.recent_delivered) / f64::from(health.recent))
}

/// How an endpoint does, in a word, and what is to be said of it.
pub(super) fn outlook(endpoint: &Endpoint, health: &Health, now: OffsetDateTime) -> (Tone, &'static str) {
    if endpoint.disabled.is_some() {
        return (Tone::Bad, "disabled");
    }
    if health.open_until.is_some_and(|until| until > now) {
        return (Tone::Bad, "left alone");
    }
    if health.failing_since.is_some() {
        return (Tone::Bad, "failing");
    }
    match success(health) {
        None => (Tone::Plain, "nothing sent yet"),
        Some(share) if share < FINE => (Tone::Warn, "some fail"),
        Some(_) => (Tone::Good, "well"),
    }
}

/// The same with its reason.
pub(super) fn state(endpoint: &Endpoint, health: &Health, now: OffsetDateTime) -> Markup {
    let (tone, word) = outlook(endpoint, health, now);
    html! {
        (badge(tone, word))
        @if let Some(disabled) = &endpoint.disabled {
            div.fine { (words::short(&disabled.reason, 120)) }
        } @else if let Some(since) = health.failing_since {
            div.fine { "every try since " (moment(since)) }
        }
    }
}
