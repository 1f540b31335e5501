//! Bounds how deep Markdown is nested, before it is parsed.
//!
//! For each line the parser goes through all open quotations and list items, so that depth times lines is what a
//! document costs: 40,000 `>` and as many lines after them, 120 kB in all, took 3.6 s.

use std::borrow::Cow;

/// The most `>` and list markers that one line begins with.
const MAX_MARKERS: usize = 32;
/// The most columns that a line is indented by, which bounds lists that get deeper line by line.
const MAX_INDENT: usize = 100;

/// The document without the markers and the indentation that go beyond the bounds. Its words stay.
pub(super) fn bounded(source: &str) -> Cow<'_, str> {
    if source.lines().all(|line| Prefix::of(line).is_bounded()) {
        return Cow::Borrowed(source);
    }
    let mut bounded = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        let prefix = Prefix::of(line);
        if prefix.is_bounded() {
            bounded.push_str(line);
        } else {
            bounded.push_str(line.get(..prefix.kept).unwrap_or_default());
            bounded.push_str(line.get(prefix.length..).unwrap_or_default());
        }
    }
    Cow::Owned(bounded)
}

/// What a line begins with, before its text.
#[derive(Debug, Default)]
struct Prefix {
    /// All of it, in bytes.
    length: usize,
    /// As much as is within the bounds, in bytes.
    kept: usize,
    markers: usize,
    columns: usize,
}

impl Prefix {
    fn of(line: &str) -> Self {
        let bytes = line.as_bytes();
        let mut prefix = Self::default();
        loop {
            let rest = bytes.get(prefix.length..).unwrap_or_default();
            let step = match rest {
                [b' ', ..] => 1,
                [b'\t', ..] => {
                    prefix.columns += 3;
                    1
                }
                _ => match marker(rest) {
                    0 => return prefix,
                    length => {
                        prefix.markers += 1;
                        length
                    }
                },
            };
            prefix.columns += 1;
            prefix.length += step;
            if prefix.is_bounded() {
                prefix.kept = prefix.length;
            }
        }
    }

    fn is_bounded(&self) -> bool {
        self.markers <= MAX_MARKERS && self.columns <= MAX_INDENT
    }
}

/// The length of the marker that a line begins with, in bytes; 0 when it begins with none.
fn marker(rest: &[u8]) -> usize {
    let digits = rest.iter().take(9).take_while(|it| it.is_ascii_digit()).count();
    let sign = match rest.get(digits) {
        Some(b'>') if digits == 0 => return 1,
        Some(b'-' | b'*' | b'+') if digits == 0 => 1,
        Some(b'.' | b')') if digits > 0 => digits + 1,
        _ => return 0,
    };
    match rest.get(sign) {
        None | Some(b' ' | b'\t' | b'\n' | b'\r') => sign,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_documents_stay_as_they_are() {
        for source in ["", "a\n  - b\n> > 1. c\n\n---\n**x**\n-5 degrees\n", "12345678901. a\r\n"] {
            assert!(matches!(bounded(source), Cow::Borrowed(_)), "{source:?}");
        }
    }

    #[test]
    fn what_is_too_deep_is_left_out_and_words_stay() {
        let source = format!("a\n{}b - c\n{}d\n{}e\n1. f", ">".repeat(1000), " ".repeat(1000), "1. - ".repeat(1000));
        let expected = format!("a\n{}b - c\n{}d\n{}e\n1. f", ">".repeat(32), " ".repeat(100), "1. - ".repeat(16));
        assert_eq!(bounded(&source), expected);
    }
}
