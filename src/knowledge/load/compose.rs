//! Turns the running events of a marked-up document into blocks: what Markdown and HTML have in common.
//!
//! The composer keeps the little state that decides what a piece of text is (inside a heading, a cell, a list, a
//! quotation or code) and never looks back, so that any document costs time in proportion to its length.

use super::outline::Outline;
use super::table::{Cell, Table};
use super::{BlockKind, Section, tidy};

/// Deeper lists are not indented further.
const MAX_INDENT: usize = 8;

/// Collects the blocks of a marked-up document.
#[derive(Debug, Default)]
pub(super) struct Composer {
    outline: Outline,
    /// The text of the block, heading or cell that is being read.
    inline: String,
    heading: Option<u8>,
    is_code: bool,
    quotes: usize,
    lists: Vec<List>,
    list_lines: Vec<String>,
    tables: Vec<OpenTable>,
}

/// A list that is being read.
#[derive(Debug)]
struct List {
    /// The next item's number in an ordered list.
    next: Option<u64>,
    /// The marker of an item that has no text so far.
    marker: Option<String>,
    /// Whether the last item may be a term that its definition follows.
    is_term: bool,
    /// Whether the next text belongs to the line before it, as a definition to its term.
    joins: bool,
}

/// A table that is being read.
#[derive(Debug, Default)]
struct OpenTable {
    table: Table,
    row: Vec<Cell>,
    cell: Option<Cell>,
    /// Whether it only arranges things on a page: then its cells are ordinary text.
    is_layout: bool,
}

impl Composer {
    pub(super) fn text(&mut self, text: &str) {
        self.inline.push_str(text);
    }

    /// Ends a line inside a block.
    pub(super) fn line_break(&mut self) {
        self.inline.push('\n');
    }

    /// Ends a block. Inside a heading or a cell, which are one line, it only separates words.
    pub(super) fn block_break(&mut self) {
        if self.is_code || self.heading.is_some() || self.in_cell() {
            self.inline.push('\n');
            return;
        }
        let text = tidy::lines(&std::mem::take(&mut self.inline));
        if text.is_empty() {
            return;
        }
        if !self.lists.is_empty() {
            self.list_text(&text);
        } else {
            let kind = if self.quotes > 0 { BlockKind::Quote } else { BlockKind::Paragraph };
            self.outline.block(kind, text);
        }
    }

    pub(super) fn heading_start(&mut self, level: u8) {
        self.heading_end();
        self.leave_cells();
        self.code_end();
        self.block_break();
        self.flush_list();
        self.heading = Some(level);
    }

    pub(super) fn heading_end(&mut self) {
        if let Some(level) = self.heading.take() {
            self.outline.heading(level, &std::mem::take(&mut self.inline));
        }
    }

    /// Whether a heading is open and has text.
    pub(super) fn is_in_heading_text(&self) -> bool {
        self.heading.is_some() && !self.inline.trim_start().is_empty()
    }

    pub(super) fn quote_start(&mut self) {
        self.block_break();
        self.quotes += 1;
    }

    pub(super) fn quote_end(&mut self) {
        self.block_break();
        self.quotes = self.quotes.saturating_sub(1);
    }

    /// Starts preformatted text.
    pub(super) fn code_start(&mut self) {
        self.block_break();
        if self.heading.is_none() && !self.in_cell() {
            self.flush_list();
            self.is_code = true;
        }
    }

    pub(super) fn code_end(&mut self) {
        if self.is_code {
            self.is_code = false;
            let text = tidy::preformatted(&std::mem::take(&mut self.inline));
            self.outline.block(BlockKind::Code, text);
        } else {
            self.block_break();
        }
    }

    /// Starts a list, numbered from `start` when there is one.
    pub(super) fn list_start(&mut self, start: Option<u64>) {
        self.block_break();
        if !self.in_cell() {
            self.lists.push(List { next: start, marker: None, is_term: false, joins: false });
        }
    }

    pub(super) fn list_end(&mut self) {
        self.block_break();
        if !self.in_cell() {
            self.lists.pop();
            if self.lists.is_empty() {
                self.flush_list();
            }
        }
    }

