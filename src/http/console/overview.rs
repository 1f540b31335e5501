//! The service at a glance, as it is now.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::charts::{self, Frame, Line};
use super::failure::Failure;
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{Tone, badge, moment, panel, shares, tile, unread};
use super::snapshot::Snapshot;
use super::visit::Visit;
use super::words;
use super::{Console, queues};
use crate::domain::Language;
use crate::domain::analytics::{FirstToken, Numbers, Report};
use crate::http::health::Readiness;
use crate::ports::cluster::Member;

/// The page; a company is led to its own.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if let Some(company) = visit.own_company() {
        return Ok(Redirect::to(&format!("/console/companies/{company}")).into_response());
    }
    if live::is_asked(&headers) {
        let from = Arc::clone(&console);
        return live::stream(&console, visit, move || {
            let console = Arc::clone(&from);
            async move { Ok(parts(&*console.snapshots.now().await)) }
        });
    }
    let snapshot = console.snapshots.now().await;
    Ok(Page::live("Overview", parts(&snapshot)).respond(&visit))
}

fn parts(snapshot: &Snapshot) -> Vec<Part> {
    vec![
        Part::new("state", state(snapshot)),
        Part::new("tiles", tiles(snapshot)),
        Part::new("charts", charts_of(snapshot.report.as_ref())),
        Part::new("shares", shares_of(snapshot.report.as_ref().map(|report| &report.totals))),
        Part::new("queues", panel("Queues", &queues::table(snapshot, false))),
        Part::new("parts", html! { (processes(snapshot.members.as_deref())) (parts_of(snapshot)) }),
    ]
}

/// One line that says whether anything is to be done.
fn state(snapshot: &Snapshot) -> Markup {
    let takes_turns = snapshot.health.status == Readiness::Ready;
    let balance = snapshot.books.as_ref().is_none_or(|books| books.balance());
    let degraded = &snapshot.health.degraded;
    let (tone, text) = match (takes_turns, balance, degraded.is_empty()) {
        (false, ..) => ("bad", "No new turns are taken.".to_owned()),
        (_, false, _) => ("bad", "The books do not balance: something was lost.".to_owned()),
        (_, _, false) => ("warn", format!("New turns are taken. A fallback stands in for: {}.", degraded.join(", "))),
        _ => ("good", "New turns are taken, and every part is well.".to_owned()),
    };
    html! { p class={ "state " (tone) } { (text) } }
}

fn tiles(snapshot: &Snapshot) -> Markup {
    let totals = snapshot.report.as_ref().map(|report| &report.totals);
    let streams = words::number(snapshot.streams);
    html! { dl.tiles { (tile("Open streams", &streams, &html! { "right now" })) (turn_tiles(totals, "in the last hour")) } }
}

/// What there is to say of some turns, in numbers.
pub(super) fn turn_tiles(totals: Option<&Numbers>, when: &str) -> Markup {
    let unknown = || "–".to_owned();
    let turns = totals.map_or_else(unknown, |totals| words::number(totals.turns));
    let first = totals.and_then(|totals| totals.first_token_ms);
    let part = |share: fn(&Numbers) -> Option<f64>| totals.and_then(share).map_or_else(unknown, words::percent);
    let count =
        |of: fn(&Numbers) -> u64| totals.map_or_else(unknown, |totals| words::count(of(totals), "turn", "turns"));
    html! {
        (tile("Turns", &turns, &html! { (when) }))
        (tile("First token, median", &first.map_or_else(unknown, |first| words::milliseconds(first.p50)), &html! {
            "p95 " (first.map_or_else(unknown, |first| words::milliseconds(first.p95)))
            " · p99 " (first.map_or_else(unknown, |first| words::milliseconds(first.p99)))
        }))
        (tile("Degraded", &part(|totals| totals.degraded_share), &html! { (count(|totals| totals.degraded)) }))
        (tile("Failed", &part(|totals| totals.failed_share), &html! { (count(|totals| totals.failed)) }))
    }
}

