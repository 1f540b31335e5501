//! One webhook endpoint: how it does, what was sent to it, and what can be done about it.

pub(super) mod actions;
mod wanted;

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use time::OffsetDateTime;

use super::delivery;
use super::failure::Failure;
use super::form;
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{Tone, badge, empty, moment, panel, tile};
use super::visit::{Place, Visit};
use super::webhooks::{address, events, outlook, success};
use super::{Console, words};
use crate::domain::delivery::{Delivery, Health, Replay, ReplayState, State as Standing};
use crate::domain::webhook::{Endpoint, Order, Payload};
use crate::domain::{CompanyScope, EndpointId, KeyScope};
use crate::http::auth::Session;
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::ports::store::Page as Rows;
use wanted::{Since, Wanted};

/// Deliveries on a page.
const DELIVERIES: usize = 50;
/// Replays that are looked through for those of the endpoint, and shown.
const REPLAYS: (usize, usize) = (50, 5);

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((company, endpoint)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    let endpoint = find(&console, &place.scope, &endpoint).await?;
    if live::is_asked(&headers) {
        let (from, session, id) = (Arc::clone(&console), visit.session.clone(), endpoint.id);
        return live::stream(&console, visit, move || {
            let (console, session, place) = (Arc::clone(&from), session.clone(), place.clone());
            let (id, wanted) = (id.clone(), wanted.clone());
            async move {
                let endpoint = find(&console, &place.scope, id.as_str()).await?;
                parts(&console, &session, &place, &endpoint, &wanted).await
            }
        });
    }
    let mut parts = parts(&console, &visit.session, &place, &endpoint, &wanted).await?;
    if let Some((class, said)) = wanted.said() {
        parts.insert(0, Part::new("said", html! { p class=(class) role="status" data-testid="said" { (said) } }));
    }
    let title = words::short(endpoint.description.as_deref().unwrap_or(&endpoint.url), 80);
    Ok(Page::live(&title, parts).of(&visit, &place, &[("webhooks", "Webhooks")]).respond(&visit))
}

async fn find(console: &Console, scope: &CompanyScope, id: &str) -> Result<Endpoint, Problem> {
    let missing = || Problem::not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| missing())?;
    console.app.directory.endpoint(scope, &id).await?.ok_or_else(missing)
}

async fn parts(
    console: &Console,
    session: &Session,
    place: &Place,
    endpoint: &Endpoint,
    wanted: &Wanted,
) -> Result<Vec<Part>, Failure> {
    let log = &console.app.deliveries;
    let rows = Rows { limit: DELIVERIES, after: Some(wanted.after.clone()).filter(|after| !after.is_empty()) };
    let filter = wanted.filter(endpoint)?;
    let (health, deliveries, replays) = tokio::try_join!(
        log.health(&place.scope, &endpoint.id),
        log.deliveries(&place.scope, &filter, &rows),
        log.replays(&place.scope, REPLAYS.0),
    )?;
    let (deliveries, next) = deliveries;
    let replays: Vec<Replay> = replays
        .into_iter()
        .filter(|replay| replay.filter.endpoint_id.as_ref().is_none_or(|id| *id == endpoint.id))
        .take(REPLAYS.1)
        .collect();
    let list = html! {
        (filters(endpoint, wanted))
        @if deliveries.is_empty() && wanted.is_chosen() {
            (empty("No delivery fits.", &html! { a href=(address(place, endpoint)) { "Show all" } }))
        } @else if deliveries.is_empty() {
            (empty("Nothing was sent yet.", &html! { "The next turn of a conversation shows up here." }))
        } @else { (table(place, &deliveries)) }
        @if next.is_some() || !wanted.after.is_empty() {
            p.more-pages {
                @if !wanted.after.is_empty() { a.button href=(wanted.address(place, endpoint, "")) { "Newest" } }
                @if let Some(next) = &next { a.button href=(wanted.address(place, endpoint, next)) rel="next" { "Older" } }
            }
        }
    };
    Ok(vec![
        Part::new("state", state_line(endpoint, &health)),
        Part::new("tiles", tiles(&health)),
        Part::new("about", about(session, place, endpoint, &health)),
        Part::new("replays", replays_panel(session, place, &replays)),
        Part::new("deliveries", panel("Deliveries", &list)),
    ])
}

