//! Answers without a language model: the passages' own best sentences, quoted and cited. It invents nothing, so it is the
//! last resort when every provider is down, and the default where none is set up.

use async_trait::async_trait;
use futures::StreamExt;

use crate::ports::model::{Chunk, ChunkStream, Error, FinishReason, Model, ModelId, Request, Usage};

use terms::Question;

mod blocks;
mod candidates;
mod phrases;
mod quote;
mod select;
mod terms;

#[cfg(test)]
mod tests;

/// Words sent at once: few enough that the text is seen to grow, and not a frame for each.
const WORDS_IN_PIECE: usize = 5;

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
        let pieces: Vec<Chunk> = pieces(&text).map(Chunk::Content).collect();
        Ok(futures::stream::iter(pieces.into_iter().chain(end).map(Ok)).boxed())
    }
}

/// The answer's text.
fn answer(request: &Request) -> String {
    let language = request.language.code();
    let phrases = phrases::of_language(language);
    let chosen = select::best(&Question::new(&request.question, language), &request.passages);
    if chosen.is_empty() {
        let said = phrases::small_talk(&request.question, phrases);
        return said.unwrap_or(phrases.nothing_found).to_owned();
    }
    let mut text = phrases.opening.to_owned();
    for pieces in &chosen {
        let passage = pieces.first().and_then(|piece| request.passages.get(piece.passage));
        for quote in passage.into_iter().flat_map(|passage| quote::quotes(passage.n, pieces)) {
            text.push_str("\n\n");
            text.push_str(&quote);
        }
    }
    text
}

/// A text in pieces of a few words each, as providers send theirs.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let words: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
    let pieces: Vec<String> = words.chunks(WORDS_IN_PIECE).map(<[&str]>::concat).collect();
    pieces.into_iter()
}