fn charts_of(report: Option<&Report>) -> Markup {
    let Some(report) = report else { return unread("The numbers of turns") };
    let places: Vec<String> = report
        .periods
        .iter()
        .map(|period| format!("{:02}:{:02} UTC", period.period.hour(), period.period.minute()))
        .collect();
    html! { div.pair { (turns_chart(report, places.clone(), "minute", ("60 min ago", "now"))) (first_tokens(report, places, ("60 min ago", "now"))) } }
}

/// Turns of each period.
pub(super) fn turns_chart(report: &Report, places: Vec<String>, period: &str, ends: (&str, &str)) -> Markup {
    let turns: Vec<u64> = report.periods.iter().map(|period| period.numbers.turns).collect();
    let title = format!("Turns per {period}");
    let about = format!("{} in all", words::count(report.totals.turns, "turn", "turns"));
    let frame = Frame { id: "turns", title: &title, about: &about, ends, places, write: words::whole };
    charts::bars(&frame, "turns", &turns)
}

/// First-token times of each period.
pub(super) fn first_tokens(report: &Report, places: Vec<String>, ends: (&str, &str)) -> Markup {
    let of = |pick: fn(&FirstToken) -> f64| {
        report.periods.iter().map(|period| period.numbers.first_token_ms.as_ref().map(pick)).collect()
    };
    let lines = [
        Line { name: "p50", values: of(|first| first.p50) },
        Line { name: "p95", values: of(|first| first.p95) },
        Line { name: "p99", values: of(|first| first.p99) },
    ];
    let about = "how long an answer took to begin";
    let frame = Frame { id: "first-token", title: "First token", about, ends, places, write: words::milliseconds };
    charts::lines(&frame, &lines)
}

/// Intents, languages and ends of turns.
pub(super) fn shares_of(totals: Option<&Numbers>) -> Markup {
    let Some(totals) = totals else { return Markup::default() };
    let plain = |(name, count): (&str, &u64)| (name.replace('_', " "), *count);
    let language = |(code, count): (&String, &u64)| {
        (code.parse::<Language>().map_or_else(|_| code.clone(), |known| known.name().to_owned()), *count)
    };
    html! {
        div.trio {
            (shares("Intents", totals.by_intent.iter().map(|(name, count)| plain((name, count))).collect()))
            (shares("Languages", totals.by_language.iter().map(language).collect()))
            (shares("How turns ended", totals.by_finish_reason.iter().map(|(name, count)| plain((name, count))).collect()))
        }
    }
}

fn parts_of(snapshot: &Snapshot) -> Markup {
    let content = html! {
        ul.parts {
            @for (name, said) in &snapshot.health.parts {
                li {
                    span.name { (name) }
                    @if said == "ok" { (badge(Tone::Good, "well")) } @else { (badge(Tone::Warn, "degraded")) p.fine { (said) } }
                }
            }
        }
        p.fine { "Version " (snapshot.health.version) ", as this gateway sees it." }
    };
    panel("Parts", &content)
}

fn processes(members: Option<&[Member]>) -> Markup {
    let members = match members {
        None => return panel("Processes", &unread("The list of processes")),
        // Everything runs in this one.
        Some([]) => return Markup::default(),
        Some(members) => members,
    };
    let content = html! {
        div.table {
            table.list {
                caption.unseen { "The processes of the service" }
                thead {
                    tr {
                        th scope="col" { "Process" } th scope="col" { "Roles" } th.num scope="col" { "Open streams" }
                        th scope="col" { "Version" } th scope="col" { "Started" } th scope="col" { "Heard of" }
                    }
                }
                tbody {
                    @for member in members {
                        tr {
                            th scope="row" { (member.url.as_deref().unwrap_or(&words::short(&member.id, 8))) }
                            td { (member.roles.join(", ")) }
                            td.num { (member.streams.map_or("–".to_owned(), words::number)) }
                            td { (member.version) }
                            td { (moment(member.started_at)) }
                            td { (moment(member.seen_at)) }
                        }
                    }
                }
            }
        }
    };
    panel("Processes", &content)
}
