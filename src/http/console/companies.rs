//! The companies, and the numbers of one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;

use super::failure::Failure;
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{empty, moment, panel};
use super::visit::{Place, Visit};
use super::{Console, overview, words};
use crate::domain::analytics::{Grain, Report};
use crate::domain::{Company, KeyScope};
use crate::http::extract::{Path, Query};

/// Companies on a page.
const COMPANIES: usize = 100;
/// Periods that are counted, of an hour and of a month.
const MINUTES: i64 = 60;
const DAYS: i64 = 30;

/// Which companies are wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Those that have this in their id or name.
    q: Option<String>,
    /// Those with an id after this one.
    after: Option<String>,
}

/// All companies, for the operator.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    visit.must_be_operator()?;
    let mut companies = console.app.directory.companies().await?;
    let all = companies.len() as u64;
    let wish = wanted.q.as_deref().unwrap_or_default().trim().to_lowercase();
    let fits = |text: &str| text.to_lowercase().contains(&wish);
    companies.retain(|company| fits(company.id.as_str()) || fits(&company.name));
    companies.retain(|company| wanted.after.as_ref().is_none_or(|after| company.id.as_str() > after.as_str()));
    let has_more = companies.len() > COMPANIES;
    companies.truncate(COMPANIES);
    let next = companies
        .last()
        .filter(|_| has_more)
        .map(|last| format!("/console/companies?q={}&after={}", words::encode(&wish), words::encode(last.id.as_str())));
    let content = html! {
        section.panel {
            form.filters method="get" role="search" {
                label.grow { "Name or id" input type="search" name="q" value=(wish); }
                button type="submit" { "Find" }
            }
        }
        section.panel {
            @if all == 0 {
                (empty("There is no company yet.", &html! {
                    "Add one with " code { "turnpike company add ID --name NAME" } "; it prints the company’s first key."
                }))
            } @else if companies.is_empty() {
                (empty("No company is called so.", &html! { a href="/console/companies" { "Show all " (words::number(all)) } }))
            } @else {
                (table(&companies))
                @if let Some(next) = next { p.more-pages { a.button href=(next) { "More" } } }
            }
        }
    };
    Ok(Page::new("Companies", content).respond(&visit))
}

fn table(companies: &[Company]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "Companies, by id" }
                thead {
                    tr {
                        th scope="col" { "Company" } th scope="col" { "Id" } th scope="col" { "Industry" }
                        th scope="col" { "Languages" } th scope="col" { "Added" }
                    }
                }
                tbody {
                    @for company in companies {
                        tr {
                            th scope="row" { a href={ "/console/companies/" (company.id) } { (company.name) } }
                            td { span.code { (company.id) } }
                            td { (company.industry.as_deref().unwrap_or("–")) }
                            td { (languages(company)) }
                            td { (moment(company.created_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn languages(company: &Company) -> String {
    let names: Vec<&str> = company.languages.iter().map(|language| language.code()).collect();
    if names.is_empty() { "any".to_owned() } else { names.join(", ") }
}

/// Over which time numbers are wanted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Span {
    Hour,
    #[default]
    Month,
}

/// Which numbers are wanted.
#[derive(Deserialize)]
pub(super) struct Over {
    #[serde(default)]
    span: Span,
}

/// The numbers of a company.
pub(super) async fn numbers(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
    Query(Over { span }): Query<Over>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Backend).await?;
    if live::is_asked(&headers) {
        let from = Arc::clone(&console);
        return live::stream(&console, visit, move || {
            let (console, place) = (Arc::clone(&from), place.clone());
            async move { parts(&console, &place, span).await }
        });
    }
    let parts = parts(&console, &place, span).await?;
    let mut page = Page::live(&place.company.name, parts).of(&visit, &place, &[]);
    // Its own name is its title.
    page.above.pop();
    let choice = |over: Span, name: &str, query: &str| {
        html! { a href={ (place.address("")) "?span=" (query) } aria-current=[(over == span).then_some("true")] { (name) } }
    };
    page.aside = html! {
        nav.choice aria-label="Over" { (choice(Span::Hour, "Last hour", "hour")) (choice(Span::Month, "Last 30 days", "month")) }
    };
    Ok(page.respond(&visit))
}

async fn parts(console: &Console, place: &Place, span: Span) -> Result<Vec<Part>, Failure> {
    let (grain, periods) = match span {
        Span::Hour => (Grain::Minute, MINUTES),
        Span::Month => (Grain::Day, DAYS),
    };
    let to = grain.floor(OffsetDateTime::now_utc()) + grain.length();
    let from = to - time::Duration::seconds(grain.length().whole_seconds() * periods);
    let cells = console.app.analytics.cells(&place.scope, from, to, grain).await?;
    let report = Report::of(&cells, from, to, grain);
    let names: Vec<String> = report
        .periods
        .iter()
        .map(|period| match span {
            Span::Hour => format!("{:02}:{:02} UTC", period.period.hour(), period.period.minute()),
            Span::Month => period.period.date().to_string(),
        })
        .collect();
    let (period, ends, when) = match span {
        Span::Hour => ("minute", ("60 min ago", "now"), "in the last hour"),
        Span::Month => ("day", ("30 days ago", "today"), "in the last 30 days"),
    };
    let tiles = html! { dl.tiles { (overview::turn_tiles(Some(&report.totals), when)) } };
    let charts = html! {
        div.pair {
            (overview::turns_chart(&report, names.clone(), period, ends)) (overview::first_tokens(&report, names, ends))
        }
    };
    Ok(vec![
        Part::new("tiles", tiles),
        Part::new("charts", charts),
        Part::new("shares", overview::shares_of(Some(&report.totals))),
        Part::new("about", about(&place.company)),
    ])
}

fn about(company: &Company) -> Markup {
    let kept = company
        .retention_days
        .map_or("until the company is removed".to_owned(), |days| words::count(days.into(), "day", "days"));
    let content = html! {
        @if let Some(description) = &company.description { p.lead { (description) } }
        dl.facts {
            div { dt { "Id" } dd.code { (company.id) } }
            div { dt { "Industry" } dd { (company.industry.as_deref().unwrap_or("none named")) } }
            div { dt { "Pipeline" } dd { (company.pipeline.as_deref().unwrap_or("its industry’s")) } }
            div { dt { "Languages" } dd { (languages(company)) } }
            div { dt { "Turns are kept" } dd { (kept) } }
            div { dt { "Added" } dd { (moment(company.created_at)) } }
        }
    };
    panel("About", &content)
}
