//! A company's conversations: listed, read, exported, ended, removed.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Paging, cursor};
use crate::domain::conversation::{Conversation, Status, StoredTurn};
use crate::domain::{CompanyId, CompanyScope, ConversationId, KeyScope, Language, SessionId};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::ports::erasure::ConversationReceipt;
use crate::ports::store::{ConversationStore, Error, Filter, Page};
use crate::runtime::tasks;

/// Turns shown of one conversation: its last ones.
const TURNS: usize = 500;
/// Conversations, and turns of one, that an export reads at once.
const EXPORTED: usize = 50;
/// Pieces of an export that wait to be sent.
const PIECES: usize = 2;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export))
        .routes(routes!(one, remove))
        .routes(routes!(turns))
        .routes(routes!(end))
}

/// Which conversations are wanted: those that fit all that is said.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Where the user writes, such as `web`.
    channel: Option<String>,
    /// Whether it goes on.
    status: Option<Status>,
    /// The language of its last turn, by code.
    language: Option<Language>,
    /// The intent of its last turn.
    intent: Option<String>,
    /// The session.
    session_id: Option<SessionId>,
    /// Updated then or later.
    #[param(format = DateTime, example = "2026-11-19T00:00:00Z")]
    from: Option<String>,
    /// Updated before.
    #[param(format = DateTime, example = "2026-11-20T00:00:00Z")]
    until: Option<String>,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter {
            channel: self.channel,
            status: self.status,
            language: self.language,
            intent: self.intent,
            session: self.session_id,
            from: self.from.map(|text| time_of("from", &text)).transpose()?,
            until: self.until.map(|text| time_of("until", &text)).transpose()?,
        })
    }
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

/// Turns of a conversation, in their order.
#[derive(Serialize, ToSchema)]
struct Turns {
    /// The turns.
    turns: Vec<StoredTurn>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

/// List conversations
///
/// The last updated first.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/conversations", tag = "Conversations",
    operation_id = "list_conversations", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), Wanted, Paging),
    responses((status = 200, description = "A page of them.", body = Conversations), openapi::Admission),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Conversations>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let page = Page { limit: paging.limit(), after: paging.after()? };
    let (conversations, next) = app.store.conversations(&caller.scope, &wanted.filter()?, &page).await?;
    Ok(Json(Conversations { conversations, next_cursor: next.map(|next| cursor(&next)) }))
}

/// Read a conversation
///
/// With its last 500 turns.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/conversations/{conversation_id}", tag = "Conversations",
    operation_id = "read_conversation", security(("bearer" = [])),
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
    let conversation = find(&app, &caller.scope, &conversation_id).await?;
    let turns = app.store.history(&caller.scope, conversation.conversation_id, TURNS).await?;
    Ok(Json(WholeConversation { conversation, turns }))
}

/// Read a conversation's turns
///
/// All of them, page by page, from the first one on.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/conversations/{conversation_id}/turns", tag = "Conversations",
    operation_id = "read_turns", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("conversation_id" = ConversationId, Path, description = "The conversation."),
        Paging,
    ),
    responses((status = 200, description = "A page of them.", body = Turns), openapi::Admission),
)]
async fn turns(
    State(app): State<Arc<App>>,
    Path((company_id, conversation_id)): Path<(String, String)>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Turns>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let after = paging.after()?.map_or(Ok(0), |after| after.parse::<u64>().map_err(|_| super::no_cursor()))?;
    let id = find(&app, &caller.scope, &conversation_id).await?.conversation_id;
    // One more than is given says whether there is a next page.
    let mut turns = app.store.turns_after(&caller.scope, id, after, paging.limit() + 1).await?;
    let has_more = turns.len() > paging.limit();
    turns.truncate(paging.limit());
    let next_cursor = turns.last().filter(|_| has_more).map(|last| cursor(&last.sequence.to_string()));
    Ok(Json(Turns { turns, next_cursor }))
}

/// Export conversations
///
/// As lines of JSON: for each conversation one line `{"conversation": …}`, and after it one line `{"turn": …}` for each of its
/// turns, in their order. The last updated first.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/conversations/export", tag = "Conversations",
    operation_id = "export_conversations", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), Wanted),
    responses(
        (status = 200, description = "The lines, as they are read. A stream that breaks off is not whole.",
            body = String, content_type = "application/x-ndjson"),
        openapi::Admission,
    ),
)]
async fn export(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let filter = wanted.filter()?;
    let first = app.store.conversations(&caller.scope, &filter, &Page { limit: EXPORTED, after: None }).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let store = Arc::clone(&app.store);
    tasks::spawn("export", async move {
        let export = Export { store, scope: caller.scope, filter, sender };
        if let Err(error) = export.run(first).await {
            tracing::warn!(%error, "an export broke off");
            // The client sees that the stream has no proper end.
            let _ = export.sender.send(Err(error)).await;
        }
    });
    let pieces = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers
        .insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"conversations.ndjson\""));
    Ok(response)
}

