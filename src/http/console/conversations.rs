//! A company's conversations, and one of them turn by turn.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::Failure;
use super::layout::Page;
use super::pieces::{Tone, badge, empty, moment};
use super::visit::{Place, Visit};
use super::{Console, documents, words};
use crate::domain::conversation::{Conversation, Status, StoredTurn};
use crate::domain::turn::Source;
use crate::domain::{ConversationId, FinishReason, KeyScope, Language};
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::ports::store::{Filter, Page as Rows};

/// Conversations on a page.
const CONVERSATIONS: usize = 50;
/// Turns on a page.
const TURNS: usize = 100;

/// Which conversations are wanted. What is empty does not choose.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    status: String,
    #[serde(default)]
    language: String,
    #[serde(default)]
    intent: String,
    #[serde(default)]
    channel: String,
    /// Where the page before this one ended.
    #[serde(default)]
    after: String,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, Problem> {
        let some = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let invalid = |what: &str| Problem::bad_request("invalid_filter", format!("this is no {what}"));
        let status = match self.status.as_str() {
            "" => None,
            "active" => Some(Status::Active),
            "ended" => Some(Status::Ended),
            _ => return Err(invalid("status")),
        };
        let language = some(&self.language).map(|text| text.parse::<Language>()).transpose();
        Ok(Filter {
            status,
            language: language.map_err(|_| invalid("language"))?,
            intent: some(&self.intent),
            channel: some(&self.channel),
            ..Filter::default()
        })
    }

    fn address(&self, place: &Place, after: &str) -> String {
        let mut address = place.address("conversations?");
        for (name, value) in [
            ("status", self.status.as_str()),
            ("language", &self.language),
            ("intent", &self.intent),
            ("channel", &self.channel),
            ("after", after),
        ] {
            if !value.is_empty() {
                address.push_str(&format!("{name}={}&", words::encode(value)));
            }
        }
        address.trim_end_matches(['?', '&']).to_owned()
    }
}

/// A page of the company's conversations, the last updated first.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Backend).await?;
    let filter = wanted.filter()?;
    let after = Some(wanted.after.clone()).filter(|after| !after.is_empty());
    let is_first = after.is_none();
    let rows = Rows { limit: CONVERSATIONS, after };
    let (conversations, next) = console.app.store.conversations(&place.scope, &filter, &rows).await?;
    let is_filtered = filter != Filter::default();
    let content = html! {
        (filters(&wanted))
        section.panel {
            @if !conversations.is_empty() {
                (table(&place, &conversations))
            } @else if is_filtered || !is_first {
                (empty("No conversation fits.", &html! { a href=(place.address("conversations")) { "Show all" } }))
            } @else {
                (empty("There are no conversations yet.", &html! {
                    "Each question over the API, the widget or the chat page begins or continues one, and shows up here as "
                    "soon as it is stored."
                }))
            }
            @if next.is_some() || !is_first {
                p.more-pages {
                    @if !is_first { a.button href=(wanted.address(&place, "")) { "Newest" } }
                    @if let Some(next) = &next { a.button href=(wanted.address(&place, next)) rel="next" { "Older" } }
                }
            }
        }
    };
    Ok(Page::new("Conversations", content).of(&visit, &place, &[]).respond(&visit))
}

fn filters(wanted: &Wanted) -> Markup {
    html! {
        section.panel {
            form.filters method="get" role="search" {
                label {
                    "Status"
                    select name="status" {
                        @for (value, name) in [("", "any"), ("active", "active"), ("ended", "ended")] {
                            option value=(value) selected[wanted.status == value] { (name) }
                        }
                    }
                }
                label { "Language" input name="language" value=(wanted.language) size="6" maxlength="8" placeholder="vi"; }
                label { "Intent" input name="intent" value=(wanted.intent) size="14" maxlength="64" placeholder="support"; }
                label { "Channel" input name="channel" value=(wanted.channel) size="8" maxlength="64" placeholder="web"; }
                button type="submit" { "Filter" }
            }
        }
    }
}

fn table(place: &Place, conversations: &[Conversation]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "Conversations, the last updated first" }
                thead {
                    tr {
                        th scope="col" { "Begins with" } th scope="col" { "Last" } th.num scope="col" { "Messages" }
                        th scope="col" { "Language" } th scope="col" { "Intent" } th scope="col" { "Channel" }
                        th scope="col" { "Status" }
                    }
                }
                tbody {
                    @for one in conversations {
                        tr {
                            th.wide scope="row" {
                                a href=(place.address(&format!("conversations/{}", one.conversation_id))) {
                                    @if one.summary.trim().is_empty() { "(no text)" } @else { (one.summary) }
                                }
                            }
                            td { (moment(one.updated_at)) }
                            td.num { (words::number(one.message_count)) }
                            td { (one.language.map_or("–", |language| language.code())) }
                            td { (one.intent.as_deref().map_or("–".to_owned(), plain)) }
                            td { (one.channel) }
                            td { (status(one)) }
                        }
                    }
                }
            }
        }
    }
}

fn status(one: &Conversation) -> Markup {
    match one.status {
        Status::Active => badge(Tone::Good, "active"),
        Status::Ended => badge(Tone::Plain, "ended"),
    }
}

fn plain(name: &str) -> String {
    name.replace('_', " ")
}

/// From which turn on a conversation is wanted.
#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    after: u64,
}

