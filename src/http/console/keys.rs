//! A company's keys: all of them but their secrets, which nobody has.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use time::OffsetDateTime;

use super::Console;
use super::failure::Failure;
use super::layout::Page;
use super::pieces::{Tone, badge, empty, moment};
use super::visit::Visit;
use crate::domain::{ApiKey, KeyScope};
use crate::http::extract::Path;

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    let keys = console.app.directory.keys(&place.scope).await?;
    let content = html! {
        section.panel {
            @if keys.is_empty() {
                (empty("There are no keys.", &html! {
                    "Make one with " code { "turnpike company key add " (place.company.id) } ", or over HTTP."
                }))
            } @else { (table(&keys)) }
            p.fine { "A key’s secret was told once, when it was made. It begins as shown here and is kept nowhere." }
        }
    };
    Ok(Page::new("Keys", content).of(&visit, &place, &[]).respond(&visit))
}

fn table(keys: &[ApiKey]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "API keys, oldest first" }
                thead {
                    tr {
                        th scope="col" { "Begins with" } th scope="col" { "Scope" } th scope="col" { "Name" }
                        th scope="col" { "Origins" } th scope="col" { "Last used" } th scope="col" { "Made" }
                        th scope="col" { "Expires" }
                    }
                }
                tbody {
                    @for key in keys {
                        tr {
                            th scope="row" { span.code { (key.prefix) "…" } }
                            td { (badge(tone(key.scope), key.scope.as_str())) }
                            td { (key.name.as_deref().unwrap_or("–")) }
                            td { @if key.origins.is_empty() { "–" } @else { (key.origins.join(", ")) } }
                            td { @if let Some(at) = key.last_used_at { (moment(at)) } @else { "never" } }
                            td { (moment(key.created_at)) }
                            td { (expiry(key)) }
                        }
                    }
                }
            }
        }
    }
}

fn tone(scope: KeyScope) -> Tone {
    if scope == KeyScope::Admin { Tone::Warn } else { Tone::Plain }
}

fn expiry(key: &ApiKey) -> Markup {
    match key.expires_at {
        None => html! { "never" },
        Some(at) if key.is_valid_at(OffsetDateTime::now_utc()) => moment(at),
        Some(at) => html! { (badge(Tone::Bad, "expired")) " " (moment(at)) },
    }
}
