//! Scripts are played as they are written.

use std::time::Duration;

use super::*;
use crate::domain::Language;
use crate::ports::model::Passage;

fn request(question: &str) -> Request {
    Request {
        turn_id: "t".to_owned(),
        system: "one two".to_owned(),
        messages: Vec::new(),
        temperature: None,
        max_tokens: None,
        thinking: None,
        language: Language::VIETNAMESE,
        question: question.to_owned(),
        passages: vec![Passage { n: 1, title: "Rates".to_owned(), heading: String::new(), text: String::new() }],
    }
}

fn model(script: &str) -> ScriptedModel {
    let id = ModelId { provider: "scripted".to_owned(), model: "demo".to_owned() };
    ScriptedModel::new(id, Script::parse(script).unwrap())
}

async fn ask(model: &ScriptedModel, question: &str) -> Result<Vec<Result<Chunk, String>>, String> {
    let stream = model.stream(&request(question)).await.map_err(|error| error.code().to_owned())?;
    Ok(stream.map(|chunk| chunk.map_err(|error| error.code().to_owned())).collect().await)
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_matches_is_played_with_its_delays() {
    let model = model(
        r#"
        [[rule]]
        contains = ["LÃI SUẤT"]
        steps = [
          { delay_ms = 300 }, { reasoning = 1 }, { content = "{passages} in {language}. ", times = 3, every_ms = 20 },
          { usage = { input_tokens = 4, output_tokens = 5 } }, { finish = "length" },
        ]
        [[rule]]
        steps = [{ content = "else" }]
        "#,
    );
    let begun = tokio::time::Instant::now();
    let chunks: Vec<Chunk> = ask(&model, "Lãi suất vay?").await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(begun.elapsed(), Duration::from_millis(340));
    let said = Chunk::Content("1 in vi. ".to_owned());
    let usage = Chunk::Usage(Usage { input_tokens: 4, output_tokens: 5 });
    let expected = [Chunk::Reasoning, said.clone(), said.clone(), said, usage, Chunk::Finish(FinishReason::Length)];
    assert_eq!(chunks, expected);
    let chunks = ask(&model, "other").await.unwrap();
    assert_eq!(chunks, [Ok(Chunk::Content("else".to_owned())), Ok(Chunk::Finish(FinishReason::Stop))]);
}

#[tokio::test]
async fn errors_refuse_the_request_or_break_the_answer() {
    let model = model(
        r#"{"rule": [
            {"uses": 2, "steps": [{"error": "rate_limited", "retry_after_ms": 50}]},
            {"steps": [{"content": "a"}, {"error": "interrupted"}, {"content": "never"}]}
        ]}"#,
    );
    for _ in 0..2 {
        let error = model.stream(&request("x")).await.err();
        let wait = Some(Duration::from_millis(50));
        assert!(matches!(error, Some(ModelError::RateLimited { retry_after }) if retry_after == wait));
    }
    let chunks = ask(&model, "x").await.unwrap();
    assert_eq!(chunks, [Ok(Chunk::Content("a".to_owned())), Err("interrupted".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_stall_says_nothing_more() {
    let model = model(r#"rule = [{ steps = [{ content = "a" }, { stall = true }] }]"#);
    let mut stream = model.stream(&request("x")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), Chunk::Content("a".to_owned()));
    assert!(tokio::time::timeout(Duration::from_secs(3_600), stream.next()).await.is_err());
}

#[tokio::test]
async fn without_a_rule_the_passages_are_told() {
    let chunks = ask(&model(""), "x").await.unwrap();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Ok(Chunk::Content(text)) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, "I was given 1 passages. Rates [1].");
    assert_eq!(chunks.last(), Some(&Ok(Chunk::Finish(FinishReason::Stop))));
}

#[test]
fn scripts_with_unknown_fields_are_refused() {
    for text in ["rule = [{ steps = [{ contents = \"a\" }] }]", "rules = []", "{\"rule\": [{}]}", "{"] {
        assert!(Script::parse(text).is_err(), "{text}");
    }
}
