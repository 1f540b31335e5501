//! Picks what to quote: the units that share the rarest words with the question.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::units::{Kind, Unit, units, words};
use crate::ports::model::Passage;

/// Most passages quoted.
const PASSAGES: usize = 3;

/// Characters quoted, about: a first unit that is longer is quoted whole all the same if it is a row or an item.
const BUDGET: usize = 700;

/// A unit worse than this share of the best one is not quoted.
const WORTH: f32 = 0.5;

/// What a word of a heading counts beside one of the text: it says what the text is about, but all of it shares it.
const HEADING_SHARE: f32 = 0.4;

/// What the search's order of passages counts: the second passage's units are worth a little less than the first's.
const RANK_SHARE: f32 = 0.15;

/// Part of one passage, ready to be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// The passage's number.
    pub(super) n: usize,
    /// Its units, as they stood.
    pub(super) text: String,
    /// How it is to be set.
    pub(super) form: Form,
}

/// What a quote is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Sentences alone, which can stand between quotation marks.
    Sentences,
    /// Table rows or list items too, which need their lines.
    Block,
}

struct Candidate {
    passage: usize,
    place: usize,
    unit: Unit,
    score: f32,
}

/// The quotes that answer a question, best passage first. Without passages there are none.
pub(super) fn best(question: &str, passages: &[Passage]) -> Vec<Quote> {
    let mut candidates = score(question, passages);
    // Ties go to what stands first, so that one question always has one answer.
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then((a.passage, a.place).cmp(&(b.passage, b.place))));
    let Some(top) = candidates.first().map(|candidate| candidate.score) else { return Vec::new() };
    let mut chosen: BTreeMap<usize, BTreeMap<usize, Unit>> = BTreeMap::new();
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let mut left = BUDGET;
    for candidate in &candidates {
        // Where no word is shared, the passages were found by their meaning: the search's first one is quoted.
        let is_worth = if top > 0.0 { candidate.score >= top * WORTH } else { candidate.passage == 0 };
        let is_new_passage = !order.contains(&candidate.passage);
        if !is_worth || (is_new_passage && order.len() == PASSAGES) || !seen.insert(candidate.unit.text.as_str()) {
            continue;
        }
        let mut unit = candidate.unit.clone();
        let length = unit.text.chars().count();
        if length > left {
            if !chosen.is_empty() {
                continue;
            }
            if matches!(unit.kind, Kind::Sentence { .. }) {
                unit.text = shorten(&unit.text, BUDGET);
            }
        }
        left = left.saturating_sub(length);
        if is_new_passage {
            order.push(candidate.passage);
        }
        let leads = unit.kind == Kind::Sentence { leads: true };
        let taken = chosen.entry(candidate.passage).or_default();
        taken.insert(candidate.place, unit);
        if leads {
            add_list(candidate, &candidates, taken, &mut left);
        }
    }
    order.into_iter().filter_map(|passage| Some(quote(passages.get(passage)?.n, chosen.get(&passage)?))).collect()
}

/// Adds the items and rows right after a sentence that leads to them, as far as they fit.
fn add_list(leader: &Candidate, all: &[Candidate], taken: &mut BTreeMap<usize, Unit>, left: &mut usize) {
    for place in leader.place + 1.. {
        let next = all.iter().find(|candidate| candidate.passage == leader.passage && candidate.place == place);
        let Some(next) = next.filter(|next| !matches!(next.unit.kind, Kind::Sentence { .. })) else { return };
        let length = next.unit.text.chars().count();
        if length > *left {
            return;
        }
        if taken.insert(place, next.unit.clone()).is_none() {
            *left -= length;
        }
    }
}

