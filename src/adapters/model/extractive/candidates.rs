//! What could be quoted of the passages, and how well each piece answers.

use std::collections::{HashMap, HashSet};

use super::blocks::{Block, blocks};
use super::terms::{Question, Text};
use crate::ports::model::Passage;

/// Longest list that is quoted whole, in characters, with what leads to it.
const LONGEST_LIST: usize = 650;

/// Longest paragraph that leads to a list in full; of a longer one only the last sentence does.
const LONGEST_LEAD: usize = 220;

/// What a word counts that stands not in the piece itself but over it, in a heading or a leading sentence: it says what
/// the piece is about, but its neighbours share it.
const SHARE_ABOVE: f32 = 0.4;

/// What the search's order of passages counts: the second passage's pieces are worth a little less than the first's.
const RANK_SHARE: f32 = 0.15;

/// How much it counts which share of the question's words a piece has, whatever their rarity.
const COVERAGE: f32 = 0.5;

/// What a piece with a figure is worth more where a figure is asked for.
const NUMBER_BONUS: f32 = 1.2;

/// What a whole list is worth more where one is asked for.
const LIST_BONUS: f32 = 1.5;

/// What a whole list is worth less where none is asked for: most of it is about something else.
const LIST_MALUS: f32 = 0.75;

/// A piece of a passage that can be quoted alone.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The passage's place among the passages.
    pub(super) passage: usize,
    /// The block's place in the passage.
    pub(super) block: usize,
    /// The piece's place in the block.
    pub(super) place: usize,
    /// What it is.
    pub(super) form: Form,
    /// What leads to it: a sentence with a colon, or else the heading. Sentences have none.
    pub(super) lead: Option<Lead>,
    /// Its text: one line, or one for each item of a whole list.
    pub(super) lines: Vec<String>,
    /// How well it answers.
    pub(super) score: f32,
    /// The question's words that it or what stands over it has.
    pub(super) found: HashSet<usize>,
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A sentence of a paragraph.
    Sentence,
    /// One item of a list, or one row of a table.
    Fact,
    /// A list from its first item to its last.
    List {
        /// Whether the items carry numbers.
        is_numbered: bool,
    },
}

/// What leads to a list or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// The sentences before it, the last of which ends in a colon.
    Sentences(String),
    /// The heading over it.
    Heading(String),
}

impl Lead {
    fn text(&self) -> &str {
        match self {
            Self::Sentences(text) | Self::Heading(text) => text,
        }
    }
}

impl Candidate {
    /// How many characters it takes.
    pub(super) fn length(&self) -> usize {
        let lead = self.lead.as_ref().map_or("", Lead::text);
        lead.chars().count() + self.lines.iter().map(|line| line.chars().count()).sum::<usize>()
    }

    /// Where it stands: the passage, the block in it, the place in that.
    pub(super) fn position(&self) -> (usize, usize, usize) {
        (self.passage, self.block, self.place)
    }
}

/// Everything that could be quoted, with its score: the words and word pairs that it shares with the question, each
/// weighed by its rarity (the inverse document frequency of BM25).
pub(super) fn candidates(question: &Question, passages: &[Passage]) -> Vec<Candidate> {
    let mut pieces = Vec::new();
    for (passage, source) in passages.iter().enumerate() {
        pieces.extend(pieces_of(passage, source, question.wants_list));
    }
    let rarity = rarity(question, &pieces);
    let by_rank = |candidate: &Candidate| 1.0 - RANK_SHARE * share(candidate.passage, passages.len());
    let judged = pieces.into_iter().map(|piece| {
        let mut candidate = piece.judged(question, &rarity);
        candidate.score *= by_rank(&candidate);
        candidate
    });
    judged.collect()
}

#[expect(clippy::cast_precision_loss, reason = "what is counted here are words, characters and passages of one answer")]
fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

/// A candidate and its words.
struct Piece {
    candidate: Candidate,
    /// The words that are its own. A list of steps has several: it answers as well as what leads to it, or its best step.
    own: Vec<Text>,
    /// The words that stand over it.
    above: Text,
}

impl Piece {
    /// The candidate with its score, all but the rank of its passage.
    fn judged(self, question: &Question, rarity: &[f32]) -> Candidate {
        let mut candidate = self.candidate;
        let is_list = matches!(candidate.form, Form::List { .. });
        let above: Vec<f32> = question.terms.iter().map(|term| self.above.share_of(term)).collect();
        let mut best = 0.0;
        for own in &self.own {
            let mut sum = 0.0;
            for (place, ((term, rarity), above)) in question.terms.iter().zip(rarity).zip(&above).enumerate() {
                // The list of documents is what was asked for, though it does not call itself so.
                let own = if is_list && term.names_list { 1.0 } else { own.share_of(term) };
                if own.max(*above) >= 1.0 && term.is_content {
                    candidate.found.insert(place);
                }
                sum += own.max(above * SHARE_ABOVE) * term.weight * rarity;
            }
            best = f32::max(best, sum);
        }
        let has_number = self.own.iter().any(|own| own.has_number);
        let by_number = if question.wants_number && has_number { NUMBER_BONUS } else { 1.0 };
        let by_list = match (is_list, question.wants_list) {
            (false, _) => 1.0,
            (true, true) => LIST_BONUS,
            (true, false) => LIST_MALUS,
        };
        let content = question.terms.iter().filter(|term| term.is_content).count();
        let by_coverage = share(candidate.found.len(), content).powf(COVERAGE);
        // Long texts share words by chance. Of a list, the lead or one step is compared at a time.
        let length = share(candidate.length(), self.own.len());
        let by_length = 1.0 + (length / 200.0).ln_1p() / 2.0;
        candidate.score = best / by_length * by_number * by_list * by_coverage;
        candidate
    }
}

