//! What of a message the classifier looks at: concepts, words, pairs of words, groups of letters and its
//! shape, each hashed to one of a fixed number of buckets.

use super::lexicon::Lexicon;
use super::words::split;
use crate::domain::text::without_accents;

/// Buckets that features are hashed to; a power of two.
pub(super) const BUCKETS: usize = 1 << BITS;
const BITS: u32 = 16;

/// Weights next to that of a word. They were chosen by cross-validation, and none of them matters much.
const LETTERS: f32 = 0.3;
const ACCENTED: f32 = 0.5;
const CONCEPT: f32 = 2.0;
const CONCEPT_PAIR: f32 = 1.2;
const CONCEPT_PLACE: f32 = 0.5;

/// How many concepts further on a concept is paired with.
const CONCEPT_REACH: usize = 4;

/// A bucket and how strongly the message shows it.
pub(super) type Feature = (u32, f32);

/// The features of a message; their squares add up to one.
pub(super) fn extract(message: &str, lexicon: &Lexicon) -> Vec<Feature> {
    let accented = split(message);
    let folded: Vec<String> = accented.iter().map(|word| without_accents(word)).collect();
    let mut features = Features::default();
    concepts(&lexicon.find(&accented), &mut features);
    words(&accented, &folded, &mut features);
    for word in &folded {
        letters(word, &mut features);
    }
    shape(message, folded.len(), &mut features);
    features.finish()
}

/// What the message is about, and what comes together in it: "my" and "late" is another thing than
/// "late" alone.
fn concepts(found: &[&str], features: &mut Features) {
    for (place, concept) in found.iter().enumerate() {
        features.add("concept", &[concept], CONCEPT);
        for later in found.iter().skip(place + 1).take(CONCEPT_REACH) {
            features.add("concepts", &[concept, later], CONCEPT_PAIR);
        }
    }
    match (found.first(), found.last()) {
        (Some(first), Some(last)) => {
            features.add("first concept", &[first], CONCEPT_PLACE);
            features.add("last concept", &[last], CONCEPT_PLACE);
        }
        _ => features.add("no concept", &[], 1.0),
    }
}

fn words(accented: &[String], folded: &[String], features: &mut Features) {
    for word in accented.iter().filter(|word| !word.is_ascii()) {
        features.add("accented", &[word], ACCENTED);
    }
    for pair in accented.windows(2) {
        features.add_words("accented pair", pair, ACCENTED);
    }
    for word in folded {
        features.add("word", &[word], 1.0);
    }
    for pair in folded.windows(2) {
        features.add_words("pair", pair, 1.0);
    }
    // Questions and requests are told by how they begin; in Vietnamese also by how they end.
    features.add_words("first", folded.get(..1).unwrap_or_default(), 1.0);
    features.add_words("opening", folded.get(..2).unwrap_or_default(), 1.0);
    features.add_words("last", folded.last().map(std::slice::from_ref).unwrap_or_default(), 1.0);
}

/// Groups of three to five letters, with the word's ends marked: they survive typing mistakes and endings.
fn letters(word: &str, features: &mut Features) {
    let marked: Vec<char> = std::iter::once('^').chain(word.chars().take(24)).chain(std::iter::once('$')).collect();
    let mut buffer = String::new();
    for length in 3..=5 {
        for group in marked.windows(length) {
            buffer.clear();
            buffer.extend(group);
            features.add("letters", &[&buffer], LETTERS);
        }
    }
}

fn shape(message: &str, words: usize, features: &mut Features) {
    if message.contains(['?', '？']) {
        features.add("shape", &["question"], 1.0);
    }
    if message.contains('!') {
        features.add("shape", &["exclamation"], 1.0);
    }
    let length = match words {
        0..=2 => "word",
        3..=5 => "phrase",
        6..=14 => "sentence",
        _ => "story",
    };
    features.add("length", &[length], 1.0);
}

#[derive(Default)]
struct Features {
    found: Vec<Feature>,
}

impl Features {
    fn add(&mut self, kind: &str, parts: &[&str], weight: f32) {
        self.found.push((bucket(kind, parts.iter().copied()), weight));
    }

    fn add_words(&mut self, kind: &str, parts: &[String], weight: f32) {
        if !parts.is_empty() {
            self.found.push((bucket(kind, parts.iter().map(String::as_str)), weight));
        }
    }

    fn finish(mut self) -> Vec<Feature> {
        self.found.sort_unstable_by_key(|(bucket, _)| *bucket);
        // Saying a word twice does not mean it twice as much.
        self.found.dedup_by_key(|(bucket, _)| *bucket);
        let norm = self.found.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if norm > 0.0 {
            for (_, weight) in &mut self.found {
                *weight /= norm;
            }
        }
        self.found
    }
}

/// FNV-1a, folded to the number of buckets.
fn bucket<'p>(kind: &str, parts: impl Iterator<Item = &'p str>) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    };
    kind.bytes().for_each(&mut feed);
    for part in parts {
        feed(0);
        part.bytes().for_each(&mut feed);
    }
    let folded = (hash ^ (hash >> 32) ^ (hash >> 17)) & (BUCKETS as u64 - 1);
    folded as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_alike() {
        let lexicon = Lexicon::default();
        assert_eq!(extract("gói 500 nghìn", &lexicon), extract("gói 20 nghìn", &lexicon));
    }

    #[test]
    fn features_are_normalised_and_distinct() {
        let features = extract("how much how much how much?", &Lexicon::default());
        let norm: f32 = features.iter().map(|(_, weight)| weight * weight).sum();
        assert!((norm - 1.0).abs() < 1e-4);
        assert!(features.is_sorted_by(|left, right| left.0 < right.0));
    }

    #[test]
    fn an_empty_message_has_features() {
        assert!(!extract("", &Lexicon::default()).is_empty());
    }
}