/// Scores every unit of the passages by the words and word pairs that it shares with the question, each weighed by its
/// rarity among the units (the inverse document frequency of BM25).
fn score(question: &str, passages: &[Passage]) -> Vec<Candidate> {
    let asked = terms(question);
    let mut candidates = Vec::new();
    let mut found = Vec::new();
    for (passage, source) in passages.iter().enumerate() {
        let heading = terms(&format!("{} {}", source.title, source.heading));
        for (place, unit) in units(&source.text).into_iter().enumerate() {
            let (own, head) = (terms(&unit.text), &heading);
            let shared: Vec<(&String, f32)> = asked
                .iter()
                .filter_map(|term| match (own.contains(term), head.contains(term)) {
                    (true, _) => Some((term, 1.0)),
                    (false, true) => Some((term, HEADING_SHARE)),
                    (false, false) => None,
                })
                .collect();
            found.push(shared);
            candidates.push(Candidate { passage, place, unit, score: 0.0 });
        }
    }
    let mut frequency: HashMap<&String, f32> = HashMap::new();
    for (term, share) in found.iter().flatten() {
        if *share >= 1.0 {
            *frequency.entry(term).or_default() += 1.0;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of units and words are small")]
    for (candidate, shared) in candidates.iter_mut().zip(&found) {
        let total = found.len() as f32;
        let sum: f32 = shared
            .iter()
            .map(|(term, share)| {
                let units_with = frequency.get(term).copied().unwrap_or_default();
                let rarity = (1.0 + (total - units_with + 0.5) / (units_with + 0.5)).ln();
                share * rarity
            })
            .sum();
        // Long units share words by chance.
        let length = candidate.unit.text.chars().count() as f32;
        let by_length = 1.0 + (length / 200.0).ln_1p() / 2.0;
        let by_rank = 1.0 - RANK_SHARE * (candidate.passage as f32 / passages.len() as f32);
        candidate.score = sum / by_length * by_rank;
    }
    candidates
}

/// The words of a text and its pairs of neighbours: Vietnamese words are mostly of two syllables, written apart.
fn terms(text: &str) -> HashSet<String> {
    let words = words(text);
    let pairs = words.windows(2).map(|pair| pair.join(" "));
    pairs.chain(words.iter().cloned()).collect()
}

fn quote(n: usize, units: &BTreeMap<usize, Unit>) -> Quote {
    let mut text = String::new();
    let mut before: Option<(usize, &Kind)> = None;
    for (place, unit) in units {
        let is_block = !matches!(unit.kind, Kind::Sentence { .. });
        if let Some((last_place, last)) = before {
            let was_row = matches!(last, Kind::Row { .. });
            let is_row = matches!(unit.kind, Kind::Row { .. });
            text.push_str(match last {
                Kind::Sentence { .. } if !is_block && *place == last_place + 1 => " ",
                Kind::Sentence { .. } if !is_block => " … ",
                // A blank line parts a table from what stands around it.
                _ if was_row != is_row => "\n\n",
                _ if was_row || is_block => "\n",
                _ => "\n\n",
            });
        }
        let last_head = before.and_then(|(_, kind)| if let Kind::Row { head } = kind { head.as_ref() } else { None });
        if let Kind::Row { head: Some(head) } = &unit.kind
            && last_head != Some(head)
        {
            text.push_str(head);
            text.push('\n');
        }
        text.push_str(&unit.text);
        before = Some((*place, &unit.kind));
    }
    let is_plain = units.values().all(|unit| matches!(unit.kind, Kind::Sentence { .. }));
    let form = if is_plain { Form::Sentences } else { Form::Block };
    // Brackets of the document itself must not look like citations of this answer.
    Quote { n, text: defuse(&text), form }
}

/// Cuts a text after a word so that it has at most `limit` characters.
fn shorten(text: &str, limit: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(limit) else { return text.to_owned() };
    let cut = text.get(..end).unwrap_or(text);
    let whole = cut.rsplit_once(' ').map_or(cut, |(whole, _)| whole);
    format!("{}…", whole.trim_end_matches(|c: char| c.is_ascii_punctuation()))
}

/// Turns brackets around numbers, the footnotes of a document, into parentheses.
fn defuse(text: &str) -> String {
    let text = text.replace(['【', '［'], "[").replace(['】', '］'], "]");
    let is_citation = |inner: &str| {
        inner.chars().any(char::is_numeric) && inner.chars().all(|c| c.is_numeric() || " ,;-–".contains(c))
    };
    let mut output = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('[') {
        output.push_str(before);
        if let Some((inner, tail)) = after.split_once(']').filter(|(inner, _)| is_citation(inner)) {
            output.push_str(&["(", inner, ")"].concat());
            rest = tail;
        } else {
            output.push('[');
            rest = after;
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footnotes_do_not_look_like_citations() {
        assert_eq!(defuse("a [12] b [x] c [] d [1, 2] 【7】 [3"), "a (12) b [x] c [] d (1, 2) (7) [3");
    }

    #[test]
    fn long_sentences_are_cut_after_a_word() {
        assert_eq!(shorten("một hai, ba bốn", 9), "một hai…");
        assert_eq!(shorten("ngắn", 9), "ngắn");
    }
}
