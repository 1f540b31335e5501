//! Splitting a block that is too long for one passage.
//!
//! The block is first divided into units that each fit: lines or sentences, and where one is too long its words,
//! and so on down. Parts are then filled with whole units. Each boundary is one of grapheme clusters.

use unicode_segmentation::UnicodeSegmentation;

use super::super::load::BlockKind;
use super::Settings;

/// Where text is cut, the best place first.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Lines,
    Sentences,
    Spaces,
    Words,
    Clusters,
    Characters,
}

/// A stretch of text that is not divided further.
#[derive(Debug, Clone, Copy)]
struct Unit {
    start: usize,
    end: usize,
    chars: usize,
}

/// The parts of a text, none longer than a passage and none blank. Running text, lists and code repeat the end of
/// the part before, as far as [`Settings::overlap_chars`] allows; rows of a table stand for themselves.
pub(super) fn split<'a>(text: &'a str, kind: BlockKind, settings: &Settings) -> Vec<&'a str> {
    let (first, overlap) = match kind {
        BlockKind::Paragraph | BlockKind::Quote => (Cut::Sentences, settings.overlap_chars),
        BlockKind::List | BlockKind::Code => (Cut::Lines, settings.overlap_chars),
        BlockKind::Table => (Cut::Lines, 0),
    };
    let mut units = Vec::new();
    divide(text, 0, first, settings.max_chars, &mut units);

    let mut parts = Vec::new();
    // What the part that is being filled begins with, before its first new unit.
    let mut start = 0;
    let mut chars = 0;
    for (index, unit) in units.iter().enumerate() {
        if chars > 0 && chars + unit.chars > settings.max_chars {
            parts.push((start, unit.start));
            let budget = overlap.min(settings.max_chars.saturating_sub(unit.chars));
            (start, chars) = repeated(text, units.get(..index).unwrap_or_default(), budget, start, first);
        }
        chars += unit.chars;
    }
    parts.push((start, text.len()));
    parts
        .into_iter()
        .map(|(from, to)| trim(text.get(from..to).unwrap_or_default()))
        .filter(|part| !part.is_empty())
        .collect()
}

/// The text without the white space around it, of which only whole grapheme clusters are taken away.
pub(super) fn trim(text: &str) -> &str {
    let mut text = text;
    let mut clusters = text.graphemes(true);
    while clusters.clone().next().is_some_and(is_blank) {
        clusters.next();
        text = clusters.as_str();
    }
    while clusters.clone().next_back().is_some_and(is_blank) {
        clusters.next_back();
        text = clusters.as_str();
    }
    text
}

fn is_blank(cluster: &str) -> bool {
    cluster.chars().all(char::is_whitespace)
}

/// Where the next part begins so that it repeats at most `budget` characters of the units before it, and how many
/// those are. Repeats whole units if it can, else the last words of the last one, which began after `after`.
fn repeated(text: &str, before: &[Unit], budget: usize, after: usize, first: Cut) -> (usize, usize) {
    let end = before.last().map_or(0, |unit| unit.end);
    let back = |units: &[Unit]| {
        let mut found = (end, 0);
        for unit in units.iter().rev() {
            if found.1 + unit.chars > budget || unit.start <= after {
                break;
            }
            found = (unit.start, found.1 + unit.chars);
        }
        found
    };
    let whole = back(before);
    if whole.1 > 0 || matches!(first, Cut::Lines) {
        return whole;
    }
    let Some(last) = before.last() else {
        return whole;
    };
    let mut words = Vec::new();
    let mut at = last.start;
    for word in pieces(text.get(last.start..last.end).unwrap_or_default(), Cut::Spaces) {
        words.push(Unit { start: at, end: at + word.len(), chars: word.chars().count() });
        at += word.len();
    }
    back(&words)
}

/// Divides `text`, which begins at `offset`, into units of at most `max` characters.
fn divide(text: &str, offset: usize, cut: Cut, max: usize, units: &mut Vec<Unit>) {
    let mut start = offset;
    for piece in pieces(text, cut) {
        let chars = piece.chars().count();
        match cut.finer() {
            Some(finer) if chars > max => divide(piece, start, finer, max, units),
            _ => units.push(Unit { start, end: start + piece.len(), chars }),
        }
        start += piece.len();
    }
}

impl Cut {
    fn finer(self) -> Option<Self> {
        match self {
            Self::Lines => Some(Self::Sentences),
            Self::Sentences => Some(Self::Spaces),
            Self::Spaces => Some(Self::Words),
            Self::Words => Some(Self::Clusters),
            Self::Clusters => Some(Self::Characters),
            Self::Characters => None,
        }
    }
}

/// The pieces of a text; together they are the text.
fn pieces(text: &str, cut: Cut) -> Vec<&str> {
    match cut {
        Cut::Lines => whole_clusters(text, text.split_inclusive('\n')),
        Cut::Sentences => {
            // Lines that were broken to fit a page do not end a sentence. Both signs are one byte.
            let unbroken = text.replace('\n', " ");
            let lengths = unbroken.split_sentence_bounds().map(str::len);
            let mut rest = text;
            let sentences = lengths.map_while(|length| {
                let (sentence, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(sentence)
            });
            whole_clusters(text, sentences)
        }
        Cut::Spaces => whole_clusters(text, text.split_inclusive(char::is_whitespace)),
        Cut::Words => whole_clusters(text, text.split_word_bounds()),
        Cut::Clusters => text.graphemes(true).collect(),
        Cut::Characters => text.split_inclusive(|_| true).collect(),
    }
}

/// The same pieces, those joined between which a grapheme cluster would be cut.
fn whole_clusters<'a>(text: &'a str, pieces: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut whole = Vec::new();
    let mut clusters = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).peekable();
    let mut start = 0;
    let mut end = 0;
    for piece in pieces {
        end += piece.len();
        while clusters.next_if(|at| *at < end).is_some() {}
        if clusters.peek() == Some(&end) {
            whole.extend(text.get(start..end));
            start = end;
        }
    }
    whole
}
