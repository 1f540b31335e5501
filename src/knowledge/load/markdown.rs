//! Markdown (CommonMark with tables, task lists, strikethrough and footnotes), with its front matter.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::compose::Composer;
use super::decode::decode;
use super::outline::drop_bare_title;
use super::table::Cell;
use super::{Error, Loaded, Loader, html, tidy};

mod nesting;

/// Reads Markdown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Markdown;

impl Loader for Markdown {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/markdown", "text/x-markdown"]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["md", "markdown", "mdown", "mkd"]
    }

    fn load(&self, bytes: &[u8]) -> Result<Loaded, Error> {
        let source = decode(bytes)?;
        let (front, body) = FrontMatter::split(&source);
        let mut composer = Composer::default();
        compose(&nesting::bounded(body), &mut composer);
        let title = front.title.or_else(|| composer.first_heading().map(str::to_owned));
        let mut sections = composer.finish();
        drop_bare_title(&mut sections, title.as_deref());
        if sections.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Loaded { title, url: front.url, language: front.language, sections })
    }
}

/// What a document says about itself between two lines `---` (YAML) or `+++` (TOML) at its very beginning.
#[derive(Debug, Default)]
struct FrontMatter {
    title: Option<String>,
    url: Option<String>,
    language: Option<String>,
}

impl FrontMatter {
    /// Separates the front matter from the text. A first line `---` without such an end is a rule across the page.
    fn split(source: &str) -> (Self, &str) {
        let none = || (Self::default(), source);
        let mut lines = source.split_inclusive('\n');
        let Some(fence @ ("---" | "+++")) = lines.next().map(str::trim_end) else {
            return none();
        };
        let separator = if fence == "---" { ':' } else { '=' };
        let mut front = Self::default();
        let mut has_entries = false;
        let mut length = source.split_inclusive('\n').next().map_or(0, str::len);
        for line in lines {
            length += line.len();
            let line = line.trim_end();
            if line == fence || (line == "..." && fence == "---") {
                return if has_entries { (front, source.get(length..).unwrap_or_default()) } else { none() };
            }
            if let Some((key, value)) = line.split_once(separator)
                && !key.trim().is_empty()
            {
                has_entries = true;
                // Indented keys belong to something else.
                if !key.starts_with([' ', '\t', '-', '#']) {
                    front.set(&key.trim().to_ascii_lowercase(), value);
                }
            }
        }
        none()
    }

    fn set(&mut self, key: &str, value: &str) {
        let value = value.trim();
        let unquoted =
            ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
        match key {
            "title" => self.title = tidy::title(unquoted),
            "url" | "canonical" | "canonical_url" => self.url = tidy::url(unquoted),
            "language" | "lang" => self.language = tidy::language(unquoted),
            _ => {}
        }
    }
}

fn compose(body: &str, composer: &mut Composer) {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES;
    // Raw HTML between two blocks, which comes in pieces.
    let mut raw_html: Option<String> = None;
    let mut in_table_head = false;
    for event in Parser::new_ext(body, options) {
        match event {
            Event::Html(piece) => match &mut raw_html {
                Some(raw) => raw.push_str(&piece),
                None => html::compose(&piece, composer),
            },
            Event::Start(Tag::HtmlBlock) => raw_html = Some(String::new()),
            Event::End(TagEnd::HtmlBlock) => {
                if let Some(raw) = raw_html.take() {
                    html::compose(&raw, composer);
                }
            }
            Event::Start(Tag::TableHead) => {
                in_table_head = true;
                composer.row_start();
            }
            Event::End(TagEnd::TableHead) => {
                in_table_head = false;
                composer.row_end();
            }
            Event::Start(Tag::TableCell) => {
                composer.cell_start(Cell { is_header: in_table_head, ..Cell::default() });
            }
            Event::Start(tag) => start(&tag, composer),
            Event::End(tag) => end(tag, composer),
            Event::Text(text) | Event::Code(text) => composer.text(&text),
            Event::InlineHtml(tag) if is_line_break(&tag) => composer.line_break(),
            Event::SoftBreak => composer.text(" "),
            Event::HardBreak => composer.line_break(),
            Event::Rule => composer.block_break(),
            Event::TaskListMarker(done) => composer.text(if done { "[x] " } else { "[ ] " }),
            Event::InlineMath(text) | Event::DisplayMath(text) => composer.text(&text),
            // A footnote's mark means nothing away from its page.
            Event::InlineHtml(_) | Event::FootnoteReference(_) => {}
        }
    }
}

fn start(tag: &Tag<'_>, composer: &mut Composer) {
    match tag {
        Tag::Heading { level, .. } => composer.heading_start(level_number(*level)),
        Tag::BlockQuote(_) => composer.quote_start(),
        Tag::CodeBlock(_) => composer.code_start(),
        Tag::List(first) => composer.list_start(*first),
        Tag::Item => composer.item_start(),
        Tag::Table(_) => composer.table_start(false),
        Tag::TableRow => composer.row_start(),
        Tag::Paragraph | Tag::FootnoteDefinition(_) => composer.block_break(),
        _ => {}
    }
}

fn end(tag: TagEnd, composer: &mut Composer) {
    match tag {
        TagEnd::Heading(_) => composer.heading_end(),
        TagEnd::BlockQuote(_) => composer.quote_end(),
        TagEnd::CodeBlock => composer.code_end(),
        TagEnd::List(_) => composer.list_end(),
        TagEnd::Table => composer.table_end(),
        TagEnd::TableRow => composer.row_end(),
        TagEnd::TableCell => composer.cell_end(),
        TagEnd::Paragraph | TagEnd::Item | TagEnd::FootnoteDefinition => composer.block_break(),
        _ => {}
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn is_line_break(tag: &str) -> bool {
    let name = tag.trim_start_matches('<').trim_end_matches('>').trim_end_matches('/').trim();
    name.eq_ignore_ascii_case("br")
}

#[cfg(test)]
mod tests;
