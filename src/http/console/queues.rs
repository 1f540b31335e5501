//! The queues and their books, and what was given up in them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::Console;
use super::failure::Failure;
use super::form::{self, Sent};
use super::layout::Page;
use super::live::{self, Part};
use super::pieces::{Tone, badge, empty, moment, panel, unread};
use super::snapshot::Snapshot;
use super::visit::Visit;
use super::words;
use crate::http::auth::Session;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::ports::bus::{Account, DeadLetter, Queue};
use crate::ports::operations::SpoolAccount;

/// Letters that are shown at once.
const LETTERS: usize = 100;
/// Characters shown of the reason for one.
const REASON_CHARS: usize = 240;

/// What the page is to show.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Letters of this queue alone.
    queue: Option<String>,
    /// How many messages are tried again since a moment ago.
    redriven: Option<u64>,
}

/// What is to be tried again.
#[derive(Deserialize)]
pub(super) struct Redrive {
    #[serde(default)]
    queue: String,
    #[serde(default)]
    id: String,
}

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    visit.must_be_operator()?;
    let queue = wanted.queue.as_deref().filter(|name| !name.is_empty()).map(named).transpose()?;
    if live::is_asked(&headers) {
        let (from, session) = (Arc::clone(&console), visit.session.clone());
        return live::stream(&console, visit, move || {
            let (console, session) = (Arc::clone(&from), session.clone());
            async move { parts(&console, &session, queue).await }
        });
    }
    let mut parts = parts(&console, &visit.session, queue).await?;
    if let Some(count) = wanted.redriven {
        let said = format!("{} tried again.", words::count(count, "message is", "messages are"));
        parts.insert(0, Part::new("said", html! { p.said role="status" { (said) } }));
    }
    Ok(Page::live("Queues", parts).respond(&visit))
}

/// Tries again what was given up.
pub(super) async fn redrive(State(console): State<Arc<Console>>, sent: Sent<Redrive>) -> Result<Response, Failure> {
    sent.visit.must_be_operator()?;
    let Redrive { queue, id } = sent.fields;
    let queue = Some(queue.as_str()).filter(|name| !name.is_empty()).map(named).transpose()?;
    let id = match id.as_str() {
        "" => None,
        id => Some(id.parse::<Uuid>().map_err(|_| Problem::not_found("message"))?),
    };
    let count = console.app.operations.redrive(queue, id).await?;
    tracing::info!(count, "dead letters are tried again from the console");
    Ok(Redirect::to(&format!("/console/queues?redriven={count}")).into_response())
}

fn named(name: &str) -> Result<Queue, Problem> {
    Queue::from_name(name).ok_or_else(|| Problem::not_found("queue"))
}

async fn parts(console: &Console, session: &Session, queue: Option<Queue>) -> Result<Vec<Part>, Failure> {
    let snapshot = console.snapshots.now().await;
    let letters = console.app.operations.dead_letters(queue, LETTERS + 1).await?;
    Ok(vec![
        Part::new("queues", panel("Books", &table(&snapshot, true))),
        Part::new("letters", panel("Given up", &letters_table(&letters, session, queue))),
    ])
}

/// The queues, one to a row.
pub(super) fn table(snapshot: &Snapshot, is_whole: bool) -> Markup {
    let Some(books) = &snapshot.books else { return unread("The queues") };
    html! {
        div.table {
            table.list {
                caption.unseen { "The queues and their books" }
                thead {
                    tr {
                        th scope="col" { "Queue" } th.num scope="col" { "Waiting" } th.num scope="col" { "Oldest" }
                        th.num scope="col" { "Per second" } th.num scope="col" { "Given up" }
                        @if is_whole {
                            th.num scope="col" { "Accepted" } th.num scope="col" { "Done" } th.num scope="col" { "Erased" }
                        }
                        th scope="col" { "Books" }
                    }
                }
                tbody {
                    (spool_row(&books.spool, is_whole, snapshot.members.as_ref().is_some_and(|all| !all.is_empty())))
                    @for account in &books.queues {
                        (row(account, snapshot.rates.get(account.queue).copied(), is_whole))
                    }
                }
            }
        }
        @if is_whole {
            p.fine { "A queue’s books balance when what was accepted is done, given up, waiting or erased, and nothing else." }
        }
    }
}

