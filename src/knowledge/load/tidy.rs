//! Making text uniform: Unicode NFC, single spaces, no invisible characters.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

/// Longer titles are cut.
const MAX_TITLE_CHARS: usize = 300;

/// Text on lines: runs of spaces become one, lines are trimmed, empty lines are dropped.
pub(super) fn lines(text: &str) -> String {
    let text = nfc(text);
    let mut tidy = String::with_capacity(text.len());
    for line in text.split(is_line_end) {
        let before = tidy.len();
        for word in line.split_whitespace() {
            // A word of nothing but invisible characters is no word.
            let mut visible = word.chars().filter(|&it| !is_invisible(it)).peekable();
            if visible.peek().is_none() {
                continue;
            }
            if tidy.len() > before {
                tidy.push(' ');
            } else if before > 0 {
                tidy.push('\n');
            }
            tidy.extend(visible);
        }
    }
    // Removing invisible characters can bring letters and marks together that compose.
    match nfc(&tidy) {
        Cow::Owned(composed) => composed,
        Cow::Borrowed(_) => tidy,
    }
}

/// Text on one line.
pub(super) fn line(text: &str) -> String {
    let mut tidy = lines(text);
    if tidy.contains('\n') {
        tidy = tidy.replace('\n', " ");
    }
    tidy
}

/// Preformatted text: indentation stays, trailing spaces and blank lines around it go.
pub(super) fn preformatted(text: &str) -> String {
    let text = nfc(text).replace("\r\n", "\n");
    let mut tidy = String::with_capacity(text.len());
    // Blank lines are written only once a line with text follows them.
    let mut blank = 0;
    for line in text.split(is_line_end) {
        let line = line.trim_end();
        if line.is_empty() {
            blank += 1;
            continue;
        }
        if !tidy.is_empty() {
            tidy.extend(std::iter::repeat_n('\n', blank + 1));
        }
        blank = 0;
        tidy.extend(line.chars().filter(|&it| it == '\t' || !is_invisible(it)));
    }
    tidy
}

/// The text, or its beginning with `…` when it has more than `limit` characters. Never cuts a grapheme cluster.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = limit.saturating_sub(1);
    for cluster in text.graphemes(true) {
        let Some(rest) = left.checked_sub(cluster.chars().count()) else {
            break;
        };
        left = rest;
        short.push_str(cluster);
    }
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A document's title, unless it is blank.
pub(super) fn title(text: &str) -> Option<String> {
    Some(shortened(&line(text), MAX_TITLE_CHARS)).filter(|title| !title.is_empty())
}

/// A language tag's primary subtag in lower case: `vi` for `vi-VN`.
pub(super) fn language(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_']).next()?;
    let is_language = (2..=3).contains(&primary.len()) && primary.bytes().all(|it| it.is_ascii_alphabetic());
    is_language.then(|| primary.to_ascii_lowercase())
}

/// An absolute web address, or nothing: relative ones mean nothing outside of their document.
pub(super) fn url(address: &str) -> Option<String> {
    let address = address.trim();
    let (scheme, rest) = address.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let is_clean = !rest.is_empty()
        && address.len() <= 2048
        && !address.contains(|it: char| it.is_whitespace() || it.is_control());
    (is_web && is_clean).then(|| address.to_owned())
}

fn nfc(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => {
            let composed: String = text.nfc().collect();
            if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed) }
        }
    }
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters that are never seen and only keep equal words from being equal. The joiners U+200C and U+200D stay:
/// Persian, Indic scripts and emoji need them.
fn is_invisible(character: char) -> bool {
    character.is_control() || matches!(character, '\u{AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_lines_and_invisible_characters_are_tidied() {
        assert_eq!(lines("  a \u{A0} b\t\tc \r\n\r\n \u{200B} \n d\u{AD}e "), "a b c\nde");
        assert_eq!(line("a\nb\u{2028}c"), "a b c");
        assert_eq!(lines(" \u{FEFF}\n\t"), "");
    }

    #[test]
    fn text_is_composed() {
        assert_eq!(lines("la\u{303}i sua\u{302}\u{301}t"), "lãi suất");
        assert_eq!(lines("a\u{200B}\u{303}"), "ã");
        assert_eq!(preformatted("a\u{303}"), "ã");
    }

    #[test]
    fn preformatted_text_keeps_its_indentation() {
        assert_eq!(preformatted("\n\n  a  \r\n\r\n    b\n\n"), "  a\n\n    b");
    }

    #[test]
    fn shortening_keeps_clusters_whole() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("a👨‍👩‍👧b", 4), "a…");
    }

    #[test]
    fn languages_and_addresses_are_checked() {
        assert_eq!(language(" vi-VN ").as_deref(), Some("vi"));
        assert_eq!(language("EN_us").as_deref(), Some("en"));
        assert_eq!(language("english"), None);
        assert_eq!(url(" https://a.example/b ").as_deref(), Some("https://a.example/b"));
        assert_eq!(url("/b"), None);
        assert_eq!(url("javascript://x"), None);
    }
}
