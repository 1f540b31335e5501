//! Removing what was said.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::{Named, chat, refused};
use crate::domain::{CompanyScope, ConversationId, SessionId, TurnId};
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::surfaces::admin::conversations;
use crate::http::{App, body};

/// How the ids of completions begin that are turns.
const COMPLETION: &str = "chatcmpl-";

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(delete))
}

/// Which chat is to be deleted: one of the two. It may stand in the query as well as in a body of JSON.
#[derive(Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
struct Doomed {
    /// The conversation's id, or that of one of its completions, `chatcmpl-…`.
    chat_id: Option<String>,
    /// The session whose conversation it is.
    session_id: Option<String>,
}

/// A chat that is gone.
#[derive(Serialize, ToSchema)]
struct ChatDeleted {
    /// Always `chat.deleted`.
    object: &'static str,
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    id: ConversationId,
    /// Always true.
    deleted: bool,
    /// Turns that were stored of it.
    turns: u64,
}

/// Delete a chat
///
/// Removes a conversation of the company from every store, queue and buffer, for good.
#[utoipa::path(
    delete, path = "/v1/chats/delete", operation_id = "delete_chat", tag = "OpenAI", params(Doomed, Named),
    request_body(content = Option<Doomed>, description = "Not needed when the query says it.",
        example = json!({"session_id": "s-1"})),
    responses((status = 200, description = "It is gone.", body = ChatDeleted), Errors),
    security(("bearer" = [])),
)]
async fn delete(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    Query(query): Query<Doomed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChatDeleted>, Problem> {
    let caller = super::admit(&app, &headers, named).await?;
    let sent = match body.is_end_stream() {
        true => Doomed::default(),
        false => {
            let bytes = chat::json_body(&app, &headers, body).await?;
            body::parse::<Option<Doomed>>(&bytes)?.unwrap_or_default()
        }
    };
    let first = |one: Option<String>, other: Option<String>| one.or(other).filter(|id| !id.is_empty());
    let doomed =
        Doomed { chat_id: first(query.chat_id, sent.chat_id), session_id: first(query.session_id, sent.session_id) };
    let id = conversation(&app, &caller.scope, &doomed).await?;
    let receipt = conversations::erase(Arc::clone(&app), caller.scope, id).await?;
    let receipt = receipt.ok_or_else(|| Problem::not_found("chat"))?;
    Ok(Json(ChatDeleted { object: "chat.deleted", id, deleted: true, turns: receipt.turns }))
}

async fn conversation(app: &App, scope: &CompanyScope, doomed: &Doomed) -> Result<ConversationId, Problem> {
    let unknown = || Problem::not_found("chat");
    match (doomed.chat_id.as_deref(), doomed.session_id.as_deref()) {
        (Some(id), None) => match id.strip_prefix(COMPLETION) {
            Some(turn) => {
                let turn: TurnId = turn.parse().map_err(|_| unknown())?;
                let running = app.engine.turns().get(scope, turn).map(|turn| turn.head().conversation_id);
                match running {
                    Some(conversation) => Ok(conversation),
                    None => Ok(app.store.turn(scope, turn).await?.ok_or_else(unknown)?.record.conversation_id),
                }
            }
            None => id.parse().map_err(|_| unknown()),
        },
        (None, Some(session)) => {
            let session: SessionId = session
                .parse()
                .map_err(|error| refused("invalid_session_id", "session_id", format!("`session_id`: {error}")))?;
            Ok(ConversationId::of_session(scope.company(), &session))
        }
        _ => Err(refused("missing_required_parameter", "chat_id", "name the chat by either `chat_id` or `session_id`")),
    }
}
