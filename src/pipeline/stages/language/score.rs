//! The sum of the evidence for each language of a script.

use super::{
    Detection, SUREST,
    lexicon::{LanguageSet, lexicon},
    script::Script,
    tokens::{Token, Tokens},
    trigrams, vietnamese,
};
use crate::domain::language::Language;

/// A logarithm of a likelihood ratio per language, for the languages that write the message's script.
pub(super) struct Scores {
    sums: [f32; Language::COUNT],
    script: Script,
}

/// The conversation's last language is this much more probable than without it.
const PRIOR: f32 = 3.0;
/// The company's main language, for messages that say nothing.
const MAIN_LANGUAGE: f32 = 0.3;
/// A company's languages against all others.
const ALLOWED: f32 = 5.0;
/// A whole message that is a common phrase.
const PHRASE: f32 = 5.0;
/// A borrowed word leans to English, no more.
const BORROWED: f32 = 0.9;
/// A word with a letter that the language does not have.
const FOREIGN_LETTER: f32 = -3.0;
/// A word that no list knows and that could, or could not, be a Vietnamese syllable.
const SYLLABLE: f32 = 1.6;
const NO_SYLLABLE: f32 = -1.6;
/// A word that another language's list knows and that could be a Vietnamese syllable too.
const SHARED_SYLLABLE: f32 = 0.4;
const FOREIGN_NAME: f32 = 0.15;
/// English has the longest list, so a word that no list knows is less likely English than anything else.
const UNLISTED_ENGLISH: f32 = -0.4;
/// An ending or cluster, and the most that a word's all together say.
const SHAPE: f32 = 0.7;
const SHAPE_CAP: f32 = 1.4;
/// What evidence from a probable name is worth.
const NAME: f32 = 0.45;
/// A lead that no later evidence could turn.
const DECIDED: f32 = 12.0;
/// Softens the sums into probabilities: the witnesses are not independent, as adding them up pretends.
///
/// Calibrated on the even-numbered XQuAD questions (Vietnamese with and without signs, English; whole and cut to four
/// words; with and without an allow-list) and checked on the odd-numbered ones, where the expected calibration error
/// is 0.016. Those questions alone would take 0.8, but they know no related languages such as Spanish and Portuguese,
/// whose short messages are harder, hence the higher value.
const TEMPERATURE: f32 = 1.3;

impl Scores {
    /// Hears all witnesses.
    pub(super) fn of(tokens: &Tokens, script: Script, allowed: &[Language], prior: Option<Language>) -> Self {
        let mut scores = Self { sums: [0.0; Language::COUNT], script };
        for language in Language::all() {
            scores.add(language, base(language));
        }
        for word in tokens.of_script(script) {
            scores.hear_word(word);
        }
        let message = joined(tokens, script);
        scores.hear_phrase(&message);
        if !scores.are_decided() {
            scores.hear_trigrams(&message, allowed);
        }
        if let Some(prior) = prior {
            scores.add(prior, PRIOR);
        }
        if let Some(main) = allowed.first() {
            scores.add(*main, MAIN_LANGUAGE);
        }
        for language in allowed {
            scores.add(*language, ALLOWED);
        }
        scores
    }

    /// The most probable of the allowed languages (of all, when none is named), and how probable it is among all.
    pub(super) fn best(&self, allowed: &[Language]) -> Detection {
        let candidates = || Language::all().filter(|language| self.script.writes(*language));
        let language = candidates()
            .filter(|language| allowed.is_empty() || allowed.contains(language))
            .max_by(|a, b| self.sum(*a).total_cmp(&self.sum(*b)).then(b.cmp(a)))
            .unwrap_or(Language::ENGLISH);
        let best = self.sum(language);
        let mass: f32 = candidates().map(|other| ((self.sum(other) - best) / TEMPERATURE).exp()).sum();
        Detection { language, confidence: (1.0 / mass).clamp(0.0, SUREST) }
    }

    /// Whether the words alone leave no doubt, so that the slowest witness need not be heard.
    fn are_decided(&self) -> bool {
        let (mut best, mut second) = (f32::MIN, f32::MIN);
        for language in Language::all().filter(|language| self.script.writes(*language)) {
            let sum = self.sum(language);
            second = second.max(sum.min(best));
            best = best.max(sum);
        }
        best - second > DECIDED
    }

