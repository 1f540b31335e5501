//! The contract of the knowledge index. `index_contract!` runs all checks on an adapter, each on a storage of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::f32::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

use turnpike::domain::knowledge::{EncodedPassage, Passage};
use turnpike::domain::{CompanyId, CompanyScope, DocumentId, Language};
use turnpike::knowledge::sparse::{self, SparseEncoder};
use turnpike::ports::index::{DenseEncoder, Encoder, Error, Filter, Hit, KnowledgeIndex, Query};

/// Runs every check on a storage, which has `open(&self, Encoder) -> Arc<dyn KnowledgeIndex>`. What was opened before is dropped first.
macro_rules! index_contract {
    ($adapter:ident, $storage:expr, [$($promise:ident),* $(,)?]) => {
        mod $adapter {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let storage = $storage;
                    crate::index::$promise(&|encoder| storage.open(encoder)).await;
                }
            )*
        }
    };
    ($adapter:ident, $storage:expr) => {
        index_contract!($adapter, $storage, [
            both_vectors_find_and_the_passage_comes_back_as_it_was,
            a_replaced_document_keeps_nothing_of_its_old_self,
            passages_come_in_the_order_of_their_documents,
            the_same_question_has_the_same_answer,
            filters_leave_the_others_out,
            companies_are_walls,
            what_was_put_survives_and_what_was_erased_does_not,
            a_company_without_knowledge_has_no_hits,
            a_passage_may_lack_either_vector,
            an_index_is_not_mixed_of_two_encoders,
            an_empty_index_takes_any_encoder,
            optimising_changes_no_answer,
        ]);
    };
}

mod crash;
mod embedded;
mod qdrant;

/// Opens one storage again and again, each time by another encoder if need be. What was opened before is dropped first.
pub(crate) type Open<'a> = &'a dyn Fn(Encoder) -> Arc<dyn KnowledgeIndex>;

pub(crate) fn encoder(model: Option<&str>) -> Encoder {
    let dense =
        model.map(|model| DenseEncoder { model: model.into(), fingerprint: format!("{model}-1"), dimensions: 4 });
    Encoder { sparse: sparse::VERSION, dense }
}

pub(crate) fn hybrid() -> Encoder {
    encoder(Some("model"))
}

/// A company of its own, so that one storage serves all tests.
pub(crate) fn company(name: &str) -> CompanyScope {
    let id: CompanyId = format!("{name}-{}", uuid::Uuid::now_v7().simple()).parse().unwrap();
    CompanyScope::granted(id)
}

pub(crate) fn document(name: &str) -> DocumentId {
    name.parse().unwrap()
}

pub(crate) fn passage(name: &str, ordinal: usize, text: &str) -> EncodedPassage {
    let passage = Passage {
        document_id: document(name),
        ordinal,
        title: format!("Title of {name}"),
        url: Some(format!("https://example.test/{name}")),
        headings: vec!["Outer".into(), "Inner".into()],
        text: text.into(),
        language: Some(Language::VIETNAMESE),
        industry: Some("banking".into()),
    };
    let sparse = SparseEncoder::default().encode_passage(text);
    EncodedPassage { passage, dense: None, sparse }
}

pub(crate) fn placed(name: &str, ordinal: usize, text: &str, dense: [f32; 4]) -> EncodedPassage {
    EncodedPassage { dense: Some(dense.to_vec()), ..passage(name, ordinal, text) }
}

pub(crate) fn keywords(text: &str) -> Query {
    Query {
        dense: None,
        sparse: SparseEncoder::default().encode_query(text),
        dense_weight: 1.0,
        sparse_weight: 1.0,
        filter: Filter::default(),
        candidates: 20,
        limit: 10,
    }
}

pub(crate) fn both(text: &str, dense: [f32; 4]) -> Query {
    Query { dense: Some(dense.to_vec()), ..keywords(text) }
}

pub(crate) fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| format!("{}#{}", hit.passage.document_id, hit.passage.ordinal)).collect()
}

pub(crate) const NORTH: [f32; 4] = [1.0, 0.0, 0.0, 0.0];
pub(crate) const EAST: [f32; 4] = [0.0, 1.0, 0.0, 0.0];
pub(crate) const NORTHEAST: [f32; 4] = [FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0];

