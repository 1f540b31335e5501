//! What the service understands, measured by `turnpike eval`, against the numbers that the design asks for.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::process::Site;
use crate::support::{models, shared_data};

fn eval(site: &Site, arguments: &[&str]) -> Value {
    let text = site.ok(&[&["eval"], arguments].concat());
    eprintln!("eval {arguments:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn at_least(report: &Value, name: &str, floor: f64) {
    let found = report[name].as_f64().unwrap();
    assert!(found >= floor, "{name} is {found}, not {floor}: {report}");
}

#[test]
fn retrieval_finds_what_it_should_in_vietnamese_with_accents_and_without_and_in_english() {
    let test = "retrieval";
    let (Some(models), Some(vi), Some(en)) =
        (models(test), shared_data(test, "xquad.vi.json"), shared_data(test, "xquad.en.json"))
    else {
        return;
    };
    let site = Site::new(&format!("[embedder]\nenabled = true\nmodels_dir = {:?}\n", models.display().to_string()));
    let (vi, en) = (vi.to_str().unwrap(), en.to_str().unwrap());
    at_least(&eval(&site, &["retrieval", "--squad", vi, "--language", "vi"]), "hit_at_3", 0.978);
    at_least(&eval(&site, &["retrieval", "--squad", vi, "--language", "vi", "--strip-accents"]), "hit_at_3", 0.975);
    let english = eval(&site, &["retrieval", "--squad", en, "--language", "en"]);
    assert_eq!(english["mode"], "hybrid");
    at_least(&english, "hit_at_3", 0.985);
}

#[test]
fn languages_are_told_from_questions_and_from_their_first_words() {
    let test = "languages";
    let site = Site::new("");
    let lines = site.path().join("questions.jsonl");
    let mut file = std::fs::File::create(&lines).unwrap();
    for code in ["vi", "en"] {
        let Some(path) = shared_data(test, &format!("xquad.{code}.json")) else { return };
        let squad: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for article in squad["data"].as_array().unwrap() {
            for paragraph in article["paragraphs"].as_array().unwrap() {
                for question in paragraph["qas"].as_array().unwrap() {
                    writeln!(file, "{}", json!({"message": question["question"], "language": code})).unwrap();
                }
            }
        }
    }
    drop(file);
    let lines = lines.to_str().unwrap();
    at_least(&eval(&site, &["language", "--jsonl", lines]), "accuracy", 0.99);
    at_least(&eval(&site, &["language", "--jsonl", lines, "--first-words", "4"]), "accuracy", 0.97);
    let plain = eval(&site, &["language", "--jsonl", lines, "--strip-accents", "--allowed", "vi,en"]);
    at_least(&plain["by_language"], "vi", 0.97);
    let plain = eval(&site, &["language", "--jsonl", lines, "--strip-accents"]);
    at_least(&plain["by_language"], "vi", 0.97);
}

#[test]
fn intents_are_told_from_sentences_that_the_pipelines_do_not_contain() {
    let site = Site::new("");
    let set = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/intent.jsonl");
    let report = eval(&site, &["intent", "--jsonl", set]);
    assert!(report["messages"].as_u64().unwrap() >= 300);
    at_least(&report, "accuracy", 0.90);
    let off = report["expected_calibration_error"].as_f64().unwrap();
    assert!(off <= 0.05, "the expected calibration error is {off}");
    // The set would measure nothing if its sentences were among the examples.
    let examples: String = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().to_lowercase())
        .collect();
    for line in std::fs::read_to_string(set).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = line["message"].as_str().unwrap().to_lowercase();
        assert!(message.len() < 12 || !examples.contains(&format!("\"{message}\"")), "{message} is an example");
    }
}

#[test]
fn the_demos_questions_are_answered_by_its_documents() {
    let site = Site::new("");
    site.company("demo");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/knowledge");
    site.ok(&["ingest", "--company", "demo", folder]);
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/questions.jsonl")).unwrap();
    let (mut asked, mut found, mut off_topic, mut silent) = (0, 0, 0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let hits: Value = serde_json::from_str(&site.ok(&[
            "search",
            "--company",
            "demo",
            "--json",
            line["question"].as_str().unwrap(),
        ]))
        .unwrap();
        let hits = hits.as_array().unwrap();
        let right = line["documents"].as_array().unwrap();
        if right.is_empty() {
            off_topic += 1;
            silent += usize::from(hits.is_empty());
        } else {
            asked += 1;
            found += usize::from(hits.iter().any(|hit| right.contains(&hit["passage"]["document_id"])));
        }
    }
    eprintln!("demo: {found} of {asked} found, {silent} of {off_topic} off-topic questions found nothing");
    assert!(found * 100 >= asked * 95, "{found} of {asked}");
    assert!(silent * 4 >= off_topic * 3, "{silent} of {off_topic}");
}
