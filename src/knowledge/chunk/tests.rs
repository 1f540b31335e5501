//! What passages promise.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::super::load::{Block, BlockKind, Section};
use super::*;

fn block(kind: BlockKind, text: &str) -> Block {
    Block { kind, text: text.to_owned() }
}

fn section(path: &str, blocks: Vec<Block>) -> Section {
    let headings = path.split('>').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Section { headings, blocks }
}

/// A document of sections with one paragraph each.
fn document(sections: &[(&str, &str)]) -> Loaded {
    let sections = sections.iter().map(|(path, text)| section(path, vec![block(BlockKind::Paragraph, text)]));
    Loaded { sections: sections.collect(), ..Loaded::default() }
}

/// The headings and the text of each passage, on one line each.
fn shape(chunks: &[Chunk]) -> Vec<String> {
    chunks.iter().map(|it| format!("{}|{}", it.headings.join(">"), it.text.replace('\n', "⏎"))).collect()
}

fn settings(max: usize, overlap: usize, min: usize) -> Settings {
    Settings::new(max, overlap, min).unwrap()
}

#[test]
fn sizes_are_checked() {
    assert_eq!(Settings::new(1200, 150, 200), Ok(Settings::default()));
    assert_eq!(Settings::new(31, 0, 0), Err(Error::MaxTooSmall { max_chars: 31, least: 32 }));
    assert_eq!(Settings::new(100, 51, 0), Err(Error::OverlapTooLarge { overlap_chars: 51, most: 50 }));
    assert_eq!(Settings::new(100, 0, 51), Err(Error::MinTooLarge { min_chars: 51, most: 50 }));
}

#[test]
fn headings_travel_with_the_text() {
    let mut loaded = document(&[("Vay>Lãi suất", "6%")]);
    loaded.title = Some("Ngân hàng".to_owned());
    let chunks = chunk(&loaded, &Settings::default());
    assert_eq!(chunks[0].embedding_text(), "Ngân hàng > Vay > Lãi suất\n6%");
    loaded.title = Some("VAY".to_owned());
    assert_eq!(chunk(&loaded, &Settings::default())[0].embedding_text(), "Vay > Lãi suất\n6%");
    assert_eq!(chunk(&document(&[("", "6%")]), &Settings::default())[0].embedding_text(), "6%");
}

#[test]
fn blocks_of_one_section_are_packed() {
    let blocks = ["aaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbb", "ccc"].map(|text| block(BlockKind::Paragraph, text));
    let loaded = Loaded { sections: vec![section("A", blocks.to_vec())], ..Loaded::default() };
    // 15 + 2 + 15 characters fit exactly.
    assert_eq!(shape(&chunk(&loaded, &settings(32, 0, 0))), ["A|aaaaaaaaaaaaaaa⏎⏎bbbbbbbbbbbbbbb", "A|ccc"]);
    // The last passage would be too short: it takes a block from the one before.
    assert_eq!(shape(&chunk(&loaded, &settings(32, 0, 10))), ["A|aaaaaaaaaaaaaaa", "A|bbbbbbbbbbbbbbb⏎⏎ccc"]);
}

#[test]
fn sections_that_are_long_enough_stay_apart() {
    let long = "x".repeat(20);
    let loaded = document(&[("", &long), ("A", &long), ("A>B", &long), ("A>B", &long), ("C", &long)]);
    let paths: Vec<String> = chunk(&loaded, &settings(100, 0, 20)).iter().map(|it| it.headings.join(">")).collect();
    assert_eq!(paths, ["", "A", "A>B", "A>B", "C"]);
}

#[test]
fn short_neighbours_share_a_passage_under_their_parent() {
    let loaded = document(&[("A", "intro"), ("A>B", "bb"), ("A>C", "cc"), ("D", &"d".repeat(30)), ("E", "ee")]);
    assert_eq!(
        shape(&chunk(&loaded, &settings(60, 0, 30))),
        ["A|intro⏎⏎B⏎bb⏎⏎C⏎cc".to_owned(), format!("D|{}", "d".repeat(30)), "E|ee".to_owned()]
    );
    // Merging stops as soon as a passage is long enough, but leaves nobody alone.
    let loaded = document(&[("A>B", "bbbbbbbb"), ("A>C", "cccccccc"), ("A>D", "dddddddd")]);
    assert_eq!(shape(&chunk(&loaded, &settings(60, 0, 15))), ["A|B⏎bbbbbbbb⏎⏎C⏎cccccccc⏎⏎D⏎dddddddd"]);
    assert_eq!(shape(&chunk(&loaded, &settings(32, 0, 15))), ["A|B⏎bbbbbbbb⏎⏎C⏎cccccccc", "A>D|dddddddd"]);
}