/// How rare each term of the question is among the pieces.
fn rarity(question: &Question, pieces: &[Piece]) -> Vec<f32> {
    let mut with_term: HashMap<usize, f32> = HashMap::new();
    for piece in pieces {
        for (place, term) in question.terms.iter().enumerate() {
            let own = piece.own.iter().map(|own| own.share_of(term)).fold(0.0, f32::max);
            *with_term.entry(place).or_default() += own.max(piece.above.share_of(term) * SHARE_ABOVE);
        }
    }
    let total = share(pieces.len(), 1);
    let idf = |with: f32| (1.0 + (total - with + 0.5).max(0.5) / (with + 0.5)).ln();
    (0..question.terms.len()).map(|place| idf(with_term.get(&place).copied().unwrap_or_default())).collect()
}

fn pieces_of(passage: usize, source: &Passage, wants_list: bool) -> Vec<Piece> {
    let mut headings = format!("{}\n{}", source.title, source.heading);
    let blocks = blocks(&source.text);
    let mut pieces = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| blocks.get(before));
        let lead = lead(before, source);
        let mut add = |at: usize, form: Form, lead: Option<Lead>, lines: &[String], own: &[&str], above: &str| {
            let candidate = Candidate {
                passage,
                block: place,
                place: at,
                form,
                lead,
                lines: lines.to_vec(),
                score: 0.0,
                found: HashSet::new(),
            };
            pieces.push(Piece {
                candidate,
                own: own.iter().map(|own| Text::new(own)).collect(),
                above: Text::new(above),
            });
        };
        match block {
            Block::Heading(heading) => headings = format!("{}\n{}\n{heading}", source.title, source.heading),
            Block::Paragraph(sentences) => {
                let leads_on = matches!(blocks.get(place + 1), Some(Block::List { .. } | Block::Table(_)));
                for (at, sentence) in sentences.iter().enumerate() {
                    // What ends in a colon comes with what it leads to, or it says nothing.
                    let is_open = at + 1 == sentences.len() && sentence.ends_with(':');
                    if !is_open || (!leads_on && blocks.len() == 1 && sentences.len() == 1) {
                        add(at, Form::Sentence, None, std::slice::from_ref(sentence), &[sentence], &headings);
                    }
                }
            }
            Block::List { is_numbered, items } => {
                let words = lead.as_ref().map_or("", Lead::text);
                let length: usize = items.iter().map(|item| item.chars().count()).sum();
                let is_short = words.chars().count() + length <= LONGEST_LIST;
                let above = format!("{headings}\n{words}");
                // Under a mere heading stand facts of all kinds; under a sentence that leads to them, its answer.
                let is_whole = *is_numbered || wants_list || matches!(lead, Some(Lead::Sentences(_)));
                if is_short && is_whole && items.len() > 1 {
                    let inside = format!("{above}\n{}", items.join("\n"));
                    let steps = items.iter().filter(|_| *is_numbered).map(String::as_str);
                    let own: Vec<&str> = std::iter::once(words).chain(steps).collect();
                    add(0, Form::List { is_numbered: *is_numbered }, lead.clone(), items, &own, &inside);
                }
                for (at, item) in items.iter().enumerate() {
                    // A step makes sense among the others only; of more than can be quoted, one is better than none.
                    if !is_numbered || !is_short || items.len() == 1 {
                        let item = if *is_numbered { without_number(item) } else { item };
                        add(at, Form::Fact, None, &[item.to_owned()], &[item], &above);
                    }
                }
            }
            Block::Table(rows) => {
                let lead = lead.filter(|lead| matches!(lead, Lead::Sentences(_)));
                let above = format!("{headings}\n{}", lead.as_ref().map_or("", Lead::text));
                for (at, row) in rows.iter().enumerate() {
                    add(at, Form::Fact, lead.clone(), std::slice::from_ref(row), &[row], &above);
                }
            }
        }
    }
    pieces
}

/// What leads to a block: the paragraph before it if that ends in a colon, or else, for the first block, the heading.
fn lead(before: Option<&Block>, source: &Passage) -> Option<Lead> {
    match before {
        None => {
            let heading = source.heading.rsplit(" > ").next().unwrap_or_default().trim();
            let heading = if heading.is_empty() { source.title.trim() } else { heading };
            (!heading.is_empty()).then(|| Lead::Heading(heading.to_owned()))
        }
        Some(Block::Paragraph(sentences)) => {
            let last = sentences.last().filter(|last| last.ends_with(':'))?;
            let all = sentences.join(" ");
            Some(Lead::Sentences(if all.chars().count() <= LONGEST_LEAD { all } else { last.clone() }))
        }
        Some(Block::Heading(heading)) => Some(Lead::Heading(heading.clone())),
        Some(_) => None,
    }
}

fn without_number(item: &str) -> &str {
    item.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(['.', ')']).trim_start()
}
