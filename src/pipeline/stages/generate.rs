//! The answer on its way to the client: thoughts taken out, citations checked, journaled before it is handed out.

use std::sync::Arc;

use tokio::time::Instant;

use crate::pipeline::chain::Sink;
use crate::pipeline::citations::CitationFilter;
use crate::pipeline::live::{LiveTurn, TurnEvent};
use crate::pipeline::reasoning::ReasoningFilter;
use crate::ports::outbox::Journal;

/// An answer under way.
pub struct Answer {
    live: Arc<LiveTurn>,
    journal: Arc<dyn Journal>,
    text: String,
    chars_left: usize,
    limit_chars: usize,
    sources: usize,
    reasoning: ReasoningFilter,
    citations: CitationFilter,
    started: Instant,
    first_content: Option<Instant>,
    last_content: Option<Instant>,
}

impl Answer {
    /// An answer of at most `limit_chars` characters that may cite `sources` passages.
    pub fn new(
        live: Arc<LiveTurn>,
        journal: Arc<dyn Journal>,
        sources: usize,
        limit_chars: usize,
        started: Instant,
    ) -> Self {
        Self {
            live,
            journal,
            text: String::new(),
            chars_left: limit_chars,
            limit_chars,
            sources,
            reasoning: ReasoningFilter::new(),
            citations: CitationFilter::new(sources),
            started,
            first_content: None,
            last_content: None,
        }
    }

    /// Hands out what the filters hold back. Called when the model has come to its end.
    pub fn finish(&mut self) {
        let held = self.reasoning.finish();
        let mut rest = self.citations.push(held);
        rest.push_str(&self.citations.finish());
        self.emit(rest);
    }

    /// What was handed out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// When the first piece was handed out.
    pub fn first_content(&self) -> Option<Instant> {
        self.first_content
    }

    fn emit(&mut self, text: String) -> bool {
        let mut text = text;
        let chars = text.chars().count();
        let fits = chars <= self.chars_left;
        if !fits {
            text = text.chars().take(self.chars_left).collect();
        }
        self.chars_left = self.chars_left.saturating_sub(chars);
        if !text.is_empty() {
            let now = Instant::now();
            match self.last_content.replace(now) {
                Some(last) => metrics::histogram!("turnpike_gap_seconds").record(now - last),
                None => metrics::histogram!("turnpike_first_content_seconds").record(now - self.started),
            }
            self.first_content.get_or_insert(now);
            self.text.push_str(&text);
            self.journal.content(&text);
            self.live.push(TurnEvent::Content(text.into()));
        }
        fits
    }
}

impl Sink for Answer {
    fn content(&mut self, text: String) -> bool {
        let visible = self.reasoning.push(text);
        if visible.is_empty() {
            return true;
        }
        let checked = self.citations.push(visible);
        self.emit(checked)
    }

    fn begin(&mut self) {
        self.reasoning = ReasoningFilter::new();
        self.citations = CitationFilter::new(self.sources);
        if self.text.is_empty() {
            return;
        }
        self.text.clear();
        self.chars_left = self.limit_chars;
        self.last_content = None;
        self.journal.reset();
        self.live.push(TurnEvent::Reset { reason: "provider_failed" });
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}
