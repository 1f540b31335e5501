//! What a company used of models.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use time::{Duration, OffsetDateTime, Time};

use super::charts::{self, Frame};
use super::failure::Failure;
use super::layout::Page;
use super::pieces::{empty, panel, tile};
use super::visit::Visit;
use super::{Console, words};
use crate::domain::KeyScope;
use crate::domain::analytics::UsageReport;
use crate::http::extract::Path;

/// Days that are shown.
const DAYS: i64 = 30;

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Backend).await?;
    let until = OffsetDateTime::now_utc().date().saturating_add(Duration::DAY);
    let from = until.saturating_sub(Duration::days(DAYS));
    let moment = |day: time::Date| day.with_time(Time::MIDNIGHT).assume_utc();
    let cells = console.app.analytics.usage(&place.scope, moment(from), moment(until)).await?;
    let report = UsageReport::of(&cells, from, until);
    let content = html! {
        @if report.totals.turns == 0 {
            section.panel {
                (empty("Nothing was used in the last 30 days.", &html! {
                    "Tokens are counted with each turn, by day and by model."
                }))
            }
        } @else {
            dl.tiles {
                (tile("Tokens read", &words::number(report.totals.input_tokens), &html! { "by models" }))
                (tile("Tokens written", &words::number(report.totals.output_tokens), &html! { "by models" }))
                (tile("Turns", &words::number(report.totals.turns), &html! { "in the last 30 days" }))
                (tile("Estimated", &report.totals.estimated_share.map_or("–".to_owned(), words::percent), &html! {
                    "of the tokens; the rest the providers counted"
                }))
            }
            div.part { (chart(&report)) }
            div.part { (panel("By model", &models(&report))) }
        }
    };
    let mut page = Page::new("Usage", content).of(&visit, &place, &[]);
    page.aside = html! { span.soft { "Last 30 days, in UTC" } };
    Ok(page.respond(&visit))
}

fn chart(report: &UsageReport) -> Markup {
    let tokens: Vec<u64> = report.days.iter().map(|day| day.tokens.input_tokens + day.tokens.output_tokens).collect();
    let about = format!("{} in all", words::number(tokens.iter().sum()));
    let frame = Frame {
        id: "tokens",
        title: "Tokens per day",
        about: &about,
        ends: ("30 days ago", "today"),
        places: report.days.iter().map(|day| day.day.clone()).collect(),
        write: words::whole,
    };
    charts::bars(&frame, "tokens", &tokens)
}

fn models(report: &UsageReport) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "Tokens by model" }
                thead {
                    tr {
                        th scope="col" { "Model" } th.num scope="col" { "Turns" } th.num scope="col" { "Read" }
                        th.num scope="col" { "Written" } th.num scope="col" { "Estimated" }
                    }
                }
                tbody {
                    @for one in &report.models {
                        tr {
                            th scope="row" { (one.model.as_deref().unwrap_or("none answered")) }
                            td.num { (words::number(one.tokens.turns)) }
                            td.num { (words::number(one.tokens.input_tokens)) }
                            td.num { (words::number(one.tokens.output_tokens)) }
                            td.num { (one.tokens.estimated_share.map_or("–".to_owned(), words::percent)) }
                        }
                    }
                }
            }
        }
    }
}
