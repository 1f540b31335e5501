//! What people say of answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::AuthMode;
use crate::domain::event::{Event, EventType, GATEWAY, Origin};
use crate::domain::{KeyScope, TurnId, told};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::{App, body, openapi, reading};
use crate::pipeline::engine::Found;

/// Longest comment on an answer, in characters.
const COMMENT_CHARS: usize = 2000;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(feedback))
}

/// What a reader says of an answer.
#[derive(Deserialize, Serialize, ToSchema)]
struct Feedback {
    /// Whether it helped.
    rating: Rating,
    /// In their own words: 2,000 characters at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    comment: Option<String>,
    /// The company. A key names it already, and has to be its own.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// Whether an answer helped.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Rating {
    /// It did.
    Up,
    /// It did not.
    Down,
}

/// Say what an answer was worth
///
/// Becomes an event `turn.feedback`, of which webhooks tell that ask for it. Saying the same of the same turn again is the same event.
#[utoipa::path(
    post,
    path = "/api/unified/turns/{turn_id}/feedback",
    tag = "Chat",
    security(("bearer" = [])),
    params(("turn_id" = TurnId, Path, description = "The turn.")),
    request_body(content = Feedback, example = json!({"rating": "up", "comment": "Đúng điều tôi cần."})),
    responses(
        (status = 202, description = "It is kept."),
        openapi::Admission, openapi::JsonBody,
    ),
)]
async fn feedback(
    State(app): State<Arc<App>>,
    Path(turn_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (limits, patience) = (&app.settings.limits, app.settings.server.body_timeout);
    let is_open = app.gate.mode() == AuthMode::Open;
    let said: Feedback = body::json(&headers, body, limits.body_bytes, patience, is_open).await?;
    let caller = app.gate.admit(&headers, said.company_id.as_deref(), KeyScope::Publishable).await?;
    if said.comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARS) {
        let detail = format!("`comment` is longer than {COMMENT_CHARS} characters");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "comment_too_long", detail));
    }
    let id: TurnId = turn_id.parse().map_err(|_| Problem::not_found("turn"))?;
    let reader = match app.engine.resume(&caller.scope, id, 0).await? {
        Some(Found::Here(reader)) => reader,
        Some(Found::Elsewhere { .. }) => reading::stored_in_time(&app, &caller.scope, id, 0).await?,
        None => return Err(Problem::not_found("turn")),
    };
    let head = reader.turn().head();
    let origin = Origin {
        source: GATEWAY,
        subject: id.to_string(),
        company_id: head.company_id.clone(),
        conversation_id: head.conversation_id,
        traceparent: None,
    };
    let discriminator = serde_json::to_string(&said).unwrap_or_default();
    let told = told::Feedback {
        company_id: &head.company_id,
        conversation_id: head.conversation_id,
        session_id: &head.session_id,
        channel: &head.channel,
        turn_id: id,
        rating: &said.rating,
        comment: said.comment.as_deref(),
    };
    match Event::new(EventType::TurnFeedback, &origin, &discriminator, &told) {
        Ok(event) => app.engine.keep(&event).await?,
        // Nothing in it can fail to serialise.
        Err(error) => return Err(Problem::bad_request("invalid", error.to_string())),
    }
    Ok(StatusCode::ACCEPTED)
}
