//! Webhook deliveries: listed, read with every try, and made again; and how endpoints do.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::conversations::time_of;
use super::replays::ReplayView;
use super::{Paging, cursor};
use crate::domain::delivery::{Attempt, Delivery, Filter, Health, Parcel, State};
use crate::domain::{CompanyId, ConversationId, EndpointId, EventType, KeyScope};
use crate::http::App;
use crate::http::extract::{Path, Query};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::replays;
use crate::ports::store::Page;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one)).routes(routes!(replay)).routes(routes!(health))
}

/// Which deliveries are wanted: those that fit all that is said.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The endpoint.
    endpoint_id: Option<EndpointId>,
    /// How it stands.
    state: Option<State>,
    /// What happened, such as `conversation.updated`.
    event_type: Option<String>,
    /// The conversation.
    #[param(value_type = Option<Uuid>)]
    conversation_id: Option<ConversationId>,
    /// The event was made then or later.
    #[param(format = DateTime, example = "2026-11-19T00:00:00Z")]
    from: Option<String>,
    /// The event was made before.
    #[param(format = DateTime, example = "2026-11-20T00:00:00Z")]
    until: Option<String>,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter {
            endpoint_id: self.endpoint_id,
            states: self.state.into_iter().collect::<BTreeSet<_>>(),
            event_type: self.event_type.map(|name| event_type(&name)).transpose()?,
            conversation_id: self.conversation_id,
            from: self.from.map(|text| time_of("from", &text)).transpose()?,
            until: self.until.map(|text| time_of("until", &text)).transpose()?,
            ..Filter::default()
        })
    }
}

/// The type of event of a name.
pub(super) fn event_type(name: &str) -> Result<EventType, Problem> {
    let known = serde_json::from_value(serde_json::Value::String(name.to_owned()));
    known.map_err(|_| Problem::bad_request("invalid_event_type", "`event_type` is no type of event"))
}

/// A webhook for an endpoint, and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "delivery_id": "8f1d5f5e-6f0f-5c1b-9a51-51b2b7f3b1a0", "endpoint_id": "ep_1f6c02aa5be9d113",
    "webhook_id": "msg_5f0c2d6e3b8d5a5c9a41f0d2b7c9e1a4", "event_type": "conversation.updated",
    "conversation_id": "43c9cdb4-3c8e-5f85-b07b-a9c5d09df191", "sequence": 1, "happened_at": "2026-11-20T10:00:00Z",
    "state": "pending", "attempts": 2, "replays": 0, "status": 500,
    "reason": "the endpoint answered 500, 21 bytes read", "last_attempt_at": "2026-11-20T10:00:05Z",
    "next_attempt_at": "2026-11-20T10:00:15Z"
}))]
pub(super) struct DeliveryView {
    /// Names it, in replays too.
    delivery_id: Uuid,
    /// Where it goes.
    endpoint_id: EndpointId,
    /// The `webhook-id` header.
    webhook_id: String,
    /// What happened.
    event_type: &'static str,
    /// The conversation that it happened in, if it did.
    #[schema(value_type = Option<Uuid>)]
    conversation_id: Option<ConversationId>,
    /// The number of its turn in that conversation.
    sequence: Option<u64>,
    /// When the event was made.
    #[serde(with = "time::serde::rfc3339")]
    happened_at: OffsetDateTime,
    /// How it stands.
    state: State,
    /// Tries since the last replay.
    attempts: u32,
    /// How often it was replayed.
    replays: u32,
    /// Status of the last answer.
    status: Option<u16>,
    /// Why it is not delivered.
    reason: Option<String>,
    /// When it was tried last.
    #[serde(with = "time::serde::rfc3339::option")]
    last_attempt_at: Option<OffsetDateTime>,
    /// When it is tried next; it may be later when its endpoint is left alone.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
}

impl From<Delivery> for DeliveryView {
    fn from(it: Delivery) -> Self {
        let standing = it.standing;
        Self {
            delivery_id: it.id,
            endpoint_id: it.endpoint_id,
            webhook_id: it.webhook_id,
            event_type: it.event_type.as_str(),
            conversation_id: it.conversation_id,
            sequence: it.sequence,
            happened_at: it.happened_at,
            state: standing.state,
            attempts: standing.attempts,
            replays: it.round,
            status: standing.status,
            reason: standing.reason,
            last_attempt_at: standing.last_attempt_at,
            next_attempt_at: standing.next_attempt_at,
        }
    }
}

