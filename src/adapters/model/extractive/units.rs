//! Cuts a passage into what can be quoted alone: sentences, and table rows and list items whole.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// A sentence with fewer words is part of the next: "Điều 5." or "Mr." says nothing alone.
const FEWEST_WORDS: usize = 3;

/// A piece of a passage that can be quoted alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its text, on one line.
    pub(super) text: String,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sentence. `leads` means that it ends in a colon and is nothing without what follows.
    Sentence { leads: bool },
    /// A list item.
    Item,
    /// A table row, with the table's head if it has one.
    Row { head: Option<String> },
}

/// The units of a passage, in their order. Headings are none.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut paragraph = String::new();
    let mut lines = text.lines().map(str::trim).peekable();
    // Inside of a table: its head, once it is known whether it has one.
    let mut head: Option<Option<String>> = None;
    while let Some(line) = lines.next() {
        let is_row = line.starts_with('|') && line.len() > 1;
        if !is_row {
            head = None;
        }
        if is_row {
            flush(&mut paragraph, &mut units);
            let head_of_row = head.get_or_insert_with(|| {
                let rule = lines.next_if(|next| is_table_rule(next))?;
                Some(format!("{line}\n{rule}"))
            });
            // The head itself is no row.
            let is_head = head_of_row.as_ref().is_some_and(|head| head.lines().next() == Some(line));
            if !is_head && !is_table_rule(line) {
                units.push(Unit { text: line.to_owned(), kind: Kind::Row { head: head_of_row.clone() } });
            }
        } else if line.is_empty() || line.starts_with('#') {
            flush(&mut paragraph, &mut units);
        } else if is_item(line) {
            flush(&mut paragraph, &mut units);
            units.push(Unit { text: line.to_owned(), kind: Kind::Item });
        } else if is_record(line) {
            flush(&mut paragraph, &mut units);
            units.push(Unit { text: line.to_owned(), kind: Kind::Row { head: None } });
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(line);
        }
    }
    flush(&mut paragraph, &mut units);
    units
}

/// The words of a text as they are compared: lower case, accents folded (`Lãi suất` and `lai suat` are the same).
pub(super) fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(fold).collect()
}

fn fold(word: &str) -> String {
    word.nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c == 'đ' { 'd' } else { c })
        .collect()
}

fn is_table_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// Whether a line is a table row that carries its head with it: `Product: loan; Rate: 7%`.
fn is_record(line: &str) -> bool {
    line.contains("; ")
        && line.split("; ").all(|field| field.split_once(": ").is_some_and(|(name, _)| !name.is_empty()))
}

/// Whether a line is an item of a list: `- a`, `* a`, `• a`, `1. a`, `2) a`.
fn is_item(line: &str) -> bool {
    let bullet = ["- ", "* ", "+ ", "• ", "– "].iter().any(|mark| line.starts_with(mark));
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = line.len() - after_number.len();
    bullet || ((1..=3).contains(&digits) && (after_number.starts_with(". ") || after_number.starts_with(") ")))
}

/// Cuts a paragraph into sentences and empties it.
fn flush(paragraph: &mut String, units: &mut Vec<Unit>) {
    let mut sentence = String::new();
    for part in paragraph.split_sentence_bounds() {
        sentence.push_str(part);
        if sentence.unicode_words().count() >= FEWEST_WORDS {
            push_sentence(&mut sentence, units);
        }
    }
    // What is left is too short for a sentence: it belongs to the one before, if that is of the same paragraph.
    if !sentence.trim().is_empty() {
        let is_alone = sentence.trim().len() == paragraph.trim().len();
        match units.last_mut().filter(|_| !is_alone) {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(sentence.trim());
            }
            None => push_sentence(&mut sentence, units),
        }
    }
    paragraph.clear();
}

fn push_sentence(sentence: &mut String, units: &mut Vec<Unit>) {
    let text = sentence.trim();
    let leads = text.ends_with(':');
    units.push(Unit { text: text.to_owned(), kind: Kind::Sentence { leads } });
    sentence.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        units(text).into_iter().map(|unit| unit.text).collect()
    }

    #[test]
    fn sentences_are_cut_and_lines_joined() {
        let text = "# Vay\n\nLãi suất từ 7.5%/năm, cố định\n12 tháng. Sau đó thả nổi theo thị trường. Xem biểu phí.";
        let expected = ["Lãi suất từ 7.5%/năm, cố định 12 tháng.", "Sau đó thả nổi theo thị trường.", "Xem biểu phí."];
        assert_eq!(texts(text), expected);
        assert_eq!(texts("Điều 5. Khách hàng được hoàn tiền. OK."), ["Điều 5. Khách hàng được hoàn tiền. OK."]);
        assert_eq!(texts("Giá 5đ."), ["Giá 5đ."]);
    }

    #[test]
    fn rows_that_carry_their_heads_stand_alone() {
        let found = texts(
            "Biểu lãi suất:\nSản phẩm: Vay mua nhà; Lãi suất: 6,8%/năm\nSản phẩm: Vay mua xe; Lãi suất: 7,5%/năm",
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn list_items_and_table_rows_stay_whole() {
        let text = "Hồ sơ gồm có:\n- CCCD. Bản gốc. Còn hạn sử dụng.\n1. Sao kê lương\n\n| Kỳ hạn | Lãi |\n|---|---:|\n| 6 tháng | 5,1% |\n| 12 tháng | 6% |";
        let units = units(text);
        let head = Some("| Kỳ hạn | Lãi |\n|---|---:|".to_owned());
        let kinds: Vec<_> = units.iter().map(|unit| unit.kind.clone()).collect();
        let row = Kind::Row { head };
        assert_eq!(kinds, [Kind::Sentence { leads: true }, Kind::Item, Kind::Item, row.clone(), row]);
        assert_eq!(units[1].text, "- CCCD. Bản gốc. Còn hạn sử dụng.");
        assert_eq!(units[4].text, "| 12 tháng | 6% |");
        assert_eq!(texts("| a | b |\n| c | d |"), ["| a | b |", "| c | d |"]);
    }

    #[test]
    fn words_are_folded() {
        assert_eq!(words("Đường TỚI lãi-suất 7,5%"), ["duong", "toi", "lai", "suat", "7,5"]);
        assert_eq!(words("Đà Nẵng"), words("da nang"));
    }
}
