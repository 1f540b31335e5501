//! Reads a page's tags in order and tells the composer what they mean.

use super::super::compose::Composer;
use super::super::table::Cell;
use super::super::tidy;
use super::elements::{is_block, is_skipped, is_structural};
use super::open::{Effect, Open, OpenElements};
use super::references::References;
use super::scan::{Scanner, StartTag, Token};

/// Which part of a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// All of it.
    Page,
    /// What is in `<main>`.
    Main,
    /// What is in `<article>`.
    Article,
}

impl Root {
    fn is(self, tag: &StartTag<'_>) -> bool {
        match self {
            Self::Page => false,
            Self::Main => tag.name == "main" || tag.attribute("role") == Some("main"),
            Self::Article => tag.name == "article" || tag.attribute("role") == Some("article"),
        }
    }
}

/// What a page says about itself.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
    pub(super) language: Option<String>,
    pub(super) has_main: bool,
    pub(super) has_article: bool,
}

/// Reads one page.
#[derive(Debug)]
pub(super) struct Reader<'a, 'c> {
    root: Root,
    composer: &'c mut Composer,
    references: References,
    page: Page,
    /// The text of the `<title>` that is being read.
    title: Option<String>,
    open: OpenElements<'a>,
    skipped: usize,
    roots: usize,
    /// Whether a link has just ended: links side by side are separate words.
    is_after_link: bool,
}

impl<'a, 'c> Reader<'a, 'c> {
    pub(super) fn new(root: Root, composer: &'c mut Composer) -> Self {
        Self {
            root,
            composer,
            references: References::default(),
            page: Page::default(),
            title: None,
            open: OpenElements::default(),
            skipped: 0,
            roots: 0,
            is_after_link: false,
        }
    }

    pub(super) fn read(mut self, source: &'a str) -> Page {
        for token in Scanner::new(source) {
            match token {
                Token::Text(text) => self.text(text),
                Token::Start(tag) => self.start(tag),
                Token::End(name) => self.end(&name),
            }
        }
        self.close_to(0);
        self.composer.block_break();
        self.page
    }

    fn is_active(&self) -> bool {
        self.skipped == 0 && (self.root == Root::Page || self.roots > 0)
    }

    fn text(&mut self, text: &str) {
        self.is_after_link = false;
        if let Some(title) = &mut self.title {
            title.push_str(&self.references.decode(text));
        } else if self.is_active() {
            self.composer.text(&self.references.decode(text));
        }
    }

    fn start(&mut self, tag: StartTag<'a>) {
        let is_after_link = std::mem::take(&mut self.is_after_link);
        self.note(&tag);
        self.close_implied(&tag.name);
        let is_skipped = is_skipped(&tag);
        if tag.is_void() {
            if self.is_active() && !is_skipped {
                match &*tag.name {
                    "br" => self.composer.line_break(),
                    "hr" => self.composer.block_break(),
                    _ => {}
                }
            }
            return;
        }
        if tag.name == "title" && self.skipped == 0 {
            self.title = Some(String::new());
            return;
        }
        let is_root = self.root.is(&tag);
        // What begins here is read as part of the root that it is.
        let is_active = !is_skipped && self.skipped == 0 && (self.is_active() || is_root);
        if is_active && is_after_link && tag.name == "a" {
            self.composer.text(" ");
        }
        let effect = if is_active { self.begin(&tag) } else { Effect::Nothing };
        let is_cell = matches!(&*tag.name, "td" | "th" | "caption");
        let is_misplaced = is_cell && !self.open.is_in_table();
        if is_misplaced {
            self.composer.block_break();
            return;
        }
        if effect != Effect::Nothing || is_skipped || is_root || self.skipped > 0 || is_structural(&tag.name) {
            self.push(Open { name: tag.name, effect, is_skipped, is_root });
        }
    }

