//! What Markdown becomes.

use super::super::{BlockKind, Section};
use super::*;

fn load(source: &str) -> Loaded {
    Markdown.load(source.as_bytes()).unwrap()
}

/// One line per block: the headings, the kind and the text.
fn outline(sections: &[Section]) -> String {
    let mut lines = String::new();
    for section in sections {
        for block in &section.blocks {
            lines += &format!("{}|{:?}|{}\n", section.headings.join(">"), block.kind, block.text.replace('\n', "⏎"));
        }
    }
    lines
}

#[test]
fn headings_make_paths() {
    let loaded = load("mở đầu\n\n# Vay\nmột\nhai\n## Lãi suất {#rate}\nba  \nbốn\n\nnăm\n\nSetext\n---\nsáu");
    assert_eq!(loaded.title.as_deref(), Some("Vay"));
    assert_eq!(
        outline(&loaded.sections),
        "|Paragraph|mở đầu\nVay|Paragraph|một hai\nVay>Lãi suất|Paragraph|ba⏎bốn\nVay>Lãi suất|Paragraph|năm\nVay>Setext|Paragraph|sáu\n"
    );
}

#[test]
fn front_matter_is_read_and_removed() {
    let loaded = load(
        "---\ntitle: \"Vay: mua nhà\"\nurl: https://a.example/vay\nlanguage: vi-VN\nnested:\n  title: no\n---\ntext",
    );
    assert_eq!(loaded.title.as_deref(), Some("Vay: mua nhà"));
    assert_eq!(loaded.url.as_deref(), Some("https://a.example/vay"));
    assert_eq!(loaded.language.as_deref(), Some("vi"));
    assert_eq!(outline(&loaded.sections), "|Paragraph|text\n");

    let loaded = load("+++\r\ntitle = 'A'\r\n+++\r\ntext");
    assert_eq!(loaded.title.as_deref(), Some("A"));
    assert_eq!(outline(&loaded.sections), "|Paragraph|text\n");
}

#[test]
fn a_rule_at_the_beginning_is_no_front_matter() {
    assert_eq!(outline(&load("---\n\ntext\n\n---\n\nmore").sections), "|Paragraph|text\n|Paragraph|more\n");
    assert_eq!(outline(&load("---\ntitle: x\n\ntext").sections), "|Paragraph|title: x\n|Paragraph|text\n");
}

#[test]
fn lists_keep_their_lines() {
    let loaded = load("1. one\n2. two\n   - inner *a*\n   - [x] done\n\n   more of two\n3. three\n\nend\n\n7) x");
    assert_eq!(
        outline(&loaded.sections),
        "|List|1. one⏎2. two⏎  - inner a⏎  - [x] done⏎  more of two⏎3. three\n|Paragraph|end\n|List|7. x\n"
    );
}

#[test]
fn table_rows_carry_their_headers() {
    let loaded = load("| Kỳ hạn | Lãi suất |\n|--|--:|\n| 12 tháng | **6%** |\n| 24 tháng | `7%` [x](y) |\n\nend");
    assert_eq!(
        outline(&loaded.sections),
        "|Table|Kỳ hạn: 12 tháng; Lãi suất: 6%⏎Kỳ hạn: 24 tháng; Lãi suất: 7% x\n|Paragraph|end\n"
    );
}

#[test]
fn code_quotations_links_and_images_keep_their_text() {
    let loaded = load(
        "see [the page](http://a.example \"t\") and ![a map](m.png)[^1]\n\n```rust\nfn a() {\n    b\n}\n```\n\n> quoted\n> text\n>\n> twice\n\n[^1]: note",
    );
    assert_eq!(
        outline(&loaded.sections),
        "|Paragraph|see the page and a map\n|Code|fn a() {⏎    b⏎}\n|Quote|quoted text\n|Quote|twice\n|Paragraph|note\n"
    );
    assert!(loaded.blocks().any(|block| block.kind == BlockKind::Code));
}

#[test]
fn html_inside_is_read_as_html() {
    let loaded = load(
        "a<br>b <b>c</b>&agrave;\n\n<details><summary>Hỏi</summary>\n\nđáp\n\n</details>\n\n<!-- no -->\n\n<table><tr><th>A</th></tr><tr><td>1</td></tr></table>",
    );
    assert_eq!(outline(&loaded.sections), "|Paragraph|a⏎b cà\n|Paragraph|Hỏi\n|Paragraph|đáp\n|Table|A: 1\n");
}

#[test]
fn code_inside_a_list_interrupts_it() {
    let loaded = load("- a\n\n  ```\n  x\n  ```\n\n  b\n- c");
    assert_eq!(outline(&loaded.sections), "|List|- a\n|Code|x\n|List|  b⏎- c\n");
}

#[test]
fn a_heading_that_is_only_the_title_is_not_repeated_as_text() {
    let loaded = load("# Title\n# A\ntext");
    assert_eq!(loaded.title.as_deref(), Some("Title"));
    assert_eq!(outline(&loaded.sections), "A|Paragraph|text\n");
    assert_eq!(outline(&load("# Title").sections), "|Paragraph|Title\n");
}

#[test]
fn nothing_readable_is_an_error() {
    for source in ["", "---\ntitle: x\n---\n", "<!-- x -->", "[a]: /b", "***"] {
        assert_eq!(Markdown.load(source.as_bytes()), Err(Error::Empty), "{source:?}");
    }
    assert!(Markdown.load(b"# Only a title").is_ok());
}
