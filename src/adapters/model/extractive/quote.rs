//! Sets what is quoted of a passage: sentences between quotation marks, lists and rows on lines of their own, each quote
//! followed by the passage's number.

use super::candidates::{Candidate, Form, Lead};

/// The quotes of one passage, as paragraphs and lists in Markdown.
pub(super) fn quotes(n: usize, pieces: &[Candidate]) -> Vec<String> {
    let mut quotes = Vec::new();
    let mut rest = pieces;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|piece| is_one_quote(first, piece)).count().max(1);
        let (together, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        // Brackets of the document itself must not look like citations of this answer.
        quotes.push(format!("{} [{n}]", defuse(&quote(first, together))));
        rest = after;
    }
    quotes
}

fn is_one_quote(first: &Candidate, piece: &Candidate) -> bool {
    match (first.form, piece.form) {
        (Form::Sentence, Form::Sentence) => true,
        (Form::Fact, Form::Fact) => first.block == piece.block,
        _ => false,
    }
}

fn quote(first: &Candidate, pieces: &[Candidate]) -> String {
    let lead = match &first.lead {
        Some(Lead::Sentences(text)) => format!("{text}\n"),
        Some(Lead::Heading(text)) => format!("**{text}**\n"),
        None => String::new(),
    };
    let lines: Vec<&str> = pieces.iter().flat_map(|piece| &piece.lines).map(String::as_str).collect();
    match (first.form, lines.as_slice()) {
        (Form::List { is_numbered: true }, lines) => format!("{lead}{}", lines.join("\n")),
        (Form::Fact, [line]) if lead.is_empty() => format!("“{}”", line.trim_end_matches([';', ','])),
        (Form::List { is_numbered: false } | Form::Fact, lines) => format!("{lead}- {}", lines.join("\n- ")),
        (Form::Sentence, _) => format!("“{}”", sentences(pieces)),
    }
}

/// Sentences in their order, with a mark where some are left out.
fn sentences(pieces: &[Candidate]) -> String {
    let mut text = String::new();
    let mut before: Option<&Candidate> = None;
    for piece in pieces {
        if let Some(before) = before {
            let is_next = (before.block, before.place + 1) == (piece.block, piece.place);
            text.push_str(if is_next { " " } else { " … " });
        }
        text.push_str(&piece.lines.join(" "));
        before = Some(piece);
    }
    text
}

/// Turns brackets around numbers, the footnotes of a document, into parentheses.
fn defuse(text: &str) -> String {
    let text = text.replace(['【', '［'], "[").replace(['】', '］'], "]");
    let is_citation = |inner: &str| {
        inner.chars().any(char::is_numeric) && inner.chars().all(|c| c.is_numeric() || " ,;-–".contains(c))
    };
    let mut output = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('[') {
        output.push_str(before);
        if let Some((inner, tail)) = after.split_once(']').filter(|(inner, _)| is_citation(inner)) {
            output.push_str(&["(", inner, ")"].concat());
            rest = tail;
        } else {
            output.push('[');
            rest = after;
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footnotes_do_not_look_like_citations() {
        assert_eq!(defuse("a [12] b [x] c [] d [1, 2] 【7】 [3"), "a (12) b [x] c [] d (1, 2) (7) [3");
    }
}
