//! Takes a model's thoughts out of its answer while it is written.
//!
//! Reasoning models whose server does not part thoughts from text write `<think>…</think>` into the answer. A tag may be
//! cut anywhere by the pieces the text comes in.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// The filter of one answer. What comes out does not depend on how the text was cut into pieces.
#[derive(Debug, Default)]
pub struct ReasoningFilter {
    state: State,
    /// The end of the last piece, where it may be the beginning of a tag.
    held: String,
    /// The last character let through, where a tag may only follow white space.
    last: Option<char>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Thoughts,
    /// After thoughts: the white space that parts them from the text is theirs.
    Gap,
}

impl ReasoningFilter {
    /// A filter for a new answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The part of the next piece that is text. Without a `<` in it, and outside of thoughts, it is the piece itself.
    pub fn push(&mut self, piece: String) -> String {
        if self.state == State::Text && self.held.is_empty() && !piece.contains('<') {
            self.last = piece.chars().next_back().or(self.last);
            return piece;
        }
        let input = std::mem::take(&mut self.held) + &piece;
        let mut output = String::new();
        self.read(&input, &mut output);
        output
    }

    /// What was held back when the answer ended. Thoughts without an end are thoughts.
    pub fn finish(&mut self) -> String {
        match std::mem::take(&mut self.state) {
            State::Thoughts => {
                self.held.clear();
                String::new()
            }
            State::Text | State::Gap => std::mem::take(&mut self.held),
        }
    }

    fn read(&mut self, input: &str, output: &mut String) {
        let mut rest = input;
        while !rest.is_empty() {
            rest = match self.state {
                State::Text => self.read_text(rest, output),
                State::Thoughts => self.read_thoughts(rest),
                State::Gap => {
                    let text = rest.trim_start();
                    if !text.is_empty() {
                        self.state = State::Text;
                    }
                    text
                }
            };
        }
    }

    /// Lets text through up to a tag; returns what follows the tag.
    fn read_text<'a>(&mut self, rest: &'a str, output: &mut String) -> &'a str {
        let (text, tail) = rest.find('<').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
        output.push_str(text);
        self.last = text.chars().next_back().or(self.last);
        if self.last.is_none_or(char::is_whitespace) {
            if let Some(thoughts) = tail.strip_prefix(OPEN) {
                self.state = State::Thoughts;
                return thoughts;
            }
            if OPEN.starts_with(tail) {
                self.held.push_str(tail);
                return "";
            }
        }
        match tail.strip_prefix('<') {
            Some(after) => {
                output.push('<');
                self.last = Some('<');
                after
            }
            None => "",
        }
    }

    /// Drops thoughts up to their end; returns what follows it.
    fn read_thoughts<'a>(&mut self, rest: &'a str) -> &'a str {
        if let Some((_, text)) = rest.split_once(CLOSE) {
            self.state = State::Gap;
            return text;
        }
        // Only the last `<` can begin a tag that has not ended: the tag holds no other.
        if let Some((_, tail)) = rest.rfind('<').and_then(|at| rest.split_at_checked(at))
            && CLOSE.starts_with(tail)
        {
            self.held.push_str(tail);
        }
        ""
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let mut filter = ReasoningFilter::new();
        let mut output: String = pieces.into_iter().map(|piece| filter.push(piece.to_owned())).collect();
        output += &filter.finish();
        output
    }

    #[test]
    fn thoughts_are_taken_out() {
        for (input, expected) in [
            ("plain text", "plain text"),
            ("<think>hm, 1 < 2</think>\n\nChào bạn", "Chào bạn"),
            ("<think></think>Hi", "Hi"),
            ("\n<think>a</think>\nHi", "\nHi"),
            ("One <think>a</think> two", "One two"),
            ("<think>a</think> <think>b</think> Hi", "Hi"),
            ("<think>a <think> b</think>Hi", "Hi"),
            ("<think>never ends", ""),
            ("<think>never ends </thin", ""),
            ("<think>a</think>\n ", ""),
            ("x<think>stays</think>", "x<think>stays</think>"),
            ("a < b <thin> <thinking> </think>", "a < b <thin> <thinking> </think>"),
            ("cut <thi", "cut <thi"),
            ("<", "<"),
            ("<<think>", "<<think>"),
            ("", ""),
        ] {
            assert_eq!(filter([input]), expected, "{input:?}");
        }
    }

    #[test]
    fn a_piece_without_tags_is_passed_on_as_it_is() {
        let mut filter = ReasoningFilter::new();
        let piece = "lãi suất".to_owned();
        let before = piece.as_ptr();
        let output = filter.push(piece);
        assert_eq!(output.as_ptr(), before);
    }

    proptest! {
        #[test]
        fn the_cuts_do_not_matter(
            parts in proptest::collection::vec(
                prop_oneof!["<think>", "</think>", "<", "<thi", "nk>", "/think>", " ", "\n", "ã", "a"], 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = parts.concat();
            let chars: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
            cuts.extend([0, chars.len()]);
            cuts.sort_unstable();
            let pieces: Vec<String> = cuts.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect();
            let whole = filter([text.as_str()]);
            prop_assert_eq!(filter(pieces.iter().map(String::as_str)), whole.clone());
            prop_assert_eq!(filter(text.split_inclusive(|_| true)), whole.clone());
        }
    }
}
