//! Hybrid search on a Qdrant server: through the adapter, against one call by the client alone that asks for the fused
//! passages and nothing else. `QDRANT_URL` names a server; without it, it is the one of the tests.

use std::time::{Duration, Instant};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{
    Condition, Filter as Conditions, PrefetchQuery, Query as Asked, QueryPoints, Rrf, VectorInput,
};
use turnpike::adapters::index::qdrant::{QdrantIndex, Settings};
use turnpike::config::Secret;
use turnpike::domain::CompanyScope;
use turnpike::knowledge::sparse::{self, SparseEncoder};
use turnpike::ports::index::{DenseEncoder, Encoder, Filter, KnowledgeIndex, Query};

use crate::support::qdrant::QdrantServer;
use crate::table::{Sample, Table, ms, ratio};
use crate::{Effort, knowledge};

const DIMENSIONS: usize = 384;
const CANDIDATES: usize = 30;
const LIMIT: usize = 3;

pub(crate) async fn measure(effort: Effort) {
    let (passages, questions) = (effort.pick(10_000, 400), effort.pick(2_000, 20));
    let own = std::env::var("QDRANT_URL").is_err().then(QdrantServer::start);
    let url = own.as_ref().map_or_else(|| std::env::var("QDRANT_URL").unwrap(), QdrantServer::url);
    let settings = Settings {
        api_key: std::env::var("QDRANT_API_KEY").ok().map(Secret::new),
        collection: format!("turnpike-bench-{}", uuid::Uuid::now_v7().simple()),
        timeout: Duration::from_secs(30),
        ..Settings::new(url)
    };
    let dense = DenseEncoder { model: "random".into(), fingerprint: "1".into(), dimensions: DIMENSIONS };
    let encoder = Encoder { sparse: sparse::VERSION, dense: Some(dense) };
    let index = QdrantIndex::open(&settings, encoder).unwrap();
    index.migrate(None).await.unwrap();
    let server = index.describe().await.unwrap();
    let key = settings.api_key.as_ref().map(|key| key.reveal().to_owned());
    let client = Qdrant::from_url(&server.address).api_key(key).skip_compatibility_check().build().unwrap();

    let scope = CompanyScope::granted("bank".parse().unwrap());
    for some in knowledge::documents(passages, DIMENSIONS).chunks(20) {
        index.replace(&scope, some.to_vec()).await.unwrap();
    }
    index.optimize(&scope).await.unwrap();
    if let Some(own) = &own {
        own.optimize();
    }
    let (mut raw, mut adapter) = (Sample::default(), Sample::default());
    let directions = knowledge::directions(questions, DIMENSIONS);
    for (n, direction) in directions.into_iter().enumerate() {
        let query = Query {
            dense: Some(direction),
            sparse: SparseEncoder::default().encode_query(&knowledge::question(n)),
            dense_weight: 1.0,
            sparse_weight: 1.0,
            filter: Filter::default(),
            candidates: CANDIDATES,
            limit: LIMIT,
        };
        let asked = fused(&settings.collection, &query);
        let begun = Instant::now();
        let found = client.query(asked).await.unwrap().result.len();
        raw.push(begun.elapsed().as_secs_f64() * 1000.0);
        let begun = Instant::now();
        let hits = index.search(&scope, &query).await.unwrap().len();
        adapter.push(begun.elapsed().as_secs_f64() * 1000.0);
        assert_eq!((found, hits), (LIMIT, LIMIT));
    }
    client.delete_collection(&settings.collection).await.unwrap();

    let whose = if own.is_some() { "the tests' server" } else { "QDRANT_URL" };
    let title = format!(
        "Hybrid search of {passages} passages on Qdrant {} ({whose}), {questions} questions, encoding excluded",
        server.version
    );
    let mut table = Table::new(title, &["", "p50", "ratio", "p99", "ratio"]);
    for (name, sample) in [("the client's call alone", &raw), ("through the adapter", &adapter)] {
        let numbers =
            [ms(sample.p50()), ratio(sample.p50(), raw.p50()), ms(sample.p99()), ratio(sample.p99(), raw.p99())];
        table.row(name, &numbers, "");
    }
    table.print();
}

/// The fused passages of a company, and nothing else.
fn fused(collection: &str, query: &Query) -> QueryPoints {
    let company = Conditions::must([Condition::matches("company_id", MatchValue::Keyword("bank".to_owned()))]);
    let dense = VectorInput::new_dense(query.dense.clone().unwrap());
    let sparse = VectorInput::new_sparse(query.sparse.indices.clone(), query.sparse.values.clone());
    let prefetch = [("dense", dense), ("sparse", sparse)].map(|(name, vector)| PrefetchQuery {
        query: Some(Asked { variant: Some(Variant::Nearest(vector)) }),
        using: Some(name.to_owned()),
        filter: Some(company.clone()),
        limit: Some(query.candidates as u64),
        ..PrefetchQuery::default()
    });
    let weights = vec![query.dense_weight, query.sparse_weight];
    QueryPoints {
        collection_name: collection.to_owned(),
        prefetch: prefetch.into(),
        query: Some(Asked { variant: Some(Variant::Rrf(Rrf { k: Some(61), weights })) }),
        limit: Some(query.limit as u64),
        with_payload: Some(true.into()),
        ..QueryPoints::default()
    }
}
