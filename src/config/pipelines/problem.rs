//! What is wrong with a pipeline file, said so that its author can mend it: where, what, and what to
//! write instead.

use std::fmt;

/// One mistake in a pipeline file. Displays as `file:line: message (hint)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file's path, or its bare name for one that is part of the program.
    pub file: String,
    /// The line, counted from one, where a single line is at fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of a whole file; [`at`](Self::at) and [`hint`](Self::hint) narrow it down.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into(), hint: None }
    }

    /// The same problem, at a line.
    #[must_use]
    pub fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The same problem, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        write!(out, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(out, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Advice for a name that is none of `known`: the one it was probably meant to be, else all of them.
pub(super) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|candidate| (distance(name, candidate), *candidate)).min();
    match nearest {
        // Up to half of the letters may be a slip of the fingers (two swapped ones count twice).
        Some((edits, candidate)) if edits * 2 <= candidate.chars().count() => {
            format!("did you mean `{candidate}`?")
        }
        Some(_) => format!("known here: {}", known.join(", ")),
        None => "nothing is expected here".to_owned(),
    }
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.chars().enumerate() {
        let mut diagonal = above;
        let mut beside = above + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            // `row` still holds the line above to the right of here; its first cell is replaced below.
            let substituted = diagonal + usize::from(a != *b);
            diagonal = *cell;
            beside = substituted.min(*cell + 1).min(beside + 1);
            *cell = beside;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_display_place_message_and_hint() {
        let problem = Problem::new("shop.toml", "unknown key `agnet`").at(7).hint("did you mean `agent`?");
        assert_eq!(problem.to_string(), "shop.toml:7: unknown key `agnet` (did you mean `agent`?)");
        assert_eq!(Problem::new("shop.toml", "empty").to_string(), "shop.toml: empty");
    }

    #[test]
    fn distances_are_levenshtein() {
        for (left, right, expected) in
            [("", "abc", 3), ("abc", "", 3), ("agnet", "agent", 2), ("limit", "limits", 1), ("vay", "vay", 0)]
        {
            assert_eq!(distance(left, right), expected, "{left} -> {right}");
        }
    }

    #[test]
    fn far_names_get_the_whole_list() {
        assert_eq!(suggest("treshold", ["limit", "threshold"]), "did you mean `threshold`?");
        assert_eq!(suggest("colour", ["limit", "threshold"]), "known here: limit, threshold");
    }
}
