//! The sparse encoder: keywords as vectors, the same for every index.
//!
//! Each word gives features in three namespaces: the word with its accents, the word without them, and the pair it makes
//! with the word before (without accents). The first lets `lãi` win over `lai`, the second lets someone who types
//! `lai suat vay` find `lãi suất vay`, and the third tells `lãi suất` from the many other words that are spelled `lai`
//! once their accents are gone: Vietnamese writes a space between syllables, so that most of its words are pairs.
//!
//! A passage's values are the term frequency part of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance
//! Framework: BM25 and Beyond", 2009, equation 3.15), a query's are the weights of the namespaces. Inverse document
//! frequency is left to the index, which knows the company's passages. A dimension is the 32-bit FNV-1a hash of the
//! namespace's byte and the feature in UTF-8, mixed once more by the last step of MurmurHash3; features that fall into one
//! dimension add up.

use std::collections::BTreeMap;

use super::words::{Word, words};
use crate::domain::knowledge::SparseVector;

/// Changes whenever the encoder gives other vectors than before, so that an index knows what made it.
pub const VERSION: u32 = 1;

/// How soon another occurrence of a word stops to matter: k1 of BM25.
const K1: f32 = 1.2;
/// How much a passage's length counts: b of BM25.
const B: f32 = 0.75;
/// The length in words that counts as average. It is fixed, so that a passage's vector does not depend on the others.
const AVERAGE_WORDS: f32 = 150.0;
/// The weight of a word with its accents.
const ACCENTED: f32 = 1.0;
/// The weight of a word without accents.
const FOLDED: f32 = 1.0;
/// The weight of a pair of words without accents.
const PAIR: f32 = 1.0;
/// Shorter words that end in `s` are seldom plurals.
const SHORTEST_PLURAL: usize = 5;

#[derive(Clone, Copy)]
enum Namespace {
    Accented = 1,
    Folded = 2,
    Pair = 3,
}

/// Turns text into sparse vectors.
#[derive(Clone, Debug)]
pub struct SparseEncoder {
    k1: f32,
    b: f32,
    average_words: f32,
    accented: f32,
    folded: f32,
    pair: f32,
}

impl Default for SparseEncoder {
    fn default() -> Self {
        Self { k1: K1, b: B, average_words: AVERAGE_WORDS, accented: ACCENTED, folded: FOLDED, pair: PAIR }
    }
}

impl SparseEncoder {
    /// The vector of a passage's `search_text`. Empty when there is no word in it.
    pub fn encode_passage(&self, text: &str) -> SparseVector {
        let words = words(text);
        let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
        each_feature(&words, |dimension, _| *counts.entry(dimension).or_default() += 1.0);
        #[expect(clippy::cast_precision_loss, reason = "no passage has 2^24 words")]
        let length = self.k1 * (1.0 - self.b + self.b * words.len() as f32 / self.average_words);
        SparseVector {
            values: counts.values().map(|count| count * (self.k1 + 1.0) / (count + length)).collect(),
            indices: counts.into_keys().collect(),
        }
    }

    /// The vector of a question. Empty when there is no word in it.
    pub fn encode_query(&self, text: &str) -> SparseVector {
        let mut weights: BTreeMap<u32, f32> = BTreeMap::new();
        each_feature(&words(text), |dimension, namespace| {
            let weight = match namespace {
                Namespace::Accented => self.accented,
                Namespace::Folded => self.folded,
                Namespace::Pair => self.pair,
            };
            // A word that the question repeats is not more important for it.
            weights.insert(dimension, weight);
        });
        SparseVector { values: weights.values().copied().collect(), indices: weights.into_keys().collect() }
    }
}

fn each_feature(words: &[Word], mut feature: impl FnMut(u32, Namespace)) {
    let mut previous: Option<&Word> = None;
    for word in words {
        feature(dimension(Namespace::Accented, &[&word.accented]), Namespace::Accented);
        feature(dimension(Namespace::Folded, &[singular(&word.folded)]), Namespace::Folded);
        if let Some(previous) = previous.filter(|previous| !previous.is_bigram && !word.is_bigram) {
            feature(dimension(Namespace::Pair, &[&previous.folded, " ", &word.folded]), Namespace::Pair);
        }
        previous = Some(word);
    }
}

/// A word without the `s` or `'s` of English. Other languages lose nothing by it: a word is cut the same way wherever it
/// stands, and no Vietnamese syllable of this length ends so.
pub(super) fn singular(word: &str) -> &str {
    let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("\u{2019}s")).unwrap_or(word);
    match word.strip_suffix('s') {
        Some(stem) if word.len() >= SHORTEST_PLURAL && word.is_ascii() && !stem.ends_with('s') => stem,
        _ => word,
    }
}

fn dimension(namespace: Namespace, parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    let mut hash = std::iter::once(namespace as u8)
        .chain(bytes)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(question: &str, passage: &str) -> f32 {
        let encoder = SparseEncoder::default();
        let (query, passage) = (encoder.encode_query(question), encoder.encode_passage(passage));
        let weights: BTreeMap<u32, f32> = passage.indices.into_iter().zip(passage.values).collect();
        query.indices.iter().zip(&query.values).filter_map(|(index, weight)| Some(weight * weights.get(index)?)).sum()
    }

    #[test]
    fn dimensions_are_ascending_and_each_there_once() {
        let text = "Lãi suất vay, lãi suất gửi: lãi suất! 贷款利率 ดอกเบี้ย 3.5% A'b's";
        for vector in [SparseEncoder::default().encode_passage(text), SparseEncoder::default().encode_query(text)] {
            assert!(vector.indices.is_sorted_by(|a, b| a < b));
            assert_eq!(vector.indices.len(), vector.values.len());
            assert!(vector.values.iter().all(|value| value.is_finite() && *value > 0.0));
        }
        assert_eq!(SparseEncoder::default().encode_passage(" …"), SparseVector::default());
    }

    #[test]
    fn the_hash_never_changes_without_a_new_version() {
        assert_eq!(VERSION, 1);
        assert_eq!(SparseEncoder::default().encode_query("lãi").indices, PINNED);
    }

    const PINNED: [u32; 2] = [687_514_683, 1_377_502_980];

    #[test]
    fn text_without_accents_finds_text_with_them() {
        let (rate, again) = ("Lãi suất vay mua nhà", "Mua lại nhà của người vay, suất lái xe");
        assert!(score("lai suat vay", rate) > score("lai suat vay", again), "pairs tell words apart");
        assert!(score("lãi", "lãi") > score("lại", "lãi") && score("lại", "lãi") > 0.0);
        assert!(score("interest rates", "the interest rate") > score("interest rates", "the interest"));
    }

    #[test]
    fn long_passages_and_repetition_count_less_and_less() {
        let long = format!("phí {}", "chữ ".repeat(300));
        assert!(score("phí", "phí thẻ") > score("phí", &long));
        assert!(score("phí", "phí phí phí") < 3.0 * score("phí", "phí"));
        assert!((score("phí phí", "phí") - score("phí", "phí")).abs() < f32::EPSILON);
    }
}
