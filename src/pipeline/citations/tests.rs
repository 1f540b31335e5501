//! Which citations survive, by example and for any text.

use proptest::prelude::*;

use super::*;

fn filter<'a>(count: usize, pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<usize>) {
    let mut filter = CitationFilter::new(count);
    let mut output = String::new();
    for piece in pieces {
        output += &filter.push(piece.to_owned());
        assert!(filter.held.len() <= HELD_LIMIT, "{} bytes are held", filter.held.len());
    }
    output += &filter.finish();
    (output, filter.cited().to_vec())
}

fn one(count: usize, text: &str) -> String {
    filter(count, [text]).0
}

#[test]
fn citations_of_passages_stay_and_all_others_go() {
    for (input, expected) in [
        ("Lãi suất 7% [1].", "Lãi suất 7% [1]."),
        ("Both [1][3] and [9].", "Both [1][3] and."),
        ("List [1, 7] and [7, 2;3]", "List [1] and [2][3]"),
        ("Range [1-9], [2–3], [3-1] and [5-9].", "Range [1][2][3], [2][3], [1][2][3] and."),
        ("Twice [1, 1, 1-2]", "Twice [1][2]"),
        ("Zero [0] and huge [99999999999999999999999]", "Zero and huge"),
        ("Year [2024] too.", "Year too."),
        ("Padded [ 2 ] and [02]", "Padded [2] and [2]"),
        ("Wide 【2】 ［３］ 【9】!", "Wide [2] [3]!"),
        ("Source 【2†source】 【9†source】 【4:0†source】.", "Source [2]."),
        ("Double [[1]] [[9]] [[1, 9]].", "Double [1] [1]."),
        ("Link [1](http://x) and [9](http://x)", "Link [1](http://x) and (http://x)"),
        ("Long [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] [4, 5, 6, 7, 8, 9, 10, 11, 12].", "Long [1][2][3]."),
        ("Long [[4, 5, 6, 7, 8, 9, 10, 11, 12]] x", "Long [ x"),
    ] {
        assert_eq!(one(3, input), expected, "{input:?}");
    }
}

#[test]
fn what_is_no_citation_is_text() {
    for text in [
        "[abc] [] [ ] [x] [1a] [a1] [1.5] [1/2] [10:30] [-1] [,1] [1-] [2024-05-01] [^1] [1:2]",
        "cut [1",
        "cut 【1†sour",
        "[1†a name that is far too long to be held back]",
        "[[abc]] [[[",
        "a ] b 】",
        "two  spaces  ",
        "",
    ] {
        assert_eq!(one(0, text), text);
        assert_eq!(one(0, text), filter(0, text.split_inclusive(|_| true)).0);
    }
}

#[test]
fn no_space_is_left_doubled_or_dangling() {
    for (input, expected) in [
        ("a [9] b", "a b"),
        ("a [9], b", "a, b"),
        ("a [9]\nb", "a\nb"),
        ("a [9]", "a"),
        ("a[9] b", "a b"),
        ("[9] a", "a"),
        ("x\n[9] a", "x\na"),
        ("- [9] a", "- a"),
        ("a [8] [9] b", "a b"),
        ("a [8][9][1] b", "a [1] b"),
        ("a [8] [1] [9] b", "a [1] b"),
    ] {
        assert_eq!(one(1, input), expected, "{input:?}");
    }
}

#[test]
fn dropping_a_citation_makes_no_new_one() {
    for (input, expected) in [("[[9]1]", "[1"), ("[1[9]2] [1[9]]", "[12 [1"), ("[[[9]]1]", "[1"), ("[[9],5]", "[,5")] {
        assert_eq!(one(0, input), expected, "{input:?}");
    }
}

#[test]
fn a_piece_without_brackets_is_passed_on_as_it_is() {
    let mut filter = CitationFilter::new(1);
    let piece = "lãi suất".to_owned();
    let before = piece.as_ptr();
    let output = filter.push(piece);
    assert_eq!(output.as_ptr(), before);
    assert_eq!(filter.push(" vay ".to_owned()), " vay");
    assert_eq!(filter.push("mua".to_owned()), " mua");
}

#[test]
fn what_was_cited_is_told_in_order() {
    assert_eq!(filter(5, ["b [4], a [2, 9", "] and [4][1-2]"]).1, [4, 2, 1]);
}

/// Brackets of a text that hold nothing but digits and blanks.
fn citations_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inner: Option<String> = None;
    for c in text.chars() {
        if "[【［".contains(c) {
            inner = Some(String::new());
        } else if "]】］".contains(c) {
            let number = inner.take().map(|text| text.trim_matches(' ').to_owned());
            found.extend(number.filter(|text| !text.is_empty() && text.chars().all(char::is_numeric)));
        } else if let Some(inner) = &mut inner {
            inner.push(c);
        }
    }
    found
}

prop_compose! {
    fn any_text()(parts in proptest::collection::vec(prop_oneof![
        4 => prop_oneof!["\\[", "\\]", "【", "】", "［", "］"],
        4 => prop_oneof!["[0-9]{1,3}", "１", "12345678901234567890"],
        3 => prop_oneof![",", ", ", "-", "–", " ", "  ", ";", "†", ":", "\n"],
        2 => prop_oneof!["a", "ầ", "source", "\\.", "\\(", "lãi suất vay"],
        2 => prop_oneof!["\\[[0-9]\\]", "\\[[1-9], [1-9]\\]", "\\[\\[[0-9]\\]\\]", " \\[[1-9]-[1-9]\\]"],
    ], 0..24)) -> String {
        parts.concat()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn only_passages_are_cited(text in any_text(), count in 0_usize..6) {
        let (output, cited) = filter(count, [text.as_str()]);
        let mut seen = Vec::new();
        for citation in citations_in(&output) {
            let number: usize = citation.parse().expect("citations are written in one form");
            prop_assert!((1..=count).contains(&number), "[{citation}] survives in {output:?}");
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        prop_assert_eq!(seen, cited, "{:?}", output);
    }

    #[test]
    fn the_cuts_do_not_matter(
        text in any_text(),
        count in 0_usize..6,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let chars: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
        cuts.extend([0, chars.len()]);
        cuts.sort_unstable();
        let pieces: Vec<String> = cuts.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect();
        let whole = filter(count, [text.as_str()]);
        prop_assert_eq!(filter(count, pieces.iter().map(String::as_str)), whole.clone());
        prop_assert_eq!(filter(count, text.split_inclusive(|_| true)), whole);
    }

    #[test]
    fn text_without_brackets_is_not_touched(text in "[^\\[\\]【】［］]{0,80}") {
        prop_assert_eq!(one(3, &text), text);
    }
}
