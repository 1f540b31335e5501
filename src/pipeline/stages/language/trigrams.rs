//! The trigrams of `whatlang`, turned into evidence: the only module that knows about that crate.

use whatlang::{Detector, Lang};

use crate::domain::language::Language;

/// What `whatlang` says at its least and at its most certain, for a text of [`LETTERS`] letters or more. Shorter texts
/// count less, by the square root of their length.
const LEAST: f32 = 0.8;
const MOST: f32 = 4.0;
const LETTERS: f32 = 40.0;

/// The language that the trigrams speak for, and how much that says as the logarithm of a likelihood ratio.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "lengths are below a thousand, and half the precision is plenty"
)]
pub(super) fn vote(message: &str, allowed: &[Language]) -> Option<(Language, f32)> {
    let among: Vec<Lang> = allowed.iter().filter_map(|language| to_whatlang(*language)).collect();
    // With one language allowed or none known there is nothing to choose among, so all are heard.
    let detector = if among.len() < 2 { Detector::new() } else { Detector::with_allowlist(among) };
    let info = detector.detect(message)?;
    let length = (message.chars().count() as f32 / LETTERS).min(1.0).sqrt();
    let weight = length * (LEAST + (MOST - LEAST) * info.confidence() as f32);
    Some((from_whatlang(info.lang())?, weight))
}

/// `whatlang` names languages by ISO 639-3, the table by ISO 639-1.
const LANGUAGES: &[(Language, Lang)] = &[
    (Language::AFRIKAANS, Lang::Afr),
    (Language::AKAN, Lang::Aka),
    (Language::ARABIC, Lang::Ara),
    (Language::AZERBAIJANI, Lang::Aze),
    (Language::BELARUSIAN, Lang::Bel),
    (Language::BULGARIAN, Lang::Bul),
    (Language::CATALAN, Lang::Cat),
    (Language::CZECH, Lang::Ces),
    (Language::WELSH, Lang::Cym),
    (Language::DANISH, Lang::Dan),
    (Language::GERMAN, Lang::Deu),
    (Language::ENGLISH, Lang::Eng),
    (Language::ESPERANTO, Lang::Epo),
    (Language::ESTONIAN, Lang::Est),
    (Language::FINNISH, Lang::Fin),
    (Language::FRENCH, Lang::Fra),
    (Language::HEBREW, Lang::Heb),
    (Language::HINDI, Lang::Hin),
    (Language::CROATIAN, Lang::Hrv),
    (Language::HUNGARIAN, Lang::Hun),
    (Language::INDONESIAN, Lang::Ind),
    (Language::ITALIAN, Lang::Ita),
    (Language::JAVANESE, Lang::Jav),
    (Language::LATIN, Lang::Lat),
    (Language::LATVIAN, Lang::Lav),
    (Language::LITHUANIAN, Lang::Lit),
    (Language::MARATHI, Lang::Mar),
    (Language::MACEDONIAN, Lang::Mkd),
    (Language::NEPALI, Lang::Nep),
    (Language::DUTCH, Lang::Nld),
    (Language::NORWEGIAN, Lang::Nob),
    (Language::PERSIAN, Lang::Pes),
    (Language::POLISH, Lang::Pol),
    (Language::PORTUGUESE, Lang::Por),
    (Language::ROMANIAN, Lang::Ron),
    (Language::RUSSIAN, Lang::Rus),
    (Language::SLOVAK, Lang::Slk),
    (Language::SLOVENE, Lang::Slv),
    (Language::SHONA, Lang::Sna),
    (Language::SPANISH, Lang::Spa),
    (Language::SERBIAN, Lang::Srp),
    (Language::SWEDISH, Lang::Swe),
    (Language::TAGALOG, Lang::Tgl),
    (Language::TURKMEN, Lang::Tuk),
    (Language::TURKISH, Lang::Tur),
    (Language::UKRAINIAN, Lang::Ukr),
    (Language::URDU, Lang::Urd),
    (Language::UZBEK, Lang::Uzb),
    (Language::VIETNAMESE, Lang::Vie),
    (Language::YIDDISH, Lang::Yid),
    (Language::ZULU, Lang::Zul),
];

fn to_whatlang(language: Language) -> Option<Lang> {
    LANGUAGES.iter().find(|(ours, _)| *ours == language).map(|(_, theirs)| *theirs)
}

fn from_whatlang(lang: Lang) -> Option<Language> {
    LANGUAGES.iter().find(|(_, theirs)| *theirs == lang).map(|(ours, _)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_that_the_trigrams_tell_apart_is_known() {
        // The other languages of `whatlang` have a script of their own, which decides before any trigram.
        let own_script = "cmn ben kat jpn amh kor ell kan tam tha guj pan tel mal ori mya sin khm hye";
        for lang in Lang::all() {
            let known = from_whatlang(*lang).is_some();
            assert_eq!(known, !own_script.contains(lang.code()), "{lang}");
        }
    }

    #[test]
    fn a_longer_message_says_more() {
        let short = vote("wo ist", &[]).map(|(_, weight)| weight);
        let long = vote("wo ist meine bestellung und wann wird sie geliefert", &[]);
        assert_eq!(long.map(|(language, _)| language), Some(Language::GERMAN));
        assert!(long.map(|(_, weight)| weight) > short);
    }
}
