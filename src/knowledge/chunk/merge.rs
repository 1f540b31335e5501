//! Which sections share a passage.
//!
//! Sections arrive in reading order and are closed as soon as a heading of the same or a higher level follows. When
//! a section closes, the short sections directly under it are merged with each other; if all of it fits into one
//! short passage, it can be merged with its own neighbours in turn.

use super::super::load::Section;
use super::Settings;
use super::pack::{self, SEPARATOR};

/// A passage that may still grow.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) headings: Vec<String>,
    pub(super) text: String,
    chars: usize,
    /// Whether it holds all of a section or of several, and not only a part of one.
    is_whole: bool,
    /// Whether sections were merged in it.
    is_merged: bool,
}

/// Collects the passages of a document.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    settings: &'a Settings,
    /// The headings of the open sections.
    path: Vec<&'a str>,
    /// The passages of the document itself and of each open section.
    open: Vec<Vec<Passage>>,
}

impl<'a> Merger<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, path: Vec::new(), open: vec![Vec::new()] }
    }

    pub(super) fn section(&mut self, section: &'a Section) {
        let shared = self.path.iter().zip(&section.headings).take_while(|(one, other)| *one == other).count();
        // A section with the same headings as the one before it is another section.
        let shared = shared.min(section.headings.len().saturating_sub(1));
        while self.path.len() > shared {
            self.close();
        }
        for heading in section.headings.iter().skip(shared) {
            self.path.push(heading);
            self.open.push(Vec::new());
        }
        let texts = pack::pack(&section.blocks, self.settings);
        let is_whole = texts.len() == 1;
        if let Some(passages) = self.open.last_mut() {
            passages.extend(texts.into_iter().map(|text| Passage {
                headings: section.headings.clone(),
                chars: text.chars().count(),
                text,
                is_whole,
                is_merged: false,
            }));
        }
    }

    pub(super) fn finish(mut self) -> Vec<Passage> {
        while !self.path.is_empty() {
            self.close();
        }
        let passages = self.open.pop().unwrap_or_default();
        merge(passages, 0, self.settings)
    }

    fn close(&mut self) {
        let passages = self.open.pop().unwrap_or_default();
        let mut passages = merge(passages, self.path.len(), self.settings);
        // What lies beside this section is no neighbour of its parts.
        if passages.len() > 1 {
            for passage in &mut passages {
                passage.is_whole = false;
            }
        }
        self.path.pop();
        if let Some(parent) = self.open.last_mut() {
            parent.append(&mut passages);
        }
    }
}

/// Merges neighbours that are too short, all of them under the same `depth` headings.
fn merge(passages: Vec<Passage>, depth: usize, settings: &Settings) -> Vec<Passage> {
    let min = settings.min_chars;
    let mut merged: Vec<Passage> = Vec::with_capacity(passages.len());
    let mut passages = passages.into_iter().peekable();
    while let Some(passage) = passages.next() {
        let is_short = passage.is_whole && passage.chars < min;
        // A merged passage that is long enough takes in one more only if that would be left alone.
        let is_alone = passages.peek().is_none_or(|next| !next.is_whole || next.chars >= min);
        match merged.last_mut() {
            Some(last)
                if is_short
                    && last.is_whole
                    && (last.chars < min || (last.is_merged && is_alone && last.headings.len() == depth)) =>
            {
                let text = [lead(last, depth), lead(&passage, depth)].join(SEPARATOR);
                let chars = text.chars().count();
                if chars > settings.max_chars {
                    merged.push(passage);
                    continue;
                }
                last.headings.truncate(depth);
                *last = Passage {
                    headings: std::mem::take(&mut last.headings),
                    text,
                    chars,
                    is_whole: true,
                    is_merged: true,
                };
            }
            _ => merged.push(passage),
        }
    }
    merged
}

/// A passage's text below its headings from `depth` on.
fn lead(passage: &Passage, depth: usize) -> String {
    match passage.headings.get(depth..) {
        None | Some([]) => passage.text.clone(),
        Some(headings) => format!("{}\n{}", headings.join(" > "), passage.text),
    }
}
