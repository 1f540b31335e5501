//! Follow-up questions ("and for cars?") made whole before the search: by a model where one is configured, by a plain
//! rule otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::Language;
use crate::domain::conversation::{Message, Role};
use crate::domain::text::without_accents;
use crate::ports::model::{Chunk, Model, Request};

/// A question of more words stands on its own.
const MOST_WORDS: usize = 12;
/// A question of so few words leans on the one before.
const FEW_WORDS: usize = 3;
/// How a follow-up begins.
const OPENINGS: &[&str] = &[
    "còn",
    "thế còn",
    "vậy còn",
    "thế thì",
    "vậy thì",
    "thế nếu",
    "rồi",
    "và",
    "and",
    "what about",
    "how about",
    "also",
    "or",
    "but",
    "then",
    "which one",
    "same for",
];
/// Words that point back.
const POINTERS: &[&str] = &["nó", "đó", "này", "ấy", "it", "its", "they", "them", "those", "these"];

/// How a message leans on what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lean {
    /// It stands on its own.
    None,
    /// It is so short that it may lean on it, or be a greeting.
    Maybe,
    /// It begins or points as follow-ups do.
    Surely,
}

/// How a message leans on what was said before.
pub fn lean(message: &str) -> Lean {
    let lower = message.nfc().collect::<String>().to_lowercase();
    let words: Vec<&str> = lower.unicode_words().collect();
    if words.is_empty() || words.len() > MOST_WORDS {
        return Lean::None;
    }
    let joined = words.join(" ");
    // Typed without accents, "con" is "còn"; typed with them it is a child.
    let is_plain = joined.is_ascii();
    let opens =
        |opening: &str| joined.strip_prefix(opening).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let is_sure = OPENINGS.iter().any(|opening| opens(opening) || (is_plain && opens(&without_accents(opening))))
        || words.iter().any(|word| POINTERS.contains(word));
    match (is_sure, words.len() <= FEW_WORDS) {
        (true, _) => Lean::Surely,
        (false, true) => Lean::Maybe,
        (false, false) => Lean::None,
    }
}

/// The plain rule: the question before it gives the missing words.
pub fn by_rule(message: &str, last_question: &str) -> String {
    format!("{last_question} {message}")
}

/// Asks a model for the whole question. None when it does not answer in time or not with one question.
pub async fn by_model(
    model: &Arc<dyn Model>,
    message: &str,
    past: &[Message],
    language: Language,
    patience: Duration,
) -> Option<String> {
    const SYSTEM: &str = "Rewrite the user's last message as one standalone question that can be understood without \
        the conversation. Keep its language. Answer with the question alone.";
    let mut messages = past.iter().rev().take(4).rev().cloned().collect::<Vec<_>>();
    messages.push(Message { role: Role::User, content: message.to_owned() });
    let request = Request {
        turn_id: String::new(),
        system: SYSTEM.to_owned(),
        messages,
        temperature: Some(0.0),
        max_tokens: Some(120),
        thinking: None,
        language,
        question: message.to_owned(),
        passages: Vec::new(),
    };
    let asked = async {
        let mut stream = model.stream(&request).await.ok()?;
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            if let Chunk::Content(piece) = chunk.ok()? {
                text.push_str(&piece);
            }
            if text.len() > 1000 {
                return None;
            }
        }
        Some(text)
    };
    let text = tokio::time::timeout(patience, asked).await.ok()??;
    let mut reasoning = crate::pipeline::reasoning::ReasoningFilter::new();
    let mut question = reasoning.push(text);
    question.push_str(&reasoning.finish());
    let question = question.trim().trim_matches('"').to_owned();
    (!question.is_empty() && !question.contains('\n')).then_some(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_lean_on_the_last_question_are_known() {
        for message in [
            "Còn vay mua xe thì sao?",
            "con lai suat thi sao",
            "And for cars?",
            "what about Saturdays?",
            "Bao nhiêu?",
            "Is it free for students?",
        ] {
            assert_ne!(lean(message), Lean::None, "{message}");
        }
        for message in [
            "Lãi suất vay mua nhà hiện nay là bao nhiêu?",
            "What documents do I need to open an account?",
            "Cho tôi hỏi phí thường niên thẻ tín dụng",
            "Con tôi mười tuổi có mở tài khoản được không?",
        ] {
            assert_eq!(lean(message), Lean::None, "{message}");
        }
    }

    #[test]
    fn a_greeting_may_lean_and_a_follow_up_surely_does() {
        assert_eq!(lean("xin chào"), Lean::Maybe);
        assert_eq!(lean("con o to thi sao"), Lean::Surely);
        assert_eq!(lean("Còn ô tô thì sao?"), Lean::Surely);
    }
}
