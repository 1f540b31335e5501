//! Both indexes answer the same: what was measured of one is true of the other.

use std::collections::BTreeSet;

use turnpike::domain::knowledge::EncodedPassage;
use turnpike::ports::index::{Filter, Hit, KnowledgeIndex, Query};

use super::Remote;
use crate::index::embedded::EdgeStorage;
use crate::index::{EAST, NORTH, company, document, hybrid, keywords, passage, placed};

const WORDS: [&str; 12] = ["lãi", "suất", "vay", "thẻ", "phí", "nhà", "xe", "interest", "rate", "loan", "card", "fee"];

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u16) -> u16 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from((self.0 >> 33) % u64::from(end)).unwrap()
    }

    fn unit(&mut self) -> f32 {
        f32::from(self.below(10_000)) / 10_000.0
    }

    fn text(&mut self, words: u16) -> String {
        (0..words).map(|_| WORDS[usize::from(self.below(12))]).collect::<Vec<_>>().join(" ")
    }

    fn direction(&mut self) -> [f32; 4] {
        let raw = [self.unit() - 0.5, self.unit() - 0.5, self.unit() - 0.5, self.unit() + 0.1];
        let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
        raw.map(|value| value / length)
    }
}

fn some_passages(numbers: &mut Numbers) -> Vec<EncodedPassage> {
    let mut passages = Vec::new();
    for n in 0..200 {
        // Each of a length of its own. Scores that ought to be equal differ in their last bit, and so in their order.
        let text = format!("{} {}", numbers.text(8), "và ".repeat(n));
        let mut made = match numbers.below(10) {
            0 => passage("d", n, &text),
            _ => placed("d", n, &text, numbers.direction()),
        };
        made.passage.industry = [None, Some("banking"), Some("retail banking")][n % 3].map(str::to_owned);
        passages.push(made);
    }
    passages
}

/// Scores of one side are sums of the same numbers in another order.
fn are_close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs())
}

fn assert_same(remote: &[Hit], embedded: &[Hit], query: &Query) {
    let names = |hits: &[Hit]| hits.iter().map(|hit| hit.passage.ordinal).collect::<Vec<_>>();
    assert_eq!(names(remote), names(embedded), "{query:?}");
    for (a, b) in remote.iter().zip(embedded) {
        assert_eq!((&a.passage, a.score.to_bits()), (&b.passage, b.score.to_bits()));
        for (a, b) in [(a.dense, b.dense), (a.sparse, b.sparse)] {
            assert_eq!(a.map(|rank| rank.rank), b.map(|rank| rank.rank));
            assert!(a.zip(b).is_none_or(|(a, b)| are_close(a.score, b.score)), "{a:?} {b:?}");
        }
    }
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_on_both_indexes() {
    let (remote, embedded) = (Remote::new().await, EdgeStorage::new());
    let (remote, embedded) = (remote.index(hybrid()), embedded.open(hybrid()));
    let (a, mut numbers) = (company("same"), Numbers(7));
    let passages = some_passages(&mut numbers);
    remote.replace(&a, vec![(document("d"), passages.clone())]).await.unwrap();
    embedded.replace(&a, vec![(document("d"), passages)]).await.unwrap();
    let mut found = BTreeSet::new();
    for n in 0..150 {
        let words = 1 + numbers.below(6);
        let industry = ["banking", "retail banking", "unknown"].get(n % 5).map(|name| (*name).to_owned());
        let query = Query {
            dense: (n % 4 > 0).then(|| numbers.direction().to_vec()),
            dense_weight: [1.0, 1.0, 0.3, 0.0, 2.5][usize::from(numbers.below(5))],
            sparse_weight: [1.0, 1.0, 0.7, 0.0][usize::from(numbers.below(4))],
            filter: Filter { industry, language: None },
            // All that there are: which of several equal ones comes in last is up to the engine.
            candidates: 200,
            limit: usize::from(numbers.below(12)),
            ..keywords(&numbers.text(words))
        };
        let answer = remote.search(&a, &query).await.unwrap();
        assert_same(&answer, &embedded.search(&a, &query).await.unwrap(), &query);
        found.extend(answer.iter().map(|hit| hit.passage.ordinal));
    }
    assert!(found.len() > 50, "the questions found only {found:?}");
}

#[tokio::test]
async fn passages_are_carried_from_one_index_to_the_other() {
    let (remote, embedded) = (Remote::new().await, EdgeStorage::new());
    let (remote, embedded) = (remote.index(hybrid()), embedded.open(hybrid()));
    let a = company("carry");
    let mut unnamed = passage("không tên", 0, "…");
    (unnamed.passage.url, unnamed.passage.industry, unnamed.passage.language) = (None, None, None);
    unnamed.passage.headings = Vec::new();
    let documents = vec![
        (document("d"), vec![placed("d", 0, "lãi suất", NORTH), passage("d", 1, "phí")]),
        (document("không tên"), vec![unnamed]),
        (document("z"), vec![placed("z", 0, "…", EAST)]),
    ];
    embedded.replace(&a, documents).await.unwrap();
    let carried = embedded.encoded(&a).await.unwrap();
    remote.rebuild(&a, carried.clone()).await.unwrap();
    assert_eq!(remote.encoded(&a).await.unwrap(), carried);
    assert_eq!(remote.passages(&a).await.unwrap(), embedded.passages(&a).await.unwrap());
}
