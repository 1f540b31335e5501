//! A model that follows a script: for demonstrations without a provider, for load tests, and for tests of what real
//! providers do on a bad day.
//!
//! A script is TOML or JSON. The first rule that matches the question is played; without one the model says how many
//! passages it was given.
//! ```toml
//! [[rule]]
//! contains = ["lãi suất"]          # any of these, whatever the case; no `contains` matches every question
//! uses = 1                         # plays once; the next such question goes to the next rule
//! steps = [{ error = "rate_limited", retry_after_ms = 200 }]
//!
//! [[rule]]
//! contains = ["lãi suất"]
//! steps = [
//!   { delay_ms = 300 }, { reasoning = 3 },
//!   { content = "7% một năm [1]. ", times = 20, every_ms = 20 },
//!   { usage = { input_tokens = 100, output_tokens = 60 } },
//!   { finish = "stop" },
//! ]
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::StreamExt;

use crate::ports::model::{Chunk, ChunkStream, Error as ModelError, FinishReason, Model, ModelId, Request, Usage};
use script::{Action, Rule};

mod script;

pub use script::{Error, Script};

/// A model that follows a script.
pub struct ScriptedModel {
    id: ModelId,
    rules: Vec<CountedRule>,
}

struct CountedRule {
    rule: Rule,
    played: AtomicU32,
}

impl ScriptedModel {
    /// A model that plays a script from its beginning.
    pub fn new(id: ModelId, script: Script) -> Self {
        let rules = script.rules.into_iter().map(|rule| CountedRule { rule, played: AtomicU32::new(0) }).collect();
        Self { id, rules }
    }

    /// The actions for a question, and what they are to be filled in with.
    fn actions(&self, request: &Request) -> Arc<[Action]> {
        let question = request.question.to_lowercase();
        let chosen = self.rules.iter().find(|counted| counted.rule.matches(&question) && counted.take_use());
        match chosen {
            Some(counted) => counted.rule.actions.clone(),
            None => echo(request),
        }
    }
}

impl CountedRule {
    /// Counts one use, if there is one left.
    fn take_use(&self) -> bool {
        let Some(uses) = self.rule.uses else { return true };
        let count = |played: u32| (played < uses).then_some(played + 1);
        self.played.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }
}

/// What is said without a rule.
fn echo(request: &Request) -> Arc<[Action]> {
    let count = request.passages.len();
    let mut text = format!("I was given {count} passages.");
    for passage in &request.passages {
        text.push_str(&format!(" {} [{}].", passage.title, passage.n));
    }
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let usage = Usage {
        input_tokens: u64::try_from(request.system.split_whitespace().count()).unwrap_or_default(),
        output_tokens: u64::try_from(words.len()).unwrap_or_default(),
    };
    let say = words.iter().map(|word| Action::Say(Chunk::Content((*word).to_owned())));
    say.chain([Action::Say(Chunk::Usage(usage)), Action::Say(Chunk::Finish(FinishReason::Stop))]).collect()
}

#[async_trait]
impl Model for ScriptedModel {
    fn id(&self) -> &ModelId {
        &self.id
    }

    async fn stream(&self, request: &Request) -> Result<ChunkStream, ModelError> {
        let mut actions: VecDeque<Action> = self.actions(request).iter().cloned().collect();
        for action in &mut actions {
            if let Action::Say(Chunk::Content(text)) = action
                && text.contains('{')
            {
                *text = fill_in(text, request);
            }
        }
        // Up to the first chunk the request is not accepted yet: an error there refuses it.
        loop {
            match actions.front() {
                Some(Action::Wait(delay)) => tokio::time::sleep(*delay).await,
                Some(Action::Fail(error)) => return Err(error.into()),
                Some(Action::Stall | Action::Say(_)) | None => break,
            }
            actions.pop_front();
        }
        Ok(futures::stream::unfold(actions, play).boxed())
    }
}

async fn play(mut actions: VecDeque<Action>) -> Option<(Result<Chunk, ModelError>, VecDeque<Action>)> {
    loop {
        match actions.pop_front()? {
            Action::Wait(delay) => tokio::time::sleep(delay).await,
            Action::Stall => std::future::pending().await,
            Action::Fail(error) => return Some((Err((&error).into()), VecDeque::new())),
            Action::Say(chunk) => return Some((Ok(chunk), actions)),
        }
    }
}

fn fill_in(text: &str, request: &Request) -> String {
    text.replace("{passages}", &request.passages.len().to_string())
        .replace("{messages}", &request.messages.len().to_string())
        .replace("{language}", request.language.code())
        .replace("{question}", &request.question)
}

#[cfg(test)]
mod tests;
