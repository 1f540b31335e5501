//! Plain text: paragraphs are separated by blank lines; nothing else is guessed.

use super::decode::decode;
use super::{Block, BlockKind, Error, Loaded, Loader, Section, tidy};

/// Reads plain text.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainText;

impl Loader for PlainText {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/plain"]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "text"]
    }

    fn load(&self, bytes: &[u8]) -> Result<Loaded, Error> {
        let text = decode(bytes)?;
        let mut blocks = Vec::new();
        let mut paragraph = String::new();
        // A last empty line closes the last paragraph.
        for line in text.lines().chain([""]) {
            if !line.trim().is_empty() {
                paragraph.push_str(line);
                paragraph.push('\n');
                continue;
            }
            let text = tidy::lines(&paragraph);
            paragraph.clear();
            if !text.is_empty() {
                blocks.push(Block { kind: BlockKind::Paragraph, text });
            }
        }
        if blocks.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Loaded { sections: vec![Section { headings: Vec::new(), blocks }], ..Loaded::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_separate_paragraphs() {
        let loaded = PlainText.load("\u{FEFF}GIỚI THIỆU\r\n  một   dòng\r\n \t\r\n\r\nhai".as_bytes()).unwrap();
        let texts: Vec<&str> = loaded.blocks().map(|block| block.text.as_str()).collect();
        assert_eq!(texts, ["GIỚI THIỆU\nmột dòng", "hai"]);
        assert!(loaded.sections.iter().all(|section| section.headings.is_empty()));
    }

    #[test]
    fn nothing_readable_is_an_error() {
        assert_eq!(PlainText.load(b" \n\n \xE2\x80\x8B"), Err(Error::Empty));
        assert_eq!(PlainText.load(b""), Err(Error::Empty));
    }
}