fn state_line(endpoint: &Endpoint, health: &Health) -> Markup {
    let now = OffsetDateTime::now_utc();
    let (tone, _) = outlook(endpoint, health, now);
    html! {
        p.state.(tone.name()) data-testid="endpoint-state" {
            span {
                @if let Some(disabled) = &endpoint.disabled {
                    "Disabled" @if let Some(at) = disabled.at { " " (moment(at)) } ": " (words::short(&disabled.reason, 300))
                } @else if let Some(until) = health.open_until.filter(|until| *until > now) {
                    "It fails all the time and is left alone; the next try is " (moment(until)) "."
                } @else if let Some(since) = health.failing_since {
                    "Every try since " (moment(since)) " has failed."
                } @else if tone == Tone::Plain {
                    "Nothing was sent to it yet."
                } @else if tone == Tone::Warn {
                    "Some deliveries fail, and some arrive."
                } @else { "What is sent to it arrives." }
                @if let Some(reason) = health.last_failure.as_ref().filter(|_| tone != Tone::Good && tone != Tone::Plain) {
                    @if let Some(at) = health.last_failure_at {
                        " The last failure, " (moment(at)) ": " (words::short(reason, 300)) "."
                    }
                }
            }
        }
    }
}

fn tiles(health: &Health) -> Markup {
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), words::milliseconds);
    html! {
        dl.tiles {
            (tile("Success", &success(health).map_or("–".to_owned(), words::percent), &html! {
                "of the last " (words::count(health.recent.into(), "delivery", "deliveries"))
            }))
            (tile("Latency, median", &ms(health.p50_ms), &html! {
                "p95 " (ms(health.p95_ms)) " · p99 " (ms(health.p99_ms))
            }))
            (tile("On the way", &words::number(health.pending), &html! {
                @if let Some(at) = health.next_attempt_at { "next try " (moment(at)) } @else { "nothing waits" }
            }))
            (tile("Delivered", &words::number(health.delivered), &html! {
                @if let Some(at) = health.last_success_at { "last " (moment(at)) } @else { "nothing yet" }
            }))
            (tile("Given up", &words::number(health.dead), &html! {
                @if health.discarded > 0 { (words::number(health.discarded)) " not to be sent" } @else { "and kept for a replay" }
            }))
        }
    }
}

fn about(session: &Session, place: &Place, endpoint: &Endpoint, health: &Health) -> Markup {
    let is_on = endpoint.disabled.is_none();
    let action = |what: &str| format!("{}/{what}", address(place, endpoint));
    html! {
        section.panel {
            dl.facts {
                div { dt { "Address" } dd { (endpoint.url) } }
                div { dt { "Hears of" } dd { (events(endpoint)) } }
                @if !endpoint.filter.is_open() {
                    div {
                        dt { "Of conversations" }
                        dd {
                            @if !endpoint.filter.channels.is_empty() {
                                "on " (endpoint.filter.channels.iter().cloned().collect::<Vec<_>>().join(", ")) " "
                            }
                            @if !endpoint.filter.intents.is_empty() {
                                "about " (endpoint.filter.intents.iter().cloned().collect::<Vec<_>>().join(", "))
                            }
                        }
                    }
                }
                div { dt { "Payload" } dd { @if endpoint.payload == Payload::Full { "full" } @else { "thin" } } }
                div { dt { "Order" } dd { @if endpoint.order == Order::Ordered { "ordered" } @else { "parallel" } } }
                div {
                    dt { "Rate limit" }
                    dd { @if let Some(limit) = &endpoint.rate_limit { (limit.per_second()) " a second" } @else { "none" } }
                }
                div { dt { "Added" } dd { (moment(endpoint.created_at)) } }
                div { dt { "Id" } dd.code { (endpoint.id) } }
            }
            div.row.below {
                form method="post" action=(action("test")) {
                    (form::token(session))
                    button #test type="submit" data-testid="test" { "Send a test" }
                }
                @if is_on {
                    form method="post" action=(action("disable"))
                        data-ask="Disable this endpoint? Nothing is sent to it until it is enabled again." {
                        (form::token(session))
                        button #disable type="submit" data-testid="disable" { "Disable" }
                    }
                    @if health.dead > 0 {
                        form.row method="post" action=(action("replay")) {
                            (form::token(session))
                            button #replay-dead.primary type="submit" data-testid="replay-dead" { "Replay what was given up in" }
                            label.inline {
                                span.unseen { "Of which time" }
                                select #replay-since name="since" {
                                    @for (_, name, words) in Since::ALL { option value=(name) { (words) } }
                                }
                            }
                        }
                    }
                } @else {
                    form method="post" action=(action("enable")) {
                        (form::token(session))
                        button #enable.primary type="submit" data-testid="enable" { "Enable" }
                    }
                    @if health.dead > 0 { p.fine { "Once it is enabled, what was given up can be replayed." } }
                }
            }
        }
    }
}

