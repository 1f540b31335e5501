//! Which writing system a message is in, and which languages write with it.

use crate::domain::language::Language;

/// A writing system, as far as it tells languages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Hebrew,
    /// Chinese characters, which Japanese writes too.
    Han,
    /// Hiragana and katakana.
    Kana,
    /// A script of one language only.
    Only(Language),
}

impl Script {
    /// The script of a letter; none for digits, punctuation, emoji and scripts that no known language uses.
    pub(super) fn of(character: char) -> Option<Self> {
        let code = u32::from(character);
        RANGES
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&code))
            .map(|(_, _, script)| *script)
            .filter(|script| *script != Self::Latin || character.is_alphabetic())
    }

    /// Whether the language is written in this script.
    pub(super) fn writes(self, language: Language) -> bool {
        match self {
            Self::Latin => !NOT_LATIN.contains(&language),
            Self::Cyrillic => CYRILLIC.contains(&language),
            Self::Arabic => ARABIC.contains(&language),
            Self::Devanagari => DEVANAGARI.contains(&language),
            Self::Hebrew => HEBREW.contains(&language),
            Self::Han => [Language::CHINESE, Language::JAPANESE].contains(&language),
            Self::Kana => language == Language::JAPANESE,
            Self::Only(only) => language == only,
        }
    }

    /// How much one letter counts when scripts are mixed: a Chinese character is a word, a Latin letter a fifth of one.
    pub(super) fn letter_weight(self) -> f32 {
        match self {
            Self::Han => 3.0,
            Self::Kana => 2.0,
            Self::Only(Language::KOREAN) => 2.5,
            _ => 1.0,
        }
    }
}

const CYRILLIC: &[Language] = &[
    Language::RUSSIAN,
    Language::UKRAINIAN,
    Language::BELARUSIAN,
    Language::BULGARIAN,
    Language::SERBIAN,
    Language::MACEDONIAN,
    Language::KAZAKH,
    Language::MONGOLIAN,
];
const ARABIC: &[Language] = &[Language::ARABIC, Language::PERSIAN, Language::URDU];
const DEVANAGARI: &[Language] = &[Language::HINDI, Language::MARATHI, Language::NEPALI];
const HEBREW: &[Language] = &[Language::HEBREW, Language::YIDDISH];

/// The languages of the table that are not written in the Latin script.
const NOT_LATIN: &[Language] = &[
    Language::RUSSIAN,
    Language::UKRAINIAN,
    Language::BELARUSIAN,
    Language::BULGARIAN,
    Language::SERBIAN,
    Language::MACEDONIAN,
    Language::KAZAKH,
    Language::MONGOLIAN,
    Language::ARABIC,
    Language::PERSIAN,
    Language::URDU,
    Language::HINDI,
    Language::MARATHI,
    Language::NEPALI,
    Language::HEBREW,
    Language::YIDDISH,
    Language::CHINESE,
    Language::JAPANESE,
    Language::KOREAN,
    Language::THAI,
    Language::LAO,
    Language::KHMER,
    Language::BURMESE,
    Language::TIBETAN,
    Language::SINHALA,
    Language::BENGALI,
    Language::PUNJABI,
    Language::GUJARATI,
    Language::ODIA,
    Language::TAMIL,
    Language::TELUGU,
    Language::KANNADA,
    Language::MALAYALAM,
    Language::GREEK,
    Language::ARMENIAN,
    Language::GEORGIAN,
    Language::AMHARIC,
];

/// Blocks of the Unicode standard, the common ones first. Signs that combine are in the block of their letters.
const RANGES: &[(u32, u32, Script)] = &[
    (0x0041, 0x024F, Script::Latin),
    (0x1E00, 0x1EFF, Script::Latin),
    (0x0250, 0x02AF, Script::Latin),
    (0x0400, 0x052F, Script::Cyrillic),
    (0x4E00, 0x9FFF, Script::Han),
    (0x3041, 0x30FA, Script::Kana),
    (0x30FC, 0x30FE, Script::Kana),
    (0xFF66, 0xFF9D, Script::Kana),
    (0xAC00, 0xD7AF, Script::Only(Language::KOREAN)),
    (0x1100, 0x11FF, Script::Only(Language::KOREAN)),
    (0x3131, 0x318E, Script::Only(Language::KOREAN)),
    (0x0E01, 0x0E4E, Script::Only(Language::THAI)),
    (0x0E81, 0x0EDF, Script::Only(Language::LAO)),
    (0x1780, 0x17D3, Script::Only(Language::KHMER)),
    (0x1000, 0x103F, Script::Only(Language::BURMESE)),
    (0x0F40, 0x0FBC, Script::Only(Language::TIBETAN)),
    (0x0620, 0x065F, Script::Arabic),
    (0x066E, 0x06EF, Script::Arabic),
    (0x0750, 0x077F, Script::Arabic),
    (0xFB50, 0xFEFC, Script::Arabic),
    (0x0900, 0x0963, Script::Devanagari),
    (0x0591, 0x05F4, Script::Hebrew),
    (0x0370, 0x03FF, Script::Only(Language::GREEK)),
    (0x1F00, 0x1FFF, Script::Only(Language::GREEK)),
    (0x0531, 0x0587, Script::Only(Language::ARMENIAN)),
    (0x10A0, 0x10FF, Script::Only(Language::GEORGIAN)),
    (0x1200, 0x137F, Script::Only(Language::AMHARIC)),
    (0x0980, 0x09E3, Script::Only(Language::BENGALI)),
    (0x0A01, 0x0A75, Script::Only(Language::PUNJABI)),
    (0x0A81, 0x0AE3, Script::Only(Language::GUJARATI)),
    (0x0B01, 0x0B63, Script::Only(Language::ODIA)),
    (0x0B82, 0x0BD7, Script::Only(Language::TAMIL)),
    (0x0C00, 0x0C63, Script::Only(Language::TELUGU)),
    (0x0C80, 0x0CE3, Script::Only(Language::KANNADA)),
    (0x0D00, 0x0D63, Script::Only(Language::MALAYALAM)),
    (0x0D80, 0x0DF3, Script::Only(Language::SINHALA)),
    (0x3400, 0x4DBF, Script::Han),
    (0x20000, 0x3FFFF, Script::Han),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_find_their_script() {
        for (character, script) in [
            ('a', Script::Latin),
            ('ộ', Script::Latin),
            ('ж', Script::Cyrillic),
            ('中', Script::Han),
            ('ひ', Script::Kana),
            ('ー', Script::Kana),
            ('한', Script::Only(Language::KOREAN)),
            ('ไ', Script::Only(Language::THAI)),
            ('ป', Script::Only(Language::THAI)),
            ('ش', Script::Arabic),
            ('ि', Script::Devanagari),
        ] {
            assert_eq!(Script::of(character), Some(script), "{character}");
        }
        for character in ['7', '×', '[', '_', '!', ' ', '🙂', '。'] {
            assert_eq!(Script::of(character), None, "{character}");
        }
    }

    #[test]
    fn every_language_is_written_in_some_script() {
        for language in Language::all() {
            let written = RANGES.iter().any(|(_, _, script)| script.writes(language));
            assert!(written, "{language}");
        }
    }
}
