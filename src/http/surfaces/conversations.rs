//! A company's conversations, for the company.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;

use crate::domain::{ConversationId, KeyScope};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::ports::store::Page;

/// Conversations on a page unless the request says otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);
/// Turns shown of one conversation: its last ones.
const TURNS: usize = 500;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .route("/api/companies/{company_id}/conversations", get(list))
        .route("/api/companies/{company_id}/conversations/{conversation_id}", get(one))
}

#[derive(Deserialize)]
struct Paging {
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let page = Page { limit: paging.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1), after: paging.cursor };
    let (conversations, next) = app.store.conversations(&caller.scope, &page).await?;
    Ok(Json(json!({"conversations": conversations, "next_cursor": next})))
}

async fn one(
    State(app): State<Arc<App>>,
    Path((company_id, conversation_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let id: ConversationId = conversation_id.parse().map_err(|_| Problem::not_found("conversation"))?;
    let conversation =
        app.store.conversation(&caller.scope, id).await?.ok_or_else(|| Problem::not_found("conversation"))?;
    let turns = app.store.history(&caller.scope, id, TURNS).await?;
    Ok(Json(json!({"conversation": conversation, "turns": turns})))
}