fn replays_panel(session: &Session, place: &Place, replays: &[Replay]) -> Markup {
    if replays.is_empty() {
        return Markup::default();
    }
    let content = html! {
        div.table {
            table.list {
                caption.unseen { "Replays that were asked for last" }
                thead {
                    tr {
                        th scope="col" { "Asked for" } th scope="col" { "State" } th.num scope="col" { "Sent again" }
                        th.num scope="col" { "Left out" } th scope="col" { span.unseen { "Actions" } }
                    }
                }
                tbody {
                    @for replay in replays {
                        tr {
                            td { (moment(replay.created_at)) }
                            td {
                                @match replay.state {
                                    ReplayState::Running => (badge(Tone::Warn, "under way")),
                                    ReplayState::Done => (badge(Tone::Good, "done")),
                                    ReplayState::Cancelled => (badge(Tone::Plain, "stopped")),
                                }
                            }
                            td.num { (words::number(replay.replayed)) }
                            td.num { (words::number(replay.skipped)) }
                            td {
                                @if replay.state == ReplayState::Running {
                                    form method="post" action=(place.address(&format!("replays/{}/cancel", replay.id))) {
                                        (form::token(session))
                                        @if let Some(id) = &replay.filter.endpoint_id {
                                            input type="hidden" name="endpoint" value=(id);
                                        }
                                        button.small id={ "cancel-" (replay.id) } type="submit" { "Stop" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    panel("Replays", &content)
}

fn filters(endpoint: &Endpoint, wanted: &Wanted) -> Markup {
    html! {
        form.filters.above method="get" role="search" {
            label {
                "State"
                select #filter-state name="state" {
                    option value="" { "any" }
                    @for state in Standing::ALL {
                        option value=(state.as_str()) selected[wanted.state == state.as_str()] { (delivery::name(state)) }
                    }
                }
            }
            label {
                "Event"
                select #filter-event name="event" {
                    option value="" { "any" }
                    @for event in &endpoint.event_types {
                        option value=(event.as_str()) selected[wanted.event == event.as_str()] { (event.as_str()) }
                    }
                }
            }
            label {
                "When"
                select #filter-since name="since" {
                    @for (since, name, words) in Since::ALL {
                        option value=(name) selected[wanted.since == since] { (words) }
                    }
                }
            }
            button #filter type="submit" { "Filter" }
        }
    }
}

fn table(place: &Place, deliveries: &[Delivery]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "Deliveries, the newest first" }
                thead {
                    tr {
                        th scope="col" { "When" } th scope="col" { "Event" } th scope="col" { "State" }
                        th.num scope="col" { "Tries" } th.num scope="col" { "Answer" } th scope="col" { "Next try" }
                        th scope="col" { "Why" }
                    }
                }
                tbody {
                    @for one in deliveries {
                        @let standing = &one.standing;
                        tr data-state=(standing.state.as_str()) {
                            td { a href=(delivery::address(place, one.id)) { (moment(one.happened_at)) } }
                            td.nowrap {
                                (one.event_type.as_str())
                                @if let Some(sequence) = one.sequence { span.soft { " #" (sequence) } }
                            }
                            td {
                                (delivery::state(one))
                                @if one.round > 0 { span.soft { " replayed" } }
                            }
                            td.num { (words::number(standing.attempts.into())) }
                            td.num { (standing.status.map_or("–".to_owned(), |status| status.to_string())) }
                            td { @if let Some(at) = standing.next_attempt_at { (moment(at)) } @else { "–" } }
                            td.wide.soft { (standing.reason.as_deref().map_or(String::new(), |why| words::short(why, 100))) }
                        }
                    }
                }
            }
        }
    }
}
