//! What is said around the quotes, in the user's language.

use super::terms::words;

/// The fixed sentences of a language.
pub(super) struct Phrases {
    /// Before the quotes.
    pub(super) opening: &'static str,
    /// When there is nothing to quote.
    pub(super) nothing_found: &'static str,
    /// Answer to a greeting.
    greeting: &'static str,
    /// Answer to thanks.
    welcome: &'static str,
}

static VIETNAMESE: Phrases = Phrases {
    opening: "Theo tài liệu:",
    nothing_found: "Xin lỗi, hiện không tìm thấy thông tin về câu hỏi này trong tài liệu. Bạn hãy thử diễn đạt lại hoặc hỏi cụ thể hơn.",
    greeting: "Xin chào! Bạn muốn tìm hiểu điều gì? Câu trả lời sẽ được trích từ tài liệu hiện có.",
    welcome: "Rất vui được hỗ trợ bạn. Bạn cứ hỏi thêm nếu cần.",
};

static ENGLISH: Phrases = Phrases {
    opening: "According to the documents:",
    nothing_found: "Sorry, nothing about this question was found in the documents. Please try other words or ask more specifically.",
    greeting: "Hello! What would you like to know? Answers are quoted from the documents at hand.",
    welcome: "You are welcome. Feel free to ask more.",
};

/// Greetings and thanks, folded as words are, in both languages: which one a greeting is in is often not known.
const GREETINGS: [&str; 14] = [
    "xin chao",
    "chao",
    "chao ban",
    "chao em",
    "chao anh",
    "chao chi",
    "chao shop",
    "alo",
    "hello",
    "hi",
    "hey",
    "hi there",
    "good morning",
    "good afternoon",
];
const THANKS: [&str; 8] = [
    "cam on",
    "cam on ban",
    "cam on nhieu",
    "cam on ban nhieu",
    "thanks",
    "thank you",
    "thank you very much",
    "thanks a lot",
];

/// The sentences of a language, given by its ISO 639-1 code; English for those without their own.
pub(super) fn of_language(code: &str) -> &'static Phrases {
    if code == "vi" { &VIETNAMESE } else { &ENGLISH }
}

/// The answer to a message that asks for nothing.
pub(super) fn small_talk(message: &str, phrases: &Phrases) -> Option<&'static str> {
    let message = words(message).join(" ");
    if GREETINGS.contains(&message.as_str()) {
        Some(phrases.greeting)
    } else {
        THANKS.contains(&message.as_str()).then_some(phrases.welcome)
    }
}
