//! A chat completion that is a whole turn.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::schema::{ChatCompletion, ChatMessage, ChatRequest, Choice, Content, Reply, TurnDetails};
use super::{models, refused};
use crate::domain::conversation::{Message, Role};
use crate::domain::turn::UserInfo;
use crate::http::App;
use crate::http::asking::{self, Question};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::http::wires::openai::{self, ChatChunks, Marks};
use crate::http::{body, reading, wires};
use crate::pipeline::ask::Options;
use crate::pipeline::live::{Reader, TurnEvent};
use crate::ports::model::Thinking;

/// Runs a turn, and answers with it in OpenAI's form.
pub(super) async fn complete(
    app: &App,
    headers: &HeaderMap,
    caller: Caller,
    model: &str,
    pipeline: Option<&str>,
    bytes: &Bytes,
) -> Result<Response, Problem> {
    let request: ChatRequest = body::parse(bytes)?;
    if pipeline.is_some_and(|name| app.engine.catalog().get(name).is_none()) {
        return Err(models::unknown(model));
    }
    check(&request)?;
    let streams = request.stream == Some(true);
    let include_usage = request.stream_options.unwrap_or_default().include_usage == Some(true);
    let question = question(app, &caller, request, pipeline)?;
    let ask = asking::ask(app, headers, caller, question)?;
    let reader = reading::begin(app, ask).await?;
    if streams {
        let chunks = ChatChunks::new(model.to_owned(), include_usage);
        return Ok(wires::stream(reader, app.settings.turn.heartbeat, chunks));
    }
    Ok(Json(document(reader, model).await?).into_response())
}

/// What would make another answer than a turn can give is refused; what would only colour it is not.
fn check(request: &ChatRequest) -> Result<(), Problem> {
    let cannot = |param: &str, what: &str| {
        Err(refused("unsupported_parameter", param, format!("a model that runs a turn {what}; leave `{param}` out")))
    };
    if request.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return cannot("tools", "calls no tools of its client");
    }
    if request.n.is_some_and(|n| n != 1) {
        return cannot("n", "gives one answer");
    }
    if request.response_format.as_ref().is_some_and(|format| format.kind != "text") {
        return cannot("response_format", "answers in plain text");
    }
    if request.logprobs == Some(true) {
        return cannot("logprobs", "tells no probabilities");
    }
    if request.stop.as_ref().is_some_and(|stop| !stop.is_null()) {
        return cannot("stop", "ends by itself");
    }
    if request.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(refused("invalid_value", "temperature", "`temperature` is not between 0 and 2"));
    }
    for (param, tokens) in
        [("max_tokens", request.max_tokens), ("max_completion_tokens", request.max_completion_tokens)]
    {
        if tokens == Some(0) {
            return Err(refused("invalid_value", param, format!("`{param}` has to be at least 1")));
        }
    }
    Ok(())
}

