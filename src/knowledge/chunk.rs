//! Cutting documents into passages that can be found and cited.
//!
//! A passage follows the document's own structure: it holds whole blocks of one section, or several short sections
//! that stand side by side under one heading. Only a block that is too long by itself is split, at the ends of its
//! sentences or lines. Passages carry the headings above them, because a passage is read without its document.

use super::load::Loaded;

mod merge;
mod pack;
mod split;

/// The smallest `max_chars` that can be set.
pub const LEAST_MAX_CHARS: usize = 32;

/// How large passages become. All sizes are in characters (Unicode scalar values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    max_chars: usize,
    overlap_chars: usize,
    min_chars: usize,
}

impl Default for Settings {
    /// Passages of up to 1,200 characters, 150 of overlap where a block is split, and merging below 200.
    fn default() -> Self {
        Self { max_chars: 1200, overlap_chars: 150, min_chars: 200 }
    }
}

impl Settings {
    /// Checks the sizes.
    ///
    /// `max_chars` is the most that a passage's text holds; `overlap_chars`, how much of a split block's last part is
    /// repeated at most; sections shorter than `min_chars` are merged with short neighbours.
    ///
    /// # Errors
    /// When `max_chars` is less than [`LEAST_MAX_CHARS`], or one of the others is more than half of it.
    pub fn new(max_chars: usize, overlap_chars: usize, min_chars: usize) -> Result<Self, Error> {
        if max_chars < LEAST_MAX_CHARS {
            return Err(Error::MaxTooSmall { max_chars, least: LEAST_MAX_CHARS });
        }
        let most = max_chars / 2;
        if overlap_chars > most {
            return Err(Error::OverlapTooLarge { overlap_chars, most });
        }
        if min_chars > most {
            return Err(Error::MinTooLarge { min_chars, most });
        }
        Ok(Self { max_chars, overlap_chars, min_chars })
    }

    /// The most characters that a passage's text holds.
    #[must_use]
    pub fn max_chars(&self) -> usize {
        self.max_chars
    }

    /// The most characters that a part of a split block repeats of the part before it.
    #[must_use]
    pub fn overlap_chars(&self) -> usize {
        self.overlap_chars
    }

    /// Sections shorter than this are merged with short neighbours.
    #[must_use]
    pub fn min_chars(&self) -> usize {
        self.min_chars
    }
}

/// Why sizes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Passages would be too short to say anything.
    #[error("max_chars is {max_chars}, but has to be at least {least}")]
    MaxTooSmall {
        /// What was asked for.
        max_chars: usize,
        /// The smallest value that is accepted.
        least: usize,
    },
    /// Most of each part would repeat the one before it.
    #[error("overlap_chars is {overlap_chars}, but may be at most {most}, half of max_chars")]
    OverlapTooLarge {
        /// What was asked for.
        overlap_chars: usize,
        /// The largest value that is accepted.
        most: usize,
    },
    /// Two sections that are too short would not fit into one passage.
    #[error("min_chars is {min_chars}, but may be at most {most}, half of max_chars")]
    MinTooLarge {
        /// What was asked for.
        min_chars: usize,
        /// The largest value that is accepted.
        most: usize,
    },
}

/// A passage of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The document's title, if it has one, and the headings above the passage, from the top.
    pub headings: Vec<String>,
    /// The passage. Where short sections were merged, their own headings are lines of it.
    pub text: String,
    /// The passage's place in its document, from 0.
    pub ordinal: usize,
}

impl Chunk {
    /// What is embedded and searched: a line with the title and the headings, then the text.
    #[must_use]
    pub fn embedding_text(&self) -> String {
        if self.headings.is_empty() {
            return self.text.clone();
        }
        format!("{}\n{}", self.headings.join(" > "), self.text)
    }
}

/// Cuts a document into passages, in reading order. The same document and settings always give the same passages.
///
/// Each text holds at most [`Settings::max_chars`] characters and is never blank; every character of the document's
/// blocks that is not white space is in some passage. Grapheme clusters stay whole, unless one alone is longer than
/// a passage.
#[must_use]
pub fn chunk(loaded: &Loaded, settings: &Settings) -> Vec<Chunk> {
    let mut merger = merge::Merger::new(settings);
    for section in &loaded.sections {
        merger.section(section);
    }
    let passages = merger.finish().into_iter().enumerate();
    passages
        .map(|(ordinal, passage)| {
            let title = loaded.title.iter().filter(|title| {
                // A title that is also the top heading is said once.
                passage.headings.first().is_none_or(|top| top.to_lowercase() != title.to_lowercase())
            });
            let headings = title.cloned().chain(passage.headings.iter().cloned()).collect();
            Chunk { headings, text: passage.text, ordinal }
        })
        .collect()
}

#[cfg(test)]
mod tests;
