//! Pipelines: what a turn does for one kind of company. Each is a TOML file with its intents and their
//! examples, its agents with their prompts, its retrieval settings and its own test cases.
//!
//! A pipeline extends another, `default` at the root. Examples add up along that line; everything else
//! that a file states replaces, field by field, what it would inherit. Nine pipelines are part of the
//! program; a directory adds to them, or replaces those of the same name.

mod builtin;
mod problem;
mod raw;
mod reader;
mod resolve;
mod templates;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::Language;

pub use problem::Problem;
pub use templates::{AGENT_TEMPLATE_PREFIX, environment};

/// The pipeline that every other one descends from, and the one for unknown industries.
pub const ROOT: &str = "default";

/// The intent of everything that is none of the others, and of messages nobody can be sure about.
pub const GENERAL_INTENT: &str = "general";

/// Who answers a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// Prices, products, buying and booking.
    Sales,
    /// Facts about the company, its services and its rules.
    Information,
    /// Something went wrong or has to be changed.
    Support,
    /// Everything else.
    General,
}

impl Agent {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [Self::Sales, Self::Information, Self::Support, Self::General];

    /// The name in files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sales => "sales",
            Self::Information => "information",
            Self::Support => "support",
            Self::General => "general",
        }
    }

    /// The agent of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.name() == name)
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One provider's model, written `provider/model`. The model's own name may contain slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The provider's name in the settings.
    pub provider: String,
    /// The model's name as the provider knows it.
    pub model: String,
}

impl ModelRef {
    /// Reads `provider/model`; `None` when either half is missing.
    pub fn parse(written: &str) -> Option<Self> {
        let (provider, model) = written.split_once('/')?;
        let (provider, model) = (provider.trim(), model.trim());
        (!provider.is_empty() && !model.is_empty())
            .then(|| Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.provider, self.model)
    }
}

/// A kind of message, known by examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentDefinition {
    /// Its name in events and reports.
    pub name: String,
    /// Who answers it.
    pub agent: Agent,
    /// Messages of this kind, at least one, the inherited ones first.
    pub examples: Vec<String>,
    /// What the set's other pipelines give as examples of an intent of this name and agent: wordings that
    /// this pipeline's author did not think of.
    pub related: Vec<String>,
}

/// How an agent answers.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentDefinition {
    /// The template of the system prompt.
    pub prompt: String,
    /// Sampling temperature, 0 to 2.
    pub temperature: f32,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// Models to try in turn; empty for the service's own chain.
    pub models: Vec<ModelRef>,
}

/// The four agents of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Agents {
    /// [`Agent::Sales`].
    pub sales: AgentDefinition,
    /// [`Agent::Information`].
    pub information: AgentDefinition,
    /// [`Agent::Support`].
    pub support: AgentDefinition,
    /// [`Agent::General`].
    pub general: AgentDefinition,
}

/// How a pipeline searches the company's knowledge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrievalSettings {
    /// Passages that reach the prompt, at most.
    pub limit: usize,
    /// Passages that each search hands to the fusion.
    pub candidates: usize,
    /// Relevance, 0 to 1, under which a passage is left out.
    pub threshold: f32,
    /// Weight of the dense ranking in the fusion.
    pub dense_weight: f32,
    /// Weight of the keyword ranking in the fusion.
    pub sparse_weight: f32,
    /// Whether only documents of the company's industry, or of none, are searched.
    pub filter_industry: bool,
    /// Whether only documents in the message's language are searched.
    pub filter_language: bool,
}

impl Default for RetrievalSettings {
    fn default() -> Self {
        Self {
            limit: 3,
            candidates: 30,
            threshold: 0.2,
            dense_weight: 1.0,
            sparse_weight: 1.0,
            filter_industry: false,
            filter_language: false,
        }
    }
}

/// The languages of a pipeline's conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanguageSettings {
    /// The language to answer in when a message does not tell.
    pub default: Option<Language>,
    /// The languages to choose among; empty for any.
    pub supported: Vec<Language>,
}

/// A message and what has to come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The message.
    pub message: String,
    /// The user's messages before it, oldest first.
    pub history: Vec<String>,
    /// The language that has to be detected, where it is checked.
    pub language: Option<Language>,
    /// The intent that has to be detected.
    pub intent: String,
    /// The agent that has to answer.
    pub agent: Agent,
    /// What the agent's system prompt has to contain.
    pub prompt_contains: Vec<String>,
    /// The line of the message in the pipeline's file.
    pub line: usize,
}

/// A pipeline with all that it inherits, free of contradictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// The file it is written in.
    pub file: String,
    /// The industries it serves, in small letters with `_` between words.
    pub industries: Vec<String>,
    /// Its intents, in the order of the files.
    pub intents: Vec<IntentDefinition>,
    /// Words and phrases that mean the same to the intent classifier, by the name of what they mean. One
    /// that ends in `*` stands for all words that begin so.
    pub concepts: BTreeMap<String, Vec<String>>,
    /// Its agents.
    pub agents: Agents,
    /// Templates that others include, by name.
    pub prompts: BTreeMap<String, String>,
    /// How it searches.
    pub retrieval: RetrievalSettings,
    /// Its languages.
    pub language: LanguageSettings,
    /// Its test cases; those of the pipeline it extends stay there.
    pub cases: Vec<Case>,
}

impl Pipeline {
    /// One of its agents.
    pub fn agent(&self, agent: Agent) -> &AgentDefinition {
        match agent {
            Agent::Sales => &self.agents.sales,
            Agent::Information => &self.agents.information,
            Agent::Support => &self.agents.support,
            Agent::General => &self.agents.general,
        }
    }

    /// One of its intents.
    pub fn intent(&self, name: &str) -> Option<&IntentDefinition> {
        self.intents.iter().find(|intent| intent.name == name)
    }
}

/// All pipelines there are. It always holds [`ROOT`].
#[derive(Debug, Clone)]
pub struct PipelineSet {
    root: Pipeline,
    others: BTreeMap<String, Pipeline>,
    by_industry: BTreeMap<String, String>,
}

impl PipelineSet {
    /// The pipelines that are part of the program.
    #[expect(clippy::expect_used, reason = "the files are part of the program, and a test loads them")]
    pub fn builtin() -> Self {
        Self::load(None).expect("the built-in pipelines are valid")
    }

    /// The pipelines of the program and the `*.toml` files of a directory, which add to them or replace
    /// those of the same name.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn load(directory: Option<&Path>) -> Result<Self, Vec<Problem>> {
        resolve::resolve(builtin::FILES, directory)
    }

    /// The pipeline of that name.
    pub fn get(&self, name: &str) -> Option<&Pipeline> {
        if name == ROOT { Some(&self.root) } else { self.others.get(name) }
    }

    /// The pipeline that serves an industry, the root where none does. Case, spaces and hyphens do not
    /// matter: `Real Estate` is `real_estate`.
    pub fn for_industry(&self, industry: &str) -> &Pipeline {
        let key = industry_key(industry);
        self.by_industry.get(&key).and_then(|name| self.get(name)).unwrap_or(&self.root)
    }

    /// The root, then the others by name.
    pub fn iter(&self) -> impl Iterator<Item = &Pipeline> {
        std::iter::once(&self.root).chain(self.others.values())
    }
}

/// The form in which industries are compared.
fn industry_key(industry: &str) -> String {
    industry.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests;
