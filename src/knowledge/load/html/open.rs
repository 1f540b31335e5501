//! The elements that are open at some place of a page.
//!
//! Only elements that change what text is, and everything inside of what is skipped, are kept. Each table, cell and
//! caption has its own count of open names, so that an end tag finds out in constant time whether it closes anything.

use std::borrow::Cow;
use std::collections::HashMap;

use super::elements::is_block;

/// How far an item without an end tag is looked for when the next one starts.
const MAX_LOOK_BACK: usize = 16;

/// What the end of an element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Block,
    Heading,
    Quote,
    Code,
    List,
    Table,
    Row,
    Cell,
}

/// An open element.
#[derive(Debug)]
pub(super) struct Open<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) effect: Effect,
    /// Whether nothing in it is read.
    pub(super) is_skipped: bool,
    /// Whether it is a part of the page that is asked for.
    pub(super) is_root: bool,
}

/// The elements from a table, cell or caption on: end tags inside do not reach out of it.
#[derive(Debug, Default)]
struct Scope<'a> {
    /// Where its element stands among the open ones.
    base: usize,
    is_table: bool,
    /// How many elements of each name are open in it, itself excluded.
    counts: HashMap<Cow<'a, str>, usize>,
}

/// All open elements, the outermost first.
#[derive(Debug, Default)]
pub(super) struct OpenElements<'a> {
    elements: Vec<Open<'a>>,
    /// The elements outside of all tables.
    page: HashMap<Cow<'a, str>, usize>,
    scopes: Vec<Scope<'a>>,
}

impl<'a> OpenElements<'a> {
    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn last(&self) -> Option<&Open<'a>> {
        self.elements.last()
    }

    pub(super) fn push(&mut self, open: Open<'a>) {
        let is_table = open.name == "table";
        if is_table || matches!(&*open.name, "td" | "th" | "caption") {
            let counts = HashMap::new();
            self.scopes.push(Scope { base: self.elements.len(), is_table, counts });
        } else {
            *self.counts_mut().entry(open.name.clone()).or_default() += 1;
        }
        self.elements.push(open);
    }

    pub(super) fn pop(&mut self) -> Option<Open<'a>> {
        let open = self.elements.pop()?;
        if self.scopes.last().is_some_and(|scope| scope.base == self.elements.len()) {
            self.scopes.pop();
        } else if let Some(count) = self.counts_mut().get_mut(&open.name) {
            *count = count.saturating_sub(1);
        }
        Some(open)
    }

    /// Whether an element of this name is open in the innermost scope, of which the name is not its own.
    pub(super) fn has(&self, name: &str) -> bool {
        let counts = self.scopes.last().map_or(&self.page, |scope| &scope.counts);
        counts.get(name).is_some_and(|count| *count > 0)
    }

    /// Whether the innermost scope is a table, and none of its cells is open.
    pub(super) fn is_in_table(&self) -> bool {
        self.scopes.last().is_some_and(|scope| scope.is_table)
    }

    /// Whether the open row is one of a table's head.
    pub(super) fn is_in_head(&self) -> bool {
        self.is_in_table() && self.has("thead")
    }

    /// Where the innermost cell or caption stands, if the innermost scope is one.
    pub(super) fn cell(&self) -> Option<usize> {
        self.scopes.last().filter(|scope| !scope.is_table).map(|scope| scope.base)
    }

    /// Where the element of the innermost scope stands, if it has this name.
    pub(super) fn base_named(&self, name: &str) -> Option<usize> {
        let base = self.scopes.last()?.base;
        self.elements.get(base).filter(|open| open.name == name).map(|_| base)
    }

    /// Where the last open item of one of these names stands, if it belongs to the innermost list.
    pub(super) fn item(&self, names: &[&str]) -> Option<usize> {
        // A table is a block, so that no item outside of a cell is found from inside.
        for (at, open) in self.elements.iter().enumerate().rev().take(MAX_LOOK_BACK) {
            let name = &*open.name;
            if names.contains(&name) {
                return Some(at);
            }
            if is_block(name) && !matches!(name, "p" | "div" | "address") {
                return None;
            }
        }
        None
    }

    fn counts_mut(&mut self) -> &mut HashMap<Cow<'a, str>, usize> {
        self.scopes.last_mut().map_or(&mut self.page, |scope| &mut scope.counts)
    }
}