/// End a conversation
///
/// `conversation.updated` says so to the webhooks. The next question of its session begins it again. One that has ended stays
/// as it is.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/conversations/{conversation_id}/end", tag = "Conversations",
    operation_id = "end_conversation", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("conversation_id" = ConversationId, Path, description = "The conversation."),
    ),
    responses((status = 200, description = "The conversation as it is now.", body = Conversation), openapi::Admission),
)]
async fn end(
    State(app): State<Arc<App>>,
    Path((company_id, conversation_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Conversation>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let known = find(&app, &caller.scope, &conversation_id).await?;
    let id = known.conversation_id;
    let now = OffsetDateTime::now_utc();
    let ended = app.store.end(&caller.scope, id, now).await?.ok_or_else(|| Problem::not_found("conversation"))?;
    if known.status == Status::Active && ended.status == Status::Ended {
        let last = app.store.history(&caller.scope, id, 1).await?;
        if let Some(last) = last.last() {
            app.engine.tell_of_end(&ended, &last.record).await?;
        }
    }
    Ok(Json(ended))
}

/// Remove a conversation
///
/// From every store, queue and buffer, for good, with the turns that run. Numbers of its turns stay, which hold no text and
/// name nobody.
#[utoipa::path(
    delete, path = "/api/companies/{company_id}/conversations/{conversation_id}", tag = "Conversations",
    operation_id = "remove_conversation", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("conversation_id" = ConversationId, Path, description = "The conversation."),
    ),
    responses((status = 200, description = "What was removed.", body = ConversationReceipt), openapi::Admission),
)]
async fn remove(
    State(app): State<Arc<App>>,
    Path((company_id, conversation_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ConversationReceipt>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Backend).await?;
    let id: ConversationId = conversation_id.parse().map_err(|_| Problem::not_found("conversation"))?;
    let receipt = erase(app, caller.scope, id).await?;
    receipt.map(Json).ok_or_else(|| Problem::not_found("conversation"))
}

/// Removes a conversation. None says that there was nothing of it.
pub(in crate::http::surfaces) async fn erase(
    app: Arc<App>,
    scope: CompanyScope,
    id: ConversationId,
) -> Result<Option<ConversationReceipt>, Problem> {
    // A client that goes away does not leave a conversation removed by half.
    let removing = tasks::spawn("remove conversation", async move { app.erasure.conversation(&scope, id).await });
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side");
    let receipt = removing.await.ok().flatten().ok_or_else(failed)??;
    Ok((receipt.turns > 0 || receipt.messages > 0).then_some(receipt))
}

async fn find(app: &App, scope: &CompanyScope, id: &str) -> Result<Conversation, Problem> {
    let id: ConversationId = id.parse().map_err(|_| Problem::not_found("conversation"))?;
    app.store.conversation(scope, id).await?.ok_or_else(|| Problem::not_found("conversation"))
}

/// The time that a parameter says.
pub(super) fn time_of(name: &str, text: &str) -> Result<OffsetDateTime, Problem> {
    let years = 1970..=2200;
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| years.contains(&time.to_utc().year()));
    time.ok_or_else(|| {
        let hint = "it should look like 2026-11-20T10:00:00Z; in an address a `+` is written %2B";
        Problem::bad_request("invalid_time", format!("`{name}` is no time in RFC 3339: {hint}"))
    })
}

/// An export under way. What it holds of a company at a time is a page of conversations and a page of turns.
struct Export {
    store: Arc<dyn ConversationStore>,
    scope: CompanyScope,
    filter: Filter,
    sender: mpsc::Sender<Result<Bytes, Error>>,
}

/// A line of an export.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Conversation(&'a Conversation),
    Turn(&'a StoredTurn),
}

impl Export {
    async fn run(&self, first: (Vec<Conversation>, Option<String>)) -> Result<(), Error> {
        let (mut conversations, mut next) = first;
        loop {
            for conversation in &conversations {
                let mut piece = Vec::new();
                write(&mut piece, &Line::Conversation(conversation))?;
                let mut after = 0;
                loop {
                    let id = conversation.conversation_id;
                    let turns = self.store.turns_after(&self.scope, id, after, EXPORTED).await?;
                    turns.iter().try_for_each(|turn| write(&mut piece, &Line::Turn(turn)))?;
                    // Nobody to send to is nobody to read for.
                    if self.sender.send(Ok(std::mem::take(&mut piece).into())).await.is_err() {
                        return Ok(());
                    }
                    match turns.last() {
                        Some(last) if turns.len() == EXPORTED => after = last.sequence,
                        _ => break,
                    }
                }
            }
            if next.is_none() {
                return Ok(());
            }
            let page = Page { limit: EXPORTED, after: next };
            (conversations, next) = self.store.conversations(&self.scope, &self.filter, &page).await?;
        }
    }
}

fn write(piece: &mut Vec<u8>, line: &Line<'_>) -> Result<(), Error> {
    serde_json::to_writer(&mut *piece, line).map_err(|error| Error::Invalid(error.to_string()))?;
    piece.push(b'\n');
    Ok(())
}
