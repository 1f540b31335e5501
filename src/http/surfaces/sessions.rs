//! Sessions: begun by the service, then asked in. For front ends that hold nothing but a session's id.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::config::AuthMode;
use crate::domain::{CompanyId, KeyScope};
use crate::http::asking::{self, Question};
use crate::http::detail::Detail;
use crate::http::wires::chunks::{Chunks, Piece};
use crate::http::{App, accept, body, openapi, reading, sessions, wires};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(begin_session)).routes(routes!(ask_in_session))
}

/// For whom a session begins. A body is not needed: the key says it.
#[derive(Default, Deserialize, ToSchema)]
struct NewSession {
    /// The company, where no keys are asked for.
    #[schema(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
struct Session {
    /// Its id, to be sent with each message.
    session_id: Uuid,
}

/// A message of a session.
#[derive(Deserialize, ToSchema)]
#[schema(as = SessionMessage)]
struct Message {
    /// What is asked.
    #[schema(pattern = r"\S")]
    message: String,
    /// The session, as `POST /session` gave it.
    session_id: String,
    /// The company, where no keys are asked for.
    #[schema(value_type = Option<CompanyId>)]
    company_id: Option<String>,
}

/// Begin a session
///
/// It is known at every gateway. It expires when nothing is asked in it for `sessions.idle_s`.
#[utoipa::path(
    post, path = "/session", tag = "Sessions",
    request_body(content = Option<NewSession>, description = "Not needed with a key.", example = json!({})),
    responses(
        (status = 200, description = "The session.", body = Session),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn begin_session(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Session>, Detail> {
    let (limit, patience) = (app.settings.limits.body_bytes, app.settings.server.body_timeout);
    let is_open = app.gate.mode() == AuthMode::Open;
    let new: Option<NewSession> = body::json_or_default(&headers, body, limit, patience, is_open).await?;
    let new = new.unwrap_or_default();
    let caller = app.gate.admit(&headers, new.company_id.as_deref(), KeyScope::Publishable).await?;
    Ok(Json(Session { session_id: sessions::begin(&caller.company) }))
}

/// Ask in a session
///
/// Each line is `data: {"chunk":"…","done":false}`; the last one is done and names the turn, its sources and what was
/// missing. A client that accepts `text/plain` gets the bare text of the answer as it grows.
#[utoipa::path(
    post, path = "/chat/stream", tag = "Sessions",
    request_body(content = Message, example = json!({
        "message": "Lãi suất vay mua nhà là bao nhiêu?", "session_id": "019a9f3e-5c3a-8d3f-9a51-0b1e5f0c7d2a",
    })),
    responses(
        (status = 200, description = "The answer as it is written.", content(
            (Piece = "text/event-stream"),
            (String = "text/plain"),
        )),
        openapi::InDetail,
    ),
    security(("bearer" = [])),
)]
async fn ask_in_session(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Detail> {
    let (limit, patience) = (app.settings.limits.body_bytes, app.settings.server.body_timeout);
    let is_open = app.gate.mode() == AuthMode::Open;
    let asked: Message = body::json(&headers, body, limit, patience, is_open).await?;
    let caller = app.gate.admit(&headers, asked.company_id.as_deref(), KeyScope::Publishable).await?;
    let session = sessions::known(&app, &caller, &asked.session_id).await?;
    let question = Question { session_id: Some(session.to_string()), ..Question::new(asked.message) };
    let reader = reading::begin(&app, asking::ask(&app, &headers, caller, question)?).await?;
    let wants_text = accept::names(&headers, "text/plain") && !accept::names(&headers, "text/event-stream");
    Ok(match wants_text {
        true => wires::text(reader),
        false => wires::stream(reader, app.settings.turn.heartbeat, Chunks::default()),
    })
}