    /// Tells the composer what begins.
    fn begin(&mut self, tag: &StartTag<'a>) -> Effect {
        let number = |name: &str| tag.attribute(name).and_then(|value| value.trim().parse::<usize>().ok());
        match &*tag.name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = tag.name.bytes().nth(1).map_or(6, |digit| digit - b'0');
                self.composer.heading_start(level);
                Effect::Heading
            }
            "blockquote" => {
                self.composer.quote_start();
                Effect::Quote
            }
            "pre" | "listing" | "xmp" => {
                self.composer.code_start();
                Effect::Code
            }
            "ul" | "menu" | "dir" | "dl" => {
                self.composer.list_start(None);
                Effect::List
            }
            "ol" => {
                // A list that counts down is not worth numbers that are wrong.
                let first = number("start").map_or(1, |start| start as u64);
                self.composer.list_start(tag.attribute("reversed").is_none().then_some(first));
                Effect::List
            }
            "li" | "dt" => {
                self.composer.item_start();
                Effect::Block
            }
            "dd" => {
                self.composer.definition_start();
                Effect::Block
            }
            "table" => {
                self.composer.table_start(matches!(tag.attribute("role"), Some("presentation" | "none")));
                Effect::Table
            }
            "tr" => {
                self.composer.row_start();
                Effect::Row
            }
            "td" | "th" if self.open.is_in_table() => {
                let is_in_head = self.open.is_in_head();
                self.composer.cell_start(Cell {
                    is_header: is_in_head || tag.name == "th",
                    columns: number("colspan").unwrap_or(1),
                    rows: number("rowspan").unwrap_or(1),
                    ..Cell::default()
                });
                Effect::Cell
            }
            name if is_block(name) => {
                self.composer.block_break();
                Effect::Block
            }
            _ => Effect::Nothing,
        }
    }

    fn end(&mut self, name: &str) {
        self.is_after_link = name == "a";
        if name == "title"
            && let Some(title) = self.title.take()
        {
            if self.page.title.is_none() {
                self.page.title = tidy::title(&title);
            }
            return;
        }
        // The end of a row or a table is the end of its open cell too.
        if matches!(name, "table" | "tbody" | "thead" | "tfoot" | "tr") {
            self.close_cell();
        }
        if let Some(base) = self.open.base_named(name) {
            self.close_to(base);
        } else if self.open.has(name) {
            self.close(name);
        } else if self.is_active() && (name == "p" || is_block(name)) {
            self.composer.block_break();
        } else if self.is_active() && name == "br" {
            self.composer.line_break();
        }
    }

    /// Ends the elements whose end tags may be left out.
    fn close_implied(&mut self, name: &str) {
        if (is_block(name) || is_structural(name)) && self.open.last().is_some_and(|open| open.name == "p") {
            self.close("p");
        }
        let is_in_heading = self.open.last().is_some_and(|open| open.effect == Effect::Heading);
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if is_in_heading => self.close_to(self.open.len() - 1),
            // A heading whose end tag was forgotten must not take in the text below it.
            "p" | "ul" | "ol" | "dl" | "blockquote" | "pre" | "section" | "article"
                if is_in_heading && self.composer.is_in_heading_text() =>
            {
                self.close_to(self.open.len() - 1);
            }
            "li" => self.close_item(&["li"]),
            "dt" | "dd" => self.close_item(&["dt", "dd"]),
            "td" | "th" => self.close_cell(),
            "tr" => self.close_rows(&["tr"]),
            "tbody" | "thead" | "tfoot" => self.close_rows(&["tbody", "thead", "tfoot", "tr"]),
            _ => {}
        }
    }

    fn close_item(&mut self, names: &[&str]) {
        if let Some(item) = self.open.item(names) {
            self.close_to(item);
        }
    }

    fn close_rows(&mut self, names: &[&str]) {
        self.close_cell();
        for name in names {
            if self.open.is_in_table() && self.open.has(name) {
                self.close(name);
            }
        }
    }

    fn push(&mut self, open: Open<'a>) {
        self.skipped += usize::from(open.is_skipped);
        self.roots += usize::from(open.is_root);
        self.open.push(open);
    }

    /// Ends the cell or caption that is open in the innermost table.
    fn close_cell(&mut self) {
        if let Some(base) = self.open.cell() {
            self.close_to(base);
        }
    }

    /// Ends everything up to the last open element of this name, which is in the innermost scope.
    fn close(&mut self, name: &str) {
        while let Some(open) = self.open.last() {
            let is_last = open.name == name;
            self.close_to(self.open.len() - 1);
            if is_last {
                return;
            }
        }
    }

    /// Ends the innermost elements until `length` are left.
    fn close_to(&mut self, length: usize) {
        while self.open.len() > length
            && let Some(open) = self.open.pop()
        {
            match open.effect {
                Effect::Nothing => {}
                Effect::Block => self.composer.block_break(),
                Effect::Heading => self.composer.heading_end(),
                Effect::Quote => self.composer.quote_end(),
                Effect::Code => self.composer.code_end(),
                Effect::List => self.composer.list_end(),
                Effect::Table => self.composer.table_end(),
                Effect::Row => self.composer.row_end(),
                Effect::Cell => self.composer.cell_end(),
            }
            self.skipped -= usize::from(open.is_skipped);
            self.roots -= usize::from(open.is_root);
        }
    }

    /// Notes what a tag says about the page.
    fn note(&mut self, tag: &StartTag<'a>) {
        self.page.has_main |= Root::Main.is(tag);
        self.page.has_article |= Root::Article.is(tag);
        let address = match &*tag.name {
            "html" => {
                let language = tag.attribute("lang").or_else(|| tag.attribute("xml:lang"));
                if self.page.language.is_none() {
                    self.page.language = language.and_then(tidy::language);
                }
                None
            }
            "link" => {
                let relations = tag.attribute("rel").unwrap_or_default().split_ascii_whitespace();
                let is_canonical = relations.into_iter().any(|it| it.eq_ignore_ascii_case("canonical"));
                tag.attribute("href").filter(|_| is_canonical)
            }
            "meta" => tag.attribute("content").filter(|_| tag.attribute("property") == Some("og:url")),
            _ => None,
        };
        // The canonical link comes before what is stated for social networks.
        if let Some(url) = address.and_then(|it| tidy::url(&self.references.decode(it)))
            && (self.page.url.is_none() || tag.name == "link")
        {
            self.page.url = Some(url);
        }
    }
}
