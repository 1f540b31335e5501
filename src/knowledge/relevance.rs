//! How much a passage has to do with a question, from 0 to 1.
//!
//! Fused ranks only order passages: the best of a hundred that have nothing to do with the question ranks first too. So
//! the few passages that are left after the fusion are looked at once more. Each word of the question counts as much as
//! it can tell, and is found in full when it stands in the passage beside a word that it stands beside in the question;
//! alone, it is found the less the shorter it is, for short words meet by chance. Where the embedding model knows the
//! language, the cosine of the two texts speaks as well.

use std::collections::HashSet;

use super::sparse::singular;
use super::words::{Word, words};
use crate::domain::knowledge::Passage;
use crate::domain::text::without_accents;

/// Passages below it do not answer, unless a pipeline says otherwise.
pub const DEFAULT_THRESHOLD: f32 = 0.2;

/// What a function word counts beside a word that says something.
const FUNCTION_WORD: f32 = 0.08;
/// Texts share some words by chance. Shares are raised to this power, which puts what chance does below
/// `DEFAULT_THRESHOLD`.
const CHANCE: f32 = 1.4;
/// The cosine of texts that have nothing to do with each other, and that of a question and its answer.
const COSINES: (f32, f32) = (0.15, 0.65);

/// The relevance of a passage for a question. The cosine is that of their dense vectors, if the embedding model knows the
/// question's language: of another language it would mislead.
pub fn relevance(question: &str, passage: &Passage, cosine: Option<f32>) -> f32 {
    let by_words = coverage(&words(question), &Text::of(passage));
    let Some(cosine) = cosine else { return by_words };
    let (low, high) = COSINES;
    let by_meaning = ((cosine - low) / (high - low)).clamp(0.0, 1.0);
    combined(by_words, by_meaning)
}

fn combined(by_words: f32, by_meaning: f32) -> f32 {
    (by_words * 0.4 + by_meaning * 0.6).clamp(0.0, 1.0)
}

/// The words of a passage, of its title and of its headings.
struct Text {
    accented: HashSet<String>,
    folded: HashSet<String>,
    pairs: HashSet<(String, String)>,
    has_accents: bool,
}

impl Text {
    fn of(passage: &Passage) -> Self {
        let mut text =
            Self { accented: HashSet::new(), folded: HashSet::new(), pairs: HashSet::new(), has_accents: false };
        let parts = std::iter::once(&passage.title).chain(&passage.headings).chain(std::iter::once(&passage.text));
        for part in parts {
            let words = words(part);
            for pair in words.windows(2) {
                if let [first, second] = pair {
                    text.pairs.insert((singular(&first.folded).to_owned(), singular(&second.folded).to_owned()));
                }
            }
            for word in words {
                text.has_accents |= word.accented != word.folded;
                text.folded.insert(singular(&word.folded).to_owned());
                text.accented.insert(word.accented);
            }
        }
        text
    }

    fn has_pair(&self, first: &Word, second: &Word) -> bool {
        self.pairs.contains(&(singular(&first.folded).to_owned(), singular(&second.folded).to_owned()))
    }
}

/// The share of the question's words that are in the text, weighted by what each can tell.
fn coverage(question: &[Word], text: &Text) -> f32 {
    let (mut found, mut all) = (0.0, 0.0);
    let mut seen = HashSet::new();
    for (place, word) in question.iter().enumerate() {
        if !seen.insert(word.folded.as_str()) {
            continue;
        }
        let weight = if is_function_word(word) { FUNCTION_WORD } else { 1.0 };
        all += weight;
        if text.folded.contains(singular(&word.folded)) {
            let before = place.checked_sub(1).and_then(|before| question.get(before));
            let after = question.get(place + 1);
            let in_pair = before.map_or(0.0, |before| beside(before, word, text));
            let in_pair = in_pair.max(after.map_or(0.0, |after| beside(word, after, text)));
            found += weight * in_pair.max(alone(word, text));
        }
    }
    if all > 0.0 { f32::powf(found / all, CHANCE) } else { 0.0 }
}

/// How far the words of a pair are found when it stands in the text: in full, but half beside a function word, which stands
/// beside any.
fn beside(first: &Word, second: &Word, text: &Text) -> f32 {
    match (text.has_pair(first, second), is_function_word(first), is_function_word(second)) {
        (false, ..) | (_, true, true) => 0.0,
        (true, false, false) => 1.0,
        (true, ..) => 0.5,
    }
}

