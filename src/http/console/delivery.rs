//! One delivery: what was sent, and every try with what came back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::failure::Failure;
use super::form::{self, Nothing, Sent};
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{Tone, badge, moment, panel};
use super::visit::{Place, Visit};
use super::{Console, words};
use crate::domain::KeyScope;
use crate::domain::delivery::{Attempt, Delivery, Filter, Parcel, State as Standing, Timing};
use crate::http::auth::Session;
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::http::replays;

/// Characters shown of what was sent.
const PAYLOAD_CHARS: usize = 64 * 1024;

/// What was done a moment ago.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    said: String,
}

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((company, id)): Path<(String, String)>,
    Query(Said { said }): Query<Said>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    let id: Uuid = id.parse().map_err(|_| Problem::not_found("delivery"))?;
    if live::is_asked(&headers) {
        let (from, session) = (Arc::clone(&console), visit.session.clone());
        return live::stream(&console, visit, move || {
            let (console, session, place) = (Arc::clone(&from), session.clone(), place.clone());
            async move { Ok(parts(&console, &session, &place, id).await?.1) }
        });
    }
    let (delivery, mut parts) = parts(&console, &visit.session, &place, id).await?;
    if said == "replaying" {
        let said = "It is sent again. What comes back shows up below.";
        parts.insert(0, Part::new("said", html! { p.said role="status" { (said) } }));
    }
    let endpoint = console.app.directory.endpoint(&place.scope, &delivery.endpoint_id).await?;
    let name = endpoint.map(|endpoint| words::short(endpoint.description.as_deref().unwrap_or(&endpoint.url), 60));
    let mut below = vec![("webhooks".to_owned(), "Webhooks".to_owned())];
    below.extend(name.map(|name| (format!("webhooks/{}", delivery.endpoint_id), name)));
    let below: Vec<(&str, &str)> = below.iter().map(|(page, name)| (page.as_str(), name.as_str())).collect();
    Ok(Page::live(delivery.event_type.as_str(), parts).of(&visit, &place, &below).respond(&visit))
}

async fn parts(
    console: &Console,
    session: &Session,
    place: &Place,
    id: Uuid,
) -> Result<(Delivery, Vec<Part>), Failure> {
    let log = &console.app.deliveries;
    let Parcel { delivery, payload } =
        log.delivery(&place.scope, id).await?.ok_or_else(|| Problem::not_found("delivery"))?;
    let attempts = log.attempts(&place.scope, id).await?;
    let tries = html! {
        @if attempts.is_empty() { p.none { "It was not tried yet." } }
        ol.attempts { @for attempt in attempts.iter().rev() { li { (shown(attempt)) } } }
    };
    let sent = html! {
        @match &payload {
            None => p.none { "Its body is not kept." },
            Some(payload) => {
                details data-keep="payload" {
                    summary { "The body, exactly as it was signed and sent" }
                    pre { (payload.get().chars().take(PAYLOAD_CHARS).collect::<String>()) }
                }
            }
        }
    };
    let parts = vec![
        Part::new("state", state_line(&delivery)),
        Part::new("about", about(session, place, &delivery, payload.is_some())),
        Part::new("tries", panel("Tries", &tries)),
        Part::new("sent", panel("What was sent", &sent)),
    ];
    Ok((delivery, parts))
}

/// Where a delivery's page is.
pub(super) fn address(place: &Place, id: Uuid) -> String {
    place.address(&format!("deliveries/{id}"))
}

/// A state as it is called.
pub(super) fn name(state: Standing) -> &'static str {
    match state {
        Standing::Pending => "on the way",
        Standing::Delivered => "delivered",
        Standing::Dead => "given up",
        Standing::Discarded => "not to be sent",
    }
}

fn tone(delivery: &Delivery) -> Tone {
    match delivery.standing.state {
        Standing::Delivered => Tone::Good,
        Standing::Pending if delivery.standing.attempts > 0 => Tone::Warn,
        Standing::Pending | Standing::Discarded => Tone::Plain,
        Standing::Dead => Tone::Bad,
    }
}

/// How a delivery stands, in a word.
pub(super) fn state(delivery: &Delivery) -> Markup {
    let is_retried = delivery.standing.state == Standing::Pending && delivery.standing.attempts > 0;
    badge(tone(delivery), if is_retried { "to be tried again" } else { name(delivery.standing.state) })
}

fn state_line(delivery: &Delivery) -> Markup {
    let standing = &delivery.standing;
    let why = standing.reason.as_deref().unwrap_or("no reason is known");
    html! {
        p.state.(tone(delivery).name()) data-testid="delivery-state" data-state=(standing.state.as_str()) {
            span {
                @match standing.state {
                    Standing::Delivered => {
                        "Delivered"
                        @if let Some(at) = standing.last_attempt_at { " " (moment(at)) }
                        ", at try " (standing.attempts) "."
                    }
                    Standing::Pending => {
                        @if standing.attempts == 0 { "On the way." } @else {
                            (words::count(standing.attempts.into(), "try has", "tries have")) " failed"
                            @if let Some(at) = standing.next_attempt_at { "; the next one is " (moment(at)) }
                            ". " (words::short(why, 300))
                        }
                    }
                    Standing::Dead => {
                        "Given up after " (words::count(standing.attempts.into(), "try", "tries")) ": " (words::short(why, 300))
                    }
                    Standing::Discarded => { "Not to be sent: " (words::short(why, 300)) }
                }
            }
        }
    }
}

