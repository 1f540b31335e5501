//! Tests of the classifier on the built-in pipelines.

use std::sync::OnceLock;

use super::*;
use crate::domain::Language;

fn pipelines() -> &'static PipelineSet {
    static SET: OnceLock<PipelineSet> = OnceLock::new();
    SET.get_or_init(PipelineSet::builtin)
}

fn classifier() -> &'static Classifier {
    static CLASSIFIER: OnceLock<Classifier> = OnceLock::new();
    CLASSIFIER.get_or_init(|| Classifier::train(pipelines().get("default").unwrap()))
}

/// Enough to tell the cases' two languages apart; how well languages are told is not this module's matter.
fn detect(message: &str) -> Language {
    let vietnamese = !message.is_ascii()
        || split(message).iter().any(|word| {
            ["minh", "khong", "may", "giup", "bi", "bao", "cam", "chao", "la", "gi", "dau", "muon", "roi", "cho", "dat"]
                .contains(&word.as_str())
        });
    Language::from_code(if vietnamese { "vi" } else { "en" }).unwrap()
}

#[test]
fn every_pipeline_passes_its_own_cases() {
    let classifiers = Classifiers::train(pipelines());
    for pipeline in pipelines().iter() {
        assert!(pipeline.cases.len() >= 12, "{} has {} cases", pipeline.name, pipeline.cases.len());
        for result in run_cases(pipeline, classifiers.get(&pipeline.name).unwrap(), detect) {
            assert!(result.passed(), "{}:{} {result:?}", pipeline.file, result.case.line);
        }
    }
}

#[test]
fn cases_report_what_differs() {
    let mut pipeline = pipelines().get("default").unwrap().clone();
    let case = pipeline.cases.first_mut().unwrap();
    case.intent = "support".to_owned();
    case.agent = Agent::Support;
    case.language = Language::from_code("en");
    case.prompt_contains = vec!["no prompt says this".to_owned()];
    let results = run_cases(&pipeline, classifier(), detect);
    assert_eq!(
        results.first().unwrap().failures,
        [
            "intent: expected support, found sales_inquiry",
            "agent: expected support, found sales",
            "language: expected en, found vi",
            "the prompt does not contain \"no prompt says this\"",
        ]
    );
}

#[test]
fn nonsense_is_not_sure_and_goes_to_general() {
    for message in ["zxqv blorp wibble", "qwpo", "..."] {
        let found = classifier().classify(message, None);
        assert_eq!((found.sure, found.agent), (false, Agent::General), "{message}: {found:?}");
        assert_eq!(found.intent, GENERAL_INTENT);
        assert!((0.0..=FLOOR).contains(&found.confidence), "{found:?}");
    }
}

#[test]
fn follow_ups_take_the_intent_of_the_message_before() {
    let follow = |message: &str, previous: &str| classifier().classify(message, Some(previous)).intent;
    assert_eq!(follow("Còn xe máy thì sao?", "Bảo hiểm ô tô giá bao nhiêu?"), "sales_inquiry");
    assert_eq!(follow("and on Sundays?", "What time do you open on weekdays?"), "information");
    assert_eq!(follow("Cảm ơn bạn", "Bảo hiểm ô tô giá bao nhiêu?"), "general", "thanks are no follow-up");
}

#[test]
fn training_twice_gives_the_same_probabilities() {
    let again = Classifier::train(pipelines().get("default").unwrap());
    for message in ["Giá bao nhiêu?", "my order is late"] {
        assert_eq!(again.probabilities(message), classifier().probabilities(message));
    }
}

#[test]
fn pipelines_with_the_same_lesson_share_a_classifier() {
    let classifiers = Classifiers::train(pipelines());
    let default = classifiers.get("default").unwrap();
    assert!(pipelines().iter().all(|pipeline| Arc::ptr_eq(default, classifiers.get(&pipeline.name).unwrap())));
    assert!(classifiers.get("no such pipeline").is_none());
}

#[test]
fn a_pipeline_without_general_examples_still_answers() {
    let mut pipeline = pipelines().get("default").unwrap().clone();
    pipeline.intents.retain(|intent| intent.name != GENERAL_INTENT);
    let found = Classifier::train(&pipeline).classify("zxqv blorp wibble", None);
    assert_eq!((found.intent.as_str(), found.agent, found.sure), (GENERAL_INTENT, Agent::General, false));
}

/// Leaves every other industry out in turn and asks the classifier of the rest about their sentences.
#[test]
fn unseen_industries_are_understood_and_confidence_is_calibrated() {
    let root = pipelines().get("default").unwrap();
    let (mut right, mut total) = (0_usize, 0_usize);
    let mut bins = [(0.0_f32, 0.0_f32); 10];
    for turn in 0..2 {
        let mut rest = root.clone();
        let mut unseen = Vec::new();
        for intent in &mut rest.intents {
            for left_out in pipelines().iter().skip(1 + turn).step_by(2) {
                let examples = &left_out.intent(&intent.name).unwrap().examples;
                let own = examples.get(intent.examples.len()..).unwrap();
                intent.related.retain(|example| !own.contains(example));
                unseen.extend(own.iter().map(|example| (intent.name.clone(), example)));
            }
        }
        let classifier = Classifier::train(&rest);
        for (expected, message) in unseen {
            let found = classifier.classify(message, None);
            let correct = found.intent == expected;
            right += usize::from(correct);
            total += 1;
            let bin = bins.get_mut(((found.confidence * 10.0) as usize).min(9)).unwrap();
            bin.0 += found.confidence;
            bin.1 += f32::from(u8::from(correct));
        }
    }
    assert!(total > 1_000, "{total} sentences");
    let accuracy = right as f32 / total as f32;
    let error = bins.iter().map(|(confidence, correct)| (confidence - correct).abs()).sum::<f32>() / total as f32;
    assert!(accuracy >= 0.90, "accuracy {accuracy}");
    assert!(error <= 0.05, "expected calibration error {error}");
}
