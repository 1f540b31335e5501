//! Language detection: which language a message is written in, and how sure that is.
//!
//! Messages of a chat are short, often without signs and full of names, and there the trigrams of `whatlang`
//! alone guess. So several witnesses are heard and their evidence, as logarithms of likelihood ratios, is added up:
//!
//! 1. the script decides at once, or leaves the languages that share it (`script`);
//! 2. frequent words, with and without their signs (`words`, `lexicon`);
//! 3. whole messages such as "bao nhieu" (`phrases`);
//! 4. special letters, endings, and the shape of Vietnamese syllables (`shapes`, `vietnamese`);
//! 5. where doubt is left, the trigrams of `whatlang`, whose say grows with the length of the text (`trigrams`);
//! 6. what the caller knows: the company's languages and the conversation's last one ([`Hints`]).
//!
//! Nothing is learnt from data at run time and no state is kept: the same message and hints give the same answer.

mod lexicon;
mod phrases;
#[cfg(test)]
mod samples;
mod score;
mod script;
mod shapes;
mod tokens;
mod trigrams;
mod vietnamese;
mod words;

use crate::domain::language::Language;

use score::Scores;
use script::Script;
use tokens::Tokens;

/// Finds the language of a message. Building one costs nothing: the tables are shared by the whole process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Detector;

/// What the caller knows before reading the message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// The languages that the company serves, its main one first; empty for any.
    ///
    /// The answer is one of them unless the script plainly contradicts all of them.
    pub allowed: &'a [Language],
    /// The language of the conversation so far. It decides messages that say little by themselves, such as "ok".
    pub prior: Option<Language>,
}

/// The language of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The most probable language.
    pub language: Language,
    /// The probability that it is the right one, 0 to 1.
    ///
    /// With allowed languages it is low when the message looks like none of them.
    pub confidence: f32,
}

/// Surest a detection gets: scripts and words are borrowed.
const SUREST: f32 = 0.995;
/// With only languages of other scripts allowed, Latin text counts as a contradiction from this confidence on:
/// product names and codes are written in Latin letters everywhere.
const PLAIN_CONTRADICTION: f32 = 0.8;

impl Detector {
    /// A detector. The first detection of the process builds the tables, or [`Detector::warm_up`] does.
    pub fn new() -> Self {
        Self
    }

    /// Builds the tables now (a few milliseconds), so that the first message does not wait for it.
    pub fn warm_up(&self) {
        lexicon::lexicon();
    }

    /// Detects the language of a message in any Unicode form. Only the first [`Detector::MAX_CHARS`] characters are read.
    pub fn detect(&self, text: &str, hints: &Hints<'_>) -> Detection {
        let tokens = Tokens::read(text, Self::MAX_CHARS);
        let Some(script) = tokens.main_script() else {
            return Detection {
                language: without_letters(hints),
                confidence: if hints.prior.is_some() || hints.allowed.len() == 1 { 0.7 } else { 0.3 },
            };
        };
        let allowed_in_script = |language: &Language| script.writes(*language);
        let contradicted = !hints.allowed.is_empty() && !hints.allowed.iter().any(allowed_in_script);
        let allowed: &[Language] = if contradicted { &[] } else { hints.allowed };
        let detection = match script {
            Script::Only(language) => Detection { language, confidence: SUREST },
            Script::Han | Script::Kana => chinese_or_japanese(&tokens, allowed, hints.prior),
            _ => Scores::of(&tokens, script, allowed, hints.prior).best(allowed),
        };
        if contradicted && script == Script::Latin && detection.confidence < PLAIN_CONTRADICTION {
            return Detection { language: without_letters(hints), confidence: 0.5 };
        }
        detection
    }

    /// How many characters of a message are read. More would not make the answer better, only later.
    pub const MAX_CHARS: usize = 400;
}

/// The language of a message that says nothing: the conversation's, else the company's main one, else English.
fn without_letters(hints: &Hints<'_>) -> Language {
    let prior = hints.prior.filter(|prior| hints.allowed.is_empty() || hints.allowed.contains(prior));
    prior.or_else(|| hints.allowed.first().copied()).unwrap_or(Language::ENGLISH)
}

