//! A company's documents, and the passages that one is found by.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::Failure;
use super::layout::Page;
use super::pieces::{empty, moment};
use super::visit::{Place, Visit};
use super::{Console, words};
use crate::domain::knowledge::{Document, Passage};
use crate::domain::{DocumentId, KeyScope};
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;

/// Documents on a page.
const DOCUMENTS: usize = 100;
/// Passages shown of a document.
const PASSAGES: usize = 300;

/// Which documents are wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Those that have this in their id or title.
    q: Option<String>,
    /// Those with an id after this one.
    after: Option<String>,
}

/// All documents of a company.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    let mut documents = console.app.ingestion.curator().documents(&place.scope).await?;
    let (all, passages) = (documents.len() as u64, documents.iter().map(|document| document.passages as u64).sum());
    let wish = wanted.q.as_deref().unwrap_or_default().trim().to_lowercase();
    let fits = |text: &str| text.to_lowercase().contains(&wish);
    documents.retain(|document| fits(document.id.as_str()) || fits(&document.title));
    documents.retain(|document| wanted.after.as_ref().is_none_or(|after| document.id.as_str() > after.as_str()));
    let has_more = documents.len() > DOCUMENTS;
    documents.truncate(DOCUMENTS);
    let address = place.address("documents");
    let next = documents
        .last()
        .filter(|_| has_more)
        .map(|last| format!("{address}?q={}&after={}", words::encode(&wish), words::encode(last.id.as_str())));
    let content = html! {
        @if all > 0 {
            section.panel {
                form.filters method="get" role="search" {
                    label.grow { "Title or id" input type="search" name="q" value=(wish); }
                    button type="submit" { "Find" }
                }
            }
        }
        section.panel {
            @if all == 0 {
                (empty("There are no documents yet.", &html! {
                    "Bring some with " code { "turnpike ingest --company " (place.company.id) " FOLDER" }
                    ", or put them over HTTP. Until then answers have nothing to stand on."
                }))
            } @else if documents.is_empty() {
                (empty("No document is called so.", &html! { a href=(address) { "Show all " (words::number(all)) } }))
            } @else {
                (table(&place, &documents))
                @if let Some(next) = next { p.more-pages { a.button href=(next) { "More" } } }
            }
        }
    };
    let mut page = Page::new("Documents", content).of(&visit, &place, &[]);
    page.aside = html! {
        @if all > 0 {
            span.soft { (words::count(all, "document", "documents")) ", " (words::count(passages, "passage", "passages")) }
        }
    };
    Ok(page.respond(&visit))
}

fn table(place: &Place, documents: &[Document]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.unseen { "Documents, by id" }
                thead {
                    tr {
                        th scope="col" { "Document" } th scope="col" { "Language" } th.num scope="col" { "Passages" }
                        th.num scope="col" { "Size" } th scope="col" { "Put" }
                    }
                }
                tbody {
                    @for document in documents {
                        tr {
                            th.wide scope="row" {
                                a href=(address(place, &document.id)) { (document.title) }
                                div.fine.code { (document.id) }
                            }
                            td { (document.language.map_or("–", |language| language.code())) }
                            td.num { (words::number(document.passages as u64)) }
                            td.num { (words::bytes(document.bytes as u64)) }
                            td { (moment(document.updated_at)) }
                        }
                    }
                }
            }
        }
    }
}

/// Where a document's page is.
pub(super) fn address(place: &Place, id: &DocumentId) -> String {
    place.address(&format!("documents/{}", words::encode(id.as_str())))
}

/// One document.
pub(super) async fn one(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((company, document)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Admin).await?;
    let missing = || Problem::not_found("document");
    let id: DocumentId = document.parse().map_err(|_| missing())?;
    let found = console.app.ingestion.curator().document(&place.scope, &id).await?;
    let (document, passages) = found.ok_or_else(missing)?;
    let content = html! {
        section.panel {
            dl.facts {
                div { dt { "Id" } dd.code { (document.id) } }
                div { dt { "Language" } dd { (document.language.map_or_else(|| "not known".to_owned(), |language| words::begun(language.name()))) } }
                div { dt { "Passages" } dd { (words::number(document.passages as u64)) } }
                div { dt { "Size" } dd { (words::bytes(document.bytes as u64)) } }
                div { dt { "Put" } dd { (moment(document.updated_at)) } }
                // Only what leads to a page is made a link: a document says of itself what it likes.
                @if let Some(url) = &document.url {
                    div {
                        dt { "Read at" }
                        dd { @if is_web(url) { a href=(url) rel="noreferrer noopener nofollow" { (url) } } @else { (url) } }
                    }
                }
            }
        }
        section.panel {
            h2 { "Passages, as they are found" }
            ol.passages { @for passage in passages.iter().take(PASSAGES) { li { (shown(passage)) } } }
            @if passages.len() > PASSAGES {
                p.fine { "These are the first " (PASSAGES) " of " (words::number(passages.len() as u64)) "." }
            }
        }
    };
    let page = Page::new(&document.title, content).of(&visit, &place, &[("documents", "Documents")]);
    Ok(page.respond(&visit))
}

/// Whether an address is of the web, and no script in disguise.
pub(super) fn is_web(url: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme))
}

fn shown(passage: &Passage) -> Markup {
    html! {
        @if !passage.headings.is_empty() { p.fine { (passage.headings.join(" › ")) } }
        p.text { (passage.text) }
    }
}
