//! The intent of a message, from the examples in the pipeline's file: no model, no embedder, no network.
//!
//! A multinomial logistic regression over hashed words and letter groups is trained when the service
//! starts. The same examples always give the same classifier. Its confidence is a probability: of the
//! answers given with 0.8, four in five are right.

mod cases;
mod features;
mod lexicon;
mod training;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::config::pipelines::{Agent, GENERAL_INTENT, Pipeline, PipelineSet};
use crate::domain::text::without_accents;

use lexicon::Lexicon;
use training::{Example, Model};
use words::split;

pub use cases::{CaseResult, run_cases};

/// Below this probability nothing is claimed: a wrong agent does more harm than the general one, which
/// can ask what is meant.
const FLOOR: f32 = 0.45;

/// What the logits are divided by, so that the probabilities come true. Found by cross-validation over
/// the built-in pipelines (the training set alone would say that every answer is certain).
const TEMPERATURE: f32 = 0.75;

/// How much of a follow-up's intent is that of the message before it.
const FOLLOW_UP_SHARE: f32 = 0.5;

/// The longest message, in words, that can be a follow-up which says nothing by itself.
const FOLLOW_UP_WORDS: usize = 8;

/// How messages begin that only make sense after another one, without accents.
const FOLLOW_UP_OPENINGS: [&str; 13] = [
    "con",
    "the con",
    "vay con",
    "the thi",
    "vay thi",
    "con neu",
    "and",
    "what about",
    "how about",
    "and what",
    "and how",
    "same for",
    "or",
];

/// What a message wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The intent's name in the pipeline.
    pub intent: String,
    /// The probability that it is this one, 0 to 1.
    pub confidence: f32,
    /// Who answers.
    pub agent: Agent,
    /// Whether the message was recognised at all. If not, the intent is the general one.
    pub sure: bool,
}

/// Tells the intents of one pipeline apart. Immutable once trained; share it between threads.
#[derive(Debug, Clone)]
pub struct Classifier {
    intents: Vec<(String, Agent)>,
    lexicon: Lexicon,
    model: Model,
    /// The words of all examples, without accents.
    vocabulary: HashSet<String>,
}

impl Classifier {
    /// Learns from the pipeline's examples and the related ones. Takes some 50 to 100 ms;
    /// [`Classifiers`] does it once for all pipelines that would learn the same.
    pub fn train(pipeline: &Pipeline) -> Self {
        Self::learn(&Lesson::of(pipeline))
    }

    fn learn(lesson: &Lesson<'_>) -> Self {
        let lexicon = Lexicon::new(lesson.concepts);
        let examples: Vec<Example<'_>> = lesson
            .intents
            .iter()
            .enumerate()
            .flat_map(|(class, (_, texts))| texts.iter().map(move |text| Example { text, class }))
            .collect();
        let intents: Vec<(String, Agent)> =
            lesson.intents.keys().map(|(name, agent)| ((*name).to_owned(), *agent)).collect();
        let vocabulary = examples.iter().flat_map(|example| folded_words(example.text)).collect();
        Self { vocabulary, model: training::train(&examples, intents.len(), &lexicon), intents, lexicon }
    }

    /// The intent of a message. `previous` is what the same user wrote before it: a follow-up such as
    /// "and for cars?" mostly wants what the message before it wanted.
    pub fn classify(&self, message: &str, previous: Option<&str>) -> Intent {
        let mut probabilities = self.probabilities(message);
        if let Some(previous) = previous.filter(|_| is_follow_up(message)) {
            for (own, before) in probabilities.iter_mut().zip(self.probabilities(previous)) {
                *own += FOLLOW_UP_SHARE * (before - *own);
            }
        }
        let best = self.intents.iter().zip(&probabilities).max_by(|left, right| left.1.total_cmp(right.1));
        match best {
            Some(((name, agent), probability)) if *probability >= FLOOR && self.recognises(message) => {
                Intent { intent: name.clone(), confidence: *probability, agent: *agent, sure: true }
            }
            best => self.unsure(&probabilities, best.map_or(0.0, |(_, probability)| *probability)),
        }
    }

    /// Whether there is anything in the message to go by. Without it the classifier would answer from the
    /// message's length and question mark alone.
    fn recognises(&self, message: &str) -> bool {
        !self.lexicon.find(&split(message)).is_empty()
            || folded_words(message).any(|word| self.vocabulary.contains(&word))
    }

    /// Nothing is likely enough. The confidence is still that of the intent named: of "general".
    fn unsure(&self, probabilities: &[f32], best: f32) -> Intent {
        let general = self.intents.iter().position(|(name, _)| name == GENERAL_INTENT);
        let confidence = general.and_then(|index| probabilities.get(index).copied()).unwrap_or(1.0 - best).min(FLOOR);
        Intent { intent: GENERAL_INTENT.to_owned(), confidence, agent: Agent::General, sure: false }
    }

    /// One probability for each intent; they add up to one.
    fn probabilities(&self, message: &str) -> Vec<f32> {
        self.model.probabilities(&features::extract(message, &self.lexicon), TEMPERATURE)
    }
}

/// The classifiers of all pipelines. Those that would learn from the same examples share one.
#[derive(Debug, Clone)]
pub struct Classifiers {
    by_pipeline: HashMap<String, Arc<Classifier>>,
}

impl Classifiers {
    /// Learns from all pipelines of a set. The built-in ones share one classifier: 50 to 100 ms in all.
    pub fn train(set: &PipelineSet) -> Self {
        let mut learned: BTreeMap<Lesson<'_>, Arc<Classifier>> = BTreeMap::new();
        let by_pipeline = set
            .iter()
            .map(|pipeline| {
                let lesson = Lesson::of(pipeline);
                let classifier = match learned.get(&lesson) {
                    Some(classifier) => Arc::clone(classifier),
                    None => {
                        let classifier = Arc::new(Classifier::learn(&lesson));
                        learned.insert(lesson, Arc::clone(&classifier));
                        classifier
                    }
                };
                (pipeline.name.clone(), classifier)
            })
            .collect();
        Self { by_pipeline }
    }

    /// The classifier of the pipeline of that name.
    pub fn get(&self, pipeline: &str) -> Option<&Arc<Classifier>> {
        self.by_pipeline.get(pipeline)
    }
}

/// All that a classifier depends on, in one order whatever the files' order is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Lesson<'p> {
    intents: BTreeMap<(&'p str, Agent), BTreeSet<&'p str>>,
    concepts: &'p BTreeMap<String, Vec<String>>,
}

impl<'p> Lesson<'p> {
    fn of(pipeline: &'p Pipeline) -> Self {
        let intents = pipeline
            .intents
            .iter()
            .map(|intent| {
                let examples = intent.examples.iter().chain(&intent.related).map(String::as_str).collect();
                ((intent.name.as_str(), intent.agent), examples)
            })
            .collect();
        Self { intents, concepts: &pipeline.concepts }
    }
}

fn folded_words(message: &str) -> impl Iterator<Item = String> {
    split(message).into_iter().map(|word| without_accents(&word))
}

fn is_follow_up(message: &str) -> bool {
    let words: Vec<String> = folded_words(message).collect();
    let begins = |opening: &&str| {
        let mut expected = opening.split(' ');
        let mut actual = words.iter();
        expected.all(|word| actual.next().is_some_and(|actual| actual == word))
    };
    words.len() <= FOLLOW_UP_WORDS && FOLLOW_UP_OPENINGS.iter().any(begins)
}

#[cfg(test)]
mod tests;
