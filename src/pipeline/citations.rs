//! Lets only those citations through that point at a passage of the prompt, while the answer is written.
//!
//! A citation is a bracket that holds numbers only: `[2]`, `[1, 3]`, `[1-3]`, and the forms that models fall into, such as
//! `[[2]]`, `【2】` and `【2†source】`. Numbers of passages come out as `[n]`, one bracket for each, so that clients
//! have one form to look for; all other numbers are dropped. Everything else is text and stays.

use marker::{Numbers, Read, is_closing, is_opening, may_stand_in_marker};

mod marker;

#[cfg(test)]
mod tests;

/// Most bytes held back while they may still become a citation.
const HELD_LIMIT: usize = 24;

/// The filter of one answer. What comes out does not depend on how the text was cut into pieces.
#[derive(Debug)]
pub struct CitationFilter {
    /// Passages in the prompt: the numbers from 1 to it may be cited.
    count: usize,
    state: State,
    /// The text of a bracket that is not closed yet.
    held: String,
    /// The numbers of that bracket.
    numbers: Numbers,
    /// A space that is not let through yet: it goes if a citation is dropped right after it.
    space: bool,
    /// A citation has just been dropped: spaces on both sides of it become one.
    gap: bool,
    /// Nothing of the current line has been let through.
    line_start: bool,
    tail: Tail,
    cited: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// In a bracket; `double` means that it opened as `[[`.
    Bracket {
        double: bool,
    },
    /// In a bracket, after the sign that parts the number from a source's name.
    Source {
        double: bool,
    },
    /// A bracket that opened as `[[` has been closed once.
    HalfClosed,
    /// In a bracket too long to be held: its numbers are let through one by one.
    LongList {
        any: bool,
    },
}

/// What the text let through last would be, if a closing bracket followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing in particular.
    Closed,
    /// A bracket of the model's own making that is no citation.
    Open,
    /// A citation that the model did not write: one was dropped out of an open bracket, as in `[[9]1]`.
    Spliced,
}

impl CitationFilter {
    /// A filter for an answer to a prompt with this many passages, numbered from 1.
    pub fn new(count: usize) -> Self {
        Self {
            count,
            state: State::Text,
            held: String::new(),
            numbers: Numbers::default(),
            space: false,
            gap: false,
            line_start: true,
            tail: Tail::Closed,
            cited: Vec::new(),
        }
    }

    /// The passages cited so far, in the order of their first citation.
    pub fn cited(&self) -> &[usize] {
        &self.cited
    }

    /// The part of the answer that is certain after its next piece. Without brackets it is the piece itself; a space at
    /// its end is held back, and at most 24 bytes of an open bracket.
    pub fn push(&mut self, mut piece: String) -> String {
        let is_plain = self.state == State::Text && !self.gap && self.tail == Tail::Closed;
        if !is_plain || piece.contains(is_opening) {
            let mut output = String::with_capacity(piece.len() + self.held.len() + 1);
            for c in piece.chars() {
                self.take(c, &mut output);
            }
            return output;
        }
        if self.space && !piece.is_empty() {
            self.space = false;
            piece.insert(0, ' ');
        }
        if piece.ends_with(' ') {
            piece.pop();
            self.space = true;
        }
        if let Some(last) = piece.chars().next_back() {
            self.line_start = last == '\n';
        }
        piece
    }

    /// What was held back when the answer ended.
    pub fn finish(&mut self) -> String {
        let mut output = String::new();
        match self.state {
            State::Text => {}
            State::Bracket { .. } | State::Source { .. } => self.let_held_through(&mut output),
            State::HalfClosed => self.close_half(&mut output),
            State::LongList { any } => self.end_long_list(any, &mut output),
        }
        if std::mem::take(&mut self.space) && !self.gap {
            output.push(' ');
        }
        output
    }

    fn take(&mut self, c: char, output: &mut String) {
        match self.state {
            State::Text => self.take_text(c, output),
            State::Bracket { double } => self.take_bracket(c, double, output),
            State::Source { double } => {
                if is_closing(c) {
                    self.close(double, output);
                } else if is_opening(c) || c == '\n' || self.held.len() + c.len_utf8() > HELD_LIMIT {
                    self.let_held_through(output);
                    self.take_text(c, output);
                } else {
                    self.held.push(c);
                }
            }
            State::HalfClosed if is_closing(c) => self.settle(output),
            State::HalfClosed => {
                self.close_half(output);
                self.take_text(c, output);
            }
            State::LongList { any } => {
                if is_closing(c) {
                    self.end_long_list(any, output);
                } else if self.numbers.read(c) == Read::Refused {
                    self.end_long_list(any, output);
                    self.take_text(c, output);
                } else {
                    let settled = self.numbers.take_settled(self.count);
                    self.state = State::LongList { any: any || !settled.is_empty() };
                    self.cite(&settled, output);
                }
            }
        }
    }

