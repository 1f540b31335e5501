//! Searching a company's knowledge, with the reasons for each rank.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{CompanyId, DocumentId, KeyScope, Language};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::{App, openapi};
use crate::pipeline::stages::retrieve::Weighed;
use crate::ports::index::{self, Rank};

/// Most results.
const RESULTS: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(search))
}

/// What is searched for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    /// The question.
    #[schema(min_length = 1)]
    query: String,
    /// Results at most; those of the company's pipeline unless this says otherwise.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The question's language, where it should not be told from the text.
    language: Option<Language>,
    /// Whether each result says why it stands where it does, and those below the threshold are shown too.
    #[serde(default)]
    explain: bool,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct SearchResults {
    /// The question's language.
    language: Language,
    /// Relevance below which a passage does not answer a question.
    threshold: f32,
    /// Whether the meaning was searched too, and not keywords alone.
    is_dense: bool,
    /// The passages, best first.
    results: Vec<SearchResult>,
}

/// A passage that was found.
#[derive(Serialize, ToSchema)]
struct SearchResult {
    /// The document.
    document_id: DocumentId,
    /// Its title.
    title: String,
    /// Where it can be read.
    url: Option<String>,
    /// The headings that the passage stands under, outermost first.
    headings: Vec<String>,
    /// The passage.
    text: String,
    /// Relevance, 0 to 1.
    relevance: f32,
    /// Why it stands here, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// Why a passage stands where it does. The order is that of the fused scores, each of which is the sum over both searches of
/// `weight / (60 + rank)`.
#[derive(Serialize, ToSchema)]
struct Explanation {
    /// Its place, from 1.
    rank: usize,
    /// The fused score.
    score: f32,
    /// Its place by meaning, with the cosine.
    dense: Option<Rank>,
    /// Its place by keywords, with the BM25 score.
    sparse: Option<Rank>,
    /// Whether it is not relevant enough to answer a question with.
    is_below_threshold: bool,
}

/// Search a company's knowledge
///
/// As a turn does.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/search", tag = "Documents", operation_id = "search",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    request_body(content = SearchRequest, description = "What is searched for.",
        example = json!({"query": "Lãi suất vay mua nhà là bao nhiêu?", "limit": 5, "explain": true})),
    responses((status = 200, description = "What was found.", body = SearchResults), openapi::Admission, openapi::JsonBody),
)]
async fn search(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SearchResults>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let request: SearchRequest = super::json(&app, &headers, body).await?;
    let query = request.query.nfc().collect::<String>().trim().to_owned();
    let (chars, most) = (query.chars().count(), app.settings.limits.message_chars);
    if chars == 0 || query.contains('\0') {
        return Err(Problem::bad_request("empty_query", "`query` is empty"));
    }
    if chars > most {
        let detail = format!("`query` has {chars} characters; {most} are allowed");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "query_too_long", detail));
    }
    if request.limit.is_some_and(|limit| !(1..=RESULTS).contains(&limit)) {
        return Err(Problem::bad_request("invalid_limit", format!("`limit` is between 1 and {RESULTS}")));
    }
    let found = app.engine.search(&caller.scope, &caller.company, &query, request.language, request.limit).await?;
    // What is explained shows also what was left out, so that the others stand where they stood.
    let most = if request.explain { usize::MAX } else { found.limit };
    let results = found.weighed.into_iter().enumerate().filter(|(_, weighed)| request.explain || weighed.is_relevant);
    Ok(Json(SearchResults {
        language: found.language,
        threshold: found.threshold,
        is_dense: found.is_dense,
        results: results.take(most).map(|(place, weighed)| shown(place + 1, weighed, request.explain)).collect(),
    }))
}

fn shown(rank: usize, weighed: Weighed, is_explained: bool) -> SearchResult {
    let Weighed { ranked, is_relevant } = weighed;
    let (hit, relevance) = (ranked.hit, ranked.relevance);
    let explanation = is_explained.then_some(Explanation {
        rank,
        score: hit.score,
        dense: hit.dense,
        sparse: hit.sparse,
        is_below_threshold: !is_relevant,
    });
    SearchResult {
        document_id: hit.passage.document_id,
        title: hit.passage.title,
        url: hit.passage.url,
        headings: hit.passage.headings,
        text: hit.passage.text,
        relevance,
        explanation,
    }
}

impl From<index::Error> for Problem {
    fn from(error: index::Error) -> Self {
        tracing::warn!(%error, "the knowledge did not answer a request");
        Self::unavailable("knowledge_unavailable", "the knowledge cannot be searched right now")
    }
}
