//! What the description of the interface says besides its routes: who may ask, what the groups of routes are for, and how
//! errors look. Each route says the rest itself, with `#[utoipa::path]`.
//!
//! A route names its errors by the types of this file, next to its answers:
//! `responses((status = 200, body = Report), openapi::Admission, openapi::JsonBody)`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::detail::Detail;
use super::problem::Problem;
use super::wires::chunks::{Failed, Piece};
use super::wires::native::Message;
use crate::domain::Language;

/// The media type of a stream.
const EVENT_STREAM: &str = "text/event-stream";
/// A stream as it is on the wire.
const STREAM_EXAMPLE: &str = include_str!("openapi/stream.txt");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Turnpike",
        description = include_str!("openapi/about.md"),
    ),
    tags(
        (name = "Chat", description = "Turns: a question of a customer, answered from the company's knowledge, as a \
            stream of events or as one document."),
        (name = "OpenAI", description = "What OpenAI's clients speak: turns as chat completions, and everything else passed \
            on to the providers. Errors have OpenAI's form here."),
        (name = "Sessions", description = "Sessions that the service names, for front ends that hold nothing else."),
        (name = "Streams by provider", description = "The client says which provider is to answer, and reads lines."),
        (name = "Qwen", description = "Qwen answers first, and is told what matters to its models."),
        (name = "Documents", description = "A company's knowledge: documents put in, and searched."),
        (name = "Conversations", description = "What was asked and answered, as it is stored."),
        (name = "Companies", description = "Companies and their settings, for the operator and for themselves."),
        (name = "Keys", description = "A company's keys: what they open, for whom and for how long."),
        (name = "Webhooks", description = "Where a company's backends hear of its conversations, and whether that works."),
        (name = "Analytics", description = "Numbers of a company's turns. No text, and nothing that names a person."),
        (name = "Health", description = "Whether the process lives and takes new turns, and what it measures."),
    ),
    components(schemas(Problem, Message, Detail, Failed, Piece)),
    modifiers(&Shared),
)]
pub(super) struct Description;

/// Puts into the description what the routes refer to by name.
struct Shared;

impl Modify for Shared {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_with(Components::new);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A key of the company: `turnpike company add` prints one. With `auth.mode = \"open\"`, which serves loopback \
             alone, no key is asked for.",
        ));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        components.responses.extend(refusals().map(|(name, response)| (name.to_owned(), response.into())));
        components.responses.insert(TurnStream::NAME.to_owned(), TurnStream::response().into());
    }
}

/// A language that is asked for.
pub(super) fn language() -> ObjectBuilder {
    let codes = Language::all().map(|language| Some(language.code()));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some([Some("auto"), Some(""), None].into_iter().chain(codes)))
}

/// Says of each stream what its events are: a route names the type of their data alone, as the body of
/// `text/event-stream`.
pub(super) fn describe_streams(description: &mut utoipa::openapi::OpenApi) {
    let operations = description.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
    });
    for response in operations.flat_map(|operation| operation.responses.responses.values_mut()) {
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut(EVENT_STREAM) else { continue };
        content.schema = content.schema.take().map(sent_event);
    }
}

/// A server-sent event with data of a kind: JSON, unless it is only said to be text.
fn sent_event(data: RefOr<Schema>) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let is_text = matches!(&data, RefOr::T(Schema::Object(object)) if object.schema_type == Type::String.into());
    let data = match is_text {
        true => text,
        // The library has no field for the keyword, which JSON Schema has since 2019.
        false => text
            .content_media_type("application/json")
            .extensions(Some([("contentSchema", json!(data))].into_iter().collect())),
    };
    let id = ObjectBuilder::new().schema_type(Type::String).description(Some("The event's number."));
    let event = ObjectBuilder::new().property("id", id).property("data", data).required("data");
    event.description(Some("One event of the stream.")).into()
}

/// An answer with a problem document.
fn refusal(status: u16, description: &str, code: &str, detail: &str) -> Response {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let example = json!({"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code});
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example)).build();
    let mut response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    if matches!(status, 429 | 503) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header =
            HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait before the next try."));
        response = response.header("Retry-After", header.build());
    }
    response.build()
}

fn named(name: &str) -> RefOr<Response> {
    Ref::from_response_name(name).into()
}

