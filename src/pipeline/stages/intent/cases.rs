//! Runs the test cases that a pipeline carries.

use crate::config::pipelines::{Case, Pipeline};
use crate::domain::Language;
use crate::domain::conversation::{Message, Role};
use crate::pipeline::prompt::{CompanyContext, PromptContext, Prompts};
use crate::ports::model::Passage;

use super::{Classifier, Intent};

/// What came of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// The language that was detected.
    pub language: Language,
    /// The intent that was detected.
    pub found: Intent,
    /// What differs from what was expected, in whole phrases; empty when the case passed.
    pub failures: Vec<String>,
}

impl CaseResult {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs a pipeline's cases. `detect` tells a message's language.
pub fn run_cases(pipeline: &Pipeline, classifier: &Classifier, detect: impl Fn(&str) -> Language) -> Vec<CaseResult> {
    let prompts = Prompts::compile(pipeline);
    pipeline
        .cases
        .iter()
        .map(|case| {
            let language = detect(&case.message);
            let found = classifier.classify(&case.message, case.history.last().map(String::as_str));
            let mut failures = Vec::new();
            let mut expect = |what: &str, expected: &str, found: &str| {
                if expected != found {
                    failures.push(format!("{what}: expected {expected}, found {found}"));
                }
            };
            expect("intent", &case.intent, &found.intent);
            expect("agent", case.agent.name(), found.agent.name());
            if let Some(expected) = case.language {
                expect("language", expected.code(), language.code());
            }
            if !case.prompt_contains.is_empty() {
                match prompts.as_ref().map(|prompts| prompt(pipeline, prompts, case, &found, language)) {
                    Ok(Ok(prompt)) => {
                        let missing = case.prompt_contains.iter().filter(|text| !prompt.contains(text.as_str()));
                        failures.extend(missing.map(|text| format!("the prompt does not contain {text:?}")));
                    }
                    Ok(Err(error)) => failures.push(error.to_string()),
                    Err(error) => failures.push(error.to_string()),
                }
            }
            CaseResult { case: case.clone(), language, found, failures }
        })
        .collect()
}

/// The prompt of the agent that was found, for a made-up company with one passage.
fn prompt(
    pipeline: &Pipeline,
    prompts: &Prompts,
    case: &Case,
    found: &Intent,
    language: Language,
) -> Result<String, crate::pipeline::prompt::Error> {
    let passages = [Passage {
        n: 1,
        title: "Sample document".to_owned(),
        heading: String::new(),
        text: "A sample passage.".to_owned(),
    }];
    let history: Vec<Message> =
        case.history.iter().map(|text| Message { role: Role::User, content: text.clone() }).collect();
    let industry = pipeline.industries.first().map_or("", String::as_str);
    prompts.render(
        found.agent,
        &PromptContext {
            company: CompanyContext { name: "Sample Company", industry, description: "" },
            language,
            passages: &passages,
            history: &history,
            message: &case.message,
            context: &serde_json::Map::new(),
        },
    )
}