fn spool_row(spool: &SpoolAccount, is_whole: bool, is_one_of_several: bool) -> Markup {
    let waiting = spool.accepted.saturating_sub(spool.forwarded);
    html! {
        tr {
            th scope="row" { @if is_one_of_several { "spool of this gateway" } @else { "spool" } }
            td.num { (words::number(waiting)) }
            td.num { @if waiting > 0 { (words::milliseconds(spool.oldest_ms as f64)) } @else { "–" } }
            td.num { "–" }
            td.num { "–" }
            @if is_whole {
                td.num { (words::number(spool.accepted)) } td.num { (words::number(spool.forwarded)) } td.num { "–" }
            }
            td {
                @if spool.lost == 0 { (badge(Tone::Good, "balance")) }
                @else { (badge(Tone::Bad, &format!("{} lost", words::number(spool.lost)))) }
            }
        }
    }
}

fn row(account: &Account, rate: Option<f64>, is_whole: bool) -> Markup {
    let name = account.queue.rsplit('.').next().unwrap_or(account.queue);
    html! {
        tr {
            th scope="row" { (name) }
            td.num { (words::number(account.pending)) }
            td.num { (account.oldest_ms.map_or("–".to_owned(), |ms| words::milliseconds(ms as f64))) }
            td.num { (rate.map_or("–".to_owned(), |rate| format!("{rate:.1}"))) }
            td.num {
                @if account.dead > 0 {
                    a.bad href={ "/console/queues?queue=" (words::encode(name)) "#letters" } { (words::number(account.dead)) }
                } @else { "0" }
            }
            @if is_whole {
                td.num { (words::number(account.accepted)) }
                td.num { (words::number(account.done)) }
                td.num { (words::number(account.erased)) }
            }
            td {
                @if account.balances() { (badge(Tone::Good, "balance")) } @else { (badge(Tone::Bad, "do not balance")) }
            }
        }
    }
}

fn letters_table(letters: &[DeadLetter], session: &Session, queue: Option<Queue>) -> Markup {
    let of = queue.map(|queue| queue.name().rsplit('.').next().unwrap_or_default());
    if letters.is_empty() {
        let then = html! { "What cannot be done after all its tries lands here, to be looked at and tried again." };
        return empty("Nothing was given up.", &then);
    }
    html! {
        div #letters.actions {
            p {
                @if letters.len() > LETTERS { "The oldest " (LETTERS) } @else { (words::count(letters.len() as u64, "message", "messages")) }
                @if let Some(of) = of { " of " (of) ". " a href="/console/queues" { "Show those of all queues" } } @else { "." }
            }
            form method="post" action="/console/queues/redrive" {
                (form::token(session))
                @if let Some(of) = of { input type="hidden" name="queue" value=(of); }
                button #redrive-all type="submit" { "Try all again" }
            }
        }
        div.table {
            table.list {
                caption.unseen { "Messages that were given up, oldest first" }
                thead {
                    tr {
                        th scope="col" { "Given up" } th scope="col" { "What" } th.num scope="col" { "Tries" }
                        th scope="col" { "Reason" } th scope="col" { span.unseen { "Actions" } }
                    }
                }
                tbody {
                    @for letter in letters.iter().take(LETTERS) {
                        tr {
                            td { (moment(letter.died_at)) }
                            td { span.code { (letter.message.routing_key) } }
                            td.num { (letter.message.attempts) }
                            td.wide { (words::short(&letter.reason, REASON_CHARS)) }
                            td {
                                form method="post" action="/console/queues/redrive" {
                                    (form::token(session))
                                    input type="hidden" name="id" value=(letter.message.id);
                                    button.small id={ "redrive-" (letter.message.id) } type="submit" { "Try again" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
