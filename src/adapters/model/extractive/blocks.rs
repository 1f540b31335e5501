//! Cuts a passage into what can be quoted: sentences by paragraphs, lists by items, tables by rows.

use unicode_segmentation::UnicodeSegmentation;

/// A sentence with fewer words is part of the next: "Điều 5." or "Mr." says nothing alone.
const FEWEST_WORDS: usize = 3;

/// Longest name of a field, in characters, in a line that is a row of a table. What is longer is a sentence with a colon.
const LONGEST_NAME: usize = 60;

/// Longest line, in characters, that may be a heading. What is longer is a line of a paragraph.
const LONGEST_HEADING: usize = 60;

/// A part of a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A heading inside the passage: short sections share one.
    Heading(String),
    /// Sentences that follow each other.
    Paragraph(Vec<String>),
    /// Items without their bullets; steps keep their numbers.
    List {
        /// Whether the items are numbered.
        is_numbered: bool,
        /// The items, each on one line.
        items: Vec<String>,
    },
    /// Rows, each with the names of its columns: `Term: 12 months; Rate: 6%`.
    Table(Vec<String>),
}

/// The blocks of a passage, in their order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    // A blank line ends a table; items go on after it, as items of lists are often set apart.
    let mut is_after_blank = true;
    // The column names of the table that the line before belongs to; empty if it has none.
    let mut columns: Option<Vec<&str>> = None;
    let mut lines = text.lines().peekable();
    while let Some(raw) = lines.next() {
        let line = raw.trim();
        let is_bar_row = line.starts_with('|') && line.len() > 1;
        if !is_bar_row {
            columns = None;
        }
        let is_heading = line.starts_with('#') || (is_after_blank && is_heading(line, lines.peek().copied()));
        if line.is_empty() || is_heading {
            flush(&mut paragraph, &mut blocks);
            let heading = line.trim_start_matches('#').trim();
            if !heading.is_empty() {
                blocks.push(Block::Heading(heading.to_owned()));
            }
            is_after_blank = true;
            continue;
        }
        if is_bar_row {
            flush(&mut paragraph, &mut blocks);
            let is_first = columns.is_none();
            let has_rule = is_first && lines.next_if(|next| is_table_rule(next.trim())).is_some();
            let names = columns.get_or_insert_with(|| if has_rule { cells(line) } else { Vec::new() });
            if !has_rule && !is_table_rule(line) {
                push_row(record(names, &cells(line)), is_first, &mut blocks);
            }
        } else if let Some((is_numbered, item)) = item(line) {
            flush(&mut paragraph, &mut blocks);
            push_item(is_numbered, item, &mut blocks);
        } else if is_record(line) || (!is_after_blank && continues_table(line, &blocks)) {
            flush(&mut paragraph, &mut blocks);
            push_row(line.to_owned(), is_after_blank, &mut blocks);
        } else if let Some(last) = item_before(raw, is_after_blank, &paragraph, &mut blocks) {
            last.push(' ');
            last.push_str(line);
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(line);
        }
        is_after_blank = false;
    }
    flush(&mut paragraph, &mut blocks);
    blocks
}

fn push_item(is_numbered: bool, item: &str, blocks: &mut Vec<Block>) {
    match blocks.last_mut() {
        Some(Block::List { is_numbered: was_numbered, items }) if *was_numbered == is_numbered => {
            items.push(item.to_owned());
        }
        _ => blocks.push(Block::List { is_numbered, items: vec![item.to_owned()] }),
    }
}

fn push_row(row: String, is_first: bool, blocks: &mut Vec<Block>) {
    match blocks.last_mut() {
        Some(Block::Table(rows)) if !is_first => rows.push(row),
        _ => blocks.push(Block::Table(vec![row])),
    }
}

/// Whether a line is the heading of what follows: short, without an end, and the next line does not go on with it.
fn is_heading(line: &str, next: Option<&str>) -> bool {
    let next = next.unwrap_or_default().trim();
    let begins_anew =
        item(next).is_some() || is_record(next) || next.starts_with(|c: char| c.is_uppercase() || c == '|');
    begins_anew
        && line.chars().count() <= LONGEST_HEADING
        && line.starts_with(char::is_alphanumeric)
        && line.ends_with(|c: char| c.is_alphanumeric() || c == ')')
        && item(line).is_none()
        && !line.contains("; ")
}

