//! The JSON of OpenAI's chat completions: the request, and the events of the answer.
//!
//! Events are read into borrowed fields, and only those that matter: this runs for every token of every turn.

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::http::in_stream;
use super::super::sse::{Frame, Text};
use super::{Options, TokenLimit};
use crate::domain::conversation::Role;
use crate::ports::model::{Error, FinishReason, Request, Usage};

/// The body of a request.
pub(super) fn body(options: &Options, request: &Request) -> Map<String, Value> {
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    if !request.system.is_empty() {
        messages.push(json!(Message { role: "system", content: &request.system }));
    }
    messages.extend(request.messages.iter().map(|message| {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!(Message { role, content: &message.content })
    }));
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(options.id.model));
    body.insert("messages".to_owned(), Value::Array(messages));
    body.insert("stream".to_owned(), json!(true));
    if options.include_usage {
        body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    }
    if let Some(temperature) = request.temperature {
        // By way of its shortest text, as a wider float would show what the narrow one lacks: 0.69999998.
        body.insert("temperature".to_owned(), json!(temperature.to_string().parse::<f64>().unwrap_or_default()));
    }
    if let Some(limit) = request.max_tokens {
        let name = match options.token_limit {
            TokenLimit::MaxTokens => "max_tokens",
            TokenLimit::MaxCompletionTokens => "max_completion_tokens",
        };
        body.insert(name.to_owned(), json!(limit));
    }
    if let Some(thinking) = request.thinking {
        // The one is how Qwen's own service is told, the other how its models are on vLLM and SGLang.
        body.insert("enable_thinking".to_owned(), json!(thinking.enabled));
        body.insert("chat_template_kwargs".to_owned(), json!({ "enable_thinking": thinking.enabled }));
        if let Some(budget) = thinking.budget_tokens {
            body.insert("thinking_budget".to_owned(), json!(budget));
        }
    }
    for (name, value) in &options.extra {
        if value.is_null() {
            body.remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    body
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

/// Reads one event.
///
/// # Errors
/// When the event is an error or no JSON of this protocol.
pub(super) fn read(data: &[u8]) -> Result<Frame, Error> {
    if data == b"[DONE]" {
        return Ok(Frame { last: true, ..Frame::default() });
    }
    let event: Event<'_> = serde_json::from_slice(data)
        .map_err(|error| Error::Protocol(format!("an event is no completion chunk: {error}")))?;
    let Some(choice) = event.choices.0 else {
        // Only the event with the tokens has no choice. What else has none may be an error.
        return match in_stream(data).filter(|_| event.usage.is_none()) {
            Some(error) => Err(error),
            None => Ok(Frame { usage: event.usage.map(Usage::from), ..Frame::default() }),
        };
    };
    if event.error.is_some()
        && let Some(error) = in_stream(data)
    {
        return Err(error);
    }
    let delta = choice.delta.unwrap_or_default();
    let content = delta.content.or(delta.refusal).map(|text| text.0.into_owned());
    let thinks = |text: Option<Text<'_>>| text.is_some_and(|text| !text.0.is_empty());
    Ok(Frame {
        content,
        reasoning: thinks(delta.reasoning_content) || thinks(delta.reasoning),
        usage: event.usage.map(Usage::from),
        finish: match choice.finish_reason {
            Some(reason) => finish_reason(&reason.0)?,
            None => None,
        },
        last: false,
    })
}

fn finish_reason(reason: &str) -> Result<Option<FinishReason>, Error> {
    Ok(match reason {
        // vLLM's ancestors send an empty reason with every event.
        "" => None,
        "length" | "max_tokens" => Some(FinishReason::Length),
        "content_filter" => Some(FinishReason::ContentFilter),
        // vLLM, OpenRouter and DeepSeek say by these that the answer is not whole.
        "abort" | "error" | "insufficient_system_resource" => {
            return Err(Error::Interrupted(format!("the provider stopped with reason {reason:?}")));
        }
        _ => Some(FinishReason::Stop),
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: FirstChoice<'a>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self { input_tokens: tokens.prompt_tokens, output_tokens: tokens.completion_tokens.unwrap_or_default() }
    }
}

/// The first of the choices, read without a list: there is never more than one, as no request asks for more.
#[derive(Default)]
struct FirstChoice<'a>(Option<Choice<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for FirstChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for First<'a> {
            type Value = FirstChoice<'a>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of choices")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(FirstChoice(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstChoice(first))
            }
        }

        deserializer.deserialize_any(First(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &str) -> Option<String> {
        read(data.as_bytes()).unwrap().content
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let event: Event<'_> = serde_json::from_str(r#"{"choices":[{"delta":{"content":"lãi suất"}}]}"#).unwrap();
        let text = event.choices.0.unwrap().delta.unwrap().content.unwrap();
        assert!(matches!(text.0, std::borrow::Cow::Borrowed("lãi suất")));
    }

    #[test]
    fn events_of_different_services_are_read() {
        assert_eq!(
            content(r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a\nb \u00e3"}}]}"#).unwrap(),
            "a\nb ã"
        );
        assert_eq!(content(r#"{"choices":[{"delta":{"role":"assistant","content":null}}],"usage":null}"#), None);
        assert_eq!(content(r#"{"choices":[{"delta":{"refusal":"I cannot"}}]}"#).unwrap(), "I cannot");
        assert_eq!(content(r#"{"choices":[],"prompt_filter_results":[{}]}"#), None);
        for thought in ["reasoning", "reasoning_content"] {
            let frame = read(format!(r#"{{"choices":[{{"delta":{{"{thought}":"hmm"}}}}]}}"#).as_bytes()).unwrap();
            assert_eq!((frame.content, frame.reasoning), (None, true));
        }
        let frame =
            read(br#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#).unwrap();
        assert_eq!(frame.usage, Some(Usage { input_tokens: 5, output_tokens: 7 }));
    }

    #[test]
    fn reasons_to_stop_are_told_apart() {
        let finish = |reason: &str| {
            read(format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#).as_bytes())
                .map(|frame| frame.finish)
        };
        assert_eq!(finish("stop").unwrap(), Some(FinishReason::Stop));
        assert_eq!(finish("length").unwrap(), Some(FinishReason::Length));
        assert_eq!(finish("content_filter").unwrap(), Some(FinishReason::ContentFilter));
        assert_eq!(finish("").unwrap(), None);
        assert_eq!(finish("abort").unwrap_err().code(), "interrupted");
    }

    #[test]
    fn errors_within_the_stream_are_errors() {
        let code = |data: &str| read(data.as_bytes()).unwrap_err().code();
        assert_eq!(code(r#"{"error":{"message":"overloaded","type":"server_error","code":500}}"#), "unavailable");
        assert_eq!(code(r#"{"object":"error","message":"bad","code":400}"#), "bad_request");
        assert_eq!(
            code(r#"{"choices":[{"delta":{"content":""}}],"error":{"code":429,"message":"slow"}}"#),
            "rate_limited"
        );
        assert_eq!(code("{\"choices\":[{\"del"), "protocol");
        assert_eq!(code("[1,2]"), "protocol");
    }
}
