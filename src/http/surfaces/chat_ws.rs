//! Turns over a WebSocket: the native events as messages, several turns on one connection.
//!
//! One task serves a connection. It writes before it reads on, so a client that does not read is not read either, and no
//! more of a turn is taken than can be written: what waits, waits in the turn.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::SelectAll;
use serde::Deserialize;
use tokio::time::{Instant, interval_at};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::unified::ChatRequest;
use crate::domain::TurnId;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::server::Link;
use crate::http::{App, openapi};

mod turns;

use turns::{Admission, Frames, Outgoing};

/// Bytes that a connection reads at a time, and that it writes at a time. Ten thousand connections hold so much of each.
const BUFFER: usize = 4 * 1024;
/// Largest message that is written, in bytes: far more than the longest answer in one piece.
const WRITTEN: usize = 4 << 20;
/// Turns of one connection at a time.
const TURNS: usize = 8;
/// How long the other side may take to say farewell.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(connect))
}

/// Who connects.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Who {
    /// A publishable key, for browsers, which cannot send headers along.
    key: Option<String>,
    /// The company, where no keys are asked for. Each `chat` may name its own.
    company_id: Option<String>,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Chat(Box<Chat>),
    Stop { turn_id: TurnId, company_id: Option<String> },
    Resume { turn_id: TurnId, last_event_id: Option<usize>, company_id: Option<String> },
    Ping,
}

#[derive(Deserialize)]
struct Chat {
    /// Comes back with the turn's first message, or with its refusal.
    request_id: Option<String>,
    idempotency_key: Option<String>,
    #[serde(flatten)]
    request: ChatRequest,
}

/// Ask and read over a WebSocket
///
/// Client: `{"type":"chat", …as for chat-stream…}`, `{"type":"stop","turn_id"}`,
/// `{"type":"resume","turn_id","last_event_id"}`, `{"type":"ping"}`. Server: the events of `chat-stream`, each with its
/// `id` and `turn_id`, `{"type":"pong"}`, and errors as `{"type":"error","code","message","retryable"}`.
#[utoipa::path(
    get, path = "/api/unified/chat-ws", tag = "Chat",
    params(Who),
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 426, description = "The request asks for no WebSocket."),
        openapi::Admission,
    ),
    security(("bearer" = []), ()),
)]
async fn connect(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let Query(who) = Query::<Who>::from_request_parts(&mut parts, &()).await?;
    app.gate.admit_anyone(&parts.headers, who.key.as_deref()).await?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|refused| Problem::new(refused.status(), "websocket_expected", refused.body_text()))?;
    let link = parts.extensions.get::<Link>().cloned();
    let limit = app.settings.limits.body_bytes;
    let headers = [header::AUTHORIZATION, header::ORIGIN, header::HOST];
    let headers = headers.into_iter().filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())));
    let mut headers: HeaderMap = headers.collect();
    if let Some(key) = &who.key
        && !headers.contains_key(header::AUTHORIZATION)
    {
        let mut bearer = HeaderValue::try_from(format!("Bearer {key}"))
            .map_err(|_| Problem::bad_request("invalid_query", "`key` is not a key"))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let connection = Connection { app, company_id: who.company_id, headers, link };
    let upgrade = upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(WRITTEN)
        .max_message_size(limit)
        .max_frame_size(limit);
    Ok(upgrade.on_upgrade(async move |socket| connection.serve(socket).await))
}

/// One client's connection.
struct Connection {
    app: Arc<App>,
    company_id: Option<String>,
    /// What the client said of itself when it connected. Each turn is admitted by it anew.
    headers: HeaderMap,
    /// Its place among the server's connections, held as long as this lives.
    link: Option<Link>,
}

/// Why a connection ends.
enum End {
    /// The client is gone, or does not read, or breaks the protocol.
    Gone,
    /// It is told why.
    Told(u16, &'static str),
}

impl Connection {
    async fn serve(self, mut socket: WebSocket) {
        metrics::gauge!("turnpike_websockets_open").increment(1.0);
        let end = self.talk(&mut socket).await;
        if let End::Told(code, reason) = end {
            let frame = CloseFrame { code, reason: reason.into() };
            let farewell = async {
                if socket.send(Message::Close(Some(frame))).await.is_ok() {
                    while let Some(Ok(_)) = socket.recv().await {}
                }
            };
            // It is closed either way.
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        }
        metrics::gauge!("turnpike_websockets_open").decrement(1.0);
    }