#[test]
fn merging_crosses_no_higher_heading() {
    let long = "x".repeat(40);
    let loaded = document(&[("A>B", &long), ("A>C", "short"), ("D>E", "short"), ("D>F", &long)]);
    assert_eq!(
        shape(&chunk(&loaded, &settings(80, 0, 30))),
        [format!("A>B|{long}"), "A>C|short".into(), "D>E|short".into(), format!("D>F|{long}")]
    );
    let loaded = document(&[("C", "short"), ("D>E", "short"), ("D>F", &long)]);
    assert_eq!(
        shape(&chunk(&loaded, &settings(80, 0, 30))),
        ["C|short".into(), "D>E|short".into(), format!("D>F|{long}")]
    );
    // Sections that are short as a whole are neighbours, with all that is below them.
    let loaded = document(&[("A>B", "b"), ("A>C", "c"), ("D>E", "e")]);
    assert_eq!(shape(&chunk(&loaded, &settings(80, 0, 30))), ["|A⏎B⏎b⏎⏎C⏎c⏎⏎D > E⏎e"]);
}

#[test]
fn long_paragraphs_are_split_at_sentences_with_overlap() {
    let text = "Một hai ba bốn. Năm sáu bảy tám? Chín mười\nmười một. Hết rồi.";
    let loaded = document(&[("", text)]);
    assert_eq!(
        shape(&chunk(&loaded, &settings(34, 0, 0))),
        ["|Một hai ba bốn. Năm sáu bảy tám?", "|Chín mười⏎mười một. Hết rồi."]
    );
    assert_eq!(
        shape(&chunk(&loaded, &settings(40, 17, 0))),
        // The last sentence of the second part is too long to be repeated: its last words are.
        ["|Một hai ba bốn. Năm sáu bảy tám?", "|Năm sáu bảy tám? Chín mười⏎mười một.", "|mười⏎mười một. Hết rồi."]
    );
}

#[test]
fn a_sentence_too_long_to_repeat_lends_its_last_words() {
    let sentence = format!("T{}.", "ừ t".repeat(19) + "ừ");
    let chunks = chunk(&document(&[("", &format!("{sentence} {sentence}"))]), &settings(80, 11, 0));
    assert_eq!(shape(&chunks), [format!("|{sentence}"), format!("|từ từ từ. {sentence}")]);
}

#[test]
fn long_tables_are_split_between_rows() {
    let rows: Vec<String> = (0..10).map(|it| format!("Kỳ hạn: {it} tháng; Lãi suất: {it}%")).collect();
    let loaded =
        Loaded { sections: vec![section("A", vec![block(BlockKind::Table, &rows.join("\n"))])], ..Loaded::default() };
    let chunks = chunk(&loaded, &settings(100, 50, 0));
    let found: Vec<&str> = chunks.iter().flat_map(|it| it.text.lines()).collect();
    assert_eq!(found, rows);
    assert!(chunks.len() >= 4);
}

#[test]
fn a_cluster_longer_than_a_passage_is_cut() {
    let text = "e".to_owned() + &"\u{301}".repeat(1000);
    let chunks = chunk(&document(&[("", &text)]), &settings(50, 10, 0));
    assert!(chunks.iter().all(|it| it.text.chars().count() <= 50));
    assert!(chunks.iter().map(|it| it.text.chars().count()).sum::<usize>() >= 1001);
}

#[test]
fn large_documents_are_cut_in_time() {
    let start = Instant::now();
    for loaded in [
        document(&[("", &"Một câu ngắn. ".repeat(100_000))]),
        document(&[("", &"x".repeat(1_000_000))]),
        document(&[("", &"từ ".repeat(300_000))]),
        document(&vec![("A>B", "b"); 100_000]),
        document(&vec![("", "một đoạn"); 100_000]),
    ] {
        assert!(chunk(&loaded, &Settings::default()).len() > 100);
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Words of several scripts; some in NFD, some clusters of many characters.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec!["lãi", "suất", "Nghiệp", "vay.", "được?", "TP.", "8,5%", "a", "«b»", "\u{600}1"])
            .prop_map(str::to_owned),
        2 => proptest::sample::select(vec!["lãi", "suất", "được", "Nghiễm"]).prop_map(|it| it.nfd().collect()),
        1 => proptest::sample::select(vec!["👨‍👩‍👧‍👦", "🇻🇳🇻🇳🇻🇳", "漢字漢字。", "สวัสดี", "क्षत्रिय", "한국어", "한", "\r\n", " \u{301}", "e\u{301}\u{323}"])
            .prop_map(str::to_owned),
        1 => "[a-zđ\u{301}\u{323}]{1,80}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec((word(), proptest::sample::select(vec![" ", " ", " ", "\n", ". ", "", "\n\n"])), 1..60)
        .prop_map(|words| words.into_iter().map(|(word, space)| word + space).collect())
}

