//! Searching a company's knowledge without a turn, as a turn would.

use super::engine::Engine;
use super::stages::language::Hints;
use super::stages::retrieve::{Embedded, Weighed, filter_of};
use crate::domain::{Company, CompanyScope, Language};
use crate::ports::index::Error;

/// What was found, and by which measures.
#[derive(Debug)]
pub struct Searched {
    /// The question's language.
    pub language: Language,
    /// Relevance below which a passage is not relevant.
    pub threshold: f32,
    /// Relevant passages at most.
    pub limit: usize,
    /// Whether the meaning was searched too.
    pub is_dense: bool,
    /// All that was looked at, best first, relevant or not.
    pub weighed: Vec<Weighed>,
}

impl Engine {
    /// Searches for a question, in the language given or the one that it is in, and for as many passages as given or as the
    /// company's pipeline wants.
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub async fn search(
        &self,
        scope: &CompanyScope,
        company: &Company,
        question: &str,
        language: Option<Language>,
        limit: Option<usize>,
    ) -> Result<Searched, Error> {
        let pipeline = self.catalog().for_company(company, None);
        let supported = &pipeline.definition.language.supported;
        let allowed = if company.languages.is_empty() { supported } else { &company.languages };
        let detect = || self.detector.detect(question, &Hints { allowed, prior: None }).language;
        let language = language.unwrap_or_else(detect);
        let mut settings = pipeline.definition.retrieval;
        settings.limit = limit.unwrap_or(settings.limit);
        settings.candidates = settings.candidates.max(settings.limit);
        let retriever = self.retriever();
        let embedded = retriever.embed(question, language).await;
        let is_dense = matches!(embedded, Embedded::Vector(_));
        let filter = filter_of(&settings, company.industry.as_deref(), language);
        let weighed = retriever.weigh(scope, question, embedded, filter, &settings).await?;
        Ok(Searched { language, threshold: settings.threshold, limit: settings.limit, is_dense, weighed })
    }
}
