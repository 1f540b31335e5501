//! Replays: deliveries that are to be made again.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::deliveries::event_type;
use crate::domain::delivery::{Filter, Replay, ReplayState, State};
use crate::domain::{CompanyId, ConversationId, EndpointId, KeyScope};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::replays;

/// Replays shown.
const SHOWN: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, begin)).routes(routes!(one)).routes(routes!(cancel))
}

/// Which deliveries are to be made again: those that fit all that is said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"endpoint_id": "ep_1f6c02aa5be9d113", "from": "2026-11-20T08:00:00Z"}))]
struct NewReplay {
    /// Of one endpoint.
    endpoint_id: Option<EndpointId>,
    /// That stand so: `dead` and `discarded` unless this says otherwise. What is on its way is left alone in any case.
    #[serde(default)]
    #[schema(value_type = Vec<State>)]
    states: BTreeSet<State>,
    /// Of one type of event.
    event_type: Option<String>,
    /// Of one conversation.
    #[schema(value_type = Option<Uuid>)]
    conversation_id: Option<ConversationId>,
    /// Whose event was made then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Whose event was made before then; now, unless this says so.
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
    /// Of this turn of their conversation or a later one.
    from_sequence: Option<u64>,
    /// Of this turn of their conversation or an earlier one.
    until_sequence: Option<u64>,
}

/// A replay and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "replay_id": "0b7c4f5e-93c8-4f0a-9d58-0c2a41c3e1b2", "state": "running", "replayed": 1200, "skipped": 3,
    "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:09Z"
}))]
pub(super) struct ReplayView {
    /// The replay.
    replay_id: Uuid,
    /// How it stands.
    state: ReplayState,
    /// Deliveries that were put on their way again.
    replayed: u64,
    /// Deliveries that were left as they are: on their way already, or their endpoint is disabled or gone.
    skipped: u64,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When it last went on.
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

impl From<Replay> for ReplayView {
    fn from(it: Replay) -> Self {
        Self {
            replay_id: it.id,
            state: it.state,
            replayed: it.replayed,
            skipped: it.skipped,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// Replays, the newest first.
#[derive(Serialize, ToSchema)]
struct Replays {
    /// The last hundred.
    replays: Vec<ReplayView>,
}

/// List replays
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/replays", tag = "Webhooks", operation_id = "list_replays",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    responses((status = 200, description = "The last of them.", body = Replays), openapi::Admission),
)]
async fn list(
    Shared(app): Shared<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Replays>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let replays = app.deliveries.replays(&caller.scope, SHOWN).await?;
    Ok(Json(Replays { replays: replays.into_iter().map(ReplayView::from).collect() }))
}

/// Replay deliveries
///
/// After an outage: all that died since, or all of a range of time, of a conversation, of an endpoint. Workers do it in steps,
/// never far ahead of the endpoint. Each delivery keeps its `webhook-id`.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/replays", tag = "Webhooks", operation_id = "replay_deliveries",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    request_body = NewReplay,
    responses(
        (status = 202, description = "They will be sent again.", body = ReplayView),
        openapi::Admission, openapi::JsonBody,
    ),
)]
async fn begin(
    Shared(app): Shared<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ReplayView>), Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let wanted: NewReplay = super::json(&app, &headers, body).await?;
    let filter = Filter {
        endpoint_id: wanted.endpoint_id,
        states: wanted.states,
        event_type: wanted.event_type.map(|name| event_type(&name)).transpose()?,
        conversation_id: wanted.conversation_id,
        id: None,
        from: wanted.from,
        until: wanted.until,
        from_sequence: sequence("from_sequence", wanted.from_sequence)?,
        until_sequence: sequence("until_sequence", wanted.until_sequence)?,
    };
    let replay = replays::begin(&app, &caller.scope, filter).await?;
    Ok((StatusCode::ACCEPTED, Json(replay.into())))
}

/// The number of a turn, which no store keeps beyond what the schema says.
fn sequence(name: &str, number: Option<u64>) -> Result<Option<u64>, Problem> {
    match number {
        Some(number) if i64::try_from(number).is_err() => {
            Err(Problem::bad_request("invalid_sequence", format!("`{name}` is larger than any turn's number")))
        }
        number => Ok(number),
    }
}

/// Ask for a replay
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/replays/{replay_id}", tag = "Webhooks",
    operation_id = "read_replay", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("replay_id" = Uuid, Path, description = "The replay."),
    ),
    responses((status = 200, description = "How far it is.", body = ReplayView), openapi::Admission),
)]
async fn one(
    Shared(app): Shared<Arc<App>>,
    Path((company_id, replay_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ReplayView>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = replay_id.parse().map_err(|_| Problem::not_found("replay"))?;
    let replay = app.deliveries.replay(&caller.scope, id).await?;
    Ok(Json(replay.ok_or_else(|| Problem::not_found("replay"))?.into()))
}

/// Stop a replay
///
/// What is on its way, a hundred deliveries at most, arrives all the same. Stopping one that has ended changes nothing.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/replays/{replay_id}/cancel", tag = "Webhooks",
    operation_id = "cancel_replay", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("replay_id" = Uuid, Path, description = "The replay."),
    ),
    responses((status = 200, description = "The replay as it is then.", body = ReplayView), openapi::Admission),
)]
async fn cancel(
    Shared(app): Shared<Arc<App>>,
    Path((company_id, replay_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ReplayView>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = replay_id.parse().map_err(|_| Problem::not_found("replay"))?;
    app.deliveries.cancel_replay(&caller.scope, id, OffsetDateTime::now_utc()).await?;
    let replay = app.deliveries.replay(&caller.scope, id).await?;
    Ok(Json(replay.ok_or_else(|| Problem::not_found("replay"))?.into()))
}