/// Deliveries, the newest event first.
#[derive(Serialize, ToSchema)]
struct Deliveries {
    /// The deliveries.
    deliveries: Vec<DeliveryView>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

/// A delivery with what is sent and with its tries.
#[derive(Serialize, ToSchema)]
struct WholeDelivery {
    /// The delivery.
    delivery: DeliveryView,
    /// What is sent. None for what the endpoint's filter left out.
    #[schema(value_type = Option<std::collections::HashMap<String, serde_json::Value>>)]
    payload: Option<Box<RawValue>>,
    /// The tries, oldest first: the first 200, and the last one.
    tries: Vec<Attempt>,
}

/// List deliveries
///
/// Of all endpoints or one, the newest event first. They are kept for 30 days unless the operator says otherwise.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/deliveries", tag = "Webhooks",
    operation_id = "list_deliveries", security(("bearer" = [])),
    params(("company_id" = CompanyId, Path, description = "The company."), Wanted, Paging),
    responses((status = 200, description = "A page of them.", body = Deliveries), openapi::Admission),
)]
async fn list(
    Shared(app): Shared<Arc<App>>,
    Path(company_id): Path<String>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Deliveries>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let page = Page { limit: paging.limit(), after: paging.after()? };
    let (deliveries, next) = app.deliveries.deliveries(&caller.scope, &wanted.filter()?, &page).await?;
    let deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
    Ok(Json(Deliveries { deliveries, next_cursor: next.map(|next| cursor(&next)) }))
}

/// Read a delivery
///
/// With what is sent and with every try: status, headers and beginning of the answer, and how long each phase took. What looks
/// like a secret in the answer's headers is masked.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/deliveries/{delivery_id}", tag = "Webhooks",
    operation_id = "read_delivery", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("delivery_id" = Uuid, Path, description = "The delivery."),
    ),
    responses((status = 200, description = "The delivery.", body = WholeDelivery), openapi::Admission),
)]
async fn one(
    Shared(app): Shared<Arc<App>>,
    Path((company_id, delivery_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<WholeDelivery>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = delivery_id.parse().map_err(|_| Problem::not_found("delivery"))?;
    let found = app.deliveries.delivery(&caller.scope, id).await?;
    let Parcel { delivery, payload } = found.ok_or_else(|| Problem::not_found("delivery"))?;
    let tries = app.deliveries.attempts(&caller.scope, id).await?;
    Ok(Json(WholeDelivery { delivery: delivery.into(), payload, tries }))
}

/// Replay a delivery
///
/// Whether it arrived, died or was never sent: it is sent as it is, under the same `webhook-id`.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/webhooks/deliveries/{delivery_id}/replay", tag = "Webhooks",
    operation_id = "replay_delivery", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("delivery_id" = Uuid, Path, description = "The delivery."),
    ),
    responses(
        (status = 202, description = "It will be sent again.", body = ReplayView),
        (status = 409, description = "There is nothing that could be sent now: `not_replayable`.", body = Problem,
            content_type = "application/problem+json"),
        openapi::Admission,
    ),
)]
async fn replay(
    Shared(app): Shared<Arc<App>>,
    Path((company_id, delivery_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<ReplayView>), Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = delivery_id.parse().map_err(|_| Problem::not_found("delivery"))?;
    let known = app.deliveries.delivery(&caller.scope, id).await?.ok_or_else(|| Problem::not_found("delivery"))?;
    let endpoint = app.directory.endpoint(&caller.scope, &known.delivery.endpoint_id).await?;
    let hindrance = match endpoint {
        None => Some("its endpoint was removed"),
        Some(endpoint) if endpoint.disabled.is_some() => Some("its endpoint is disabled; enable it first"),
        _ if known.delivery.standing.state == State::Pending => Some("it is on its way"),
        _ if known.payload.is_none() => Some("the endpoint's filter left it out, so there is nothing to send"),
        _ => None,
    };
    if let Some(hindrance) = hindrance {
        return Err(Problem::new(StatusCode::CONFLICT, "not_replayable", hindrance));
    }
    let filter = Filter { id: Some(id), states: State::ALL.into(), ..Filter::default() };
    let replay = replays::begin(&app, &caller.scope, filter).await?;
    Ok((StatusCode::ACCEPTED, Json(replay.into())))
}

/// See how an endpoint does
///
/// Counts of its deliveries, how the last thousand went, since when it fails if it does, and whether its breaker is open.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/webhooks/{endpoint_id}/health", tag = "Webhooks",
    operation_id = "webhook_health", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("endpoint_id" = EndpointId, Path, description = "The endpoint."),
    ),
    responses((status = 200, description = "How it does.", body = Health), openapi::Admission),
)]
async fn health(
    Shared(app): Shared<Arc<App>>,
    Path((company_id, endpoint_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Health>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id: EndpointId = endpoint_id.parse().map_err(|_| Problem::not_found("endpoint"))?;
    let known = app.directory.endpoint(&caller.scope, &id).await?;
    known.ok_or_else(|| Problem::not_found("endpoint"))?;
    Ok(Json(app.deliveries.health(&caller.scope, &id).await?))
}
