//! HTML: the text that a reader of the page sees, without the page's menus, footers and hidden parts.

use super::compose::Composer;
use super::decode::decode;
use super::outline::drop_bare_title;
use super::{Error, Loaded, Loader, Section};
use read::{Reader, Root};

mod elements;
mod open;
mod read;
mod references;
mod scan;

/// Reads HTML.
#[derive(Debug, Clone, Copy, Default)]
pub struct Html;

impl Loader for Html {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/html", "application/xhtml+xml"]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["html", "htm", "xhtml"]
    }

    fn load(&self, bytes: &[u8]) -> Result<Loaded, Error> {
        let source = decode(bytes)?;
        let mut composer = Composer::default();
        let page = Reader::new(Root::Page, &mut composer).read(&source);
        let title = page.title.or_else(|| composer.first_heading().map(str::to_owned));
        let mut sections = composer.finish();
        // A page says best itself which part is its own. Articles may also be teasers of other pages around the
        // text, so they count only when they hold most of it.
        let only = |root| {
            let mut composer = Composer::default();
            Reader::new(root, &mut composer).read(&source);
            composer.finish()
        };
        let main = if page.has_main { only(Root::Main) } else { Vec::new() };
        if !main.is_empty() {
            sections = main;
        } else if page.has_article {
            let articles = only(Root::Article);
            if 2 * size(&articles) >= size(&sections) {
                sections = articles;
            }
        }
        drop_bare_title(&mut sections, title.as_deref());
        if sections.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Loaded { title, url: page.url, language: page.language, sections })
    }
}

/// Adds the text of a piece of HTML, such as one in a Markdown document.
pub(super) fn compose(source: &str, composer: &mut Composer) {
    Reader::new(Root::Page, composer).read(source);
}

fn size(sections: &[Section]) -> usize {
    sections.iter().flat_map(|section| &section.blocks).map(|block| block.text.len()).sum()
}

#[cfg(test)]
mod tests;
