//! The script: its text, and what it comes to.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::ports::model::{self, Chunk, FinishReason, Usage};

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML, or not of the form of a script.
    #[error("the script is not valid TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// It is not JSON, or not of the form of a script.
    #[error("the script is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What a scripted model says to which question.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) rules: Vec<Rule>,
}

impl Script {
    /// Reads a script: JSON if it begins with `{`, TOML otherwise.
    ///
    /// # Errors
    /// When it is neither, or has fields that scripts have not.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let raw: RawScript =
            if text.trim_start().starts_with('{') { serde_json::from_str(text)? } else { toml::from_str(text)? };
        Ok(Self { rules: raw.rule.into_iter().map(Rule::from).collect() })
    }
}

/// What is said to some questions.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// In lower case; none matches every question.
    contains: Vec<String>,
    /// How often it plays; None means always.
    pub(super) uses: Option<u32>,
    pub(super) actions: Arc<[Action]>,
}

impl Rule {
    /// Whether it is for a question, given in lower case.
    pub(super) fn matches(&self, question: &str) -> bool {
        self.contains.is_empty() || self.contains.iter().any(|part| question.contains(part.as_str()))
    }
}

/// One thing a scripted model does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Wait(Duration),
    Say(Chunk),
    Fail(Failure),
    /// Says nothing more and does not end.
    Stall,
}

/// An error to play.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: FailureKind,
    retry_after: Option<Duration>,
}

impl From<&Failure> for model::Error {
    fn from(failure: &Failure) -> Self {
        let scripted = || "so the script says".to_owned();
        match failure.kind {
            FailureKind::Unauthorized => Self::Unauthorized,
            FailureKind::RateLimited => Self::RateLimited { retry_after: failure.retry_after },
            FailureKind::BadRequest => Self::BadRequest(scripted()),
            FailureKind::Unavailable => Self::Unavailable(scripted()),
            FailureKind::Timeout => Self::Timeout("so the script says"),
            FailureKind::Protocol => Self::Protocol(scripted()),
            FailureKind::Interrupted => Self::Interrupted(scripted()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default)]
    contains: Vec<String>,
    uses: Option<u32>,
    steps: Vec<Step>,
}

impl From<RawRule> for Rule {
    fn from(raw: RawRule) -> Self {
        let mut actions: Vec<Action> = raw.steps.into_iter().flat_map(Step::into_actions).collect();
        // An answer that neither fails nor hangs ends, as the port wants it, whether or not the script says so.
        if !matches!(actions.last(), Some(Action::Fail(_) | Action::Stall | Action::Say(Chunk::Finish(_)))) {
            actions.push(Action::Say(Chunk::Finish(FinishReason::Stop)));
        }
        let contains = raw.contains.iter().map(|part| part.to_lowercase()).collect();
        Self { contains, uses: raw.uses, actions: actions.into() }
    }
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Content {
        content: String,
        #[serde(default = "once")]
        times: u32,
        #[serde(default)]
        every_ms: u64,
    },
    Delay {
        delay_ms: u64,
    },
    Reasoning {
        /// How many signs of life.
        reasoning: u32,
        #[serde(default)]
        every_ms: u64,
    },
    Usage {
        usage: RawUsage,
    },
    Finish {
        finish: RawFinish,
    },
    Error {
        error: FailureKind,
        retry_after_ms: Option<u64>,
    },
    Stall {
        /// True stalls; false does nothing.
        stall: bool,
    },
}

fn once() -> u32 {
    1
}

impl Step {
    fn into_actions(self) -> Vec<Action> {
        match self {
            Self::Content { content, times, every_ms } => repeat(&Chunk::Content(content), times, every_ms),
            Self::Reasoning { reasoning, every_ms } => repeat(&Chunk::Reasoning, reasoning, every_ms),
            Self::Delay { delay_ms } => vec![Action::Wait(Duration::from_millis(delay_ms))],
            Self::Usage { usage: RawUsage { input_tokens, output_tokens } } => {
                vec![Action::Say(Chunk::Usage(Usage { input_tokens, output_tokens }))]
            }
            Self::Finish { finish } => vec![Action::Say(Chunk::Finish(finish.into()))],
            Self::Error { error: kind, retry_after_ms } => {
                vec![Action::Fail(Failure { kind, retry_after: retry_after_ms.map(Duration::from_millis) })]
            }
            Self::Stall { stall } => stall.then_some(Action::Stall).into_iter().collect(),
        }
    }
}

/// A chunk so many times, with a pause between two of them.
fn repeat(chunk: &Chunk, times: u32, every_ms: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for n in 0..times {
        if n > 0 && every_ms > 0 {
            actions.push(Action::Wait(Duration::from_millis(every_ms)));
        }
        actions.push(Action::Say(chunk.clone()));
    }
    actions
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUsage {
    input_tokens: u64,
    output_tokens: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawFinish {
    Stop,
    Length,
    ContentFilter,
}

impl From<RawFinish> for FinishReason {
    fn from(raw: RawFinish) -> Self {
        match raw {
            RawFinish::Stop => Self::Stop,
            RawFinish::Length => Self::Length,
            RawFinish::ContentFilter => Self::ContentFilter,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailureKind {
    Unauthorized,
    RateLimited,
    BadRequest,
    Unavailable,
    Timeout,
    Protocol,
    Interrupted,
}
