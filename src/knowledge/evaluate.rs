//! How well retrieval finds what it should, on question sets in the format of SQuAD 1.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::sparse::SparseEncoder;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::text::without_accents;
use crate::domain::{CompanyScope, DocumentId};
use crate::ports::embedder::{self, Embedder};
use crate::ports::index::{self, Filter, KnowledgeIndex, Query};

/// Ranks that are looked at.
const DEPTH: usize = 10;
/// Paragraphs that are embedded and written at once.
const BATCH: usize = 256;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question set is not in the format of SQuAD 1.1.
    #[error("the question set is not SQuAD 1.1: {0}")]
    Format(#[from] serde_json::Error),
    /// The question set holds no question.
    #[error("the question set holds no question")]
    Empty,
    /// The embedding model failed.
    #[error(transparent)]
    Embed(#[from] embedder::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] index::Error),
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether the questions' accents are taken away first, as people type on foreign keyboards.
    pub strip_accents: bool,
    /// Weight of the dense ranks.
    pub dense_weight: f32,
    /// Weight of the sparse ranks.
    pub sparse_weight: f32,
    /// Passages taken from each side before the fusion.
    pub candidates: usize,
}

/// By what passages were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By keywords and by meaning.
    Hybrid,
    /// By keywords alone.
    Keyword,
}

/// The figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// By what passages were found.
    pub mode: Mode,
    /// Whether the questions had their accents taken away.
    pub strip_accents: bool,
    /// Paragraphs, each one passage.
    pub passages: usize,
    /// Questions.
    pub questions: usize,
    /// Share of questions whose paragraph came first.
    pub hit_at_1: f64,
    /// Share of questions whose paragraph was among the first three.
    pub hit_at_3: f64,
    /// Share of questions whose paragraph was among the first ten.
    pub hit_at_10: f64,
    /// Mean of one over the paragraph's rank, nothing beyond ten.
    pub mrr_at_10: f64,
    /// Median time of a question, its encoding included, in milliseconds.
    pub p50_ms: f64,
}

#[derive(Deserialize)]
struct Squad {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
}

/// Puts each paragraph of a question set into an empty index as one passage, asks every question, and counts where its
/// paragraph stands. With an embedder the search is hybrid, whatever language the model knows.
///
/// # Errors
/// When the question set cannot be read or is empty, or when the embedder or the index fail.
pub async fn retrieval(
    squad_json: &str,
    settings: &Settings,
    scope: &CompanyScope,
    index: &dyn KnowledgeIndex,
    embedder: Option<&Arc<dyn Embedder>>,
) -> Result<Figures, Error> {
    let squad: Squad = serde_json::from_str(squad_json)?;
    let paragraphs: Vec<Paragraph> = squad.data.into_iter().flat_map(|article| article.paragraphs).collect();
    let sparse = SparseEncoder::default();
    put(&paragraphs, scope, index, embedder, &sparse).await?;

    let (mut ranks, mut times) = (Vec::new(), Vec::new());
    for (number, paragraph) in paragraphs.iter().enumerate() {
        for Question { question } in &paragraph.qas {
            let question =
                if settings.strip_accents { without_accents(&question.to_lowercase()) } else { question.clone() };
            let began = Instant::now();
            let dense = match embedder {
                Some(embedder) => Some(embedder.embed_query(&question).await?),
                None => None,
            };
            let query = Query {
                dense,
                sparse: sparse.encode_query(&question),
                dense_weight: settings.dense_weight,
                sparse_weight: settings.sparse_weight,
                filter: Filter::default(),
                candidates: settings.candidates,
                limit: DEPTH,
            };
            let hits = index.search(scope, &query).await?;
            times.push(began.elapsed());
            let expected = passage(number, paragraph).map(|passage| passage.document_id);
            ranks.push(hits.iter().position(|hit| Some(&hit.passage.document_id) == expected.as_ref()));
        }
    }
    if ranks.is_empty() {
        return Err(Error::Empty);
    }
    let mode = if embedder.is_some() { Mode::Hybrid } else { Mode::Keyword };
    Ok(figures(mode, settings.strip_accents, paragraphs.len(), &ranks, times))
}

async fn put(
    paragraphs: &[Paragraph],
    scope: &CompanyScope,
    index: &dyn KnowledgeIndex,
    embedder: Option<&Arc<dyn Embedder>>,
    sparse: &SparseEncoder,
) -> Result<(), Error> {
    let passages: Vec<Passage> =
        paragraphs.iter().enumerate().filter_map(|(number, paragraph)| passage(number, paragraph)).collect();
    for some in passages.chunks(BATCH) {
        let texts: Vec<String> = some.iter().map(Passage::search_text).collect();
        let sparse: Vec<_> = texts.iter().map(|text| sparse.encode_passage(text)).collect();
        let dense = match embedder {
            Some(embedder) => embedder.embed_passages(texts).await?.into_iter().map(Some).collect(),
            None => vec![None; some.len()],
        };
        let documents = some.iter().zip(sparse).zip(dense).map(|((passage, sparse), dense)| {
            (passage.document_id.clone(), vec![EncodedPassage { passage: passage.clone(), dense, sparse }])
        });
        index.replace(scope, documents.collect()).await?;
    }
    Ok(())
}

fn passage(number: usize, paragraph: &Paragraph) -> Option<Passage> {
    let document_id: DocumentId = format!("paragraph-{number}").parse().ok()?;
    Some(Passage {
        document_id,
        ordinal: 0,
        title: String::new(),
        url: None,
        headings: Vec::new(),
        text: paragraph.context.clone(),
        language: None,
        industry: None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 questions")]
fn figures(
    mode: Mode,
    strip_accents: bool,
    passages: usize,
    ranks: &[Option<usize>],
    mut times: Vec<Duration>,
) -> Figures {
    let questions = ranks.len();
    let within = |depth: usize| ranks.iter().flatten().filter(|&&rank| rank < depth).count() as f64 / questions as f64;
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Figures {
        mode,
        strip_accents,
        passages,
        questions,
        hit_at_1: within(1),
        hit_at_3: within(3),
        hit_at_10: within(DEPTH),
        mrr_at_10: ranks.iter().flatten().map(|&rank| 1.0 / (rank as f64 + 1.0)).sum::<f64>() / questions as f64,
        p50_ms: median.as_secs_f64() * 1_000.0,
    }
}