/// One conversation.
pub(super) async fn one(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((company, conversation)): Path<(String, String)>,
    Query(From { after }): Query<From>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Backend).await?;
    let missing = || Problem::not_found("conversation");
    let id: ConversationId = conversation.parse().map_err(|_| missing())?;
    let store = &console.app.store;
    let head = store.conversation(&place.scope, id).await?.ok_or_else(missing)?;
    let mut turns = store.turns_after(&place.scope, id, after, TURNS + 1).await?;
    let has_more = turns.len() > TURNS;
    turns.truncate(TURNS);
    let next = turns.last().filter(|_| has_more).map(|last| last.sequence);
    let address = place.address(&format!("conversations/{id}"));
    let content = html! {
        section.panel {
            dl.facts {
                div { dt { "Id" } dd.code { (head.conversation_id) } }
                div { dt { "Session" } dd.code { (head.session_id) } }
                div { dt { "Channel" } dd { (head.channel) } }
                div { dt { "Messages" } dd { (words::number(head.message_count)) } }
                div { dt { "Begun" } dd { (moment(head.created_at)) } }
                div { dt { "Last" } dd { (moment(head.updated_at)) } }
                @if let Some(ended) = head.ended_at { div { dt { "Ended" } dd { (moment(ended)) } } }
            }
        }
        section.turns aria-label="Turns" { @for turn in &turns { (shown(&visit, &place, turn)) } }
        @if next.is_some() || after > 0 {
            p.more-pages {
                @if after > 0 { a.button href=(address) { "From the beginning" } }
                @if let Some(next) = next { a.button href={ (address) "?after=" (next) } rel="next" { "Later turns" } }
            }
        }
    };
    let title = words::short(&head.summary, 80);
    let title = if title.is_empty() { "Conversation" } else { &title };
    let mut page = Page::new(title, content).of(&visit, &place, &[("conversations", "Conversations")]);
    page.aside = status(&head);
    Ok(page.respond(&visit))
}

fn shown(visit: &Visit, place: &Place, turn: &StoredTurn) -> Markup {
    let record = &turn.record;
    html! {
        article.turn id={ "turn-" (turn.sequence) } {
            header {
                h3 { "Turn " (turn.sequence) }
                (moment(record.started_at))
                @if record.finish_reason != FinishReason::Stop {
                    (badge(tone(record.finish_reason), &plain(record.finish_reason.as_str())))
                }
                @for part in &record.degraded { (badge(Tone::Warn, &format!("without {}", part.as_str()))) }
            }
            div.message.user { p.unseen { "The user:" } p.text { (record.message) } }
            div.message.bot {
                p.unseen { "The answer:" }
                @if record.answer.is_empty() { p.none { "There was no answer." } } @else { p.text { (record.answer) } }
                @if let Some(error) = &record.error { p.bad-text { "Error: " (error) } }
            }
            @if !record.sources.is_empty() { (sources(visit, place, &record.sources, &record.answer)) }
            dl.facts.small {
                div { dt { "Language" } dd { (record.language.map_or_else(|| "not known".to_owned(), |language| words::begun(language.name()))) } }
                div {
                    dt { "Intent" }
                    dd {
                        @match &record.intent {
                            Some(found) => { (plain(&found.intent)) " " span.soft { (words::percent(found.confidence.into())) } }
                            None => "not known",
                        }
                    }
                }
                div { dt { "Model" } dd { (record.model.as_deref().unwrap_or("none")) } }
                div { dt { "First token" } dd { (record.timings.first_content_ms.map_or("–".to_owned(), words::milliseconds)) } }
                div { dt { "In all" } dd { (record.timings.total_ms.map_or("–".to_owned(), words::milliseconds)) } }
                div {
                    dt { "Tokens" }
                    dd {
                        (words::number(record.usage.input_tokens)) " in, " (words::number(record.usage.output_tokens)) " out"
                        @if record.usage.estimated { span.soft { " (estimated)" } }
                    }
                }
            }
        }
    }
}

fn tone(reason: FinishReason) -> Tone {
    match reason {
        FinishReason::Stop => Tone::Good,
        FinishReason::Length | FinishReason::Stopped | FinishReason::Interrupted => Tone::Plain,
        FinishReason::ContentFilter => Tone::Warn,
        FinishReason::Failed => Tone::Bad,
    }
}

/// The passages that were in the prompt; those that the answer cites are named at once.
fn sources(visit: &Visit, place: &Place, sources: &[Source], answer: &str) -> Markup {
    let is_cited = |source: &&Source| answer.contains(&format!("[{}]", source.n));
    let cited: Vec<String> =
        sources.iter().filter(is_cited).map(|source| format!("[{}] {}", source.n, source.title)).collect();
    html! {
        details.sources {
            summary {
                (words::count(sources.len() as u64, "source", "sources"))
                @if cited.is_empty() { ", none of them cited" } @else { ", cited: " (cited.join(", ")) }
            }
            ol {
                @for source in sources {
                    li {
                        span.rank { (source.n) }
                        div {
                            p.what {
                                @if visit.opens(KeyScope::Admin) {
                                    a href=(documents::address(place, &source.document_id)) { (source.title) }
                                } @else { (source.title) }
                                @if is_cited(&source) { (badge(Tone::Good, "cited")) }
                                span.score { (format!("{:.2}", source.score)) }
                            }
                            p.text.soft { (source.snippet) }
                        }
                    }
                }
            }
        }
    }
}
