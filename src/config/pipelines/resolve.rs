//! Joins pipeline files with those they extend and checks the result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::problem::{Problem, suggest};
use super::raw::{self, RawAgent, RawCase, RawPipeline};
use super::templates::{self, Origin};
use super::{
    Agent, AgentDefinition, Agents, Case, GENERAL_INTENT, IntentDefinition, LanguageSettings, Pipeline, PipelineSet,
    ROOT, RetrievalSettings, industry_key,
};

const TEMPERATURE: f32 = 0.3;
const MAX_TOKENS: u32 = 800;

/// Reads the program's files and those of a directory, and joins them.
pub(super) fn resolve(builtin: &[(&str, &str)], directory: Option<&Path>) -> Result<PipelineSet, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut files = read_all(builtin.iter().map(|(file, text)| (*file, *text)), &mut problems);
    let own = directory.map(|directory| read_directory(directory, &mut problems)).unwrap_or_default();
    let own: Vec<(&str, &str)> = own.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let own = read_all(own.iter().copied(), &mut problems);
    let own_names: BTreeSet<String> = own.keys().cloned().collect();
    files.extend(own);

    let mut pipelines = BTreeMap::new();
    for name in files.keys() {
        if let Some(chain) = lineage(name, &files, &mut problems) {
            pipelines.extend(join(&chain, &mut problems).map(|pipeline| (name.clone(), pipeline)));
        }
    }
    relate(&mut pipelines);
    let by_industry = industries(&files, &own_names, &mut problems);
    let root = pipelines.remove(ROOT);
    match root {
        Some(root) if problems.is_empty() => Ok(PipelineSet { root, others: pipelines, by_industry }),
        root => {
            if root.is_none() && problems.is_empty() {
                problems.push(Problem::new(ROOT, format!("there is no pipeline `{ROOT}`")));
            }
            // What is wrong with a parent would be said again for each of its children.
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

fn read_directory(directory: &Path, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut unreadable = |path: &Path, error: std::io::Error| {
        problems.push(Problem::new(path.display().to_string(), format!("cannot be read: {error}")));
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(directory, error);
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unreadable(directory, error);
                continue;
            }
        };
        if path.extension().is_some_and(|extension| extension == "toml") {
            match std::fs::read_to_string(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(error) => unreadable(&path, error),
            }
        }
    }
    // The order of a directory is not the same everywhere.
    texts.sort();
    texts
}

fn read_all<'t>(
    texts: impl Iterator<Item = (&'t str, &'t str)>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, RawPipeline> {
    let mut files: BTreeMap<String, RawPipeline> = BTreeMap::new();
    for (file, text) in texts {
        let (pipeline, found) = raw::read(file, text);
        problems.extend(found);
        let Some(pipeline) = pipeline else { continue };
        if let Some(other) = files.get(&pipeline.name) {
            let message = format!("the pipeline `{}` is in {} already", pipeline.name, other.file);
            problems.push(Problem::new(file, message).at(1));
        } else {
            files.insert(pipeline.name.clone(), pipeline);
        }
    }
    files
}

/// A pipeline and those it descends from, the root first.
fn lineage<'f>(
    name: &str,
    files: &'f BTreeMap<String, RawPipeline>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<&'f RawPipeline>> {
    let mut chain: Vec<&RawPipeline> = Vec::new();
    let mut next = files.get(name);
    while let Some(pipeline) = next {
        chain.push(pipeline);
        let parent = match &pipeline.extends {
            Some(parent) => parent.value.as_str(),
            None if pipeline.name == ROOT => break,
            None => ROOT,
        };
        let line = pipeline.extends.as_ref().map_or(1, |parent| parent.line);
        if chain.iter().any(|descendant| descendant.name == parent) {
            let message = format!("`{}` extends itself, by way of `{parent}`", pipeline.name);
            problems.push(Problem::new(&pipeline.file, message).at(line));
            return None;
        }
        next = files.get(parent);
        if next.is_none() {
            let known = files.keys().map(String::as_str).filter(|known| *known != pipeline.name);
            let message = format!("`{}` extends `{parent}`, which there is not", pipeline.name);
            problems.push(Problem::new(&pipeline.file, message).at(line).hint(suggest(parent, known)));
            return None;
        }
    }
    chain.reverse();
    Some(chain)
}