/// Makes a type of each refusal, to be named among a route's responses, and the list of them all.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $status:literal, $code:literal, $description:literal, $detail:literal;)*) => {
        $(
            $(#[$doc])*
            pub(super) enum $name {}

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([(stringify!($status).to_owned(), named(stringify!($name)))])
                }
            }
        )*

        fn refusals() -> impl Iterator<Item = (&'static str, Response)> {
            [$((stringify!($name), refusal($status, $description, $code, $detail)),)*].into_iter()
        }

        /// The statuses of the refusals, and what they mean.
        const MEANINGS: &[(u16, &str)] = &[$(($status, $description),)*];
    };
}

refusals! {
    /// 400.
    BadRequest: 400, "invalid_json", "The request is malformed; `detail` says where.",
        "`message`: invalid type: integer `7`, expected a string at line 1 column 12";
    /// 401.
    Unauthorized: 401, "unauthorized", "There is no key, or it is unknown or has expired.", "the key is not known";
    /// 403.
    Forbidden: 403, "company_mismatch", "The key does not open this company, or not so much of it, or the page that \
        asks may not use it.", "the key does not open the company that the request names";
    /// 404.
    NotFound: 404, "not_found", "There is no such thing, or not for this caller.", "there is no such turn";
    /// 408.
    RequestTimeout: 408, "body_timeout", "The body did not arrive in time.", "the body did not arrive within 30 s";
    /// 409.
    Conflict: 409, "company_exists", "It is there already, or there are as many as there can be.",
        "there is a company acme already";
    /// 412.
    PreconditionFailed: 412, "changed_meanwhile", "It is not as `If-Match` says: somebody has changed it.",
        "somebody has changed it meanwhile; read it again";
    /// 413.
    ContentTooLarge: 413, "message_too_long", "The body, or a part of it, is larger than allowed.",
        "`message` has 9000 characters; 8000 are allowed";
    /// 415.
    UnsupportedMediaType: 415, "unsupported_media_type", "The body has another media type than is read here.",
        "send the body as application/json";
    /// 422.
    Unprocessable: 422, "idempotency_key_reused", "The request is well-formed, and cannot be done as it is.",
        "this Idempotency-Key was used for a different request";
    /// 429.
    TooManyRequests: 429, "rate_limited", "A limit of the key or of the company is reached.",
        "too many requests in a minute";
    /// 503.
    Unavailable: 503, "spool_full", "It cannot be done right now; the same request may succeed later.",
        "new questions cannot be kept safely right now; try again in a moment";
}

/// What every route can answer that lets a company in by its key.
pub(super) enum Admission {}

impl IntoResponses for Admission {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = [
            BadRequest::responses(),
            Unauthorized::responses(),
            Forbidden::responses(),
            NotFound::responses(),
            TooManyRequests::responses(),
            Unavailable::responses(),
        ];
        refusals.into_iter().flatten().collect()
    }
}

/// What every route can answer that reads a body of JSON.
pub(super) enum JsonBody {}

impl IntoResponses for JsonBody {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = [
            BadRequest::responses(),
            RequestTimeout::responses(),
            ContentTooLarge::responses(),
            UnsupportedMediaType::responses(),
        ];
        refusals.into_iter().flatten().collect()
    }
}

/// Statuses of a request that begins a turn, or that asks for something around turns.
const OF_TURNS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 422, 429, 503];

/// What a surface of turns refuses, in a form of its own.
fn in_form(schema: &str) -> BTreeMap<String, RefOr<Response>> {
    let own = MEANINGS.iter().filter(|(status, _)| OF_TURNS.contains(status));
    own.map(|(status, description)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
        let response = ResponseBuilder::new().description(*description).content("application/json", content);
        (status.to_string(), response.build().into())
    })
    .collect()
}

/// The refusals of surfaces that tell errors as `{"detail": …}`.
pub(super) enum InDetail {}

impl IntoResponses for InDetail {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        in_form("Detail")
    }
}

/// The refusals of surfaces that tell errors as a line of their stream.
pub(super) enum InLine {}

impl IntoResponses for InLine {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        in_form("ChunkFailure")
    }
}

/// 200 with the events of a turn.
pub(super) enum TurnStream {}

impl TurnStream {
    const NAME: &str = "TurnStream";

    fn response() -> Response {
        let event = sent_event(Ref::from_schema_name(Message::name()).into());
        let content = ContentBuilder::new().schema(Some(event)).example(Some(json!(STREAM_EXAMPLE))).build();
        ResponseBuilder::new()
            .description(
                "The turn's events, as they come: each has an `id:` line with its number and one `data:` line. Exactly one \
                 `done` or `error` ends the stream; after 15 s of silence it carries a comment.",
            )
            .content(EVENT_STREAM, content)
            .build()
    }
}

impl IntoResponses for TurnStream {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([("200".to_owned(), named(Self::NAME))])
    }
}