pub(crate) async fn both_vectors_find_and_the_passage_comes_back_as_it_was(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("both"));
    let (loan, card) = (placed("loan", 0, "lãi suất vay mua nhà", NORTH), placed("card", 0, "phí thẻ tín dụng", EAST));
    index.replace(&a, vec![(document("loan"), vec![loan.clone()]), (document("card"), vec![card])]).await.unwrap();
    let hits = index.search(&a, &both("lai suat vay", NORTHEAST)).await.unwrap();
    assert_eq!(ids(&hits), ["loan#0", "card#0"]);
    assert_eq!(hits[0].passage, loan.passage);
    assert_eq!(hits[0].sparse.unwrap().rank, 1);
    assert!((hits[0].dense.unwrap().score - 0.707).abs() < 0.001);
    assert_eq!(hits[1].sparse, None);
    let hits = index.search(&a, &both("lai suat vay", EAST)).await.unwrap();
    assert_eq!(hits[0].dense.unwrap().rank + hits[1].dense.unwrap().rank, 3);
    let none = Query { limit: 0, ..keywords("vay") };
    assert!(index.search(&a, &none).await.unwrap().is_empty());
}

pub(crate) async fn a_replaced_document_keeps_nothing_of_its_old_self(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("replace"));
    let old = (0..5).map(|n| placed("terms", n, "old words", NORTH)).collect();
    let other = vec![placed("other", 0, "old friends", EAST)];
    index.replace(&a, vec![(document("terms"), old), (document("other"), other)]).await.unwrap();
    let new: Vec<_> = (0..2).map(|n| placed("terms", n, "new words", NORTH)).collect();
    index.replace(&a, vec![(document("terms"), new.clone())]).await.unwrap();
    index.replace(&a, vec![(document("terms"), new)]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 3);
    assert_eq!(ids(&index.search(&a, &keywords("old")).await.unwrap()), ["other#0"]);
    assert_eq!(index.search(&a, &keywords("new")).await.unwrap().len(), 2);
    index.replace(&a, vec![(document("terms"), vec![])]).await.unwrap();
    index.remove(&a, &[document("other"), document("never there")]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 0);
    assert!(index.search(&a, &both("old new words", NORTH)).await.unwrap().is_empty());
}

pub(crate) async fn passages_come_in_the_order_of_their_documents(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("order"));
    for name in ["b", "a", "c"] {
        let passages = (0..30).rev().map(|n| placed(name, n, "text", NORTH)).collect();
        index.replace(&a, vec![(document(name), passages)]).await.unwrap();
    }
    let passages = index.passages(&a).await.unwrap();
    let expected: Vec<_> = ["a", "b", "c"].iter().flat_map(|name| (0..30).map(move |n| (*name, n))).collect();
    assert_eq!(passages.iter().map(|p| (p.document_id.as_str(), p.ordinal)).collect::<Vec<_>>(), expected);
    assert_eq!(index.contents(&a).await.unwrap().encoder, Some(hybrid()));
}

pub(crate) async fn the_same_question_has_the_same_answer(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("same"));
    let documents = (0..40)
        .map(|n| {
            let name = format!("twin-{n}");
            (document(&name), vec![placed(&name, 0, "the very same words", NORTH)])
        })
        .collect();
    index.replace(&a, documents).await.unwrap();
    let query = Query { candidates: 100, limit: 40, ..both("same words", NORTH) };
    let first = index.search(&a, &query).await.unwrap();
    let mut by_id = first.clone();
    by_id.sort_by_key(|hit| hit.passage.id());
    assert_eq!(ids(&first), ids(&by_id), "equal scores go by id");
    for _ in 0..5 {
        assert_eq!(index.search(&a, &query).await.unwrap(), first);
    }
}

