//! What a question asks for, word by word, and how far a text speaks of it.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::text::without_accents;

/// What a function word counts beside a word that says something.
const FUNCTION_WORD: f32 = 0.1;

/// What two neighbours count beside a word: pairs are rare, and some are of two words that only happened to meet.
const PAIR: f32 = 0.7;

/// What a word counts that is there with other accents: `lãi` is not `lại`, but accents are also misplaced.
const OTHER_ACCENTS: f32 = 0.4;

/// Function words of Vietnamese, and the words that questions are made of.
const VIETNAMESE: &str = "ai ấy bạn bao bị bởi các cách cái cần cho có của cùng cũng đã đang đâu để đến đều được gì hay hãy hoặc hỏi \
    khi không là làm lên lúc mình một muốn nào này nếu ngay nhiêu như nhưng những nữa phải ra rằng rồi sao sẽ thì theo tôi \
    trên trong và vào vẫn vậy về với vừa xin";

/// More of them, which without accents would be taken for other words: `mấy` for `máy`, `lại` for `lãi`, `thế` for `thẻ`.
const VIETNAMESE_ACCENTED: &str = "chỉ còn đó lại mà mấy ở tại thế";

/// Function words of English, and the words that questions are made of.
const ENGLISH: &str = "a about all am an and any are as at be been but by can could did do does for from get had has have how i if \
    in into is it its me my need of on or our please should so than that the their them then there these they this those to us \
    want was we were what when where which who why will with would you your";

/// What asks for a figure, without accents.
const NUMBER_CUES: [&str; 16] = [
    "bao nhieu",
    "bao lau",
    "may ngay",
    "may lan",
    "may phan tram",
    "may nam",
    "khi nao",
    "lai suat",
    "toi da",
    "how much",
    "how many",
    "how long",
    "what is the fee",
    "what is the rate",
    "cost",
    "price",
];

/// What asks for a list: papers, conditions, steps; without accents.
const LIST_CUES: [&str; 24] = [
    "lam gi",
    "lam sao",
    "lam the nao",
    "nhu the nao",
    "giay to",
    "ho so",
    "gom",
    "nhung gi",
    "cac buoc",
    "cach",
    "dieu kien",
    "thu tuc",
    "can gi",
    "documents",
    "papers",
    "how do",
    "how can",
    "how to",
    "steps",
    "requirements",
    "conditions",
    "what do i need",
    "what should i do",
    "which",
];

/// What lists are called by those who ask for them, without accents; the lists themselves seldom say it.
const LIST_NOUNS: [&str; 10] = [
    "giay to",
    "ho so",
    "dieu kien",
    "thu tuc",
    "cac buoc",
    "documents",
    "papers",
    "steps",
    "requirements",
    "conditions",
];

/// A question, ready to be compared.
pub(super) struct Question {
    /// Its words and its pairs of neighbours, each once: Vietnamese words are mostly of two syllables, written apart.
    pub(super) terms: Vec<Term>,
    /// Whether it asks for a figure.
    pub(super) wants_number: bool,
    /// Whether it asks for papers, conditions or steps, which are often a list.
    pub(super) wants_list: bool,
}

/// A word of the question, or two neighbours.
pub(super) struct Term {
    key: String,
    /// The word as it is written, if it has accents.
    accented: Option<String>,
    /// What it counts before its rarity is known.
    pub(super) weight: f32,
    /// Whether it is one word that says something.
    pub(super) is_content: bool,
    /// Whether it is a name for lists, such as documents or steps.
    pub(super) names_list: bool,
}

impl Question {
    /// Takes a question of a language, given by its ISO 639-1 code, to pieces.
    pub(super) fn new(question: &str, language: &str) -> Self {
        let (listed, accented) = if language == "vi" { (VIETNAMESE, VIETNAMESE_ACCENTED) } else { (ENGLISH, "") };
        let folded: HashSet<String> = listed.split_whitespace().map(fold).collect();
        let written: HashSet<&str> = listed.split_whitespace().chain(accented.split_whitespace()).collect();
        let tokens = tokens(question);
        // Whoever types without accents means the function word; `căn` with them is not `cần`.
        let is_function = |token: &Token| {
            if token.written == token.folded {
                folded.contains(&token.folded)
            } else {
                written.contains(token.written.as_str())
            }
        };
        let list_nouns: HashSet<String> =
            LIST_NOUNS.iter().map(|noun| noun.split(' ').map(stem).collect::<Vec<_>>().join(" ")).collect();
        let mut seen = HashSet::new();
        let mut terms = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            let is_content = !is_function(token);
            if seen.insert(token.key.clone()) {
                let accented = (token.written != token.folded).then(|| token.written.clone());
                let weight = if is_content { 1.0 } else { FUNCTION_WORD };
                let names_list = list_nouns.contains(&token.key);
                terms.push(Term { key: token.key.clone(), accented, weight, is_content, names_list });
            }
            let Some(next) = tokens.get(place + 1) else { continue };
            let pair = format!("{} {}", token.key, next.key);
            let weight = if is_content && !is_function(next) { PAIR } else { FUNCTION_WORD };
            if seen.insert(pair.clone()) {
                let names_list = list_nouns.contains(&pair);
                terms.push(Term { key: pair, accented: None, weight, is_content: false, names_list });
            }
        }
        let plain = tokens.iter().map(|token| token.folded.as_str()).collect::<Vec<_>>().join(" ");
        let plain = format!(" {plain} ");
        let has_cue = |cues: &[&str]| cues.iter().any(|cue| plain.contains(&format!(" {cue} ")));
        Self { terms, wants_number: has_cue(&NUMBER_CUES), wants_list: has_cue(&LIST_CUES) }
    }
}

