//! Words as the classifier compares them.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::domain::text::without_accents;

/// Words that are looked at, from the start. A long message says early what it wants, and its length
/// must not decide how long classifying takes.
const MAX_WORDS: usize = 120;

/// What people type for short, and what it stands for.
const ABBREVIATIONS: [(&str, &str); 50] = [
    ("ko", "không"),
    ("k", "không"),
    ("kg", "không"),
    ("kh", "không"),
    ("khum", "không"),
    ("hok", "không"),
    ("hong", "không"),
    ("đc", "được"),
    ("dc", "được"),
    ("đk", "đăng ký"),
    ("dk", "đăng ký"),
    ("bn", "bao nhiêu"),
    ("bnh", "bao nhiêu"),
    ("nhiu", "nhiêu"),
    ("j", "gì"),
    ("z", "vậy"),
    ("v", "vậy"),
    ("r", "rồi"),
    ("mk", "mình"),
    ("mik", "mình"),
    ("vs", "với"),
    ("ntn", "như thế nào"),
    ("nv", "nhân viên"),
    ("sđt", "số điện thoại"),
    ("sdt", "số điện thoại"),
    ("đt", "điện thoại"),
    ("tk", "tài khoản"),
    ("sp", "sản phẩm"),
    ("km", "khuyến mãi"),
    ("ib", "inbox"),
    ("lm", "làm"),
    ("lun", "luôn"),
    ("cx", "cũng"),
    ("trc", "trước"),
    ("ng", "người"),
    ("bhyt", "bảo hiểm y tế"),
    ("bh", "bảo hiểm"),
    ("ks", "khách sạn"),
    ("bs", "bác sĩ"),
    ("h", "giờ"),
    ("tr", "triệu"),
    ("mn", "mọi người"),
    ("ad", "admin"),
    ("pls", "please"),
    ("plz", "please"),
    ("thx", "thanks"),
    ("tks", "thanks"),
    ("ty", "thanks"),
    ("u", "you"),
    ("ur", "your"),
];

/// The words of a message in small letters, abbreviations written out. Where a text is typed without
/// accents altogether they are left out of what is written out, too.
pub(super) fn split(message: &str) -> Vec<String> {
    let normal: String = message.nfc().flat_map(char::to_lowercase).map(straight).collect();
    let plain = normal.is_ascii();
    let mut words = Vec::new();
    for word in normal.unicode_words().take(MAX_WORDS) {
        match ABBREVIATIONS.iter().find(|(short, _)| *short == word) {
            Some((_, long)) if plain => words.extend(long.split(' ').map(without_accents)),
            Some((_, long)) => words.extend(long.split(' ').map(str::to_owned)),
            None => words.push(digits_as_one(word)),
        }
    }
    words
}

/// Telephones write "don’t" where keyboards write "don't".
fn straight(letter: char) -> char {
    if letter == '’' { '\'' } else { letter }
}

/// Which number it is says nothing about what is wanted; that there is one does.
fn digits_as_one(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for letter in word.chars() {
        if !letter.is_numeric() {
            out.push(letter);
        } else if !out.ends_with('0') {
            out.push('0');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::without_accents;

    #[test]
    fn case_and_composition_do_not_matter() {
        for message in ["Lãi suất vay", "LÃI SUẤT VAY", "La\u{303}i sua\u{302}\u{301}t vay"] {
            assert_eq!(split(message), ["lãi", "suất", "vay"], "{message}");
        }
        assert_eq!(split("I DON’T know"), ["i", "don't", "know"]);
    }

    #[test]
    fn accents_fold_away() {
        assert_eq!(["lãi", "suất", "đường", "vay"].map(without_accents), ["lai", "suat", "duong", "vay"]);
    }

    #[test]
    fn abbreviations_are_written_out_in_the_texts_own_spelling() {
        assert_eq!(split("giá bn, đc ko ạ"), ["giá", "bao", "nhiêu", "được", "không", "ạ"]);
        assert_eq!(split("gia bn, dc ko a"), ["gia", "bao", "nhieu", "duoc", "khong", "a"]);
    }

    #[test]
    fn numbers_are_alike_and_long_messages_are_cut() {
        assert_eq!(split("gói 500 và 2000"), ["gói", "0", "và", "0"]);
        assert_eq!(split(&"a ".repeat(8000)).len(), MAX_WORDS);
    }
}
