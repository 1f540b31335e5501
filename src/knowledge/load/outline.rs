//! Where blocks stand: the headings above them and the sections they form.

use super::{Block, BlockKind, Section, tidy};

/// Longer headings are cut in paths, so that a path stays a short line; their whole text is kept as a paragraph.
pub(super) const MAX_HEADING_CHARS: usize = 200;

/// Drops a first section that says nothing but the title, when there is more: all passages carry the title.
pub(super) fn drop_bare_title(sections: &mut Vec<Section>, title: Option<&str>) {
    let is_bare = |section: &Section| {
        let [block] = section.blocks.as_slice() else {
            return false;
        };
        section.headings.is_empty() && Some(block.text.as_str()) == title
    };
    if sections.len() > 1 && sections.first().is_some_and(is_bare) {
        sections.remove(0);
    }
}

/// Collects the sections of a document in reading order.
#[derive(Debug, Default)]
pub(super) struct Outline {
    sections: Vec<Section>,
    /// The open headings with their levels, which strictly increase.
    path: Vec<(u8, String)>,
    /// Whether the last heading has nothing below it so far.
    is_bare: bool,
    /// Whether the next block opens a section.
    starts_section: bool,
    first_heading: Option<String>,
}

impl Outline {
    /// Opens a section under a heading of a level from 1 (highest). Blank headings are ignored.
    pub(super) fn heading(&mut self, level: u8, text: &str) {
        let text = tidy::line(text);
        if text.is_empty() {
            return;
        }
        self.settle(level);
        while self.path.last().is_some_and(|(open, _)| *open >= level) {
            self.path.pop();
        }
        let short = tidy::shortened(&text, MAX_HEADING_CHARS);
        if level == 1 && self.first_heading.is_none() {
            self.first_heading = Some(short.clone());
        }
        let is_cut = short != text;
        self.path.push((level, short));
        self.is_bare = true;
        self.starts_section = true;
        if is_cut {
            self.block(BlockKind::Paragraph, text);
        }
    }

    /// Adds text that is tidy already. Blank text is ignored.
    pub(super) fn block(&mut self, kind: BlockKind, text: String) {
        if text.trim().is_empty() {
            return;
        }
        if self.starts_section || self.sections.is_empty() {
            let headings = self.path.iter().map(|(_, text)| text.clone()).collect();
            self.sections.push(Section { headings, blocks: Vec::new() });
        }
        self.is_bare = false;
        self.starts_section = false;
        if let Some(section) = self.sections.last_mut() {
            section.blocks.push(Block { kind, text });
        }
    }

    /// The first heading of the highest level.
    pub(super) fn first_heading(&self) -> Option<&str> {
        self.first_heading.as_deref()
    }

    pub(super) fn finish(mut self) -> Vec<Section> {
        self.settle(0);
        self.sections
    }

    /// A heading that ends with nothing below it would be lost: its text becomes a paragraph of the section above.
    fn settle(&mut self, next_level: u8) {
        let closes = self.path.last().is_some_and(|(open, _)| *open >= next_level);
        if self.is_bare
            && closes
            && let Some((_, text)) = self.path.pop()
        {
            let is_same_section = self.sections.last().is_some_and(|last| {
                last.headings.len() == self.path.len()
                    && last.headings.iter().zip(&self.path).all(|(one, (_, other))| one == other)
            });
            self.starts_section = !is_same_section;
            self.block(BlockKind::Paragraph, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(build: impl Fn(&mut Outline)) -> Vec<(String, Vec<String>)> {
        let mut outline = Outline::default();
        build(&mut outline);
        outline
            .finish()
            .into_iter()
            .map(|it| (it.headings.join(">"), it.blocks.into_iter().map(|block| block.text).collect()))
            .collect()
    }

    fn paragraph(outline: &mut Outline, text: &str) {
        outline.block(BlockKind::Paragraph, text.to_owned());
    }

    #[test]
    fn skipped_and_repeated_levels_make_paths() {
        let sections = outline(|it| {
            paragraph(it, "intro");
            it.heading(1, "A");
            it.heading(3, "B");
            paragraph(it, "b");
            it.heading(2, "C");
            paragraph(it, "c");
            it.heading(2, "C");
            paragraph(it, "d");
        });
        let expected = [("", "intro"), ("A>B", "b"), ("A>C", "c"), ("A>C", "d")];
        assert_eq!(sections, expected.map(|(path, text)| (path.to_owned(), vec![text.to_owned()])));
    }

    #[test]
    fn headings_with_nothing_below_them_are_kept_as_text() {
        let sections = outline(|it| {
            it.heading(1, "A");
            it.heading(2, "B");
            it.heading(2, "C");
            it.heading(1, "D");
        });
        assert_eq!(
            sections,
            [("A".to_owned(), vec!["B".to_owned(), "C".to_owned()]), (String::new(), vec!["D".to_owned()])]
        );
    }

    #[test]
    fn a_very_long_heading_is_cut_and_kept_as_text() {
        let long = "x".repeat(5_000);
        let sections = outline(|it| it.heading(1, &long));
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].0.chars().count(), MAX_HEADING_CHARS);
        assert_eq!(sections[0].1, std::slice::from_ref(&long));
    }
}