pub(crate) async fn filters_leave_the_others_out(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("filter"));
    let mut english = placed("en", 0, "interest lãi", NORTH);
    english.passage.language = Some(Language::ENGLISH);
    let mut insurance = placed("insurance", 0, "interest lãi", NORTH);
    insurance.passage.industry = Some("insurance".into());
    let mut unknown = placed("unknown", 0, "interest lãi", NORTH);
    (unknown.passage.industry, unknown.passage.language) = (None, None);
    let documents = [english, insurance, unknown, placed("vi", 0, "interest lãi", NORTH)];
    index.replace(&a, documents.map(|p| (p.passage.document_id.clone(), vec![p])).into()).await.unwrap();
    let found = async |filter: Filter| {
        let query = Query { filter, ..both("lãi", NORTH) };
        let mut ids = ids(&index.search(&a, &query).await.unwrap());
        ids.sort();
        ids
    };
    assert_eq!(found(Filter::default()).await.len(), 4);
    let banking = Some("banking".to_owned());
    assert_eq!(found(Filter { industry: banking.clone(), language: None }).await, ["en#0", "vi#0"]);
    assert_eq!(found(Filter { industry: None, language: Some(Language::ENGLISH) }).await, ["en#0"]);
    assert_eq!(found(Filter { industry: banking, language: Some(Language::VIETNAMESE) }).await, ["vi#0"]);
}

pub(crate) async fn companies_are_walls(open: Open<'_>) {
    let index = open(hybrid());
    let (a, b) = (company("wall-a"), company("wall-b"));
    let documents = |count: usize| -> Vec<_> {
        (0..count)
            .map(|n| {
                let name = format!("d{n}");
                let text = format!("lãi suất vay số {n} {}", if n % 3 == 0 { "mua nhà" } else { "mua xe" });
                (document(&name), vec![placed(&name, 0, &text, if n % 2 == 0 { NORTH } else { NORTHEAST })])
            })
            .collect()
    };
    index.replace(&a, documents(12)).await.unwrap();
    let query = both("lãi suất vay mua nhà", NORTH);
    let before = index.search(&a, &query).await.unwrap();
    assert!(index.search(&b, &query).await.unwrap().is_empty());
    index.replace(&b, documents(300)).await.unwrap();
    index.optimize(&b).await.unwrap();
    let after = index.search(&a, &query).await.unwrap();
    assert_eq!(after, before, "another company's documents changed the ranking");
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after.score.to_bits(), before.score.to_bits());
        let bits = |hit: &Hit| hit.sparse.map(|rank| rank.score.to_bits());
        assert_eq!(bits(after), bits(before));
    }
    assert_eq!(index.erase(&b).await.unwrap(), 300);
    assert_eq!(index.contents(&a).await.unwrap().passages, 12);
}

pub(crate) async fn what_was_put_survives_and_what_was_erased_does_not(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("survive"));
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi suất", NORTH)])]).await.unwrap();
    let before = index.search(&a, &both("lãi suất", NORTH)).await.unwrap();
    drop(index);
    let index = open(hybrid());
    assert_eq!(index.search(&a, &both("lãi suất", NORTH)).await.unwrap(), before);
    assert_eq!(index.erase(&a).await.unwrap(), 1);
    assert_eq!(index.erase(&a).await.unwrap(), 0);
    drop(index);
    let index = open(hybrid());
    assert!(index.passages(&a).await.unwrap().is_empty());
    let contents = index.contents(&a).await.unwrap();
    assert_eq!((contents.encoder, contents.passages), (None, 0));
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi suất", NORTH)])]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 1);
}

pub(crate) async fn a_company_without_knowledge_has_no_hits(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("empty"));
    index.check().await.unwrap();
    assert!(index.search(&a, &both("lãi", NORTH)).await.unwrap().is_empty());
    assert!(index.passages(&a).await.unwrap().is_empty());
    assert_eq!(index.contents(&a).await.unwrap().encoder, None);
    index.remove(&a, &[document("x")]).await.unwrap();
    index.optimize(&a).await.unwrap();
    assert_eq!(index.erase(&a).await.unwrap(), 0);
    index.rebuild(&a, vec![]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 0);
}

pub(crate) async fn a_passage_may_lack_either_vector(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("lack"));
    let (wordless, meaningless) = (placed("wordless", 0, "…", NORTH), passage("meaningless", 0, "lãi suất"));
    let neither = passage("neither", 0, "…");
    let documents = [wordless, meaningless, neither].map(|p| (p.passage.document_id.clone(), vec![p]));
    index.replace(&a, documents.into()).await.unwrap();
    let mut hits = ids(&index.search(&a, &both("lãi suất", NORTH)).await.unwrap());
    hits.sort();
    assert_eq!(hits, ["meaningless#0", "wordless#0"]);
    let wrong = placed("wrong", 0, "lãi", NORTH);
    let wrong = EncodedPassage { dense: Some(vec![1.0; 7]), ..wrong };
    assert!(matches!(index.replace(&a, vec![(document("wrong"), vec![wrong])]).await, Err(Error::Failed(_))));
    assert_eq!(index.contents(&a).await.unwrap().passages, 3);
}

