//! A company's conversations, for the company.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{CompanyId, ConversationId, KeyScope};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::ports::store::Page;

/// Conversations on a page unless the request says otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);
/// Turns shown of one conversation: its last ones.
const TURNS: usize = 500;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// How many at most: 50 unless it is said, and never more than 200.
    limit: Option<usize>,
    /// Where the page before this one ended: its `next_cursor`.
    cursor: Option<String>,
}

/// Conversations, the last updated first.
#[derive(Serialize, ToSchema)]
struct Conversations {
    /// The conversations.
    conversations: Vec<Conversation>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

/// A conversation with its turns.
#[derive(Serialize, ToSchema)]
struct WholeConversation {
    /// The conversation.
    conversation: Conversation,
    /// Its last turns, 500 at most, in their order.
    turns: Vec<StoredTurn>,
}

/// List conversations
///
/// The last updated first.
#[utoipa::path(
    get,
    path = "/api/companies/{company_id}/conversations",
    tag = "Conversations",
    operation_id = "list_conversations",
    security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), Paging),
    responses((status = 200, description = "A page of them.", body = Conversations), openapi::Admission),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Conversations>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let page = Page { limit: paging.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1), after: paging.cursor };
    let (conversations, next_cursor) = app.store.conversations(&caller.scope, &page).await?;
    Ok(Json(Conversations { conversations, next_cursor }))
}

/// Read a conversation
///
/// With its last 500 turns.
#[utoipa::path(
    get,
    path = "/api/companies/{company_id}/conversations/{conversation_id}",
    tag = "Conversations",
    operation_id = "read_conversation",
    security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("conversation_id" = ConversationId, Path, description = "The conversation."),
    ),
    responses((status = 200, description = "The conversation.", body = WholeConversation), openapi::Admission),
)]
async fn one(
    State(app): State<Arc<App>>,
    Path((company_id, conversation_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<WholeConversation>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let id: ConversationId = conversation_id.parse().map_err(|_| Problem::not_found("conversation"))?;
    let conversation =
        app.store.conversation(&caller.scope, id).await?.ok_or_else(|| Problem::not_found("conversation"))?;
    let turns = app.store.history(&caller.scope, id, TURNS).await?;
    Ok(Json(WholeConversation { conversation, turns }))
}
