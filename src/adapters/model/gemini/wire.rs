//! The JSON of Gemini: the request, and the events of the answer.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::super::http::in_stream;
use super::super::sse::{Frame, Text};
use crate::domain::conversation::Role;
use crate::ports::model::{Error, FinishReason, Request, Usage};

/// The body of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    generation_config: GenerationConfig,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<TextPart<'a>>,
}

#[derive(Serialize)]
struct TextPart<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    thinking_budget: u32,
}

impl<'a> Body<'a> {
    /// A request in Gemini's words.
    pub(super) fn new(request: &'a Request, thinking_budget: Option<u32>) -> Self {
        let mut contents: Vec<Content<'a>> = Vec::with_capacity(request.messages.len());
        // Gemini refuses empty parts, and wants the roles to alternate: a turn without an answer leaves two questions
        // in a row, which become one content of two parts.
        for message in request.messages.iter().filter(|message| !message.content.is_empty()) {
            let role = Some(match message.role {
                Role::User => "user",
                Role::Assistant => "model",
            });
            let part = TextPart { text: &message.content };
            match contents.last_mut().filter(|last| last.role == role) {
                Some(last) => last.parts.push(part),
                None => contents.push(Content { role, parts: vec![part] }),
            }
        }
        // A budget of nothing is how it is told not to think.
        let wanted = request.thinking.and_then(|thinking| match thinking.enabled {
            true => thinking.budget_tokens,
            false => Some(0),
        });
        Self {
            system_instruction: (!request.system.is_empty())
                .then(|| Content { role: None, parts: vec![TextPart { text: &request.system }] }),
            contents,
            generation_config: GenerationConfig {
                temperature: request.temperature,
                max_output_tokens: request.max_tokens,
                thinking_config: wanted.or(thinking_budget).map(|thinking_budget| ThinkingConfig { thinking_budget }),
            },
        }
    }
}

/// Reads one event.
///
/// # Errors
/// When the event is an error or no JSON of this protocol.
pub(super) fn read(data: &[u8]) -> Result<Frame, Error> {
    let event: Event<'_> = serde_json::from_slice(data)
        .map_err(|error| Error::Protocol(format!("an event is no content chunk: {error}")))?;
    if event.error.is_some()
        && let Some(error) = in_stream(data)
    {
        return Err(error);
    }
    let mut frame = Frame { usage: event.usage_metadata.map(Usage::from), ..Frame::default() };
    if event.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
        frame.finish = Some(FinishReason::ContentFilter);
    }
    let Some(candidate) = event.candidates.into_iter().next() else { return Ok(frame) };
    for part in candidate.content.map(|content| content.parts).unwrap_or_default() {
        let Some(text) = part.text else { continue };
        if part.thought {
            frame.reasoning = true;
        } else {
            match &mut frame.content {
                Some(content) => content.push_str(&text.0),
                None => frame.content = Some(text.0.into_owned()),
            }
        }
    }
    if let Some(reason) = candidate.finish_reason {
        frame.finish = finish_reason(&reason.0)?;
    }
    Ok(frame)
}

fn finish_reason(reason: &str) -> Result<Option<FinishReason>, Error> {
    Ok(match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => None,
        "MAX_TOKENS" => Some(FinishReason::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            Some(FinishReason::ContentFilter)
        }
        // The answer is not whole, and the provider cannot say more.
        "OTHER" | "LANGUAGE" | "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => {
            return Err(Error::Interrupted(format!("the provider stopped with reason {reason}")));
        }
        _ => Some(FinishReason::Stop),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    candidates: Vec<Candidate<'a>>,
    #[serde(default)]
    usage_metadata: Option<Tokens>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Parts<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    #[serde(default)]
    prompt_token_count: u64,
    #[serde(default)]
    candidates_token_count: u64,
    /// Thoughts are paid for like text, and not counted with it.
    #[serde(default)]
    thoughts_token_count: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.prompt_token_count,
            output_tokens: tokens.candidates_token_count.saturating_add(tokens.thoughts_token_count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_dropped_and_parts_joined() {
        let frame = read(
            br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"plan","thought":true},{"text":"a"},
                {"inlineData":{}},{"text":"b"}]}}],"usageMetadata":{"promptTokenCount":4,"thoughtsTokenCount":5}}"#,
        )
        .unwrap();
        let usage = Some(Usage { input_tokens: 4, output_tokens: 5 });
        assert_eq!(frame, Frame { content: Some("ab".to_owned()), reasoning: true, usage, ..Frame::default() });
    }

    #[test]
    fn reasons_to_stop_are_told_apart() {
        let finish = |reason: &str| {
            read(format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#).as_bytes()).map(|frame| frame.finish)
        };
        assert_eq!(finish("STOP").unwrap(), Some(FinishReason::Stop));
        assert_eq!(finish("MAX_TOKENS").unwrap(), Some(FinishReason::Length));
        for reason in ["SAFETY", "RECITATION", "PROHIBITED_CONTENT"] {
            assert_eq!(finish(reason).unwrap(), Some(FinishReason::ContentFilter));
        }
        assert_eq!(finish("FINISH_REASON_UNSPECIFIED").unwrap(), None);
        assert_eq!(finish("OTHER").unwrap_err().code(), "interrupted");
        let blocked = read(br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).unwrap();
        assert_eq!(blocked.finish, Some(FinishReason::ContentFilter));
    }

    #[test]
    fn errors_within_the_stream_are_errors() {
        let code = |data: &str| read(data.as_bytes()).unwrap_err().code();
        assert_eq!(code(r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#), "unavailable");
        assert_eq!(code(r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#), "rate_limited");
        assert_eq!(code("[{"), "protocol");
    }
}
