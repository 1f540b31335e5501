//! OpenAI's chat completions: a turn as chunks of one completion.
//! Form: <https://platform.openai.com/docs/api-reference/chat-streaming>.
//!
//! What was written cannot be taken back on this wire. When an answer begins again after a part of it was written, the
//! stream ends with an error that says so; the client asks again, or reads the turn on in the native form.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Wire;
use crate::domain::FinishReason;
use crate::domain::turn::{Source, Usage};
use crate::pipeline::live::{TurnEvent, TurnHead};

/// Chunks of one completion.
pub(in crate::http) struct ChatChunks {
    model: String,
    include_usage: bool,
    /// A chunk up to its `choices`, the same in all of them.
    opening: Vec<u8>,
    marks: Marks,
    sources: Arc<[Source]>,
    has_ended: bool,
}

impl ChatChunks {
    /// For a model by the name that the client gave it. With `include_usage` the last chunk tells the tokens.
    pub(in crate::http) fn new(model: String, include_usage: bool) -> Self {
        let (opening, marks) = (Vec::new(), Marks::default());
        Self { model, include_usage, opening, marks, sources: Arc::from([]), has_ended: false }
    }

    /// Writes a chunk with one choice.
    fn choice(&self, delta: &impl Serialize, finish_reason: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(b"[{\"index\":0,\"delta\":");
        append(out, delta);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        append(out, &finish_reason);
        out.extend_from_slice(b"}]");
        out.extend_from_slice(if self.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" });
    }

    fn end(&mut self, finish_reason: FinishReason, usage: Usage, out: &mut Vec<u8>) {
        if !self.sources.is_empty() {
            self.choice(&json!({"annotations": annotations(&self.sources, &self.marks)}), None, out);
        }
        self.choice(&json!({}), Some(reason(finish_reason)), out);
        if self.include_usage {
            out.extend_from_slice(&self.opening);
            out.extend_from_slice(b"[],\"usage\":");
            append(out, &Tokens::from(usage));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.has_ended = true;
        let error = json!({"message": message, "type": "server_error", "param": null, "code": code});
        super::data(out, &json!({ "error": error }));
    }
}

impl Wire for ChatChunks {
    fn write(&mut self, head: &TurnHead, _first: usize, events: &[TurnEvent], out: &mut Vec<u8>) {
        for event in events {
            if self.has_ended {
                return;
            }
            match event {
                TurnEvent::Start => {
                    self.opening = opening(head, &self.model);
                    self.choice(&json!({"role": "assistant", "content": ""}), None, out);
                }
                TurnEvent::Language { .. } | TurnEvent::Intent(_) => {}
                TurnEvent::Sources(sources) => self.sources = Arc::clone(sources),
                TurnEvent::Content(content) => {
                    self.marks.read(content);
                    self.choice(&Content { content }, None, out);
                }
                TurnEvent::Reset { .. } if self.marks.is_empty() => {}
                TurnEvent::Reset { .. } => {
                    let turn = head.turn_id;
                    let message = format!(
                        "the answer begins again, and what was sent of it does not count; ask again, or read the turn at \
                         /api/unified/turns/{turn}/stream"
                    );
                    self.fail("answer_restarted", &message, out);
                }
                TurnEvent::Done { finish_reason, usage, .. } => self.end(*finish_reason, *usage, out),
                TurnEvent::Error { code, message, .. } => self.fail(code, message, out),
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

#[derive(Serialize)]
struct Content<'a> {
    content: &'a str,
}

/// A completion's id: that of its turn.
pub(in crate::http) fn completion_id(head: &TurnHead) -> String {
    format!("chatcmpl-{}", head.turn_id)
}

/// When a turn began, in seconds since 1970.
pub(in crate::http) fn created(head: &TurnHead) -> u64 {
    let began = head.turn_id.began().and_then(|began| began.duration_since(UNIX_EPOCH).ok());
    began.unwrap_or_default().as_secs()
}

/// OpenAI's name for how an answer ended. A turn that was stopped has all that its user wanted; one that was cut short by
/// something else has a part.
pub(in crate::http) fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Stopped => "stop",
        FinishReason::Length | FinishReason::Interrupted | FinishReason::Failed => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Tokens as OpenAI names them.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Tokens {
    /// Tokens read.
    prompt_tokens: u64,
    /// Tokens written.
    completion_tokens: u64,
    /// Both.
    total_tokens: u64,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let (prompt_tokens, completion_tokens) = (usage.input_tokens, usage.output_tokens);
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens.saturating_add(completion_tokens) }
    }
}

/// A source as OpenAI's clients know it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Annotation {
    /// Always `url_citation`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The source.
    url_citation: UrlCitation,
}

/// A source, and where the answer cites it first.
#[derive(Debug, Serialize, ToSchema)]
struct UrlCitation {
    /// Where the citation's mark `[n]` begins, in characters; 0 with an end of 0 for a source that is not cited.
    start_index: usize,
    /// The character after the mark.
    end_index: usize,
    /// The document's title.
    title: String,
    /// Where the document can be read; empty when it does not say so.
    url: String,
    /// The number in the mark.
    n: usize,
    /// The document.
    document_id: String,
    /// Relevance, 0 to 1.
    score: f32,
    /// The passage's beginning.
    snippet: String,
}

/// All sources, in the order of their numbers.
pub(in crate::http) fn annotations(sources: &[Source], marks: &Marks) -> Vec<Annotation> {
    let annotation = |source: &Source| {
        let (start_index, end_index) = marks.found.get(&source.n).copied().unwrap_or_default();
        let url_citation = UrlCitation {
            start_index,
            end_index,
            title: source.title.clone(),
            url: source.url.clone().unwrap_or_default(),
            n: source.n,
            document_id: source.document_id.to_string(),
            score: source.score,
            snippet: source.snippet.clone(),
        };
        Annotation { kind: "url_citation", url_citation }
    };
    sources.iter().map(annotation).collect()
}

/// Where an answer cites its sources first, read piece by piece.
#[derive(Default)]
pub(in crate::http) struct Marks {
    /// Characters read.
    chars: usize,
    /// Where a mark has begun, and the number read so far.
    open: Option<(usize, usize)>,
    found: BTreeMap<usize, (usize, usize)>,
}

impl Marks {
    /// Reads on.
    pub(in crate::http) fn read(&mut self, text: &str) {
        for c in text.chars() {
            self.open = match (c, self.open) {
                ('[', _) => Some((self.chars, 0)),
                (']', Some((start, n))) => {
                    self.found.entry(n).or_insert((start, self.chars + 1));
                    None
                }
                (c, Some((start, n))) => c
                    .to_digit(10)
                    .and_then(|digit| usize::try_from(digit).ok())
                    .map(|digit| (start, n.saturating_mul(10).saturating_add(digit))),
                (_, None) => None,
            };
            self.chars += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.chars == 0
    }
}

fn opening(head: &TurnHead, model: &str) -> Vec<u8> {
    let mut out = b"data: {\"id\":".to_vec();
    append(&mut out, &completion_id(head));
    out.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
    append(&mut out, &created(head));
    out.extend_from_slice(b",\"model\":");
    append(&mut out, &model);
    out.extend_from_slice(b",\"system_fingerprint\":null,\"choices\":");
    out
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        // None of what is written here can fail to serialise.
        tracing::error!(%error, "a chunk does not serialise");
    }
}

#[cfg(test)]
mod tests;
