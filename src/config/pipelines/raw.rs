//! A pipeline file as it is written, before it is joined with the pipeline that it extends.

use toml::de::DeTable;

use crate::domain::Language;

use super::problem::{Problem, suggest};
use super::reader::{Document, Located, Table};
use super::{Agent, ModelRef};

/// What one file says. Whatever it leaves out comes from the pipeline it extends.
#[derive(Debug, Default)]
pub(super) struct RawPipeline {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) extends: Option<Located<String>>,
    pub(super) industries: Vec<Located<String>>,
    pub(super) intents: Vec<RawIntent>,
    pub(super) concepts: Vec<(Located<String>, Vec<Located<String>>)>,
    pub(super) agents: Vec<(Agent, RawAgent)>,
    pub(super) prompts: Vec<(Located<String>, Located<String>)>,
    pub(super) retrieval: RawRetrieval,
    pub(super) default_language: Option<Language>,
    pub(super) languages: Option<Vec<Language>>,
    pub(super) cases: Vec<RawCase>,
}

#[derive(Debug)]
pub(super) struct RawIntent {
    pub(super) name: Located<String>,
    pub(super) agent: Option<Agent>,
    /// Whether the file names an agent, be it one that there is not.
    pub(super) names_agent: bool,
    pub(super) examples: Vec<Located<String>>,
}

#[derive(Debug, Default)]
pub(super) struct RawAgent {
    pub(super) prompt: Option<Located<String>>,
    pub(super) temperature: Option<f32>,
    pub(super) max_tokens: Option<u32>,
    pub(super) models: Option<Vec<ModelRef>>,
}

#[derive(Debug, Default)]
pub(super) struct RawRetrieval {
    pub(super) limit: Option<u32>,
    pub(super) candidates: Option<u32>,
    pub(super) threshold: Option<f32>,
    pub(super) dense_weight: Option<f32>,
    pub(super) sparse_weight: Option<f32>,
    pub(super) filter_industry: Option<bool>,
    pub(super) filter_language: Option<bool>,
}

#[derive(Debug)]
pub(super) struct RawCase {
    pub(super) message: Located<String>,
    pub(super) history: Vec<String>,
    pub(super) language: Option<Language>,
    pub(super) intent: Located<String>,
    pub(super) agent: Option<Agent>,
    pub(super) prompt_contains: Vec<String>,
}

/// Reads one file. What could be read is returned along with all that is wrong, so that the mistakes
/// of inheritance can be reported in the same breath. Without a name there is nothing to return.
pub(super) fn read(file: &str, text: &str) -> (Option<RawPipeline>, Vec<Problem>) {
    let document = Document::new(file, text);
    let (parsed, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| document.line(span.start));
        document.report(line, format!("not TOML: {}", error.message()), None);
    }
    // Behind a syntax error the parser guesses, and its guesses would be reported as mistakes.
    let pipeline = if errors.is_empty() { pipeline(Table::root(&document, parsed.get_ref())) } else { None };
    (pipeline, document.into_problems())
}

fn pipeline(mut root: Table<'_, '_>) -> Option<RawPipeline> {
    let document = root.document;
    let mut raw = RawPipeline { file: document.file.to_owned(), ..RawPipeline::default() };
    let name = root.string("name");
    raw.description = root.string("description").map(|text| text.value);
    raw.extends = root.string("extends");
    raw.industries = root.strings("industries").unwrap_or_default();
    if let Some(table) = root.table("intents") {
        raw.intents = table.named_tables().into_iter().map(|(name, table)| intent(name, table)).collect();
    }
    if let Some(table) = root.table("concepts") {
        raw.concepts = table.named_lists();
    }
    if let Some(table) = root.table("agents") {
        raw.agents = agents(&table);
    }
    if let Some(table) = root.table("prompts") {
        raw.prompts = table.named_strings();
    }
    if let Some(table) = root.table("retrieval") {
        raw.retrieval = retrieval(table);
    }
    if let Some(mut table) = root.table("language") {
        raw.default_language = table.string("default").and_then(|code| language(&table, &code));
        raw.languages =
            table.strings("supported").map(|codes| codes.iter().filter_map(|code| language(&table, code)).collect());
        table.finish();
    }
    raw.cases = root.tables("cases").into_iter().filter_map(case).collect();
    root.finish();
    match name {
        Some(name) if is_name(&name.value) => Some(RawPipeline { name: name.value, ..raw }),
        Some(name) => {
            let hint = "small letters, digits, `_` and `-`".to_owned();
            document.report(name.line, format!("`{}` is no name for a pipeline", name.value), Some(hint));
            None
        }
        None => {
            document.report(1, "the pipeline has no name", Some("add `name = \"…\"` at the top".to_owned()));
            None
        }
    }
}

