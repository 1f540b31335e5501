//! The languages that Turnpike can name: a closed table of ISO 639-1 codes and English names.
//!
//! A [`Language`] is one byte and always valid, so the rest of the code never carries a language as free text.
//! It is written as its code everywhere outside the process (JSON, settings, events).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One language of the table.
///
/// Ordered by its place in the table, which is fixed for a build but not across versions: store the code, not the place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, description = "A language by its ISO 639-1 code.", example = "vi")]
pub struct Language(u8);

/// Why a text does not name a language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a known code nor a known English name.
    #[error(
        "unknown language {given:?}: use an ISO 639-1 code such as \"vi\", \"en\" or \"fr\", \
         or an English name such as \"vietnamese\""
    )]
    Unknown {
        /// What was given, cut to [`Error::SHOWN`] characters.
        given: String,
    },
}

impl Error {
    /// How many characters of a wrong value an error repeats.
    pub const SHOWN: usize = 40;
}

impl Language {
    /// Every language of the table, Vietnamese and English first.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().zip(0u8..).map(|(_, place)| Self(place))
    }

    /// How many languages the table has; [`Language::index`] is below it.
    pub const COUNT: usize = TABLE.len();

    /// Finds a language by its ISO 639-1 code ("vi", "VI"), by a tag that begins with one ("vi-VN", "zh_Hans_CN")
    /// or by its English name ("vietnamese"). Surrounding spaces and case do not matter.
    pub fn from_code(text: &str) -> Option<Self> {
        let text = text.trim();
        let primary = text.split(['-', '_']).next().unwrap_or(text);
        // A withdrawn or broader code means the language that the table has.
        let primary =
            ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(primary)).map_or(primary, |(_, code)| code);
        Self::all().find(|language| {
            language.code().eq_ignore_ascii_case(primary) || language.name().eq_ignore_ascii_case(text)
        })
    }

    /// The ISO 639-1 code in lower case, for example `vi`.
    pub fn code(self) -> &'static str {
        self.entry().0
    }

    /// The English name in lower case, for example `vietnamese`.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The place in the table, for arrays of [`Language::COUNT`] elements.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    fn entry(self) -> (&'static str, &'static str) {
        // The field is private and only ever holds a place of the table; the default is for the compiler.
        TABLE.get(self.index()).copied().unwrap_or(("en", "english"))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Language({})", self.code())
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_code(text).ok_or_else(|| Error::Unknown { given: text.chars().take(Error::SHOWN).collect() })
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Language;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a language code such as \"vi\" or \"en\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Language, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// Codes that people and browsers send for a language that the table has under another one.
const ALIASES: [(&str, &str); 8] =
    [("no", "nb"), ("nn", "nb"), ("iw", "he"), ("in", "id"), ("ji", "yi"), ("fil", "tl"), ("cmn", "zh"), ("mo", "ro")];

/// Writes the table and one constant per row, so that a constant cannot point at another language's row.
macro_rules! languages {
    ($($constant:ident $code:literal $name:literal)*) => {
        const TABLE: &[(&str, &str)] = &[$(($code, $name)),*];

        #[expect(clippy::upper_case_acronyms, reason = "the names become constants")]
        #[repr(u8)]
        enum Place { $($constant),* }

        impl Language {
            $(
                #[doc = concat!("The language called ", $name, " in English; its code is `", $code, "`.")]
                pub const $constant: Self = Self(Place::$constant as u8);
            )*
        }
    };
}