    async fn talk(&self, socket: &mut WebSocket) -> End {
        let every = self.app.settings.turn.heartbeat;
        let mut beat = interval_at(Instant::now() + every, every);
        let mut heard = Instant::now();
        let mut turns: SelectAll<Frames> = SelectAll::new();
        let mut is_closing = false;
        loop {
            if is_closing && turns.is_empty() {
                return End::Told(close_code::AWAY, "the service goes down");
            }
            let outgoing = tokio::select! {
                received = socket.recv() => {
                    heard = Instant::now();
                    match received {
                        None | Some(Err(_)) => return End::Gone,
                        Some(Ok(Message::Text(text))) => self.heed(text.as_str(), &mut turns).await,
                        Some(Ok(Message::Binary(_))) => {
                            Some(Outgoing::refusal(&Problem::bad_request("text_expected", "send text messages"), None))
                        }
                        // Pings are answered by the library, and a farewell is followed by the end.
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => None,
                    }
                }
                Some(outgoing) = turns.next() => Some(outgoing),
                _ = beat.tick() => {
                    if heard.elapsed() > every * 3 {
                        return End::Gone;
                    }
                    if socket.send(Message::Ping(Default::default())).await.is_err() {
                        return End::Gone;
                    }
                    None
                }
                () = shutdown(self.link.as_ref()), if !is_closing => {
                    is_closing = true;
                    None
                }
                () = cut(self.link.as_ref()) => return End::Gone,
            };
            let Some(Outgoing(messages)) = outgoing else { continue };
            for message in messages {
                let sent = tokio::select! {
                    sent = socket.send(Message::Text(message.into())) => sent.is_ok(),
                    () = cut(self.link.as_ref()) => false,
                };
                if !sent {
                    return End::Gone;
                }
            }
        }
    }

    /// Does what a client says; gives what is to be answered at once.
    async fn heed(&self, text: &str, turns: &mut SelectAll<Frames>) -> Option<Outgoing> {
        let said: Said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(error) => {
                return Some(Outgoing::refusal(&Problem::bad_request("invalid_json", error.to_string()), None));
            }
        };
        if matches!(said, Said::Chat(_) | Said::Resume { .. }) && turns.len() >= TURNS {
            let problem = Problem::new(
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                "too_many_turns",
                format!("at most {TURNS} turns run on one connection at a time"),
            );
            return Some(Outgoing::refusal(&problem, None));
        }
        match said {
            Said::Chat(chat) => turns.push(turns::asked(Arc::clone(&self.app), self.admission_of(&chat), *chat)),
            Said::Resume { turn_id, last_event_id, company_id } => {
                let admission = self.admission_to(company_id);
                turns.push(turns::resumed(Arc::clone(&self.app), admission, turn_id, last_event_id.unwrap_or(0)));
            }
            Said::Stop { turn_id, company_id } => {
                let admission = self.admission_to(company_id);
                let stopped = turns::stop(&self.app, &admission, turn_id).await;
                return stopped
                    .err()
                    .map(|problem| Outgoing::refusal(&problem, Some(("turn_id", turn_id.to_string()))));
            }
            Said::Ping => return Some(Outgoing(vec![r#"{"type":"pong"}"#.to_owned()])),
        }
        None
    }

    fn admission_of(&self, chat: &Chat) -> Admission {
        let mut admission = self.admission_to(chat.request.company().map(str::to_owned));
        // What cannot be a header is no key; the check of keys says so.
        let key =
            chat.idempotency_key.as_ref().map(|key| HeaderValue::try_from(key).unwrap_or(HeaderValue::from_static("")));
        if let Some(key) = key {
            admission.headers.insert("idempotency-key", key);
        }
        admission
    }

    fn admission_to(&self, company: Option<String>) -> Admission {
        Admission { headers: self.headers.clone(), company_id: company.or_else(|| self.company_id.clone()) }
    }
}

/// Resolves when the server goes down.
async fn shutdown(link: Option<&Link>) {
    match link {
        Some(link) => link.goes_down().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the server waits no longer.
async fn cut(link: Option<&Link>) {
    match link {
        Some(link) => link.is_cut().await,
        None => std::future::pending().await,
    }
}
