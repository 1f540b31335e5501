//! Documents on their way into the index together: embedding many passages at once is cheaper, and so is one flush.

use super::prepare::Cut;
use super::{Error, Ingester, unsettled};
use crate::domain::CompanyScope;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::told::Action;

#[derive(Default)]
pub(super) struct Batch(Vec<(Cut, Action)>);

impl Batch {
    pub(super) fn push(&mut self, cut: Cut, action: Action) {
        self.0.push((cut, action));
    }

    pub(super) fn passages(&self) -> usize {
        self.0.iter().map(|(cut, _)| cut.passages.len()).sum()
    }
}

impl Ingester {
    /// Writes a batch. Everything that can fail without a trace is done before the register hears of it.
    pub(super) async fn write(&self, scope: &CompanyScope, batch: Batch) -> Result<(), Error> {
        if batch.0.is_empty() {
            return Ok(());
        }
        let (mut documents, mut passages, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut actions = Vec::new();
        for (cut, action) in batch.0 {
            counts.push((cut.document.id.clone(), cut.passages.len()));
            documents.push(cut.document);
            actions.push(action);
            passages.extend(cut.passages);
        }
        let mut encoded = self.encode(passages).await?.into_iter();
        let writes = counts.into_iter().map(|(id, count)| (id, encoded.by_ref().take(count).collect())).collect();
        self.register.register(scope, &documents.iter().map(unsettled).collect::<Vec<_>>()).await?;
        self.index.replace(scope, writes).await?;
        self.tell(scope, documents.iter().cloned().zip(actions).collect()).await;
        self.register.register(scope, &documents).await?;
        Ok(())
    }

    /// Gives passages their vectors. Those in a language that the embedding model does not know get none: theirs would
    /// stand near questions that they have nothing to do with.
    ///
    /// # Errors
    /// When the embedding model fails.
    pub async fn encode(&self, passages: Vec<Passage>) -> Result<Vec<EncodedPassage>, Error> {
        let mut dense: Vec<Option<Vec<f32>>> = vec![None; passages.len()];
        if let Some(embedder) = &self.embedder {
            let knows =
                |passage: &Passage| passage.language.is_none_or(|language| embedder.model().knows(language.code()));
            let known: Vec<usize> =
                passages.iter().enumerate().filter(|(_, passage)| knows(passage)).map(|(place, _)| place).collect();
            let texts: Vec<String> =
                known.iter().filter_map(|&place| Some(passages.get(place)?.search_text())).collect();
            let vectors = if texts.is_empty() { Vec::new() } else { embedder.embed_passages(texts).await? };
            for (place, vector) in known.into_iter().zip(vectors) {
                if let Some(slot) = dense.get_mut(place) {
                    *slot = Some(vector);
                }
            }
        }
        let encode = |(passage, dense): (Passage, _)| {
            let sparse = self.sparse.encode_passage(&passage.search_text());
            EncodedPassage { passage, dense, sparse }
        };
        Ok(passages.into_iter().zip(dense).map(encode).collect())
    }
}