/// How far a word is found that stands in the text, but not beside its neighbour in the question.
fn alone(word: &Word, text: &Text) -> f32 {
    if word.is_bigram || word.folded.chars().any(|c| c.is_ascii_digit()) {
        return 1.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "words are short")]
    let letters = word.folded.chars().count() as f32;
    let by_length = ((letters - 1.0) / 6.0).clamp(0.2, 1.0);
    // `lãi` and `lại` are different words, if both sides wrote their accents.
    let is_other_word = word.accented != word.folded && text.has_accents && !text.accented.contains(&word.accented);
    if is_other_word { by_length * 0.3 } else { by_length }
}

fn is_function_word(word: &Word) -> bool {
    let typed_without_accents = word.accented == word.folded;
    FUNCTION_WORDS.contains(word.accented.as_str())
        || (typed_without_accents && FOLDED_FUNCTION_WORDS.contains(&word.folded))
}

/// Words that stand in any question: pronouns, particles, auxiliaries, question words, and what is said to be polite.
static FUNCTION_WORDS: std::sync::LazyLock<HashSet<&'static str>> =
    std::sync::LazyLock::new(|| [VIETNAMESE, ENGLISH].iter().flat_map(|list| list.split_whitespace()).collect());

static FOLDED_FUNCTION_WORDS: std::sync::LazyLock<HashSet<String>> =
    std::sync::LazyLock::new(|| FUNCTION_WORDS.iter().map(|word| without_accents(word)).collect());

const VIETNAMESE: &str = "ạ à ai anh ấy bạn bao bằng bất bây bị bởi các cái cần chị cho chỉ chúng chưa có còn cô của \
    cũng cùng cứ dạ do đã đang đâu đây để đến đều đi đó được em gì giờ hả hay hãy hơn khi không là làm lại lên mà mình \
    một mỗi muốn này nào nên nếu nhé nhiêu như những nhưng nữa ở phải qua quá quý ra rằng rất rồi sao sau sẽ tại theo \
    thì thế thêm tôi tới trên trong trước từ và vào vẫn vậy về vì việc với vừa xin nhất lúc hỏi biết giúp ơi nhỉ";

const ENGLISH: &str = "a about after all also am an and any are as at be been before being between both but by can \
    could did do does doing during each few for from further get give had has have having he her here hers him his how \
    i if in into is it its it's i'm just know let like many may me might more most much must my name need no nor not of \
    off on once only or other our out over own please same shall she should so some such tell than thank thanks that the \
    their them then there these they this those through to too under until up us very want was we were what what's when \
    where which while who whom whose why will with would you your";

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(title: &str, text: &str) -> Passage {
        Passage {
            document_id: "d".parse().expect("an id"),
            ordinal: 0,
            title: title.to_owned(),
            url: None,
            headings: vec![title.to_owned()],
            text: text.to_owned(),
            language: None,
            industry: None,
        }
    }

    fn loan() -> Passage {
        passage("Vay mua nhà", "Lãi suất vay mua nhà cố định 12 tháng đầu là 6,8%/năm, sau đó thả nổi theo thị trường.")
    }

    #[test]
    fn a_question_is_nearer_to_its_answer_than_to_chance() {
        for question in ["Lãi suất vay mua nhà là bao nhiêu?", "lai suat vay mua nha la bao nhieu"] {
            assert!(relevance(question, &loan(), None) > 0.6, "{question}");
        }
        for question in ["Thời tiết ngày mai có mưa không?", "doi bong nao da tran toi nay", "Who painted the ceiling?"]
        {
            assert!(relevance(question, &loan(), None) < DEFAULT_THRESHOLD, "{question}");
        }
    }

    #[test]
    fn function_words_alone_are_no_relevance() {
        let terms = passage("Terms", "What is it that you have to do when the card is not with you?");
        assert!(relevance("What do you have to do with penguins?", &terms, None) < DEFAULT_THRESHOLD);
        assert_eq!(relevance("?!", &terms, None), 0.0);
    }

    #[test]
    fn the_title_and_headings_count() {
        let row = passage("Credit card fees", "Gold: 300,000 VND; Platinum: 900,000 VND");
        assert!(relevance("What are the fees of a credit card?", &row, None) > 0.5);
    }

    #[test]
    fn the_cosine_helps_where_words_differ_and_hinders_where_they_meet_by_chance() {
        let refund = passage("Returns", "Goods may be sent back within 30 days.");
        let question = "Can I get my money back if I dislike the goods?";
        assert!(relevance(question, &refund, Some(0.6)) > relevance(question, &refund, None));
        assert!(relevance(question, &refund, Some(0.05)) < relevance(question, &refund, None));
        assert!((0.0..=1.0).contains(&relevance(question, &refund, Some(-1.0))));
    }
}
