//! Answers without a language model: the passages' own best sentences, quoted and cited. It invents nothing, so it is the
//! last resort when every provider is down, and the default where none is set up.

use async_trait::async_trait;
use futures::StreamExt;

use crate::ports::model::{Chunk, ChunkStream, Error, FinishReason, Model, ModelId, Request, Usage};

mod phrases;
mod select;
mod units;

#[cfg(test)]
mod tests;

/// The model that is none.
pub struct ExtractiveModel {
    id: ModelId,
}

impl ExtractiveModel {
    /// The provider and model name under which it answers.
    pub const NAME: &'static str = "extractive";

    /// Sets it up.
    pub fn new() -> Self {
        Self { id: ModelId { provider: Self::NAME.to_owned(), model: Self::NAME.to_owned() } }
    }
}

impl Default for ExtractiveModel {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Model for ExtractiveModel {
    fn id(&self) -> &ModelId {
        &self.id
    }

    async fn stream(&self, request: &Request) -> Result<ChunkStream, Error> {
        let text = answer(request);
        // It costs no tokens, and says so: nobody need estimate.
        let end = [Chunk::Usage(Usage::default()), Chunk::Finish(FinishReason::Stop)];
        let words: Vec<Chunk> = text.split_inclusive([' ', '\n']).map(|word| Chunk::Content(word.to_owned())).collect();
        Ok(futures::stream::iter(words.into_iter().chain(end).map(Ok)).boxed())
    }
}

/// The answer's text.
fn answer(request: &Request) -> String {
    let phrases = phrases::of_language(request.language.code());
    let quotes = select::best(&request.question, &request.passages);
    if quotes.is_empty() {
        let said = phrases::small_talk(&request.question, phrases);
        return said.unwrap_or(phrases.nothing_found).to_owned();
    }
    let mut text = phrases.opening.to_owned();
    for quote in &quotes {
        text.push_str("\n\n");
        let (words, n) = (&quote.text, quote.n);
        text += &match quote.form {
            select::Form::Sentences => format!("“{words}” [{n}]"),
            // The citation stands alone: inside a table's last row it would be part of a cell.
            select::Form::Block => format!("{words}\n\n[{n}]"),
        };
    }
    text.push_str("\n\n");
    text.push_str(phrases.closing);
    text
}
