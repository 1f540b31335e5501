//! The tables turned into look-up form, once per process: what each word, letter, cluster and ending says.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use super::{
    phrases::{BORROWED, PHRASES},
    shapes::{CLUSTERS, ENDINGS, LETTERS},
    words,
};
use crate::domain::language::Language;
use crate::domain::text::without_accents;

/// The lexicon of this process.
pub(super) fn lexicon() -> &'static Lexicon {
    static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::build);
    &LEXICON
}

/// How strongly each language is spoken for, as natural logarithms of likelihood ratios.
pub(super) type Weights = Vec<(Language, f32)>;

/// Look-up tables. Keys are lower case and in NFC; forms without signs are keys of their own.
pub(super) struct Lexicon {
    words: HashMap<String, Weights>,
    phrases: HashMap<String, Vec<Language>>,
    borrowed: HashSet<&'static str>,
    letters: HashMap<char, LanguageSet>,
    endings: HashMap<&'static str, Vec<Language>>,
    clusters: HashMap<&'static str, Vec<Language>>,
}

/// A set of languages, one bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LanguageSet(u128);

impl LanguageSet {
    fn insert(&mut self, language: Language) {
        self.0 |= 1 << language.index();
    }

    /// Whether the language is in the set.
    pub(super) fn contains(self, language: Language) -> bool {
        self.0 >> language.index() & 1 == 1
    }

    /// The languages of both sets.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The probability that a word has which is in no list: rarer than the rarest that are.
const UNLISTED: f32 = 5e-5;
/// No single word says more than this, whatever its frequency.
const WORD_CAP: f32 = 4.5;
/// Nor less: a place far down a list of some hundred words is a matter of taste.
const WORD_LEAST: f32 = 1.8;
/// What a listed word loses when it is written without its signs.
const WITHOUT_SIGNS: f32 = 0.3;
/// Letters in the longest ending or cluster of the tables.
const LONGEST_ENDING: usize = 7;
const LONGEST_CLUSTER: usize = 3;

impl Lexicon {
    fn build() -> Self {
        let mut lexicon = Self {
            words: HashMap::new(),
            phrases: HashMap::new(),
            borrowed: BORROWED.split_whitespace().collect(),
            letters: HashMap::new(),
            endings: HashMap::new(),
            clusters: HashMap::new(),
        };
        for (language, words) in words::lists() {
            for (rank, word) in words.split_whitespace().enumerate() {
                lexicon.add_word(language, word, rank);
            }
        }
        for (language, phrases) in PHRASES {
            for phrase in phrases.split('|') {
                lexicon.add_phrase(*language, phrase);
            }
        }
        for (language, letters) in LETTERS {
            for letter in letters.chars() {
                lexicon.letters.entry(letter).or_default().insert(*language);
            }
        }
        for (table, source) in [(&mut lexicon.endings, ENDINGS), (&mut lexicon.clusters, CLUSTERS)] {
            for (language, parts) in source {
                for part in parts.split_whitespace() {
                    table.entry(part).or_default().push(*language);
                }
            }
        }
        lexicon
    }

    #[expect(clippy::cast_precision_loss, reason = "ranks are below a thousand")]
    fn add_word(&mut self, language: Language, word: &str, rank: usize) {
        // Zipf's law: the word of rank r has a frequency of about 0.06 / (r + 3).
        let weight = (0.06 / (rank as f32 + 3.0) / UNLISTED).ln().max(WORD_LEAST);
        strengthen(self.words.entry(word.to_owned()).or_default(), language, weight);
        let folded = without_accents(word);
        if folded != word {
            strengthen(self.words.entry(folded).or_default(), language, weight - WITHOUT_SIGNS);
        }
    }

    fn add_phrase(&mut self, language: Language, phrase: &str) {
        for form in [phrase.to_owned(), without_accents(phrase)] {
            let languages = self.phrases.entry(form).or_default();
            if !languages.contains(&language) {
                languages.push(language);
            }
        }
    }

    /// The languages in whose list the word is; empty for an unlisted word.
    pub(super) fn word(&self, word: &str) -> &[(Language, f32)] {
        self.words.get(word).map_or(&[], Vec::as_slice)
    }

    /// The languages in which this whole message is a common one; words in lower case, joined by single spaces.
    pub(super) fn phrase(&self, message: &str) -> &[Language] {
        self.phrases.get(message).map_or(&[], Vec::as_slice)
    }

    /// Whether the word is one that any language may borrow.
    pub(super) fn is_borrowed(&self, word: &str) -> bool {
        self.borrowed.contains(word)
    }

    /// The languages that write every special letter of the word; none when it has no special letter.
    pub(super) fn writers(&self, word: &str) -> Option<LanguageSet> {
        word.chars().filter_map(|letter| self.letters.get(&letter)).copied().reduce(LanguageSet::and)
    }

    /// Calls back for every ending and cluster of the word.
    pub(super) fn shapes(&self, word: &str, mut found: impl FnMut(Language)) {
        let length = word.chars().count();
        let starts: Vec<usize> = word.char_indices().map(|(at, _)| at).collect();
        // An ending must leave a stem of two letters, or "being" would be all ending.
        for letters in 2..=LONGEST_ENDING.min(length.saturating_sub(2)) {
            let ending = starts.get(length - letters).and_then(|at| word.get(*at..));
            ending.and_then(|ending| self.endings.get(ending)).into_iter().flatten().for_each(|l| found(*l));
        }
        for (place, at) in starts.iter().enumerate() {
            for letters in 1..=LONGEST_CLUSTER.min(length - place) {
                let end = starts.get(place + letters).copied().unwrap_or(word.len());
                let cluster = word.get(*at..end);
                cluster.and_then(|cluster| self.clusters.get(cluster)).into_iter().flatten().for_each(|l| found(*l));
            }
        }
    }
}

/// Adds a word's form: several listed words may share one form without signs, and their frequencies add up.
fn strengthen(weights: &mut Weights, language: Language, weight: f32) {
    match weights.iter_mut().find(|(known, _)| *known == language) {
        Some((_, known)) => *known = (known.exp() + weight.exp()).ln().min(WORD_CAP),
        None => weights.push((language, weight.min(WORD_CAP))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_with_and_without_signs() {
        let with = lexicon().word("được");
        let without = lexicon().word("duoc");
        assert!(with.iter().any(|(language, _)| *language == Language::VIETNAMESE));
        assert!(without.iter().any(|(language, _)| *language == Language::VIETNAMESE));
        assert!(lexicon().word("qwxz").is_empty());
    }

    #[test]
    fn no_ending_or_cluster_is_longer_than_what_is_looked_up() {
        for ending in lexicon().endings.keys() {
            assert!((2..=LONGEST_ENDING).contains(&ending.chars().count()), "{ending}");
        }
        for cluster in lexicon().clusters.keys() {
            assert!((1..=LONGEST_CLUSTER).contains(&cluster.chars().count()), "{cluster}");
        }
    }

    #[test]
    fn special_letters_name_their_writers() {
        let writers =
            lexicon().writers("đường").map(|set| Language::all().filter(|l| set.contains(*l)).collect::<Vec<_>>());
        assert_eq!(writers, Some(vec![Language::VIETNAMESE]));
        assert!(lexicon().writers("street").is_none());
    }
}
