//! What may stand in a citation's bracket: numbers, ranges, and what parts them.

/// Whether a bracket opens with this character.
pub(super) fn is_opening(c: char) -> bool {
    matches!(c, '[' | '【' | '［')
}

/// Whether a bracket closes with this character.
pub(super) fn is_closing(c: char) -> bool {
    matches!(c, ']' | '】' | '］')
}

/// Whether a character may stand in a bracket that is a citation.
pub(super) fn may_stand_in_marker(c: char) -> bool {
    digit(c).is_some() || is_blank(c) || is_separator(c) || is_dash(c)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{a0}' | '\u{3000}')
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ';' | '，' | '；' | '、')
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '‐' | '‑' | '–' | '—' | '−' | '～' | '~')
}

/// The value of a digit, full-width ones included.
fn digit(c: char) -> Option<usize> {
    let value = match c {
        '０'..='９' => u32::from(c).checked_sub(u32::from('０')),
        _ => c.to_digit(10),
    };
    value.and_then(|value| usize::try_from(value).ok())
}

/// What became of a character of a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It belongs to the numbers.
    Accepted,
    /// It ends the numbers; the name of a source follows.
    Source,
    /// With it the bracket is no citation.
    Refused,
}

/// The numbers of a bracket, read character by character.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// First and last number of each item.
    items: Vec<(usize, usize)>,
    /// What was read last.
    last: Last,
    /// The last item is a range.
    in_range: bool,
    /// A colon parts the numbers: without a source's name after them it is a time or a ratio, and with one, as in
    /// `【4:0†source】`, it is a citation of another system, of which no number counts.
    is_foreign: bool,
    /// Numbers already taken out.
    taken: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    Digit,
    /// A blank after a number.
    Blank,
    Separator,
    Dash,
}

impl Numbers {
    /// Whether a number has begun and nothing but a list of them has been seen.
    pub(super) fn is_list(&self) -> bool {
        !self.items.is_empty() && !self.is_foreign
    }

    /// Whether a closing bracket makes them a citation.
    pub(super) fn is_complete(&self) -> bool {
        self.is_list() && self.last != Last::Dash
    }

    /// Reads the next character.
    pub(super) fn read(&mut self, c: char) -> Read {
        if let Some(value) = digit(c) {
            self.read_digit(value);
            return Read::Accepted;
        }
        let after_number = matches!(self.last, Last::Digit | Last::Blank);
        self.last = match c {
            // Blanks part numbers as well as commas do, but keep what came before them.
            _ if is_blank(c) && self.last == Last::Digit => Last::Blank,
            _ if is_blank(c) => self.last,
            _ if is_separator(c) && (after_number || self.last == Last::Separator) => Last::Separator,
            _ if is_dash(c) && after_number && !self.in_range => {
                self.in_range = true;
                Last::Dash
            }
            '†' if after_number => return Read::Source,
            ':' if self.last == Last::Digit && self.items.len() == 1 && !self.is_foreign => {
                self.is_foreign = true;
                Last::Separator
            }
            _ => return Read::Refused,
        };
        Read::Accepted
    }

    /// The numbers up to `count` of the items that no further character can change, each once.
    pub(super) fn take_settled(&mut self, count: usize) -> Vec<usize> {
        // A blank after the last item may still be followed by a dash.
        let open = usize::from(self.last != Last::Separator).min(self.items.len());
        let settled: Vec<_> = self.items.drain(..self.items.len() - open).collect();
        self.select(&settled, count)
    }

    /// The numbers up to `count` of all items, each once.
    pub(super) fn take_all(&mut self, count: usize) -> Vec<usize> {
        let items = std::mem::take(&mut self.items);
        self.select(&items, count)
    }

    fn read_digit(&mut self, value: usize) {
        match (self.last, self.items.last_mut()) {
            (Last::Digit, Some((first, last))) => {
                let grown = last.saturating_mul(10).saturating_add(value);
                if !self.in_range {
                    *first = grown;
                }
                *last = grown;
            }
            (Last::Dash, Some((_, last))) => *last = value,
            _ => {
                self.items.push((value, value));
                self.in_range = false;
            }
        }
        self.last = Last::Digit;
    }

    fn select(&mut self, items: &[(usize, usize)], count: usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        if self.is_foreign {
            return numbers;
        }
        for &(a, b) in items {
            for number in a.min(b).max(1)..=a.max(b).min(count) {
                if !self.taken.contains(&number) {
                    self.taken.push(number);
                    numbers.push(number);
                }
            }
        }
        numbers
    }
}