    fn take_text(&mut self, c: char, output: &mut String) {
        if is_opening(c) {
            self.held.push(c);
            self.numbers = Numbers::default();
            self.state = State::Bracket { double: false };
        } else if c != ' ' {
            self.write(c, output);
        } else if self.gap {
            // At the beginning of a line the space after a dropped citation goes, elsewhere one of both stays.
            self.space |= !self.line_start;
        } else {
            if self.space {
                self.write_raw(' ', output);
            }
            self.space = true;
        }
    }

    fn take_bracket(&mut self, c: char, double: bool, output: &mut String) {
        if is_opening(c) {
            let is_empty = self.numbers == Numbers::default() && self.held.chars().all(is_opening);
            if is_empty && double {
                // Of more than two brackets only the last two can be a citation's.
                let first = self.held.remove(0);
                self.write(first, output);
                self.held.push(c);
            } else if is_empty {
                self.held.push(c);
                self.state = State::Bracket { double: true };
            } else {
                self.let_held_through(output);
                self.take_text(c, output);
            }
            return;
        }
        if is_closing(c) {
            if self.numbers.is_complete() {
                self.close(double, output);
            } else {
                self.let_held_through(output);
                self.write(c, output);
            }
            return;
        }
        let fits = self.held.len() + c.len_utf8() <= HELD_LIMIT;
        match self.numbers.read(c) {
            Read::Accepted if fits => self.held.push(c),
            Read::Accepted if !self.numbers.is_list() => {
                self.let_held_through(output);
                self.take_text(c, output);
            }
            Read::Accepted => {
                self.held.clear();
                if double {
                    self.write('[', output);
                }
                let settled = self.numbers.take_settled(self.count);
                self.state = State::LongList { any: !settled.is_empty() };
                self.cite(&settled, output);
            }
            Read::Source if fits => {
                self.held.push(c);
                self.state = State::Source { double };
            }
            Read::Source | Read::Refused => {
                self.let_held_through(output);
                self.take_text(c, output);
            }
        }
    }

    /// A closing bracket has come after numbers.
    fn close(&mut self, double: bool, output: &mut String) {
        if double {
            self.state = State::HalfClosed;
        } else {
            self.settle(output);
        }
    }

    /// The bracket opened as `[[` but closed as `]`: the first one is text.
    fn close_half(&mut self, output: &mut String) {
        self.write('[', output);
        self.settle(output);
    }

    /// Cites or drops the numbers of a bracket that is complete.
    fn settle(&mut self, output: &mut String) {
        self.held.clear();
        self.state = State::Text;
        let numbers = self.numbers.take_all(self.count);
        if numbers.is_empty() {
            self.drop_citation();
        } else {
            self.cite(&numbers, output);
        }
    }

    fn end_long_list(&mut self, any: bool, output: &mut String) {
        self.state = State::Text;
        let numbers = self.numbers.take_all(self.count);
        if numbers.is_empty() && !any {
            self.drop_citation();
        }
        self.cite(&numbers, output);
    }

    fn drop_citation(&mut self) {
        self.gap = true;
        if self.tail == Tail::Open {
            self.tail = Tail::Spliced;
        }
    }

    fn cite(&mut self, numbers: &[usize], output: &mut String) {
        if numbers.is_empty() {
            return;
        }
        if std::mem::take(&mut self.space) {
            output.push(' ');
        }
        for number in numbers {
            output.push_str(&format!("[{number}]"));
            if !self.cited.contains(number) {
                self.cited.push(*number);
            }
        }
        self.gap = false;
        self.line_start = false;
        self.tail = Tail::Closed;
    }

    /// The bracket is no citation: its text is the model's own.
    fn let_held_through(&mut self, output: &mut String) {
        self.state = State::Text;
        for c in std::mem::take(&mut self.held).chars() {
            self.write(c, output);
        }
    }

    /// Writes a character of the text, and before it the space that was held back.
    fn write(&mut self, c: char, output: &mut String) {
        if std::mem::take(&mut self.space) && !(self.gap && hugs_the_word_before(c)) {
            self.write_raw(' ', output);
        }
        self.gap = false;
        self.write_raw(c, output);
    }

    fn write_raw(&mut self, c: char, output: &mut String) {
        if self.tail == Tail::Spliced && is_closing(c) {
            return;
        }
        if is_opening(c) {
            self.tail = Tail::Open;
        } else if !may_stand_in_marker(c) {
            self.tail = Tail::Closed;
        }
        self.line_start = c == '\n';
        output.push(c);
    }
}

/// Whether no space stands before a character.
fn hugs_the_word_before(c: char) -> bool {
    c == '\n' || ".,;:!?)]}…。，！？、：；）」』”".contains(c)
}
