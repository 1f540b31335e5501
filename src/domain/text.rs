//! Text without its accents: what people type who write without them.

use unicode_normalization::UnicodeNormalization;

/// A lower-case text without accents: `đường` becomes `duong`, `straße` becomes `strasse`. Only the signs of alphabets
/// go: in Thai or Hindi the same Unicode category holds the vowels.
pub fn without_accents(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut folded = String::with_capacity(text.len());
    for c in text.nfd().filter(|c| !('\u{300}'..='\u{36f}').contains(c)) {
        match c {
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ø' => folded.push('o'),
            'ı' => folded.push('i'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            _ => folded.push(c),
        }
    }
    // Korean syllables came apart as well and are put together again.
    folded.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_without_accents_is_left() {
        assert_eq!(without_accents("lãi suất vay đặc biệt"), "lai suat vay dac biet");
        assert_eq!(without_accents(&"nghĩa".nfd().collect::<String>()), "nghia");
        assert_eq!(without_accents("straße"), "strasse");
        assert_eq!(without_accents("한국어"), "한국어");
        assert_eq!(without_accents("ที่นี่"), "ที่นี่");
    }
}
