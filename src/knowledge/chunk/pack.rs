//! Which blocks of one section share a passage.

use super::super::load::Block;
use super::{Settings, split};

/// What stands between two blocks of a passage.
pub(super) const SEPARATOR: &str = "\n\n";

/// A passage in the making.
#[derive(Debug, Default)]
struct Pack<'a> {
    texts: Vec<(&'a str, usize)>,
    chars: usize,
}

impl<'a> Pack<'a> {
    fn with(&self, chars: usize) -> usize {
        if self.texts.is_empty() { chars } else { self.chars + SEPARATOR.len() + chars }
    }

    fn push(&mut self, text: &'a str, chars: usize) {
        self.chars = self.with(chars);
        self.texts.push((text, chars));
    }

    fn text(&self) -> String {
        self.texts.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(SEPARATOR)
    }
}

/// The texts of a section's passages: blocks in order, as many as fit. A block that is too long is split; what
/// follows may join its last part.
pub(super) fn pack(blocks: &[Block], settings: &Settings) -> Vec<String> {
    let max = settings.max_chars;
    let mut packs: Vec<Pack<'_>> = Vec::new();
    let mut current = Pack::default();
    for block in blocks {
        let text = split::trim(&block.text);
        let chars = text.chars().count();
        if chars == 0 {
            continue;
        }
        let parts = if chars > max { split::split(text, block.kind, settings) } else { vec![text] };
        for (index, part) in parts.into_iter().enumerate() {
            let chars = part.chars().count();
            // Parts of one block are never joined again: they overlap.
            if !current.texts.is_empty() && (index > 0 || current.with(chars) > max) {
                packs.push(std::mem::take(&mut current));
            }
            current.push(part, chars);
        }
    }
    if !current.texts.is_empty() {
        packs.push(current);
    }
    balance(&mut packs, settings);
    packs.iter().map(Pack::text).collect()
}

/// A last passage that is too short takes over the block before it, if the passage before it can spare that.
fn balance(packs: &mut [Pack<'_>], settings: &Settings) {
    let [.., before, last] = packs else { return };
    let Some((text, chars)) = before.texts.last().copied() else {
        return;
    };
    let left = before.chars.saturating_sub(chars + SEPARATOR.len());
    let fits = last.with(chars) <= settings.max_chars;
    if last.chars < settings.min_chars && before.texts.len() > 1 && left >= settings.min_chars && fits {
        before.texts.pop();
        before.chars = left;
        last.chars = last.with(chars);
        last.texts.insert(0, (text, chars));
    }
}
