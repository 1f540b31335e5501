//! A message cut into words, with what does not belong to any language left out.

use unicode_normalization::UnicodeNormalization;

use super::{lexicon::lexicon, script::Script};
use crate::domain::text::without_accents;

/// The words of a message's beginning.
#[derive(Debug)]
pub(super) struct Tokens {
    words: Vec<Token>,
}

/// One word.
#[derive(Debug)]
pub(super) struct Token {
    /// Lower case, NFC.
    pub(super) text: String,
    /// The same without signs.
    pub(super) folded: String,
    /// Begins with a capital that nothing else explains: probably a name.
    pub(super) is_name: bool,
    /// The script of its first letter.
    pub(super) script: Script,
}

impl Tokens {
    /// Reads at most `max_chars` characters (after composition). Addresses, handles and codes are left out.
    pub(super) fn read(text: &str, max_chars: usize) -> Self {
        // A letter has at most two signs in the languages of the table; what is cut before composing bounds the work
        // for a letter with a million of them.
        let text: String = text.chars().take(3 * max_chars).nfc().take(max_chars).collect();
        let mut words = Vec::new();
        for chunk in text.split_whitespace().filter(|chunk| !is_address(chunk)) {
            read_chunk(chunk, &mut words);
        }
        // The first word of a message is a name only when the next one seems to be, too.
        let second_is_name = words.get(1).is_some_and(|word| word.is_name);
        if let Some(first) = words.first_mut() {
            first.is_name &= second_is_name && lexicon().word(&first.text).is_empty();
        }
        // Where everything is a capital, capitals say nothing.
        if words.iter().skip(1).all(|word| word.is_name) {
            words.iter_mut().for_each(|word| word.is_name = false);
        }
        Self { words }
    }

    /// The script in which the message is written; none without letters.
    ///
    /// Latin words that no list knows are mostly names and products, so they weigh little against another script:
    /// "ราคา iPhone 15 Pro Max" is Thai. Known words weigh fully: "what does สวัสดี mean" is English.
    pub(super) fn main_script(&self) -> Option<Script> {
        let mut shares: Vec<(Script, f32)> = Vec::new();
        for word in &self.words {
            let known = word.script != Script::Latin
                || (!lexicon().is_borrowed(&word.text) && !lexicon().word(&word.text).is_empty());
            let weight = if known { 1.0 } else { 0.2 };
            for character in word.text.chars() {
                let Some(script) = Script::of(character) else {
                    continue;
                };
                // Kana and Chinese characters are one writing; which of the two it is comes later.
                let script = if script == Script::Kana { Script::Han } else { script };
                let share = weight * script.letter_weight();
                match shares.iter_mut().find(|(known, _)| *known == script) {
                    Some((_, sum)) => *sum += share,
                    None => shares.push((script, share)),
                }
            }
        }
        shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(script, _)| script)
    }

    /// The words of one script.
    pub(super) fn of_script(&self, script: Script) -> impl Iterator<Item = &Token> {
        self.words.iter().filter(move |word| word.script == script)
    }

    /// The share of kana among the kana and Chinese characters, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "counts are below a thousand")]
    pub(super) fn kana_share(&self) -> f32 {
        let (mut kana, mut all) = (0_usize, 0_usize);
        for script in self.characters().filter_map(Script::of) {
            kana += usize::from(script == Script::Kana);
            all += usize::from(matches!(script, Script::Kana | Script::Han));
        }
        kana as f32 / all.max(1) as f32
    }

    /// Whether there is a character that Chinese writes all the time and Japanese hardly ever.
    pub(super) fn has_chinese_particle(&self) -> bool {
        self.characters().any(|character| "的了吗嗎么麼们們这這那哪你您很谢謝怎呢吧给給没沒还還".contains(character))
    }

    fn characters(&self) -> impl Iterator<Item = char> {
        self.words.iter().flat_map(|word| word.text.chars())
    }
}

/// Addresses of pages and people are in no language.
fn is_address(chunk: &str) -> bool {
    chunk.contains("://") || chunk.contains('@') || chunk.starts_with("www.")
}

/// Cuts a piece between spaces into words at everything that is not a letter. Words that touch digits are codes.
fn read_chunk(chunk: &str, words: &mut Vec<Token>) {
    let is_part = |character: char| {
        character.is_alphanumeric()
            || Script::of(character).is_some()
            || unicode_normalization::char::is_combining_mark(character)
    };
    for piece in chunk.split(|character: char| !is_part(character)) {
        let Some(first) = piece.chars().next() else {
            continue;
        };
        let has_ascii_digit = piece.chars().any(|character| character.is_ascii_digit());
        let Some(script) = piece.chars().find_map(Script::of) else {
            continue;
        };
        if has_ascii_digit && script == Script::Latin {
            continue;
        }
        let text: String = piece.to_lowercase().chars().filter(|character| *character != '\u{307}').collect();
        words.push(Token {
            folded: if script == Script::Latin { without_accents(&text) } else { text.clone() },
            is_name: first.is_uppercase(),
            script,
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(message: &str) -> Vec<String> {
        Tokens::read(message, 400).words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_cut_at_punctuation_and_lowered() {
        assert_eq!(texts("What's up, ĐƯỜNG?"), ["what", "s", "up", "đường"]);
        assert_eq!(texts("İSTANBUL"), ["istanbul"]);
    }

    #[test]
    fn addresses_and_codes_are_left_out() {
        assert_eq!(texts("see https://example.org/a-b or a.b@example.org AB12CD"), ["see", "or"]);
    }

    #[test]
    fn decomposed_text_is_composed() {
        let decomposed: String = "được".nfd().collect();
        assert_eq!(texts(&decomposed), ["được"]);
    }

    #[test]
    fn foreign_names_do_not_decide_the_script() {
        let script = |message| Tokens::read(message, 400).main_script();
        assert_eq!(script("iPhone 17 Pro Max ราคา"), Some(Script::Only(crate::domain::language::Language::THAI)));
        assert_eq!(script("what does สวัสดี mean"), Some(Script::Latin));
        assert_eq!(script("12 + 30 = ?"), None);
    }
}
