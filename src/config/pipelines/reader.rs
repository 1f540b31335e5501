//! Reads typed values out of a TOML document and collects every mistake with its line, where a
//! deserializer would stop at the first one.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, suggest};

/// A value and the line it is written on, counted from one. For a string over several lines it is
/// the line of the string's first character.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// A file that is being read, and what was found wrong with it so far.
pub(super) struct Document<'t> {
    pub(super) file: &'t str,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn report(&self, line: usize, message: impl Into<String>, hint: Option<String>) {
        let problem = Problem { file: self.file.to_owned(), line: Some(line), message: message.into(), hint };
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The line of a string's first character: a newline right after the opening `"""` is not part of it.
    fn string_line(&self, offset: usize) -> usize {
        let opening: Vec<u8> = self.text.bytes().skip(offset).take(5).collect();
        let below =
            [&b"\"\"\"\n"[..], b"\"\"\"\r\n", b"'''\n", b"'''\r\n"].iter().any(|mark| opening.starts_with(mark));
        self.line(offset) + usize::from(below)
    }

    fn mismatch(&self, path: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(self.line(value.span().start), format!("`{path}` must be {wanted}, not {found}"), None);
    }
}

/// One table of a document. Keys are asked for by name; [`finish`](Self::finish) reports the rest.
pub(super) struct Table<'d, 't> {
    pub(super) document: &'d Document<'t>,
    entries: &'d DeTable<'t>,
    path: String,
    /// Where the table begins.
    pub(super) line: usize,
    known: Vec<&'static str>,
}

impl<'d, 't> Table<'d, 't> {
    /// The document's outermost table.
    pub(super) fn root(document: &'d Document<'t>, entries: &'d DeTable<'t>) -> Self {
        Self { document, entries, path: String::new(), line: 1, known: Vec::new() }
    }

    fn nested(&self, entries: &'d DeTable<'t>, path: String, line: usize) -> Self {
        Self { document: self.document, entries, path, line, known: Vec::new() }
    }

    /// A key's name with those of the tables around it, as an author would say it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Located<String>> {
        let value = self.entry(key)?;
        self.as_string(value, &self.path_of(key))
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<Located<String>>> {
        let value = self.entry(key)?;
        self.as_strings(value, &self.path_of(key))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.entry(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.document.mismatch(&self.path_of(key), value, "true or false");
        }
        found
    }

    /// A number with or without a fraction.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<f32>) -> Option<f32> {
        let value = self.entry(key)?;
        let written = match value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => {
                self.document.mismatch(&self.path_of(key), value, "a number");
                return None;
            }
        };
        self.in_range(key, value, written.parse().ok(), range)
    }

    /// A whole number.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.entry(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            self.document.mismatch(&self.path_of(key), value, "a whole number");
            return None;
        };
        self.in_range(key, value, u32::from_str_radix(number.as_str(), number.radix()).ok(), range)
    }

    /// A table with keys of its own.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.entry(key)?;
        let path = self.path_of(key);
        self.as_table(value, path)
    }

    /// The tables of a list (`[[key]]`).
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.entry(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Some(items) = value.get_ref().as_array() else {
            self.document.mismatch(&path, value, "a list of tables");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.as_table(item, path.clone())).collect()
    }

    /// The tables in this one, whose keys are names that the author chose.
    pub(super) fn named_tables(&self) -> Vec<(Located<String>, Self)> {
        self.named(|value, path| self.as_table(value, path))
    }

    /// The strings in this table, whose keys are names that the author chose.
    pub(super) fn named_strings(&self) -> Vec<(Located<String>, Located<String>)> {
        self.named(|value, path| self.as_string(value, &path))
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.entries.keys() {
            if !self.known.contains(&key.get_ref().as_ref()) {
                let message = format!("unknown key `{}`", self.path_of(key.get_ref()));
                let hint = suggest(key.get_ref(), self.known.iter().copied());
                self.document.report(self.document.line(key.span().start), message, Some(hint));
            }
        }
    }

    /// The lists of strings in this table, whose keys are names that the author chose.
    pub(super) fn named_lists(&self) -> Vec<(Located<String>, Vec<Located<String>>)> {
        self.named(|value, path| self.as_strings(value, &path))
    }

    fn named<T>(&self, read: impl Fn(&'d Spanned<DeValue<'t>>, String) -> Option<T>) -> Vec<(Located<String>, T)> {
        let mut named: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, value)| {
                let name = Located { value: key.get_ref().to_string(), line: self.document.line(key.span().start) };
                read(value, self.path_of(&name.value)).map(|value| (name, value))
            })
            .collect();
        // The parser sorts keys by name; people put them in the order in which they are to be read.
        named.sort_by_key(|(name, _)| name.line);
        named
    }

    fn as_string(&self, value: &Spanned<DeValue<'t>>, path: &str) -> Option<Located<String>> {
        match value.get_ref().as_str() {
            Some(text) => Some(Located { value: text.to_owned(), line: self.document.string_line(value.span().start) }),
            None => {
                self.document.mismatch(path, value, "a string");
                None
            }
        }
    }

    fn as_strings(&self, value: &Spanned<DeValue<'t>>, path: &str) -> Option<Vec<Located<String>>> {
        let Some(items) = value.get_ref().as_array() else {
            self.document.mismatch(path, value, "a list of strings");
            return None;
        };
        let item_path = format!("{path}[]");
        Some(items.iter().filter_map(|item| self.as_string(item, &item_path)).collect())
    }

    fn as_table(&self, value: &'d Spanned<DeValue<'t>>, path: String) -> Option<Self> {
        match value.get_ref().as_table() {
            Some(entries) => Some(self.nested(entries, path, self.document.line(value.span().start))),
            None => {
                self.document.mismatch(&path, value, "a table");
                None
            }
        }
    }

    fn in_range<N: PartialOrd + std::fmt::Display + Copy>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        number: Option<N>,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            let message = format!("`{}` must lie between {} and {}", self.path_of(key), range.start(), range.end());
            self.document.report(self.document.line(value.span().start), message, None);
        }
        found
    }
}