fn question(app: &App, caller: &Caller, request: ChatRequest, pipeline: Option<&str>) -> Result<Question, Problem> {
    let limits = &app.settings.limits;
    let mut instructions: Vec<String> = Vec::new();
    let mut said: Vec<Message> = Vec::new();
    for (n, message) in request.messages.into_iter().enumerate() {
        let role = match message.role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" | "developer" => {
                instructions.push(text(message, n)?);
                continue;
            }
            other => {
                let param = format!("messages[{n}].role");
                let other: String = other.chars().take(40).collect();
                let detail = format!("`{param}`: a model that runs a turn has no use for a message by {other:?}");
                return Err(refused("invalid_role", &param, detail));
            }
        };
        said.push(Message { role, content: text(message, n)? });
    }
    let Some(last) = said.pop().filter(|last| last.role == Role::User) else {
        return Err(refused("last_message_is_no_users", "messages", "the last of `messages` has to be the user's"));
    };
    let instructions = instructions.join("\n\n");
    if !instructions.is_empty() && caller.is_public() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "instructions_not_allowed",
            "with a publishable key anyone could write them: leave out messages by `system` and `developer`",
        )
        .about("messages"));
    }
    let chars = instructions.chars().count();
    if chars > limits.message_chars {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "instructions_too_long",
            format!("the messages by `system` have {chars} characters; {} are allowed", limits.message_chars),
        )
        .about("messages"));
    }
    // As much of the past as a stored conversation would have in the prompt.
    let surplus = said.len().saturating_sub(2 * app.settings.turn.history_turns);
    said.drain(..surplus);
    let enabled = request.enable_thinking.or(request.thinking_budget.map(|_| true));
    let thinking = enabled.map(|enabled| Thinking { enabled, budget_tokens: request.thinking_budget });
    let metadata = request.metadata.unwrap_or_default();
    let user = request.user.filter(|user| !user.is_empty());
    Ok(Question {
        session_id: metadata.session_id.filter(|id| !id.is_empty()).or_else(|| user.clone()),
        language: metadata.language,
        user: UserInfo { user_id: user, ..UserInfo::default() },
        options: Options {
            pipeline: pipeline.map(str::to_owned),
            instructions: (!instructions.is_empty()).then_some(instructions),
            temperature: request.temperature,
            max_tokens: request.max_completion_tokens.or(request.max_tokens),
            thinking,
            history: (!said.is_empty()).then_some(said),
            ..Options::default()
        },
        ..Question::new(last.content)
    })
}

/// The text of a message.
fn text(message: ChatMessage, n: usize) -> Result<String, Problem> {
    let mut text = String::new();
    match message.content {
        None => {}
        Some(Content::Text(whole)) => text = whole,
        Some(Content::Parts(parts)) => {
            for (m, part) in parts.into_iter().enumerate() {
                let Some(piece) = part.text.filter(|_| matches!(part.kind.as_str(), "text" | "input_text")) else {
                    let param = format!("messages[{n}].content[{m}]");
                    let detail = format!("`{param}`: a model that runs a turn reads text alone");
                    return Err(refused("unsupported_content", &param, detail));
                };
                text.push_str(&piece);
            }
        }
    }
    Ok(text)
}

/// The whole turn as one document.
async fn document(mut reader: Reader, model: &str) -> Result<ChatCompletion, Problem> {
    let (mut answer, mut sources) = (String::new(), None);
    let (mut language, mut intent, mut ending) = (None, None, None);
    while let Some((_, events)) = reader.next().await {
        for event in events {
            match event {
                TurnEvent::Start => {}
                TurnEvent::Language { language: found, .. } => language = Some(found.code().to_owned()),
                TurnEvent::Intent(found) => intent = Some(found.intent),
                TurnEvent::Sources(found) => sources = Some(found),
                TurnEvent::Content(piece) => answer.push_str(&piece),
                TurnEvent::Reset { .. } => answer.clear(),
                TurnEvent::Done { finish_reason, usage, degraded } => ending = Some((finish_reason, usage, degraded)),
                TurnEvent::Error { code, message, .. } => return Err(Problem::unavailable(code, message)),
            }
        }
    }
    let (finish_reason, usage, degraded) =
        ending.ok_or_else(|| Problem::unavailable("interrupted", "the turn did not come to its end"))?;
    let mut marks = Marks::default();
    marks.read(&answer);
    let head = reader.turn().head();
    let message = Reply {
        role: "assistant",
        content: Some(answer),
        refusal: None,
        annotations: openai::annotations(sources.as_deref().unwrap_or_default(), &marks),
    };
    let finished = openai::reason(finish_reason).to_owned();
    Ok(ChatCompletion {
        id: openai::completion_id(head),
        object: "chat.completion",
        created: openai::created(head),
        model: model.to_owned(),
        system_fingerprint: None,
        choices: vec![Choice { index: 0, message, logprobs: None, finish_reason: finished }],
        usage: Some(usage.into()),
        turnpike: Some(TurnDetails {
            turn_id: head.turn_id,
            session_id: head.session_id.to_string(),
            conversation_id: head.conversation_id,
            language,
            intent,
            finish_reason,
            degraded,
        }),
    })
}
