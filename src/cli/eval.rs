//! `turnpike eval`: measures what the service understands; JSON on standard output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use super::Common;
use crate::adapters::index::edge::{self, EdgeIndex};
use crate::config::Settings;
use crate::config::pipelines::PipelineSet;
use crate::domain::{CompanyScope, Language};
use crate::knowledge::evaluate;
use crate::pipeline::stages::language::{Detector, Hints};
use crate::roles::{embedder, parts};

#[derive(Subcommand)]
pub(super) enum Command {
    /// How often the right paragraph is among the first, over a file in SQuAD's form
    Retrieval {
        /// The file
        #[arg(long)]
        squad: PathBuf,
        /// Ask the questions as people type who leave the accents out
        #[arg(long)]
        strip_accents: bool,
        /// The language of the questions: the embedding model is asked if it knows it. Without it, it is asked
        #[arg(long)]
        language: Option<Language>,
    },
    /// How often the language is right, over lines of {"message", "language"}
    Language {
        /// The file
        #[arg(long)]
        jsonl: PathBuf,
        /// Only the first so many words of each message
        #[arg(long)]
        first_words: Option<usize>,
        /// Without accents
        #[arg(long)]
        strip_accents: bool,
        /// The languages that a company allows, such as vi,en
        #[arg(long, value_delimiter = ',')]
        allowed: Vec<Language>,
    },
    /// How often the intent is right, over lines of {"message", "industry", "intent"}
    Intent {
        /// The file
        #[arg(long)]
        jsonl: PathBuf,
        /// Print the messages that were taken for something else
        #[arg(long)]
        errors: bool,
    },
}

#[derive(Deserialize)]
struct Line {
    message: String,
    language: Option<Language>,
    industry: Option<String>,
    intent: Option<String>,
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let report = match command {
        Command::Retrieval { squad, strip_accents, language } => {
            let text = std::fs::read_to_string(&squad).with_context(|| format!("reading {}", squad.display()))?;
            retrieval(&settings, &text, strip_accents, language).await?
        }
        Command::Language { jsonl, first_words, strip_accents, allowed } => {
            let lines = lines(&jsonl)?;
            language(&lines, first_words, strip_accents, &allowed)
        }
        Command::Intent { jsonl, errors } => intent(&*parts::catalog(&settings)?, &lines(&jsonl)?, errors),
    };
    say!("{}", serde_json::to_string_pretty(&report)?);
    Ok(ExitCode::SUCCESS)
}

/// Measures on an index of its own, which is gone afterwards.
async fn retrieval(
    settings: &Settings,
    squad: &str,
    strip_accents: bool,
    language: Option<Language>,
) -> anyhow::Result<serde_json::Value> {
    let embedder = embedder::open(settings)?;
    // As in a turn, the model is asked for languages that it knows.
    let embedder = embedder.filter(|embedder| language.is_none_or(|language| embedder.model().knows(language.code())));
    let folder = settings.data_dir.join(format!("eval-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let index = EdgeIndex::new(folder.clone(), embedder::encoder(embedder.as_ref()), edge::Settings::default());
    let retrieval = PipelineSet::builtin().for_industry("").retrieval;
    let asked = evaluate::Settings {
        strip_accents,
        dense_weight: retrieval.dense_weight,
        sparse_weight: retrieval.sparse_weight,
        candidates: retrieval.candidates,
    };
    let scope = CompanyScope::granted("eval".parse()?);
    let figures = evaluate::retrieval(squad, &asked, &scope, &index, embedder.as_ref()).await;
    drop(index);
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    Ok(serde_json::to_value(figures?)?)
}

fn lines(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), n + 1)))
        .collect()
}

fn language(lines: &[Line], first_words: Option<usize>, strip: bool, allowed: &[Language]) -> serde_json::Value {
    let detector = Detector::new();
    let mut by_language: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut bins = Calibration::default();
    for line in lines {
        let Some(expected) = line.language else { continue };
        let mut message = line.message.clone();
        if let Some(words) = first_words {
            message = first(&message, words);
        }
        if strip {
            message = without_accents(&message);
        }
        let found = detector.detect(&message, &Hints { allowed, prior: None });
        let is_right = found.language == expected;
        let counts = by_language.entry(expected.code()).or_default();
        counts.0 += 1;
        counts.1 += usize::from(is_right);
        bins.add(found.confidence, is_right);
    }
    let accuracy: BTreeMap<&str, f64> =
        by_language.iter().map(|(code, (all, right))| (*code, *right as f64 / *all as f64)).collect();
    json!({"messages": bins.count(), "accuracy": bins.accuracy(), "by_language": accuracy, "expected_calibration_error": bins.error()})
}

fn intent(catalog: &crate::pipeline::catalog::Catalog, lines: &[Line], show_errors: bool) -> serde_json::Value {
    let mut matrix: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut by_language: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut bins = Calibration::default();
    let mut errors = Vec::new();
    for line in lines {
        let Some(expected) = &line.intent else { continue };
        let pipeline = catalog.for_industry(line.industry.as_deref().unwrap_or_default());
        let found = pipeline.classifier().classify(&line.message, None);
        let is_right = found.intent == *expected;
        *matrix.entry(expected.clone()).or_default().entry(found.intent.clone()).or_default() += 1;
        let counts = by_language.entry(line.language.map_or("", |language| language.code())).or_default();
        counts.0 += 1;
        counts.1 += usize::from(is_right);
        bins.add(found.confidence, is_right);
        if show_errors && !is_right {
            errors.push(json!({"message": line.message, "expected": expected, "found": found.intent, "confidence": found.confidence}));
        }
    }
    let accuracy: BTreeMap<&str, f64> =
        by_language.iter().map(|(code, (all, right))| (*code, *right as f64 / *all as f64)).collect();
    json!({
        "messages": bins.count(), "accuracy": bins.accuracy(), "by_language": accuracy,
        "expected_calibration_error": bins.error(), "confusion": matrix, "errors": errors,
    })
}

/// Confidence against truth, in ten bins of equal width (Guo et al., "On Calibration of Modern Neural Networks", 2017).
#[derive(Default)]
struct Calibration {
    bins: [(usize, usize, f64); 10],
}

impl Calibration {
    fn add(&mut self, confidence: f32, is_right: bool) {
        let bin = ((confidence * 10.0) as usize).min(9);
        if let Some((all, right, sum)) = self.bins.get_mut(bin) {
            *all += 1;
            *right += usize::from(is_right);
            *sum += f64::from(confidence);
        }
    }

    fn count(&self) -> usize {
        self.bins.iter().map(|(all, ..)| all).sum()
    }

    fn accuracy(&self) -> f64 {
        self.bins.iter().map(|(_, right, _)| right).sum::<usize>() as f64 / self.count().max(1) as f64
    }

    fn error(&self) -> f64 {
        let off = |(_, right, sum): &(usize, usize, f64)| (*right as f64 - sum).abs();
        self.bins.iter().map(off).sum::<f64>() / self.count().max(1) as f64
    }
}

fn first(text: &str, words: usize) -> String {
    text.unicode_words().take(words).collect::<Vec<_>>().join(" ")
}

fn without_accents(text: &str) -> String {
    text.nfd()
        .filter(|c| !is_combining_mark(*c))
        .map(|c| match c {
            'đ' => 'd',
            'Đ' => 'D',
            c => c,
        })
        .collect()
}