/// The item that an indented line right after it goes on with.
fn item_before<'a>(
    raw: &str,
    is_after_blank: bool,
    paragraph: &str,
    blocks: &'a mut [Block],
) -> Option<&'a mut String> {
    if is_after_blank || !paragraph.is_empty() || !raw.starts_with([' ', '\t']) {
        return None;
    }
    if let Some(Block::List { items, .. }) = blocks.last_mut() { items.last_mut() } else { None }
}

fn is_table_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.strip_prefix('|').unwrap_or(line);
    line.strip_suffix('|').unwrap_or(line).split('|').map(str::trim).collect()
}

/// A row with the names of its columns, as far as they have any.
fn record(names: &[&str], cells: &[&str]) -> String {
    let names = names.iter().copied().chain(std::iter::repeat(""));
    let fields = names.zip(cells).filter(|(_, cell)| !cell.is_empty());
    let fields: Vec<String> = fields
        .map(|(name, cell)| if name.is_empty() { (*cell).to_owned() } else { format!("{name}: {cell}") })
        .collect();
    fields.join("; ")
}

/// Whether a line is a table row that carries the names of its columns with it: `Product: loan; Rate: 7%`. A cell may
/// hold a semicolon of its own, and a column may have no name.
fn is_record(line: &str) -> bool {
    let fields: Vec<&str> = line.split("; ").collect();
    let named = fields.iter().filter(|field| name(field).is_some()).count();
    fields.len() > 1 && name(line).is_some() && named >= 2
}

/// Whether a line goes on with the table before it, though it has but one field: the other cells are empty.
fn continues_table(line: &str, blocks: &[Block]) -> bool {
    let Some(Block::Table(rows)) = blocks.last() else { return false };
    name(line).is_some() && rows.last().is_some_and(|row| name(row) == name(line))
}

/// The name of a row's first field.
fn name(field: &str) -> Option<&str> {
    let (name, _) = field.split_once(": ")?;
    (!name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.contains(". ")).then_some(name)
}

/// Whether a line is an item of a list, and with a number: `- a`, `* a`, `• a`, `1. a`, `2) a`.
fn item(line: &str) -> Option<(bool, &str)> {
    let bullet = ["- ", "* ", "+ ", "• ", "– "].iter().find_map(|mark| line.strip_prefix(mark));
    if let Some(item) = bullet {
        return Some((false, item.trim()));
    }
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = line.len() - after_number.len();
    let is_step = (1..=3).contains(&digits) && (after_number.starts_with(". ") || after_number.starts_with(") "));
    is_step.then_some((true, line))
}

