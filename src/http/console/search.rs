//! Searching a company's knowledge as a turn does, with what each of the two searches found beside what they come to.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::failure::Failure;
use super::layout::Page;
use super::pieces::{Tone, badge, empty};
use super::visit::{Place, Visit};
use super::{Console, documents, words};
use crate::domain::KeyScope;
use crate::http::extract::{Path, Query};
use crate::pipeline::search::Searched;
use crate::pipeline::stages::retrieve::Weighed;
use crate::ports::index::Rank;

/// Results that are asked for; three times as many are looked at. So the best of each search are among them, also those
/// that the other one does not find.
const RESULTS: usize = 40;
/// Results shown in each column.
const SHOWN: usize = 10;
/// Characters shown of a passage.
const CHARS: usize = 140;

/// What is searched for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
}

/// The page.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(company): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let place = visit.company(&console, &company, KeyScope::Backend).await?;
    let wish = wanted.q.unwrap_or_default().nfc().collect::<String>();
    let most = console.app.settings.limits.message_chars;
    let wish: String = wish.trim().chars().filter(|letter| *letter != '\0').take(most).collect();
    let found = match wish.is_empty() {
        true => None,
        false => Some(console.app.engine.search(&place.scope, &place.company, &wish, None, Some(RESULTS)).await?),
    };
    let used = console.app.engine.catalog().for_company(&place.company, None).definition.retrieval.limit;
    let content = html! {
        section.panel {
            form.filters method="get" role="search" {
                label.grow {
                    "A question, as a customer would ask it"
                    input #q type="search" name="q" value=(wish) maxlength=(most) autofocus[found.is_none()];
                }
                button.primary type="submit" { "Search" }
            }
        }
        @match &found {
            None => {
                section.panel {
                    (empty("See why an answer is found, or is not.", &html! {
                        "By meaning, by keywords, and what the two come to: passages are ranked side by side."
                    }))
                }
            }
            Some(found) => (columns(&visit, &place, found, used)),
        }
    };
    Ok(Page::new("Search", content).of(&visit, &place, &[]).respond(&visit))
}

fn columns(visit: &Visit, place: &Place, found: &Searched, used: usize) -> Markup {
    let by = |rank: fn(&Weighed) -> Option<Rank>| {
        let mut ranked: Vec<(Rank, &Weighed)> =
            found.weighed.iter().filter_map(|weighed| Some((rank(weighed)?, weighed))).collect();
        ranked.sort_by_key(|(rank, _)| rank.rank);
        ranked.truncate(SHOWN);
        ranked
    };
    let (dense, sparse) = (by(|weighed| weighed.ranked.hit.dense), by(|weighed| weighed.ranked.hit.sparse));
    let relevant = found.weighed.iter().filter(|weighed| weighed.is_relevant).count();
    html! {
        p.state.(if relevant > 0 { "good" } else { "warn" }) {
            @if relevant > 0 {
                (words::count(relevant as u64, "passage is", "passages are")) " relevant enough to answer with"
                @if relevant > used { "; a turn is given the first " (used) "." } @else { "." }
            } @else { "Nothing is relevant enough to answer with." }
            " The question is in " (words::begun(found.language.name())) "."
        }
        div.trio.ranks {
            section.panel {
                h2 { "By meaning" } p.fine { "dense, by cosine" }
                @if !found.is_dense {
                    p.none { "The meaning was not searched: there is no embedding model, or it does not know the language." }
                } @else { (ranking(visit, place, dense.iter().map(|(rank, one)| (rank.rank, format!("{:.3}", rank.score), *one)))) }
            }
            section.panel {
                h2 { "By keywords" } p.fine { "sparse, by BM25" }
                (ranking(visit, place, sparse.iter().map(|(rank, one)| (rank.rank, format!("{:.2}", rank.score), *one))))
            }
            section.panel {
                h2 { "Together" } p.fine { "fused; with the relevance, of which " (format!("{:.2}", found.threshold)) " is enough" }
                (ranking(visit, place, found.weighed.iter().take(SHOWN).enumerate().map(|(at, one)| {
                    (at + 1, format!("{:.2}", one.ranked.relevance), one)
                })))
            }
        }
    }
}

fn ranking<'a>(
    visit: &Visit,
    place: &Place,
    all: impl ExactSizeIterator<Item = (usize, String, &'a Weighed)>,
) -> Markup {
    if all.len() == 0 {
        return html! { p.none { "Nothing was found." } };
    }
    html! {
        ol.ranking {
            @for (rank, score, weighed) in all {
                @let passage = &weighed.ranked.hit.passage;
                li.faded[!weighed.is_relevant] {
                    span.rank { (rank) }
                    div {
                        p.what {
                            @if visit.opens(KeyScope::Admin) {
                                a href=(documents::address(place, &passage.document_id)) { (passage.title) }
                            } @else { (passage.title) }
                            span.score { (score) }
                        }
                        @let below: Vec<&str> =
                            passage.headings.iter().map(String::as_str).filter(|one| *one != passage.title).collect();
                        @if !below.is_empty() { p.fine { (below.join(" › ")) } }
                        p.text { (words::short(&passage.text, CHARS)) }
                        @if !weighed.is_relevant { (badge(Tone::Plain, "not relevant enough")) }
                    }
                }
            }
        }
    }
}