fn intent(name: Located<String>, mut table: Table<'_, '_>) -> RawIntent {
    if !is_name(&name.value) {
        let hint = "small letters, digits, `_` and `-`".to_owned();
        table.document.report(name.line, format!("`{}` is no name for an intent", name.value), Some(hint));
    }
    let written = table.string("agent");
    let names_agent = written.is_some();
    let agent = written.and_then(|name| agent(&table, &name));
    let mut examples = table.strings("examples").unwrap_or_default();
    examples.retain(|example| {
        let written = !example.value.trim().is_empty();
        if !written {
            table.document.report(example.line, "an example is empty", None);
        }
        written
    });
    table.finish();
    RawIntent { name, agent, names_agent, examples }
}

fn agents(table: &Table<'_, '_>) -> Vec<(Agent, RawAgent)> {
    let mut agents = Vec::new();
    for (name, mut table) in table.named_tables() {
        let raw = RawAgent {
            prompt: table.string("prompt"),
            temperature: table.number("temperature", 0.0..=2.0),
            max_tokens: table.integer("max_tokens", 1..=1_000_000),
            models: table
                .strings("models")
                .map(|models| models.iter().filter_map(|written| model(&table, written)).collect()),
        };
        if let Some(agent) = agent(&table, &name) {
            agents.push((agent, raw));
        }
        table.finish();
    }
    agents
}

fn retrieval(mut table: Table<'_, '_>) -> RawRetrieval {
    let raw = RawRetrieval {
        limit: table.integer("limit", 1..=50),
        candidates: table.integer("candidates", 1..=1_000),
        threshold: table.number("threshold", 0.0..=1.0),
        dense_weight: table.number("dense_weight", 0.0..=10.0),
        sparse_weight: table.number("sparse_weight", 0.0..=10.0),
        filter_industry: table.boolean("filter_industry"),
        filter_language: table.boolean("filter_language"),
    };
    table.finish();
    raw
}

fn case(mut table: Table<'_, '_>) -> Option<RawCase> {
    let values = |texts: Option<Vec<Located<String>>>| -> Vec<String> {
        texts.unwrap_or_default().into_iter().map(|text| text.value).collect()
    };
    let message = table.string("message");
    let intent = table.string("intent");
    let history = values(table.strings("history"));
    let language = table.string("language").and_then(|code| language(&table, &code));
    let agent = table.string("agent").and_then(|name| agent(&table, &name));
    let prompt_contains = values(table.strings("prompt_contains"));
    let (document, line) = (table.document, table.line);
    table.finish();
    if let (Some(message), Some(intent)) = (message, intent) {
        Some(RawCase { message, history, language, intent, agent, prompt_contains })
    } else {
        document.report(line, "a case needs a `message` and the `intent` expected of it", None);
        None
    }
}

fn agent(table: &Table<'_, '_>, name: &Located<String>) -> Option<Agent> {
    let found = Agent::from_name(&name.value);
    if found.is_none() {
        let hint = suggest(&name.value, Agent::ALL.map(Agent::name));
        table.document.report(name.line, format!("there is no agent `{}`", name.value), Some(hint));
    }
    found
}

fn language(table: &Table<'_, '_>, code: &Located<String>) -> Option<Language> {
    let found = Language::from_code(&code.value);
    if found.is_none() {
        let hint = "an ISO 639-1 code such as `vi` or `en`".to_owned();
        table.document.report(code.line, format!("unknown language `{}`", code.value), Some(hint));
    }
    found
}

fn model(table: &Table<'_, '_>, written: &Located<String>) -> Option<ModelRef> {
    let found = ModelRef::parse(&written.value);
    if found.is_none() {
        let hint = "write `provider/model`, for example `openai/gpt-4o-mini`".to_owned();
        table.document.report(written.line, format!("`{}` names no provider's model", written.value), Some(hint));
    }
    found
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter))
}