pub(crate) async fn an_index_is_not_mixed_of_two_encoders(open: Open<'_>) {
    let a = company("encoders");
    let put = || vec![(document("d"), vec![passage("d", 0, "lãi suất")])];
    let query = both("lãi suất", NORTH);
    let is_mismatch = |error: &Error| matches!(error, Error::EncoderMismatch { .. });

    open(hybrid()).replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi suất", NORTH)])]).await.unwrap();
    let index = open(encoder(Some("other")));
    assert!(is_mismatch(&index.search(&a, &query).await.unwrap_err()));
    assert!(is_mismatch(&index.replace(&a, put()).await.unwrap_err()));
    drop(index);
    let index = open(encoder(None));
    let hits = index.search(&a, &query).await.unwrap();
    assert_eq!((hits.len(), hits[0].dense), (1, None), "keywords alone find what keywords can");
    assert!(is_mismatch(&index.replace(&a, put()).await.unwrap_err()));
    drop(index);
    let index = open(Encoder { sparse: sparse::VERSION + 1, ..hybrid() });
    assert!(is_mismatch(&index.search(&a, &query).await.unwrap_err()));
    assert!(is_mismatch(&index.replace(&a, put()).await.unwrap_err()));
    assert!(is_mismatch(&index.remove(&a, &[document("d")]).await.unwrap_err()));
    let contents = index.contents(&a).await.unwrap();
    assert_eq!((contents.encoder, contents.passages), (Some(hybrid()), 1));
    assert_eq!(index.passages(&a).await.unwrap().len(), 1);
    drop(index);

    let index = open(encoder(None));
    index.rebuild(&a, vec![passage("d", 0, "lãi suất"), passage("d", 1, "lãi kép")]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().encoder, Some(encoder(None)));
    index.replace(&a, vec![(document("e"), vec![passage("e", 0, "lãi")])]).await.unwrap();
    drop(index);
    let index = open(hybrid());
    let hits = index.search(&a, &query).await.unwrap();
    assert_eq!((hits.len(), hits[0].dense), (3, None), "an index without dense vectors has nothing to compare");
    assert!(is_mismatch(&index.replace(&a, put()).await.unwrap_err()));
    assert_eq!(index.erase(&a).await.unwrap(), 3);
    index.replace(&a, put()).await.unwrap();
}

pub(crate) async fn an_empty_index_takes_any_encoder(open: Open<'_>) {
    let a = company("emptied");
    let index = open(encoder(None));
    index.replace(&a, vec![(document("d"), vec![passage("d", 0, "lãi")])]).await.unwrap();
    index.remove(&a, &[document("d")]).await.unwrap();
    drop(index);
    let index = open(hybrid());
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
    assert_eq!(index.search(&a, &both("x", NORTH)).await.unwrap().len(), 1);
}

pub(crate) async fn optimising_changes_no_answer(open: Open<'_>) {
    let (index, a) = (open(hybrid()), company("optimize"));
    let documents = (0..1500)
        .map(|n: u16| {
            let name = format!("d{n}");
            let angle = f32::from(n) / 1500.0;
            let text = format!("nhóm {} có {n}", n % 17);
            (document(&name), vec![placed(&name, 0, &text, [angle.cos(), angle.sin(), 0.0, 0.0])])
        })
        .collect();
    index.replace(&a, documents).await.unwrap();
    let gone: Vec<_> = (0..600).map(|n| document(&format!("d{n}"))).collect();
    index.remove(&a, &gone).await.unwrap();
    let banking = Filter { industry: Some("banking".into()), language: None };
    let query = Query { filter: banking, ..both("700", [0.9, 0.435_889_9, 0.0, 0.0]) };
    let before = ids(&index.search(&a, &query).await.unwrap());
    index.optimize(&a).await.unwrap();
    assert_eq!(ids(&index.search(&a, &query).await.unwrap()), before);
    assert_eq!(index.contents(&a).await.unwrap().passages, 900);
    index.replace(&a, vec![(document("d700"), vec![placed("d700", 0, "mới", EAST)])]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 900);
    assert_eq!(ids(&index.search(&a, &keywords("mới")).await.unwrap()), ["d700#0"]);
}
