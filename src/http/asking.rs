//! From a client's words to an [`Ask`]: what every surface checks in the same way.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use crate::config::Settings;
use crate::config::pipelines::ModelRef;
use crate::domain::turn::UserInfo;
use crate::domain::{Language, SessionId, TurnId};
use crate::pipeline::ask::{Ask, Options};

/// Longest `Idempotency-Key` in characters.
const KEY_CHARS: usize = 255;
/// Longest text in `user_info`, in characters.
const USER_CHARS: usize = 256;
/// How the sessions begin that anyone may have named who has seen a page: they are never those of a backend.
const PUBLIC: &str = "pub:";

/// A question as a surface has read it.
pub(super) struct Question {
    /// The message.
    pub(super) message: String,
    /// The session; without one it is the user's id, without that a new one.
    pub(super) session_id: Option<String>,
    /// The turn that comes before it.
    pub(super) previous_turn_id: Option<TurnId>,
    /// `auto` or a code.
    pub(super) language: Option<String>,
    /// The industry, for companies that have none.
    pub(super) industry: Option<String>,
    /// Who asks.
    pub(super) user: UserInfo,
    /// What is sent along.
    pub(super) context: Map<String, Value>,
    /// What is wanted otherwise than usual.
    pub(super) options: Options,
}

impl Question {
    /// A message and nothing else.
    pub(super) fn new(message: String) -> Self {
        Self {
            message,
            session_id: None,
            previous_turn_id: None,
            language: None,
            industry: None,
            user: UserInfo::default(),
            context: Map::new(),
            options: Options::default(),
        }
    }
}

/// Checks a question. Text is normalised to NFC.
///
/// # Errors
/// 400 and 413, with the field.
pub(super) fn ask(app: &App, headers: &HeaderMap, caller: Caller, question: Question) -> Result<Ask, Problem> {
    let limits = &app.settings.limits;
    let Question { user, context, options, .. } = question;
    for (field, value) in [("user_id", &user.user_id), ("device_id", &user.device_id), ("source", &user.source)] {
        if value.as_ref().is_some_and(|value| value.chars().count() > USER_CHARS) {
            return Err(Problem::bad_request(
                "invalid_user_info",
                format!("`user_info.{field}` is longer than {USER_CHARS} characters"),
            ));
        }
    }
    if serde_json::to_string(&context).map_or(usize::MAX, |text| text.len()) > limits.context_bytes {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "context_too_large",
            format!("`context` is larger than {} bytes", limits.context_bytes),
        ));
    }
    let named = question.session_id.as_deref().filter(|id| !id.is_empty());
    // A user's id is a guess away, and whoever guesses it must not read on in that user's conversation.
    let of_user = user.user_id.as_deref().filter(|id| !id.is_empty() && !caller.is_public());
    let session_id = named.or(of_user).map(|id| session(&caller, id)).transpose()?;
    Ok(Ask {
        message: message(&question.message, limits.message_chars)?,
        language: language(question.language.as_deref())?,
        company: caller.company,
        scope: caller.scope,
        session_id,
        previous_turn_id: question.previous_turn_id,
        industry: question.industry,
        user,
        context,
        options,
        idempotency_key: idempotency_key(headers)?,
        traceparent: traceparent(headers),
    })
}

/// All models of a provider, to be asked before others.
///
/// # Errors
/// 400 for a provider that is not set.
pub(super) fn models_of(settings: &Settings, provider: &str) -> Result<Vec<ModelRef>, Problem> {
    let Some(found) = settings.providers.iter().find(|known| known.name == provider) else {
        let known: Vec<&str> = settings.providers.iter().map(|provider| provider.name.as_str()).collect();
        let known = if known.is_empty() { "none is set".to_owned() } else { format!("there are {}", known.join(", ")) };
        return Err(Problem::bad_request("unknown_provider", format!("there is no provider {provider:?}; {known}")));
    };
    let models = found.models.iter();
    Ok(models.map(|model| ModelRef { provider: found.name.clone(), model: model.clone() }).collect())
}

/// The session that a caller means by a name.
///
/// # Errors
/// 400 for what is no session's name.
pub(super) fn session(caller: &Caller, name: &str) -> Result<SessionId, Problem> {
    let name: String = name.nfc().collect();
    let is_kept_apart = caller.is_public() && !name.starts_with(PUBLIC);
    let name = if is_kept_apart { format!("{PUBLIC}{name}") } else { name };
    name.parse().map_err(|error| Problem::bad_request("invalid_session_id", format!("{error}")))
}

/// The name of a session as whoever named it wrote it.
pub(super) fn own_name(session: &str) -> &str {
    session.strip_prefix(PUBLIC).unwrap_or(session)
}

fn message(text: &str, limit: usize) -> Result<String, Problem> {
    let message = text.nfc().collect::<String>().trim().to_owned();
    if message.is_empty() {
        return Err(Problem::bad_request("empty_message", "`message` is empty"));
    }
    let chars = message.chars().count();
    if chars > limit {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "message_too_long",
            format!("`message` has {chars} characters; {limit} are allowed"),
        ));
    }
    Ok(message)
}

fn language(code: Option<&str>) -> Result<Option<Language>, Problem> {
    match code {
        None | Some("" | "auto") => Ok(None),
        Some(code) => Language::from_code(code).map(Some).ok_or_else(|| {
            Problem::bad_request(
                "unknown_language",
                format!("`language`: {code:?} is not a language; write \"auto\" or a code such as \"vi\""),
            )
        }),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_CHARS => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(
            "invalid_idempotency_key",
            format!("Idempotency-Key must have 1 to {KEY_CHARS} ASCII characters"),
        )),
    }
}

/// The client's trace context, if it has the form that W3C's recommendation gives it.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let is_hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = value.split('-');
    let well_formed = is_hex(parts.next()?, 2)
        && is_hex(parts.next()?, 32)
        && is_hex(parts.next()?, 16)
        && is_hex(parts.next()?, 2)
        && parts.next().is_none();
    well_formed.then(|| value.to_owned())
}