    /// Starts an item. Outside of a list it is a block of its own.
    pub(super) fn item_start(&mut self) {
        self.block_break();
        if !self.in_cell()
            && let Some(list) = self.lists.last_mut()
        {
            list.joins = false;
            list.is_term = true;
            list.marker = Some(match &mut list.next {
                None => "- ".to_owned(),
                Some(number) => {
                    let marker = format!("{number}. ");
                    *number = number.saturating_add(1);
                    marker
                }
            });
        }
    }

    /// Starts the definition of the term before it.
    pub(super) fn definition_start(&mut self) {
        self.block_break();
        if !self.in_cell()
            && let Some(list) = self.lists.last_mut()
        {
            list.joins = std::mem::take(&mut list.is_term) && list.marker.is_none() && !self.list_lines.is_empty();
        }
    }

    pub(super) fn table_start(&mut self, is_layout: bool) {
        self.heading_end();
        self.leave_cells();
        self.code_end();
        self.block_break();
        self.flush_list();
        self.tables.push(OpenTable { is_layout, ..OpenTable::default() });
    }

    pub(super) fn table_end(&mut self) {
        self.row_end();
        if let Some(mut open) = self.tables.pop() {
            self.outline.block(BlockKind::Table, open.table.take());
        }
    }

    pub(super) fn row_start(&mut self) {
        self.row_end();
    }

    pub(super) fn row_end(&mut self) {
        self.cell_end();
        if let Some(open) = self.tables.last_mut() {
            let row = std::mem::take(&mut open.row);
            if !open.is_layout && !row.is_empty() {
                open.table.row(row);
            }
        }
    }

    /// Starts a cell; its text is what follows.
    pub(super) fn cell_start(&mut self, cell: Cell) {
        self.cell_end();
        self.block_break();
        if let Some(open) = self.tables.last_mut()
            && !open.is_layout
        {
            open.cell = Some(cell);
        }
    }

    pub(super) fn cell_end(&mut self) {
        self.heading_end();
        if let Some(open) = self.tables.last_mut()
            && let Some(mut cell) = open.cell.take()
        {
            cell.text = std::mem::take(&mut self.inline);
            open.row.push(cell);
        } else {
            self.block_break();
        }
    }

    /// The first heading of the highest level.
    pub(super) fn first_heading(&self) -> Option<&str> {
        self.outline.first_heading()
    }

    pub(super) fn finish(mut self) -> Vec<Section> {
        self.heading_end();
        self.code_end();
        while !self.tables.is_empty() {
            self.table_end();
        }
        self.block_break();
        self.flush_list();
        self.outline.finish()
    }

    fn in_cell(&self) -> bool {
        self.tables.last().is_some_and(|open| open.cell.is_some())
    }

    /// A heading or a table inside of a cell shows that the table around it only arranges the page. What was read of
    /// it so far becomes text; its further cells are ordinary text.
    fn leave_cells(&mut self) {
        if let Some(open) = self.tables.last_mut()
            && let Some(cell) = open.cell.take()
        {
            open.is_layout = true;
            let before = open.table.take();
            let row = std::mem::take(&mut open.row);
            self.outline.block(BlockKind::Table, before);
            for text in row.iter().map(|cell| tidy::lines(&cell.text)) {
                self.outline.block(BlockKind::Paragraph, text);
            }
            // The text of the cell itself is still in `inline`.
            drop(cell);
            self.block_break();
        }
    }

    fn list_text(&mut self, text: &str) {
        let depth = self.lists.len().saturating_sub(1).min(MAX_INDENT);
        let Some(list) = self.lists.last_mut() else {
            return;
        };
        for line in text.lines() {
            match self.list_lines.last_mut() {
                Some(last) if list.joins => {
                    last.push_str(": ");
                    last.push_str(line);
                    list.joins = false;
                }
                _ => {
                    let marker = list.marker.take();
                    let marker = marker.as_deref().unwrap_or("  ");
                    self.list_lines.push(format!("{}{marker}{line}", "  ".repeat(depth)));
                }
            }
        }
    }

    fn flush_list(&mut self) {
        let lines = std::mem::take(&mut self.list_lines);
        self.outline.block(BlockKind::List, lines.join("\n"));
    }
}
