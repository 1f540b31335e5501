//! Finds a pipeline's concepts in a message: `giá`, `bao nhiêu tiền` and `how much` are one thing.
//!
//! They are what lets an example in one language teach something about another, and about words that
//! no example uses.

use std::collections::{BTreeMap, HashMap};

use super::words::split;
use crate::domain::text::without_accents;

/// A pipeline's concepts, ready to be found.
#[derive(Debug, Clone, Default)]
pub(super) struct Lexicon {
    names: Vec<String>,
    accented: Phrases,
    folded: Phrases,
}

/// Phrases by their first letter.
type Phrases = HashMap<char, Vec<Phrase>>;

#[derive(Debug, Clone)]
struct Phrase {
    words: Vec<String>,
    /// Whether the last word may go on.
    open: bool,
    concept: usize,
}

impl Lexicon {
    pub(super) fn new(concepts: &BTreeMap<String, Vec<String>>) -> Self {
        let mut lexicon = Self { names: concepts.keys().cloned().collect(), ..Self::default() };
        for (concept, texts) in concepts.values().enumerate() {
            for text in texts {
                let words = split(text.trim_end_matches('*'));
                let folded = words.iter().map(|word| without_accents(word)).collect();
                let open = text.ends_with('*');
                insert(&mut lexicon.accented, Phrase { words, open, concept });
                insert(&mut lexicon.folded, Phrase { words: folded, open, concept });
            }
        }
        lexicon
    }

    /// The concepts in a message, in its order. Longer phrases win over the words that they consist of,
    /// so that "gia đình" (family) is not taken for "giá" (price) when it is typed without accents.
    pub(super) fn find(&self, words: &[String]) -> Vec<&str> {
        // "gia" in a text with accents is not "giá".
        let phrases = if words.iter().all(|word| word.is_ascii()) { &self.folded } else { &self.accented };
        let mut found = Vec::new();
        let mut rest = words;
        while let Some(first) = rest.first() {
            let candidates = first.chars().next().and_then(|letter| phrases.get(&letter));
            let matching: Vec<&Phrase> =
                candidates.into_iter().flatten().filter(|phrase| phrase.matches(rest)).collect();
            let longest = matching.iter().map(|phrase| phrase.words.len()).max().unwrap_or(0);
            let concepts = matching.iter().filter(|phrase| phrase.words.len() == longest);
            found.extend(concepts.filter_map(|phrase| self.names.get(phrase.concept).map(String::as_str)));
            rest = rest.get(longest.max(1)..).unwrap_or_default();
        }
        found
    }
}

impl Phrase {
    fn matches(&self, words: &[String]) -> bool {
        let Some((last, before)) = self.words.split_last() else { return false };
        let Some(actual) = words.get(before.len()) else { return false };
        let ends = if self.open { actual.starts_with(last.as_str()) } else { actual == last };
        ends && words.iter().zip(before).all(|(actual, expected)| actual == expected)
    }
}

fn insert(phrases: &mut Phrases, phrase: Phrase) {
    if let Some(letter) = phrase.words.first().and_then(|word| word.chars().next()) {
        phrases.entry(letter).or_default().push(phrase);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let concept = |name: &str, words: &[&str]| (name.to_owned(), words.iter().map(|w| (*w).to_owned()).collect());
        Lexicon::new(&BTreeMap::from([
            concept("family", &["gia đình"]),
            concept("price", &["giá", "how much"]),
            concept("reserve", &["book*"]),
        ]))
    }

    #[test]
    fn phrases_are_found_with_and_without_accents() {
        for (message, expected) in [
            ("Giá gia đình", vec!["price", "family"]),
            ("gia gia dinh", vec!["price", "family"]),
            ("gia vị tiêu", vec![]),
            ("booking: how much?", vec!["reserve", "price"]),
            ("how many", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(lexicon().find(&split(message)), expected, "{message}");
        }
    }
}