fn loaded() -> impl Strategy<Value = Loaded> {
    let kind = proptest::sample::select(vec![
        BlockKind::Paragraph,
        BlockKind::List,
        BlockKind::Table,
        BlockKind::Code,
        BlockKind::Quote,
    ]);
    let blocks = proptest::collection::vec((kind, text()).prop_map(|(kind, text)| Block { kind, text }), 1..5);
    let headings = proptest::collection::vec("[AB]", 0..4);
    let sections =
        proptest::collection::vec((headings, blocks).prop_map(|(headings, blocks)| Section { headings, blocks }), 0..8);
    sections.prop_map(|sections| Loaded { sections, ..Loaded::default() })
}

fn sizes() -> impl Strategy<Value = Settings> {
    (32_usize..300)
        .prop_flat_map(|max| (0..=max / 2, 0..=max / 2).prop_map(move |(overlap, min)| settings(max, overlap, min)))
}

fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|it| !it.is_whitespace())
}

fn is_subsequence(needle: impl Iterator<Item = char>, hay: impl Iterator<Item = char>) -> bool {
    let mut hay = hay;
    needle.into_iter().all(|wanted| hay.any(|it| it == wanted))
}

proptest! {
    #[test]
    fn passages_are_in_bounds_and_lose_nothing(loaded in loaded(), settings in sizes()) {
        let chunks = chunk(&loaded, &settings);
        for (index, chunk) in chunks.iter().enumerate() {
            prop_assert!(chunk.text.chars().count() <= settings.max_chars(), "{:?}", chunk.text);
            prop_assert!(visible(&chunk.text).next().is_some());
            prop_assert_eq!(chunk.ordinal, index);
        }
        let source: String = loaded.blocks().flat_map(|block| visible(&block.text)).collect();
        let found: String = chunks.iter().flat_map(|chunk| visible(&chunk.text)).collect();
        prop_assert!(is_subsequence(source.chars(), found.chars()), "{} is not in {}", source, found);
        prop_assert_eq!(chunks, super::chunk(&loaded, &settings));
    }

    #[test]
    fn without_overlap_and_merging_each_character_comes_once(loaded in loaded(), max in 32_usize..300) {
        let chunks = chunk(&loaded, &settings(max, 0, 0));
        let source: String = loaded.blocks().flat_map(|block| visible(&block.text)).collect();
        let found: String = chunks.iter().flat_map(|chunk| visible(&chunk.text)).collect();
        prop_assert_eq!(source, found);
    }

    #[test]
    fn grapheme_clusters_stay_whole(loaded in loaded(), settings in sizes()) {
        let clusters: std::collections::HashSet<&str> =
            loaded.blocks().flat_map(|block| block.text.graphemes(true)).collect();
        let longest = clusters.iter().map(|cluster| cluster.chars().count()).max().unwrap_or(0);
        prop_assume!(longest <= settings.max_chars());
        for chunk in chunk(&loaded, &settings) {
            // Headings and separators are of single characters.
            for cluster in chunk.text.graphemes(true).filter(|it| it.chars().count() > 1 || !it.is_ascii()) {
                prop_assert!(clusters.contains(cluster), "{:?} was cut from {:?}", cluster, chunk.text);
            }
        }
    }

    #[test]
    fn overlap_is_bounded(words in proptest::collection::vec("[a-z]{1,9}[.]?", 50..200), settings in sizes()) {
        // Numbered words are all different, so that what is repeated can be counted.
        let text: Vec<String> = words.iter().enumerate().map(|(index, word)| format!("{index}{word}")).collect();
        let chunks = chunk(&document(&[("", &text.join(" "))]), &settings);
        for pair in chunks.windows(2) {
            let first: Vec<&str> = pair[0].text.split(' ').collect();
            let repeated: Vec<&str> = pair[1].text.split(' ').take_while(|word| first.contains(word)).collect();
            prop_assert!(repeated.join(" ").chars().count() <= settings.overlap_chars(), "{:?}", pair);
        }
    }
}
