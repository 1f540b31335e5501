//! From a question to the passages that its answer may cite.

use std::sync::Arc;

use crate::config::pipelines::RetrievalSettings;
use crate::domain::turn::{Degraded, Source};
use crate::domain::{CompanyScope, Language};
use crate::knowledge::relevance::relevance;
use crate::knowledge::sparse::SparseEncoder;
use crate::ports::embedder::Embedder;
use crate::ports::index::{Error, Filter, Hit, KnowledgeIndex, Query};
use crate::ports::model::Passage;

/// Characters of a passage that a source shows.
const SNIPPET_CHARS: usize = 240;

/// What was found.
#[derive(Debug, Default)]
pub struct Retrieved {
    /// The passages, for the prompt.
    pub passages: Vec<Passage>,
    /// The same, for the client.
    pub sources: Vec<Source>,
    /// What was missing.
    pub degraded: Vec<Degraded>,
}

/// A question's vector, or why there is none.
#[derive(Debug)]
pub enum Embedded {
    /// The vector.
    Vector(Vec<f32>),
    /// The model does not know the language: its vector would mislead.
    UnknownLanguage,
    /// There is no model, or it failed.
    Missing,
}

/// A hit with the share of the question that it covers.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The hit.
    pub hit: Hit,
    /// Relevance, 0 to 1.
    pub relevance: f32,
}

/// A hit that was held against the threshold.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// The hit.
    pub ranked: Ranked,
    /// Whether it is relevant enough to answer with.
    pub is_relevant: bool,
}

/// Which passages a pipeline lets be found.
pub fn filter_of(settings: &RetrievalSettings, industry: Option<&str>, language: Language) -> Filter {
    Filter {
        industry: industry.filter(|_| settings.filter_industry).map(str::to_owned),
        language: settings.filter_language.then_some(language),
    }
}

/// Searches companies' knowledge.
pub struct Retriever {
    index: Arc<dyn KnowledgeIndex>,
    embedder: Option<Arc<dyn Embedder>>,
    sparse: SparseEncoder,
}

impl Retriever {
    /// A retriever over an index; without an embedder it searches by keywords.
    pub fn new(index: Arc<dyn KnowledgeIndex>, embedder: Option<Arc<dyn Embedder>>) -> Self {
        Self { index, embedder, sparse: SparseEncoder::default() }
    }

    /// Whether there is an embedding model.
    pub fn has_embedder(&self) -> bool {
        self.embedder.is_some()
    }

    /// The embedding model.
    pub fn embedder(&self) -> Option<&Arc<dyn Embedder>> {
        self.embedder.as_ref()
    }

    /// The index that is searched.
    pub fn index(&self) -> &Arc<dyn KnowledgeIndex> {
        &self.index
    }

    /// The vector of a question in a language.
    pub async fn embed(&self, question: &str, language: Language) -> Embedded {
        let Some(embedder) = &self.embedder else { return Embedded::Missing };
        if !embedder.model().knows(language.code()) {
            return Embedded::UnknownLanguage;
        }
        match embedder.embed_query(question).await {
            Ok(vector) => Embedded::Vector(vector),
            Err(error) => {
                tracing::warn!(%error, "a question is searched by keywords alone");
                Embedded::Missing
            }
        }
    }

    /// The passages that are relevant to a question, best first.
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub async fn search(
        &self,
        scope: &CompanyScope,
        question: &str,
        embedded: Embedded,
        filter: Filter,
        settings: &RetrievalSettings,
    ) -> Result<Vec<Ranked>, Error> {
        let weighed = self.weigh(scope, question, embedded, filter, settings).await?;
        let relevant = weighed.into_iter().filter(|weighed| weighed.is_relevant);
        Ok(relevant.take(settings.limit).map(|weighed| weighed.ranked).collect())
    }

    /// All passages that are looked at for a question, best first, and whether each is relevant.
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub async fn weigh(
        &self,
        scope: &CompanyScope,
        question: &str,
        embedded: Embedded,
        filter: Filter,
        settings: &RetrievalSettings,
    ) -> Result<Vec<Weighed>, Error> {
        let dense = match embedded {
            Embedded::Vector(vector) => Some(vector),
            Embedded::UnknownLanguage | Embedded::Missing => None,
        };
        let query = Query {
            dense,
            sparse: self.sparse.encode_query(question),
            dense_weight: settings.dense_weight,
            sparse_weight: settings.sparse_weight,
            filter,
            candidates: settings.candidates,
            // Some of the best may prove irrelevant, so a few more are looked at.
            limit: settings.limit * 3,
        };
        let hits = self.index.search(scope, &query).await?;
        let weigh = |hit: Hit| {
            let relevance = relevance(question, &hit.passage, hit.dense.map(|rank| rank.score));
            Weighed { is_relevant: relevance >= settings.threshold, ranked: Ranked { hit, relevance } }
        };
        Ok(hits.into_iter().map(weigh).collect())
    }

    /// What a turn needs of the knowledge. An index that cannot be asked is said in `degraded`.
    pub async fn retrieve(
        &self,
        scope: &CompanyScope,
        question: &str,
        embedded: Embedded,
        language: Language,
        industry: Option<&str>,
        settings: &RetrievalSettings,
    ) -> Retrieved {
        let mut degraded = Vec::new();
        if matches!(embedded, Embedded::Missing) {
            degraded.push(Degraded::Embedder);
        }
        let filter = filter_of(settings, industry, language);
        let ranked = match self.search(scope, question, embedded, filter, settings).await {
            Ok(ranked) => ranked,
            Err(error) => {
                metrics::counter!("turnpike_index_errors_total").increment(1);
                tracing::warn!(company.id = %scope.company(), %error, "a question is answered without knowledge");
                degraded.push(Degraded::Index);
                Vec::new()
            }
        };
        let (passages, sources) = ranked.into_iter().enumerate().map(|(i, ranked)| numbered(i + 1, ranked)).unzip();
        Retrieved { passages, sources, degraded }
    }
}

fn numbered(n: usize, ranked: Ranked) -> (Passage, Source) {
    let found = ranked.hit.passage;
    let snippet = snippet(&found.text);
    let passage = Passage { n, title: found.title.clone(), heading: found.headings.join(" > "), text: found.text };
    let source = Source {
        n,
        document_id: found.document_id,
        title: found.title,
        url: found.url,
        score: ranked.relevance,
        snippet,
    };
    (passage, source)
}

/// The beginning of a text, cut between words.
fn snippet(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= SNIPPET_CHARS {
        return flat;
    }
    let cut: String = flat.chars().take(SNIPPET_CHARS).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(whole, _)| whole);
    format!("{whole}…")
}
