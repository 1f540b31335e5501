//! What `migrate` makes of a server, and what it says of one that cannot be used.

use turnpike::adapters::index::qdrant::{QdrantIndex, Settings};
use turnpike::ports::index::{DenseEncoder, Encoder, Error, KnowledgeIndex};

use super::Remote;
use crate::index::{NORTH, both, company, document, encoder, hybrid, passage, placed};

fn of_dimensions(dimensions: usize) -> Encoder {
    let dense = DenseEncoder { model: "model".into(), fingerprint: "model-1".into(), dimensions };
    Encoder { dense: Some(dense), ..hybrid() }
}

#[tokio::test]
async fn migrating_makes_the_collection_once() {
    let remote = Remote::empty();
    let index = remote.index(hybrid());
    let error = index.check().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("turnpike migrate")), "{error}");
    let a = company("early");
    for error in [
        index.search(&a, &both("lãi", NORTH)).await.unwrap_err(),
        index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("turnpike migrate")), "{error}");
    }
    assert_eq!(index.pending().await.unwrap(), ["turnpike: the collection"]);
    let done = index.migrate(None).await.unwrap();
    for made in ["the collection", "index company_id", "index document_id", "index industry", "index language"] {
        assert!(done.iter().any(|line| line.contains(made)), "{made} is not in {done:?}");
    }
    assert!(index.pending().await.unwrap().is_empty());
    assert!(index.migrate(None).await.unwrap().is_empty());
    index.check().await.unwrap();
}

#[tokio::test]
async fn two_that_migrate_at_once_are_not_in_each_others_way() {
    for _ in 0..5 {
        let remote = Remote::empty();
        let (one, two) = (remote.index(hybrid()), remote.index(hybrid()));
        let (first, second) = tokio::join!(one.migrate(None), two.migrate(None));
        first.unwrap();
        second.unwrap();
        assert!(one.pending().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_an_operator_changed_is_named_and_mended() {
    let remote = Remote::new().await;
    let raw = qdrant_client::Qdrant::from_url(&remote.server.url()).skip_compatibility_check().build().unwrap();
    let hnsw = qdrant_client::qdrant::HnswConfigDiff { m: Some(16), payload_m: Some(0), ..Default::default() };
    let update = qdrant_client::qdrant::UpdateCollection {
        collection_name: "turnpike".to_owned(),
        hnsw_config: Some(hnsw),
        ..Default::default()
    };
    raw.update_collection(update).await.unwrap();
    let field = qdrant_client::qdrant::CreateFieldIndexCollection {
        collection_name: "turnpike".to_owned(),
        field_name: "company_id".to_owned(),
        field_type: Some(qdrant_client::qdrant::FieldType::Keyword.into()),
        ..Default::default()
    };
    raw.create_field_index(field).await.unwrap();
    let index = remote.index(hybrid());
    let pending = index.pending().await.unwrap();
    assert_eq!(pending.len(), 2, "{pending:?}");
    assert_eq!(index.migrate(None).await.unwrap(), pending);
    assert!(index.pending().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_model_of_another_length_is_refused_with_what_to_do() {
    let remote = Remote::new().await;
    let index = remote.index(of_dimensions(8));
    for error in [index.pending().await.unwrap_err(), index.migrate(None).await.unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, Error::Failed(_)), "{text}");
        assert!(text.contains("4 dimensions") && text.contains('8') && text.contains("index.collection"), "{text}");
    }
    let other = Settings { collection: "other".into(), ..remote.settings() };
    let other = QdrantIndex::open(&other, of_dimensions(8)).unwrap();
    other.migrate(None).await.unwrap();
    other.check().await.unwrap();
}

#[tokio::test]
async fn a_model_that_comes_later_gets_its_vectors_where_the_server_can_add_them() {
    let remote = Remote::empty();
    let plain = remote.index(encoder(None));
    plain.migrate(None).await.unwrap();
    assert!(plain.pending().await.unwrap().is_empty());
    let (a, b) = (company("before"), company("after"));
    plain.replace(&a, vec![(document("d"), vec![passage("d", 0, "lãi")])]).await.unwrap();
    let index = remote.index(hybrid());
    assert_eq!(index.pending().await.unwrap(), ["turnpike: the vector dense"]);
    let put = || vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])];
    let error = index.replace(&b, put()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("turnpike migrate")), "{error}");
    remote.server.play_version("1.17.1");
    let error = index.migrate(None).await.unwrap_err();
    assert!(error.to_string().contains("index.collection"), "{error}");
    remote.server.play_version("1.18.0");
    index.migrate(None).await.unwrap();
    index.replace(&b, put()).await.unwrap();
    assert!(index.search(&b, &both("lãi", NORTH)).await.unwrap()[0].dense.is_some());
    assert_eq!(plain.search(&a, &both("lãi", NORTH)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn versions_are_checked_and_told() {
    let remote = Remote::new().await;
    let index = remote.index(hybrid());
    let told = index.describe().await.unwrap();
    assert_eq!((told.version.as_str(), told.is_ranking_isolated), ("1.20.0", true));
    assert_eq!(told.address, remote.server.url());
    remote.server.play_version("1.18.3");
    assert!(!index.describe().await.unwrap().is_ranking_isolated);
    index.check().await.unwrap();
    remote.server.play_version("1.15.5");
    for error in [index.check().await.unwrap_err(), index.migrate(None).await.unwrap_err()] {
        assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("1.16")), "{error}");
    }
}

/// What `describe` says of older servers is so: there, and only there, do others change a company's scores.
#[tokio::test]
async fn rankings_know_one_company_alone_where_it_is_said() {
    for (version, is_isolated) in [("1.18.3", false), ("1.19.0", true)] {
        let remote = Remote::new().await;
        remote.server.play_version(version);
        let (index, a, b) = (remote.index(hybrid()), company("quiet"), company("loud"));
        let own = (0..5).map(|n| passage("d", n, if n == 0 { "lãi suất" } else { "phí thẻ" })).collect();
        index.replace(&a, vec![(document("d"), own)]).await.unwrap();
        let scores = async || {
            let hits = index.search(&a, &both("lãi phí", NORTH)).await.unwrap();
            hits.iter().map(|hit| hit.sparse.unwrap().score.to_bits()).collect::<Vec<_>>()
        };
        let before = scores().await;
        let others = (0..300).map(|n| passage("d", n, "phí phí lãi")).collect();
        index.replace(&b, vec![(document("d"), others)]).await.unwrap();
        assert_eq!(scores().await == before, is_isolated, "Qdrant {version}");
        assert_eq!(index.is_isolated().await.unwrap(), is_isolated);
        assert_eq!(index.describe().await.unwrap().is_ranking_isolated, is_isolated);
    }
}
