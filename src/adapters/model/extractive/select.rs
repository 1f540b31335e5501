//! Chooses what to quote: the few pieces that answer best, within a length.

use super::candidates::{Candidate, Form, Lead, candidates};
use super::terms::Question;
use crate::ports::model::Passage;

/// Most passages quoted.
const PASSAGES: usize = 3;

/// Most rows of one table, or single items of one list.
const FACTS: usize = 3;

/// Most sentences and facts where the question's words are in no passage.
const UNMATCHED: usize = 3;

/// Characters quoted, about.
pub(super) const BUDGET: usize = 700;

/// A piece worse than this share of the best one is not quoted.
const WORTH: f32 = 0.5;

/// The same where the best piece leaves little to be said: it is a whole list, or has all that the piece has of the
/// question, and more.
const WORTH_OF_MORE: f32 = 0.8;

/// The pieces that answer a question: best passage first, each passage's pieces in their order. Without passages there are
/// none.
pub(super) fn best(question: &Question, passages: &[Passage]) -> Vec<Vec<Candidate>> {
    let mut candidates = candidates(question, passages);
    // Ties go to what stands first, so that one question always has one answer.
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.position().cmp(&b.position())));
    let mut chosen: Vec<Candidate> = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    let mut left = BUDGET;
    for mut candidate in candidates {
        if !is_worth(&candidate, &chosen) || chosen.iter().any(|other| excludes(other, &candidate)) {
            continue;
        }
        let in_block = |other: &&Candidate| (other.passage, other.block) == (candidate.passage, candidate.block);
        if candidate.form == Form::Fact && chosen.iter().filter(in_block).count() >= FACTS {
            continue;
        }
        let is_new_passage = !order.contains(&candidate.passage);
        if is_new_passage && order.len() == PASSAGES {
            continue;
        }
        if candidate.length() > left {
            if !chosen.is_empty() {
                continue;
            }
            shorten(&mut candidate);
        }
        // A list takes the sentences in that lead to it.
        chosen.retain(|other| {
            let is_taken_in = leads_to(other, &candidate);
            if is_taken_in {
                left += other.length();
            }
            !is_taken_in
        });
        left = left.saturating_sub(candidate.length());
        if is_new_passage {
            order.push(candidate.passage);
        }
        chosen.push(candidate);
    }
    chosen.sort_by_key(Candidate::position);
    order
        .into_iter()
        .map(|passage| chosen.iter().filter(|candidate| candidate.passage == passage).cloned().collect())
        .collect()
}

/// Whether a candidate is good enough beside what is already chosen, the best first.
fn is_worth(candidate: &Candidate, chosen: &[Candidate]) -> bool {
    let Some(best) = chosen.first() else { return true };
    if best.score <= 0.0 {
        // Where no word is shared, the passages were found by their meaning: the beginning of the first is quoted.
        return (candidate.passage, candidate.block) == (best.passage, best.block) && chosen.len() < UNMATCHED;
    }
    let says_less = candidate.found.is_subset(&best.found) && candidate.found.len() < best.found.len();
    let is_answered = matches!(best.form, Form::List { .. });
    if is_answered && candidate.passage == best.passage {
        return false;
    }
    let worth = if says_less || is_answered { WORTH_OF_MORE } else { WORTH };
    candidate.score >= best.score * worth
}

/// Whether a chosen piece leaves no room for a candidate.
fn excludes(chosen: &Candidate, candidate: &Candidate) -> bool {
    let is_same_block = (chosen.passage, chosen.block) == (candidate.passage, candidate.block);
    let is_list = |candidate: &Candidate| matches!(candidate.form, Form::List { .. });
    if chosen.lines == candidate.lines || leads_to(candidate, chosen) {
        return true;
    }
    if is_same_block && (is_list(chosen) || is_list(candidate)) {
        return true;
    }
    if chosen.form != Form::Fact || candidate.form != Form::Fact {
        return false;
    }
    // Of rows that are all alike, those fit that have most of the question: 12 months and not 24.
    candidate.found.is_subset(&chosen.found) && candidate.found.len() < chosen.found.len()
}

/// Whether a sentence stands among those that lead to a list or a table.
fn leads_to(sentence: &Candidate, led: &Candidate) -> bool {
    let Some(Lead::Sentences(lead)) = &led.lead else { return false };
    sentence.form == Form::Sentence
        && (sentence.passage, sentence.block + 1) == (led.passage, led.block)
        && sentence.lines.iter().all(|line| lead.contains(line.as_str()))
}

/// Cuts each line of a candidate that is longer than all quotes together may be.
fn shorten(candidate: &mut Candidate) {
    for line in &mut candidate.lines {
        if let Some((end, _)) = line.char_indices().nth(BUDGET) {
            let cut = line.get(..end).unwrap_or(line);
            let whole = cut.rsplit_once(' ').map_or(cut, |(whole, _)| whole);
            *line = format!("{}…", whole.trim_end_matches(|c: char| c.is_ascii_punctuation()));
        }
    }
}