languages! {
    VIETNAMESE "vi" "vietnamese"
    ENGLISH "en" "english"
    AFRIKAANS "af" "afrikaans"
    AKAN "ak" "akan"
    ALBANIAN "sq" "albanian"
    AMHARIC "am" "amharic"
    ARABIC "ar" "arabic"
    ARMENIAN "hy" "armenian"
    AZERBAIJANI "az" "azerbaijani"
    BASQUE "eu" "basque"
    BELARUSIAN "be" "belarusian"
    BENGALI "bn" "bengali"
    BOSNIAN "bs" "bosnian"
    BULGARIAN "bg" "bulgarian"
    BURMESE "my" "burmese"
    CATALAN "ca" "catalan"
    CHINESE "zh" "chinese"
    CROATIAN "hr" "croatian"
    CZECH "cs" "czech"
    DANISH "da" "danish"
    DUTCH "nl" "dutch"
    ESPERANTO "eo" "esperanto"
    ESTONIAN "et" "estonian"
    FINNISH "fi" "finnish"
    FRENCH "fr" "french"
    GALICIAN "gl" "galician"
    GEORGIAN "ka" "georgian"
    GERMAN "de" "german"
    GREEK "el" "greek"
    GUJARATI "gu" "gujarati"
    HEBREW "he" "hebrew"
    HINDI "hi" "hindi"
    HUNGARIAN "hu" "hungarian"
    ICELANDIC "is" "icelandic"
    INDONESIAN "id" "indonesian"
    IRISH "ga" "irish"
    ITALIAN "it" "italian"
    JAPANESE "ja" "japanese"
    JAVANESE "jv" "javanese"
    KANNADA "kn" "kannada"
    KAZAKH "kk" "kazakh"
    KHMER "km" "khmer"
    KOREAN "ko" "korean"
    LAO "lo" "lao"
    LATIN "la" "latin"
    LATVIAN "lv" "latvian"
    LITHUANIAN "lt" "lithuanian"
    MACEDONIAN "mk" "macedonian"
    MALAY "ms" "malay"
    MALAYALAM "ml" "malayalam"
    MARATHI "mr" "marathi"
    MONGOLIAN "mn" "mongolian"
    NEPALI "ne" "nepali"
    NORWEGIAN "nb" "norwegian"
    ODIA "or" "odia"
    PERSIAN "fa" "persian"
    POLISH "pl" "polish"
    PORTUGUESE "pt" "portuguese"
    PUNJABI "pa" "punjabi"
    ROMANIAN "ro" "romanian"
    RUSSIAN "ru" "russian"
    SERBIAN "sr" "serbian"
    SHONA "sn" "shona"
    SINHALA "si" "sinhala"
    SLOVAK "sk" "slovak"
    SLOVENE "sl" "slovene"
    SPANISH "es" "spanish"
    SWAHILI "sw" "swahili"
    SWEDISH "sv" "swedish"
    TAGALOG "tl" "tagalog"
    TAMIL "ta" "tamil"
    TELUGU "te" "telugu"
    THAI "th" "thai"
    TIBETAN "bo" "tibetan"
    TURKISH "tr" "turkish"
    TURKMEN "tk" "turkmen"
    UKRAINIAN "uk" "ukrainian"
    URDU "ur" "urdu"
    UZBEK "uz" "uzbek"
    WELSH "cy" "welsh"
    YIDDISH "yi" "yiddish"
    ZULU "zu" "zulu"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_tags_and_names_find_their_language() {
        for text in ["vi", "VI", "vi-VN", "vi_VN", " vi ", "vietnamese", "Vietnamese"] {
            assert_eq!(Language::from_code(text), Some(Language::VIETNAMESE), "{text:?}");
        }
        assert_eq!(Language::from_code("en-GB"), Some(Language::ENGLISH));
        assert_eq!(Language::from_code("zh-Hans-CN"), Some(Language::CHINESE));
        assert_eq!(Language::from_code("no"), Some(Language::NORWEGIAN));
        assert_eq!(Language::from_code("IW"), Some(Language::HEBREW));
    }

    #[test]
    fn other_texts_find_none() {
        for text in ["", " ", "auto", "v", "vie n", "vietnamese-VN", "-vi", "x".repeat(10_000).as_str()] {
            assert_eq!(Language::from_code(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_table_is_sound() {
        let mut seen = HashSet::new();
        for language in Language::all() {
            assert_eq!(language.code().len(), 2, "{language:?}");
            assert_eq!(language.name(), language.name().to_lowercase());
            assert!(seen.insert(language.code()), "code given twice: {language}");
            assert!(seen.insert(language.name()), "name given twice: {}", language.name());
            assert_eq!(Language::from_code(language.code()), Some(language));
            assert_eq!(Language::from_code(language.name()), Some(language));
        }
        assert_eq!(Language::all().count(), Language::COUNT);
        for (alias, code) in ALIASES {
            assert!(!seen.contains(alias), "{alias} is in the table itself");
            assert!(seen.contains(code), "{alias} leads nowhere");
        }
    }

    #[test]
    fn written_and_read_as_the_code() {
        assert_eq!(serde_json::to_string(&Language::VIETNAMESE).unwrap(), r#""vi""#);
        assert_eq!(serde_json::from_str::<Language>(r#""en-US""#).unwrap(), Language::ENGLISH);
        assert_eq!(Language::JAPANESE.to_string(), "ja");
        assert_eq!(format!("{:>4}", Language::JAPANESE), "  ja");
    }

    #[test]
    fn an_error_says_what_to_write_and_stays_short() {
        let error = "klingon".parse::<Language>().unwrap_err().to_string();
        assert!(error.contains("klingon") && error.contains("\"vi\""), "{error}");
        let error = "x".repeat(10_000).parse::<Language>().unwrap_err().to_string();
        assert!(error.len() < 300, "{error}");
        assert!(serde_json::from_str::<Language>("7").is_err());
    }
}