/// Cuts a paragraph into sentences and empties it.
fn flush(paragraph: &mut String, blocks: &mut Vec<Block>) {
    let mut sentences: Vec<String> = Vec::new();
    let mut sentence = String::new();
    for part in paragraph.split_sentence_bounds() {
        sentence.push_str(part);
        // A question is quoted with its answer.
        if sentence.unicode_words().count() >= FEWEST_WORDS && !sentence.trim_end().ends_with('?') {
            sentences.push(sentence.trim().to_owned());
            sentence.clear();
        }
    }
    let rest = sentence.trim();
    if !rest.is_empty() {
        match sentences.last_mut() {
            // "Please bring:" is short, but says what the list after it is.
            Some(last) if !rest.ends_with(':') => {
                last.push(' ');
                last.push_str(rest);
            }
            _ => sentences.push(rest.to_owned()),
        }
    }
    if !sentences.is_empty() {
        blocks.push(Block::Paragraph(sentences));
    }
    paragraph.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(sentences: &[&str]) -> Block {
        Block::Paragraph(sentences.iter().map(|&sentence| sentence.to_owned()).collect())
    }

    fn list(is_numbered: bool, items: &[&str]) -> Block {
        Block::List { is_numbered, items: items.iter().map(|&item| item.to_owned()).collect() }
    }

    fn table(rows: &[&str]) -> Block {
        Block::Table(rows.iter().map(|&row| row.to_owned()).collect())
    }

    #[test]
    fn sentences_are_cut_and_lines_joined() {
        let text = "# Vay\n\nLãi suất từ 7.5%/năm, cố định\n12 tháng. Sau đó thả nổi theo thị trường. Xem biểu phí.";
        let expected = ["Lãi suất từ 7.5%/năm, cố định 12 tháng.", "Sau đó thả nổi theo thị trường.", "Xem biểu phí."];
        assert_eq!(blocks(text), [Block::Heading("Vay".to_owned()), paragraph(&expected)]);
        let short = "Điều 5. Khách hàng được hoàn tiền. OK.";
        assert_eq!(blocks(short), [paragraph(&[short])]);
        assert_eq!(blocks("Giá 5đ.\n\nĐiều 5 nói rõ."), [paragraph(&["Giá 5đ."]), paragraph(&["Điều 5 nói rõ."])]);
    }

    #[test]
    fn headings_inside_a_passage_are_no_sentences() {
        let heading = |text: &str| Block::Heading(text.to_owned());
        let text = "Chủ hộ kinh doanh\n- Giấy đăng ký\n\nNgoại tệ\nTiền gửi đô la Mỹ không có lãi.\n\nThẻ phi vật lý có\nhiệu lực ngay.";
        let expected = [
            heading("Chủ hộ kinh doanh"),
            list(false, &["Giấy đăng ký"]),
            heading("Ngoại tệ"),
            paragraph(&["Tiền gửi đô la Mỹ không có lãi."]),
            paragraph(&["Thẻ phi vật lý có hiệu lực ngay."]),
        ];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn a_question_goes_with_its_answer() {
        assert_eq!(
            blocks("Có mất phí không? Thẻ này miễn phí."),
            [paragraph(&["Có mất phí không? Thẻ này miễn phí."])]
        );
    }

    #[test]
    fn a_short_sentence_that_leads_to_a_list_stands_alone() {
        let expected = [paragraph(&["It takes about 40 minutes.", "Please bring:"]), list(false, &["a passport"])];
        assert_eq!(blocks("It takes about 40 minutes. Please bring:\n\n- a passport"), expected);
    }

    #[test]
    fn items_stay_whole_and_in_their_list() {
        let text =
            "- CCCD. Bản gốc.\n  Còn hạn sử dụng.\n\n• Sao kê lương\n1. Tải ứng dụng\n2) Chụp ảnh\nXong trong 5 phút.";
        let expected = [
            list(false, &["CCCD. Bản gốc. Còn hạn sử dụng.", "Sao kê lương"]),
            list(true, &["1. Tải ứng dụng", "2) Chụp ảnh"]),
            paragraph(&["Xong trong 5 phút."]),
        ];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn rows_carry_the_names_of_their_columns() {
        let text = "| Kỳ hạn | Lãi | |\n|---|---:|---|\n| 6 tháng | 5,1% | mới |\n| 12 tháng | | |";
        assert_eq!(blocks(text), [table(&["Kỳ hạn: 6 tháng; Lãi: 5,1%; mới", "Kỳ hạn: 12 tháng"])]);
        assert_eq!(blocks("| a | b |\n| c | d |"), [table(&["a; b", "c; d"])]);
    }

    #[test]
    fn rows_that_are_already_records_are_found() {
        let text = "Biểu lãi suất:\nSản phẩm: Vay mua nhà; Lãi suất: 6,8%/năm; có ưu đãi\nSản phẩm: Vay mua xe\nÁp dụng từ 1/7.";
        let expected = [
            paragraph(&["Biểu lãi suất:"]),
            table(&["Sản phẩm: Vay mua nhà; Lãi suất: 6,8%/năm; có ưu đãi", "Sản phẩm: Vay mua xe"]),
            paragraph(&["Áp dụng từ 1/7."]),
        ];
        assert_eq!(blocks(text), expected);
        let prose = "Lưu ý: phí được trừ vào tài khoản; khách hàng không phải nộp thêm.";
        assert_eq!(blocks(prose), [paragraph(&[prose])]);
    }
}