/// The words of a text, ready to be asked for terms.
#[derive(Default)]
pub(super) struct Text {
    keys: HashSet<String>,
    written: HashSet<String>,
    has_accents: bool,
    /// Whether there is a figure in it.
    pub(super) has_number: bool,
}

impl Text {
    /// Takes a text to pieces.
    pub(super) fn new(text: &str) -> Self {
        let tokens = tokens(text);
        let pairs = tokens.windows(2).filter_map(|pair| match pair {
            [first, second] => Some(format!("{} {}", first.key, second.key)),
            _ => None,
        });
        let keys = pairs.chain(tokens.iter().map(|token| token.key.clone())).collect();
        let has_accents = tokens.iter().any(|token| token.written != token.folded);
        let has_number = text.chars().any(char::is_numeric);
        Self { keys, written: tokens.into_iter().map(|token| token.written).collect(), has_accents, has_number }
    }

    /// How far a term is in the text, from 0 to 1.
    pub(super) fn share_of(&self, term: &Term) -> f32 {
        let is_other = |accented: &String| self.has_accents && !self.written.contains(accented);
        match (self.keys.contains(&term.key), &term.accented) {
            (false, _) => 0.0,
            (true, Some(accented)) if is_other(accented) => OTHER_ACCENTS,
            (true, _) => 1.0,
        }
    }
}

/// The words of a text in lower case, accents folded: `Lãi suất` and `lai suat` are the same.
pub(super) fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(fold).collect()
}

struct Token {
    /// In lower case, as it is written.
    written: String,
    /// The same without accents.
    folded: String,
    /// What it is compared by.
    key: String,
}

fn tokens(text: &str) -> Vec<Token> {
    text.unicode_words()
        .map(|word| {
            let written: String = word.nfkc().flat_map(char::to_lowercase).collect();
            let folded = fold(word);
            Token { key: stem(&folded).to_owned(), written, folded }
        })
        .collect()
}

fn fold(word: &str) -> String {
    without_accents(&word.nfkc().flat_map(char::to_lowercase).collect::<String>())
}

/// An English word without its common endings, so that `foreigners` and `foreign` meet. No Vietnamese syllable of five
/// letters or more ends like this.
fn stem(word: &str) -> &str {
    let strip = |word: &'_ str, ending: &str, fewest: usize| -> Option<usize> {
        word.strip_suffix(ending).filter(|rest| rest.len() >= fewest).map(str::len)
    };
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word;
    }
    let mut stem = word;
    for (ending, fewest) in [("s", 3), ("ing", 3), ("ed", 3), ("er", 4), ("e", 3), ("y", 4), ("i", 4)] {
        if stem.len() >= 4 && !stem.ends_with("ss") {
            stem = strip(stem, ending, fewest).and_then(|length| stem.get(..length)).unwrap_or(stem);
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded() {
        assert_eq!(words("Đường TỚI lãi-suất 7,5%"), ["duong", "toi", "lai", "suat", "7,5"]);
        assert_eq!(words("Đà Nẵng"), words("da nang"));
    }

    #[test]
    fn english_endings_do_not_part_words() {
        for (one, other) in [
            ("foreigners", "foreign"),
            ("opening", "open"),
            ("documents", "document"),
            ("fees", "fee"),
            ("charged", "charge"),
            ("companies", "company"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} {other}");
        }
        for word in ["thuong", "nghieng", "the", "phi", "visa", "business"] {
            assert!(stem(word).len() + 1 >= word.len(), "{word}: {}", stem(word));
        }
    }

    #[test]
    fn accents_count_where_both_sides_write_them() {
        let share = |question: &str, text: &str| {
            let question = Question::new(question, "vi");
            question.terms.iter().map(|term| Text::new(text).share_of(term)).fold(0.0, f32::max)
        };
        assert!(share("lãi", "Trả lại thẻ") < 1.0);
        assert!(share("lãi", "Trả lãi") >= 1.0 && share("lai", "Trả lãi") >= 1.0 && share("lãi", "tra lai") >= 1.0);
        assert!(share("lãi", "Phí") <= 0.0);
    }

    #[test]
    fn questions_say_what_they_want() {
        let asks = |question: &str| {
            let question = Question::new(question, "vi");
            (question.wants_number, question.wants_list)
        };
        assert_eq!(asks("Phí rút tiền là bao nhiêu?"), (true, false));
        assert_eq!(asks("mat the thi phai lam gi"), (false, true));
        assert_eq!(asks("Which documents are required?"), (false, true));
        assert_eq!(asks("gomma"), (false, false));
        let content = |question: &str, language: &str| -> usize {
            Question::new(question, language).terms.iter().filter(|term| term.is_content).count()
        };
        assert_eq!(content("mất thẻ thì phải làm gì", "vi"), 2);
        assert_eq!(content("mat the thi phai lam gi", "vi"), 2, "`the` is thẻ");
        assert_eq!(content("what is the fee", "en"), 1);
    }
}
