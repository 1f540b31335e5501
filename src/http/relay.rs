//! Passes a client on to the gateway that has its turn, and what that says back to the client, byte for byte.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde_json::{Map, Value};

use super::App;
use super::problem::Problem;
use crate::domain::{CompanyScope, TurnId};
use crate::pipeline::ask::Refused;
use crate::ports::peer::{Answer, Question};

/// Says to the other gateway that it is asked by one, which it must not pass on again.
const RELAYED: &str = "turnpike-relayed";

/// On whose behalf.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) scope: &'a CompanyScope,
    pub(super) headers: &'a HeaderMap,
}

/// Bytes of one event at most. None is nearly so long; more is no stream of ours.
const EVENT_BYTES: usize = 4 << 20;

/// A turn's stream from the gateway that has it; none when that gateway does not have it any more or does not answer.
pub(super) async fn stream(app: &App, client: Client<'_>, url: &str, turn: TurnId, after: usize) -> Option<Response> {
    let answer = open(app, client, url, turn, after).await?;
    let mut response = Body::from_stream(answer.body).into_response();
    let headers = response.headers_mut();
    let content_type = answer.content_type.and_then(|value| HeaderValue::from_str(&value).ok());
    headers.insert(
        header::CONTENT_TYPE,
        content_type.unwrap_or(HeaderValue::from_static("text/event-stream; charset=utf-8")),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Some(response)
}

/// The same event by event, each with its number.
pub(super) async fn events(
    app: &App,
    client: Client<'_>,
    url: &str,
    turn: TurnId,
    after: usize,
) -> Option<impl Stream<Item = (usize, Map<String, Value>)> + Send + use<>> {
    let answer = open(app, client, url, turn, after).await?;
    Some(futures::stream::unfold((answer.body, Vec::new()), async |(mut body, mut read)| {
        loop {
            if let Some(end) = read.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = read.drain(..end + 2).collect();
                match event(&frame) {
                    Some(event) => return Some((event, (body, read))),
                    None => continue,
                }
            }
            match body.next().await {
                Some(Ok(piece)) if read.len() + piece.len() <= EVENT_BYTES => read.extend_from_slice(&piece),
                _ => return None,
            }
        }
    }))
}

/// An event as the native wire writes it; none for a comment.
fn event(frame: &[u8]) -> Option<(usize, Map<String, Value>)> {
    let frame = std::str::from_utf8(frame).ok()?;
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    Some((field("id: ")?.parse().ok()?, serde_json::from_str(field("data: ")?).ok()?))
}

async fn open(app: &App, client: Client<'_>, url: &str, turn: TurnId, after: usize) -> Option<Answer> {
    let mut question = question(client, format!("{url}/api/unified/turns/{turn}/stream"), false)?;
    question.headers.push(("last-event-id", after.to_string()));
    let answer = match app.peer.ask(question).await {
        Ok(answer) => answer,
        Err(error) => {
            metrics::counter!("turnpike_http_relays_total", "outcome" => "unreachable").increment(1);
            tracing::warn!(gateway.url = url, turn.id = %turn, %error, "a turn's gateway does not answer");
            return None;
        }
    };
    if answer.status != StatusCode::OK.as_u16() {
        metrics::counter!("turnpike_http_relays_total", "outcome" => "refused").increment(1);
        return None;
    }
    metrics::counter!("turnpike_http_relays_total", "outcome" => "relayed").increment(1);
    Some(answer)
}

/// Stops a turn at the gateway that runs it.
pub(super) async fn stop(app: &App, client: Client<'_>, url: &str, turn: TurnId) -> Result<Response, Problem> {
    let question = question(client, format!("{url}/api/unified/turns/{turn}/stop"), true)
        .ok_or_else(|| Problem::not_found("turn"))?;
    let mut answer = app.peer.ask(question).await.map_err(|error| {
        tracing::warn!(gateway.url = url, turn.id = %turn, %error, "a turn's gateway does not answer");
        Problem::from(Refused::Unreachable)
    })?;
    let mut body = Vec::new();
    while let Some(piece) = answer.body.next().await {
        body.extend_from_slice(&piece.map_err(|_| Problem::from(Refused::Unreachable))?);
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, body).into_response();
    if let Some(value) = answer.content_type.and_then(|value| HeaderValue::from_str(&value).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(response)
}

/// None for a request that another gateway has passed on already.
fn question(client: Client<'_>, url: String, is_post: bool) -> Option<Question> {
    if client.headers.contains_key(RELAYED) {
        return None;
    }
    let mut headers = vec![(RELAYED, "1".to_owned())];
    for (name, sent_as) in [(header::AUTHORIZATION, "authorization"), (header::ORIGIN, "origin")] {
        if let Some(value) = client.headers.get(name).and_then(|value| value.to_str().ok()) {
            headers.push((sent_as, value.to_owned()));
        }
    }
    // Where no keys are asked for, the company is named.
    let url = format!("{url}?company_id={}", client.scope.company());
    Some(Question { is_post, url, headers })
}
