//! Words of any language, for keyword search: where they begin and end, and what is left of them without their accents.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::text::without_accents;

/// One word as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// In lower case, NFC, accents kept.
    pub(super) accented: String,
    /// The same without accents, so that `lai suat` is `lãi suất`.
    pub(super) folded: String,
    /// Whether it is a piece of running text in a script without spaces, two characters that overlap the next two. Such
    /// pieces follow each other already, and pairs of them would say nothing new.
    pub(super) is_bigram: bool,
}

/// The words of a text in order, by the word boundaries of Unicode (UAX #29). Scripts that are written without spaces
/// have no such boundaries: there, every two neighbouring characters make a word.
pub(super) fn words(text: &str) -> Vec<Word> {
    let text: String = text.nfc().flat_map(char::to_lowercase).nfc().collect();
    let mut words = Vec::with_capacity(text.len() / 5);
    let mut run: Vec<char> = Vec::new();
    for piece in text.split_word_bounds() {
        if piece.chars().next().is_some_and(is_unspaced) {
            // Signs above and below belong to the character before them and stay with it.
            run.extend(piece.chars());
            continue;
        }
        push_bigrams(&mut run, &mut words);
        if piece.chars().any(char::is_alphanumeric) {
            words.push(Word { accented: piece.to_owned(), folded: without_accents(piece), is_bigram: false });
        }
    }
    push_bigrams(&mut run, &mut words);
    words
}

fn push_bigrams(run: &mut Vec<char>, words: &mut Vec<Word>) {
    let mut push = |chars: &[char]| {
        let accented: String = chars.iter().collect();
        words.push(Word { folded: accented.clone(), accented, is_bigram: true });
    };
    match run.len() {
        0 => {}
        1 => push(run),
        _ => run.windows(2).for_each(&mut push),
    }
    run.clear();
}

/// Scripts that are written without spaces between words, and Korean, whose words carry their grammar at the end.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}'     // Thai, Lao
        | '\u{0f00}'..='\u{0fff}'   // Tibetan
        | '\u{1000}'..='\u{109f}'   // Myanmar
        | '\u{1780}'..='\u{17ff}'   // Khmer
        | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'   // Hiragana, Katakana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ac00}'..='\u{d7a3}'   // Korean syllables
        | '\u{20000}'..='\u{323af}'
    ) && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accented(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.accented).collect()
    }

    #[test]
    fn decomposed_text_gives_the_same_words() {
        let composed = "Lãi suất vay Đặc biệt";
        let decomposed: String = composed.nfd().collect();
        assert_ne!(composed, decomposed);
        assert_eq!(words(composed), words(&decomposed));
        assert_eq!(accented(composed), ["lãi", "suất", "vay", "đặc", "biệt"]);
    }

    #[test]
    fn punctuation_separates_and_numbers_stay_whole() {
        assert_eq!(accented("Phí: 3.5%/năm (từ 1,000 USD)!"), ["phí", "3.5", "năm", "từ", "1,000", "usd"]);
        assert!(words(" \n… —").is_empty());
    }

    #[test]
    fn unspaced_scripts_become_overlapping_pairs() {
        assert_eq!(accented("利率是多少"), ["利率", "率是", "是多", "多少"]);
        assert_eq!(accented("税"), ["税"]);
        assert_eq!(accented("貸款 loan 利率"), ["貸款", "loan", "利率"]);
        assert!(accented("ดอกเบี้ย").len() > 3);
        assert_eq!(accented("대출 금리"), ["대출", "금리"]);
    }
}