fn about(session: &Session, place: &Place, delivery: &Delivery, has_body: bool) -> Markup {
    html! {
        section.panel {
            dl.facts {
                div { dt { "webhook-id" } dd.code { (delivery.webhook_id) } }
                div { dt { "Happened" } dd { (moment(delivery.happened_at)) } }
                @if let Some(conversation) = delivery.conversation_id {
                    div {
                        dt { "Conversation" }
                        dd { a.code href=(place.address(&format!("conversations/{conversation}"))) { (conversation) } }
                    }
                }
                @if let Some(sequence) = delivery.sequence { div { dt { "Sequence" } dd { (sequence) } } }
                @if delivery.round > 0 {
                    div { dt { "Replayed" } dd { (words::count(delivery.round.into(), "time", "times")) } }
                }
            }
            @if delivery.standing.state != Standing::Pending && has_body {
                form.row.below method="post" action={ (address(place, delivery.id)) "/replay" } {
                    (form::token(session))
                    button #replay.primary type="submit" data-testid="replay" { "Replay" }
                    p.fine { "It is signed anew and keeps its webhook-id, by which a receiver knows it." }
                }
            }
        }
    }
}

fn shown(attempt: &Attempt) -> Markup {
    let is_good = attempt.outcome == "delivered";
    html! {
        header {
            h3 { "Try " (attempt.number) }
            (badge(if is_good { Tone::Good } else { Tone::Bad }, &attempt.status.map_or(attempt.outcome.clone(), |status| status.to_string())))
            (moment(attempt.started_at))
            span.soft { (words::milliseconds(attempt.timing.total_ms)) }
            @if let Some(version) = &attempt.http_version { span.soft { (version) } }
            @if let Some(address) = &attempt.remote_address { span.soft.code { (address) } }
        }
        @if let Some(error) = &attempt.error { p.bad-text { (error) } }
        (timing(&attempt.timing))
        @if !attempt.headers.is_empty() || !attempt.body_start.is_empty() {
            details data-keep={ "answer-" (attempt.number) "-" (attempt.started_at.unix_timestamp_nanos()) } {
                summary { "What came back" }
                @if !attempt.headers.is_empty() {
                    div.table {
                        table.headers {
                            caption.unseen { "Headers of the answer" }
                            thead.unseen { tr { th scope="col" { "Header" } th scope="col" { "Value" } } }
                            tbody {
                                @for (name, value) in &attempt.headers {
                                    tr { th scope="row" { (name) } td { (value) } }
                                }
                            }
                        }
                    }
                }
                @if !attempt.body_start.is_empty() { pre { (attempt.body_start) } }
            }
        }
    }
}

/// Where the time went, one phase after the other.
fn timing(timing: &Timing) -> Markup {
    let dns = timing.dns_ms.unwrap_or_default();
    let connect = timing.connect_ms.unwrap_or_default();
    let waited = timing.first_byte_ms.map(|first| (first - dns - connect).max(0.0));
    let rest = (timing.total_ms - dns - connect - waited.unwrap_or_default()).max(0.0);
    // Until the first byte is there, the rest of the time was spent waiting for it.
    let (waited, read) = match waited {
        Some(waited) => (waited, Some(rest)),
        None => (rest, None),
    };
    let phases = [
        ("looking up", timing.dns_ms, "one"),
        ("connecting", timing.connect_ms, "two"),
        ("waiting", Some(waited), "three"),
        ("reading", read, "four"),
    ];
    let total = timing.total_ms.max(0.001);
    let mut from = 0.0;
    let mut rows = Vec::new();
    for (name, ms, class) in phases {
        let Some(ms) = ms else { continue };
        rows.push((name, ms, class, 100.0 * from / total));
        from += ms;
    }
    html! {
        div.timing {
            svg width="100%" height="8" aria-hidden="true" {
                rect.ground.faint width="100%" height="8" rx="4" {}
                @for (_, ms, class, left) in &rows {
                    rect.ground.(class) x={ (format!("{left:.2}")) "%" } height="8"
                        width={ (format!("{:.2}", (100.0 * ms / total).min(100.0 - left).max(0.0))) "%" } {}
                }
            }
            ul.key { @for (name, ms, class, _) in &rows { li.(class) { (name) " " (words::milliseconds(*ms)) } } }
        }
    }
}

/// Makes the delivery again.
pub(super) async fn replay(
    State(console): State<Arc<Console>>,
    Path((company, id)): Path<(String, Uuid)>,
    sent: Sent<Nothing>,
) -> Result<Response, Failure> {
    let place = sent.visit.company(&console, &company, KeyScope::Admin).await?;
    let found = console.app.deliveries.delivery(&place.scope, id).await?;
    let endpoint_id = Some(found.ok_or_else(|| Problem::not_found("delivery"))?.delivery.endpoint_id);
    // One that arrived too: whoever asks for it has lost it since.
    let states = [Standing::Delivered, Standing::Dead, Standing::Discarded].into();
    replays::begin(&console.app, &place.scope, Filter { id: Some(id), endpoint_id, states, ..Filter::default() })
        .await?;
    Ok(Redirect::to(&format!("{}?said=replaying", address(&place, id))).into_response())
}