/// Chinese and Japanese share characters; kana are Japanese alone, and characters without any kana mostly Chinese.
fn chinese_or_japanese(tokens: &Tokens, allowed: &[Language], prior: Option<Language>) -> Detection {
    let kana_share = tokens.kana_share();
    // One kana among twenty characters may be a brand in a Chinese text; Japanese sentences have every third.
    let from_script: f32 = if kana_share > 0.1 {
        6.0
    } else if kana_share > 0.0 {
        1.0
    } else if tokens.has_chinese_particle() {
        -5.0
    } else {
        -2.0
    };
    let mut japanese = from_script;
    japanese += match prior {
        Some(Language::JAPANESE) => 2.5,
        Some(Language::CHINESE) => -2.5,
        _ => 0.0,
    };
    let is_allowed = |language| allowed.is_empty() || allowed.contains(&language);
    let language = match (is_allowed(Language::JAPANESE), is_allowed(Language::CHINESE)) {
        (true, false) => Language::JAPANESE,
        (false, true) => Language::CHINESE,
        _ if japanese > 0.0 => Language::JAPANESE,
        _ => Language::CHINESE,
    };
    let for_it = if language == Language::JAPANESE { japanese } else { -japanese };
    // An allow-list that has only one of the two is itself evidence.
    let for_it = if is_allowed(Language::JAPANESE) && is_allowed(Language::CHINESE) { for_it } else { for_it + 4.0 };
    Detection { language, confidence: (1.0 / (1.0 + (-for_it).exp())).min(SUREST) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use unicode_normalization::UnicodeNormalization;

    use super::{
        samples::{ENGLISH_LIKE_VIETNAMESE, MESSAGES, VIETNAMESE_WITHOUT_SIGNS},
        *,
    };

    const BOTH: &[Language] = &[Language::VIETNAMESE, Language::ENGLISH];

    fn detect(text: &str, allowed: &[Language], prior: Option<Language>) -> Detection {
        Detector::new().detect(text, &Hints { allowed, prior })
    }

    /// The messages that are not taken for the language, with what they are taken for.
    fn wrong<'a>(messages: &[&'a str], language: Language, allowed: &[Language]) -> Vec<(&'a str, Detection)> {
        let found = messages.iter().map(|message| (*message, detect(message, allowed, None)));
        found.filter(|(_, detection)| detection.language != language).collect()
    }

    #[test]
    fn every_sample_is_found_without_an_allow_list() {
        for (language, messages) in MESSAGES {
            let wrong = wrong(messages, *language, &[]);
            assert!(wrong.is_empty(), "{language}: {wrong:?}");
        }
    }

    #[test]
    fn vietnamese_and_english_are_told_apart_without_signs() {
        for allowed in [&[][..], BOTH] {
            let wrong = [
                wrong(VIETNAMESE_WITHOUT_SIGNS, Language::VIETNAMESE, allowed),
                wrong(ENGLISH_LIKE_VIETNAMESE, Language::ENGLISH, allowed),
            ];
            assert!(wrong.iter().all(Vec::is_empty), "{wrong:?}");
        }
    }

    #[test]
    fn decomposed_text_is_read_like_composed_text() {
        for (_, messages) in MESSAGES {
            for message in *messages {
                let decomposed: String = message.nfd().collect();
                assert_eq!(detect(message, &[], None), detect(&decomposed, &[], None), "{message}");
            }
        }
    }

    #[test]
    fn a_message_that_says_little_stays_in_the_conversations_language() {
        for message in ["ok", "OK!", "hello", "123", "👍", "?", "", "iPhone 17", "https://example.org/en/help"] {
            for prior in [Language::VIETNAMESE, Language::ENGLISH, Language::FRENCH] {
                assert_eq!(detect(message, &[], Some(prior)).language, prior, "{message:?}");
            }
        }
    }

    #[test]
    fn a_message_that_says_enough_leaves_the_conversations_language() {
        let english = detect("how much does it cost?", BOTH, Some(Language::VIETNAMESE));
        assert_eq!(english.language, Language::ENGLISH);
        let vietnamese = detect("bao nhieu tien vay", BOTH, Some(Language::ENGLISH));
        assert_eq!(vietnamese.language, Language::VIETNAMESE);
    }

    #[test]
    fn a_prior_outside_the_allow_list_is_not_chosen() {
        assert_eq!(detect("123", BOTH, Some(Language::THAI)).language, Language::VIETNAMESE);
        assert_ne!(detect("ok", BOTH, Some(Language::FRENCH)).language, Language::FRENCH);
    }

    #[test]
    fn an_allow_list_of_one_holds_unless_the_script_contradicts_it() {
        let only = &[Language::VIETNAMESE];
        for message in ["What is your name?", "hola", "ok", "12", ""] {
            assert_eq!(detect(message, only, None).language, Language::VIETNAMESE, "{message:?}");
        }
        assert_eq!(detect("ราคาเท่าไหร่", only, None).language, Language::THAI);
        assert_eq!(detect("Сколько это стоит?", only, None).language, Language::RUSSIAN);
        let korean = &[Language::KOREAN];
        assert_eq!(detect("iPhone 17 Pro", korean, None).language, Language::KOREAN);
        assert_eq!(detect("How much does it cost?", korean, None).language, Language::ENGLISH);
    }

    #[test]
    fn confidence_is_a_probability_and_follows_the_evidence() {
        for message in MESSAGES.iter().flat_map(|(_, messages)| *messages) {
            for allowed in [&[][..], BOTH] {
                let confidence = detect(message, allowed, None).confidence;
                assert!((0.0..=1.0).contains(&confidence), "{message}: {confidence}");
            }
        }
        assert!(detect("Tôi muốn tìm hiểu về lãi suất vay", &[], None).confidence > 0.95);
        assert!(detect("What is the interest rate of the loan?", &[], None).confidence > 0.95);
        assert!(detect("qwrt zxcv", &[], None).confidence < 0.6);
        // A sentence of neither language must not pass for either with certainty.
        let french = detect("Je voudrais savoir où est ma commande, s'il vous plaît", BOTH, None);
        assert!(french.confidence < 0.5, "{french:?}");
    }

    #[test]
    fn chinese_characters_follow_the_allow_list() {
        assert_eq!(detect("料金", &[Language::JAPANESE], None).language, Language::JAPANESE);
        assert_eq!(
            detect("料金", &[Language::JAPANESE, Language::CHINESE], Some(Language::JAPANESE)).language,
            Language::JAPANESE
        );
        assert_eq!(detect("谢谢", &[], Some(Language::JAPANESE)).language, Language::CHINESE);
    }

    #[test]
    fn the_time_does_not_grow_with_the_message() {
        let fastest = |message: &str| {
            let timed = (0..50).map(|_| {
                let started = Instant::now();
                std::hint::black_box(detect(message, &[], None));
                started.elapsed()
            });
            timed.min().unwrap_or(Duration::MAX)
        };
        let sentence = "Qwrt zxcv mnbv ";
        let (bounded, huge) = (fastest(&sentence.repeat(30)), fastest(&sentence.repeat(20_000)));
        assert!(huge < bounded * 5, "{huge:?} for 300,000 characters, {bounded:?} for 450");
    }

    #[test]
    fn strange_input_is_survived() {
        for message in [
            "\u{0}",
            "\u{301}\u{301}",
            "🏳️‍🌈",
            "İİİ",
            "\u{fffd}",
            "ﷺ",
            "a\u{301}\u{323}\u{302}",
            "𝓗𝓮𝓵𝓵𝓸",
            &"ệ".repeat(9_000),
            &"\u{301}".repeat(9_000),
        ] {
            let confidence = detect(message, &[], None).confidence;
            assert!((0.0..=1.0).contains(&confidence), "{message:?}");
        }
    }
}