fn join(chain: &[&RawPipeline], problems: &mut Vec<Problem>) -> Option<Pipeline> {
    let own = chain.last()?;
    let before = problems.len();
    let intents = intents(chain, problems);
    let prompts: BTreeMap<&str, Origin<'_>> = chain
        .iter()
        .flat_map(|layer| layer.prompts.iter().map(|(name, text)| (name.value.as_str(), (layer.file.as_str(), text))))
        .collect();
    let templates: BTreeMap<Agent, Origin<'_>> = chain
        .iter()
        .flat_map(|layer| {
            let with_prompt = layer.agents.iter().filter_map(|(agent, raw)| Some((*agent, raw.prompt.as_ref()?)));
            with_prompt.map(|(agent, prompt)| (agent, (layer.file.as_str(), prompt)))
        })
        .collect();
    problems.extend(templates::check(&prompts, &templates));
    let agents = agents(chain, own, problems);
    let cases = own.cases.iter().filter_map(|case| check_case(case, &intents, own, problems)).collect();
    if problems.len() > before {
        return None;
    }
    Some(Pipeline {
        name: own.name.clone(),
        description: own.description.clone().unwrap_or_default(),
        file: own.file.clone(),
        industries: own.industries.iter().map(|industry| industry_key(&industry.value)).collect(),
        intents,
        concepts: concepts(chain),
        agents: agents?,
        prompts: prompts.into_iter().map(|(name, (_, text))| (name.to_owned(), text.value.clone())).collect(),
        retrieval: retrieval(chain),
        language: LanguageSettings {
            default: chain.iter().rev().find_map(|layer| layer.default_language),
            supported: chain.iter().rev().find_map(|layer| layer.languages.clone()).unwrap_or_default(),
        },
        cases,
    })
}

fn intents(chain: &[&RawPipeline], problems: &mut Vec<Problem>) -> Vec<IntentDefinition> {
    let mut joined: Vec<IntentDefinition> = Vec::new();
    for layer in chain {
        for raw in &layer.intents {
            let examples = raw.examples.iter().map(|example| example.value.trim().to_owned());
            if let Some(intent) = joined.iter_mut().find(|intent| intent.name == raw.name.value) {
                intent.agent = raw.agent.unwrap_or(intent.agent);
                intent.examples.extend(examples);
                continue;
            }
            let place = |message: String| Problem::new(&layer.file, message).at(raw.name.line);
            let name = &raw.name.value;
            if raw.examples.is_empty() {
                let problem = place(format!("the intent `{name}` has no examples"));
                problems.push(problem.hint("it is recognised by them; give it fifteen or more"));
            }
            let Some(agent) = raw.agent else {
                // A name that there is not has been reported where it stands.
                if !raw.names_agent {
                    let problem = place(format!("the intent `{name}` names no agent"));
                    problems.push(problem.hint("add `agent = \"sales\"`, `information`, `support` or `general`"));
                }
                continue;
            };
            joined.push(IntentDefinition {
                name: name.clone(),
                agent,
                examples: examples.collect(),
                related: Vec::new(),
            });
        }
    }
    joined
}

/// Tells each intent what the other pipelines know of it.
fn relate(pipelines: &mut BTreeMap<String, Pipeline>) {
    let mut known: BTreeMap<(String, Agent), BTreeSet<String>> = BTreeMap::new();
    for intent in pipelines.values().flat_map(|pipeline| &pipeline.intents) {
        known.entry((intent.name.clone(), intent.agent)).or_default().extend(intent.examples.iter().cloned());
    }
    for intent in pipelines.values_mut().flat_map(|pipeline| &mut pipeline.intents) {
        let own: BTreeSet<&str> = intent.examples.iter().map(String::as_str).collect();
        let all = known.get(&(intent.name.clone(), intent.agent)).into_iter().flatten();
        let related = all.filter(|example| !own.contains(example.as_str())).cloned().collect();
        intent.related = related;
    }
}