    fn hear_word(&mut self, word: &Token) {
        let credit = if word.is_name { NAME } else { 1.0 };
        if lexicon().is_borrowed(&word.text) {
            self.add(Language::ENGLISH, BORROWED * credit);
            return;
        }
        let listed = lexicon().word(&word.text);
        for (language, weight) in listed {
            self.add(*language, weight * credit);
        }
        let writers = lexicon().writers(&word.text);
        if let Some(writers) = writers {
            self.add_to_all_but(writers, FOREIGN_LETTER * credit);
        }
        if self.script == Script::Latin {
            self.add(Language::VIETNAMESE, syllable_weight(word, listed, writers));
        }
        if listed.is_empty() {
            self.add(Language::ENGLISH, UNLISTED_ENGLISH * credit);
            self.hear_shape(&word.text, credit);
        }
    }

    fn hear_shape(&mut self, word: &str, credit: f32) {
        let mut found = [0.0_f32; Language::COUNT];
        lexicon().shapes(word, |language| {
            if let Some(sum) = found.get_mut(language.index()) {
                *sum = (*sum + SHAPE).min(SHAPE_CAP);
            }
        });
        for (sum, found) in self.sums.iter_mut().zip(found) {
            *sum += found * credit;
        }
    }

    fn hear_phrase(&mut self, message: &str) {
        for language in lexicon().phrase(message) {
            let borrowed = message.split(' ').all(|word| lexicon().is_borrowed(word));
            self.add(*language, if borrowed { BORROWED } else { PHRASE });
        }
    }

    fn hear_trigrams(&mut self, message: &str, allowed: &[Language]) {
        if let Some((language, weight)) = trigrams::vote(message, allowed) {
            self.add(language, weight);
        }
    }

    fn sum(&self, language: Language) -> f32 {
        self.sums.get(language.index()).copied().unwrap_or(f32::MIN)
    }

    fn add(&mut self, language: Language, weight: f32) {
        if let Some(sum) = self.sums.get_mut(language.index()) {
            *sum += weight;
        }
    }

    fn add_to_all_but(&mut self, except: LanguageSet, weight: f32) {
        for language in Language::all().filter(|language| !except.contains(*language)) {
            self.add(language, weight);
        }
    }
}

/// What a Latin word's shape says about Vietnamese, beyond what the lists say.
fn syllable_weight(word: &Token, listed: &[(Language, f32)], writers: Option<LanguageSet>) -> f32 {
    let is_vietnamese_word = listed.iter().any(|(language, _)| *language == Language::VIETNAMESE);
    let has_foreign_letter = writers.is_some_and(|writers| !writers.contains(Language::VIETNAMESE));
    // A single letter has no shape, and a foreign letter has already spoken.
    if is_vietnamese_word || has_foreign_letter || word.folded.chars().nth(1).is_none() {
        return 0.0;
    }
    match (vietnamese::is_syllable(&word.folded), listed.is_empty()) {
        (true, true) => SYLLABLE,
        (true, false) => SHARED_SYLLABLE,
        // Vietnamese texts are full of foreign names.
        (false, _) if word.is_name => NO_SYLLABLE * FOREIGN_NAME,
        (false, _) => NO_SYLLABLE,
    }
}

/// How common a language is among customers' messages, before any is read.
fn base(language: Language) -> f32 {
    const COMMON: &[Language] = &[
        Language::SPANISH,
        Language::PORTUGUESE,
        Language::FRENCH,
        Language::GERMAN,
        Language::ITALIAN,
        Language::INDONESIAN,
        Language::TURKISH,
        Language::DUTCH,
        Language::POLISH,
    ];
    const RARE: &[Language] = &[
        Language::LATIN,
        Language::ESPERANTO,
        Language::AKAN,
        Language::SHONA,
        Language::ZULU,
        Language::JAVANESE,
        Language::TURKMEN,
        Language::UZBEK,
        Language::WELSH,
        Language::AFRIKAANS,
        Language::YIDDISH,
    ];
    match language {
        Language::ENGLISH
        | Language::VIETNAMESE
        | Language::RUSSIAN
        | Language::ARABIC
        | Language::HINDI
        | Language::HEBREW => 0.0,
        language if COMMON.contains(&language) => -1.0,
        language if RARE.contains(&language) => -3.5,
        _ => -2.0,
    }
}

fn joined(tokens: &Tokens, script: Script) -> String {
    let mut message = String::new();
    for word in tokens.of_script(script) {
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(&word.text);
    }
    message
}