fn concepts(chain: &[&RawPipeline]) -> BTreeMap<String, Vec<String>> {
    let mut joined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, words) in chain.iter().flat_map(|layer| &layer.concepts) {
        joined.entry(name.value.clone()).or_default().extend(words.iter().map(|word| word.value.clone()));
    }
    joined
}

fn agents(chain: &[&RawPipeline], own: &RawPipeline, problems: &mut Vec<Problem>) -> Option<Agents> {
    let mut definition = |agent: Agent| {
        let layers: Vec<&RawAgent> = chain
            .iter()
            .rev()
            .flat_map(|layer| layer.agents.iter().filter(move |(name, _)| *name == agent).map(|(_, raw)| raw))
            .collect();
        let Some(prompt) = layers.iter().find_map(|layer| layer.prompt.as_ref()) else {
            let problem = Problem::new(&own.file, format!("the agent `{agent}` has no prompt"));
            problems.push(problem.hint(format!("add `[agents.{agent}]` with a `prompt`")));
            return None;
        };
        Some(AgentDefinition {
            prompt: prompt.value.clone(),
            temperature: layers.iter().find_map(|layer| layer.temperature).unwrap_or(TEMPERATURE),
            max_tokens: layers.iter().find_map(|layer| layer.max_tokens).unwrap_or(MAX_TOKENS),
            models: layers.iter().find_map(|layer| layer.models.clone()).unwrap_or_default(),
        })
    };
    // All four are built before any is missed, so that all that lack a prompt are reported.
    let [sales, information, support, general] = Agent::ALL.map(&mut definition);
    Some(Agents { sales: sales?, information: information?, support: support?, general: general? })
}

fn retrieval(chain: &[&RawPipeline]) -> RetrievalSettings {
    let mut settings = RetrievalSettings::default();
    for raw in chain.iter().map(|layer| &layer.retrieval) {
        settings.limit = raw.limit.map_or(settings.limit, |limit| limit as usize);
        settings.candidates = raw.candidates.map_or(settings.candidates, |candidates| candidates as usize);
        settings.threshold = raw.threshold.unwrap_or(settings.threshold);
        settings.dense_weight = raw.dense_weight.unwrap_or(settings.dense_weight);
        settings.sparse_weight = raw.sparse_weight.unwrap_or(settings.sparse_weight);
        settings.filter_industry = raw.filter_industry.unwrap_or(settings.filter_industry);
        settings.filter_language = raw.filter_language.unwrap_or(settings.filter_language);
    }
    settings
}

fn check_case(
    raw: &RawCase,
    intents: &[IntentDefinition],
    own: &RawPipeline,
    problems: &mut Vec<Problem>,
) -> Option<Case> {
    let name = raw.intent.value.as_str();
    let expected = match intents.iter().find(|intent| intent.name == name) {
        Some(intent) => intent.agent,
        // General needs no examples: it is also what is left when nothing else fits.
        None if name == GENERAL_INTENT => Agent::General,
        None => {
            let known = intents.iter().map(|intent| intent.name.as_str());
            let problem = Problem::new(&own.file, format!("the case expects `{name}`, which is no intent"));
            problems.push(problem.at(raw.intent.line).hint(suggest(name, known)));
            return None;
        }
    };
    Some(Case {
        message: raw.message.value.clone(),
        history: raw.history.clone(),
        language: raw.language,
        intent: name.to_owned(),
        agent: raw.agent.unwrap_or(expected),
        prompt_contains: raw.prompt_contains.clone(),
        line: raw.message.line,
    })
}

/// Which pipeline serves which industry. A directory's pipeline takes an industry over from one of the
/// program; two of the same origin cannot share one.
fn industries(
    files: &BTreeMap<String, RawPipeline>,
    own: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut by_industry = BTreeMap::new();
    for wanted in [false, true] {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for (name, pipeline) in files.iter().filter(|(name, _)| own.contains(*name) == wanted) {
            for industry in &pipeline.industries {
                let key = industry_key(&industry.value);
                match taken.insert(key.clone(), name) {
                    Some(other) if other != name => {
                        let message = format!("the industry `{key}` is served by `{other}` already");
                        problems.push(Problem::new(&pipeline.file, message).at(industry.line));
                    }
                    _ => {
                        by_industry.insert(key, name.clone());
                    }
                }
            }
        }
    }
    by_industry
}
