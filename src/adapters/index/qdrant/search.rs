//! A question, asked in one call.
//!
//! The batch holds four queries: the fused one brings the passages, the two sides bring ranks and scores, and the
//! marker tells whether what was read is still the company's index. The server fuses by `1 / (rank / weight + k - 1)`,
//! which for weights of 1 is our own formula when its `k` is one higher; it gives no order to equal scores. So the order
//! is made here, out of the two sides, by the same code as in the embedded index. What that ranks and the server did
//! not bring, by a tie or by unequal weights, is fetched by id.

use std::collections::HashMap;

use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{
    BatchResult, Filter as Conditions, GetPoints, IdfParams, PrefetchQuery, Query as Asked, QueryBatchPoints,
    QueryPoints, Rrf, ScoredPoint, SearchParams, SparseVector, VectorInput, vector_input,
};
use uuid::Uuid;

use super::client::Client;
use super::marker::Marker;
use super::points::{self, DENSE, SPARSE};
use crate::adapters::index::fusion::{self, fuse};
use crate::domain::CompanyId;
use crate::domain::knowledge::Passage;
use crate::ports::index::{Error, Hit, Query};

/// The paper's constant in the server's count, which begins at 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a small whole number")]
const SERVER_K: u32 = fusion::K as u32 + 1;
/// Passages brought beyond the limit, for ties at its edge.
const SPARE: usize = 8;

/// What to ask for.
pub(super) struct Question<'a> {
    pub(super) client: &'a Client,
    pub(super) company: &'a CompanyId,
    pub(super) marker: &'a Marker,
    pub(super) query: &'a Query,
    /// Whether dense vectors may be compared.
    pub(super) has_dense: bool,
}

/// One side of a hybrid search.
struct Side {
    name: &'static str,
    vector: VectorInput,
    weight: f32,
    params: Option<SearchParams>,
}

/// The outcome of a question.
pub(super) enum Answer {
    /// The passages, best first.
    Hits(Vec<Hit>),
    /// The index is another one by now.
    Outdated(Option<Marker>),
}

impl Question<'_> {
    pub(super) async fn ask(&self) -> Result<Answer, Error> {
        let sides = self.sides();
        if sides.is_empty() || self.query.limit == 0 || self.query.candidates == 0 {
            return Ok(Answer::Hits(Vec::new()));
        }
        let filter = points::findable(self.company, self.marker.current, &self.query.filter)?;
        let weights = |name: &str| sides.iter().find(|side| side.name == name).map_or(0.0, |side| side.weight);
        let (dense_weight, sparse_weight) = (weights(DENSE), weights(SPARSE));
        let mut queries = vec![self.fused(&sides, &filter)];
        queries.extend(sides.iter().map(|side| self.side(side, &filter)));
        queries.push(Marker::query(self.client, self.company));
        let request = QueryBatchPoints {
            collection_name: self.client.collection.clone(),
            query_points: queries,
            timeout: self.client.read_seconds(),
            ..QueryBatchPoints::default()
        };
        let batch = self.client.read("search", |server| async move { server.query_batch(request).await }).await?;
        let mut answers = batch.result.into_iter().map(|BatchResult { result }| result);
        let mut next = || answers.next().ok_or_else(|| Error::Failed("the server answered only a part".into()));
        let fused = next()?;
        let mut ranked: HashMap<&str, Vec<(Uuid, f32)>> = HashMap::new();
        for side in &sides {
            ranked.insert(side.name, ids_and_scores(next()?)?);
        }
        let now = Marker::of_answer(next()?)?;
        if now.as_ref() != Some(self.marker) {
            return Ok(Answer::Outdated(now));
        }
        let dense = ranked.remove(DENSE).unwrap_or_default();
        let sparse = ranked.remove(SPARSE).unwrap_or_default();
        let best = fuse((dense, dense_weight), (sparse, sparse_weight), self.query.limit);
        let mut passages = HashMap::with_capacity(fused.len());
        for point in fused {
            passages.insert(points::uuid(point.id)?, points::passage(point.payload)?);
        }
        let missing: Vec<Uuid> = best.iter().map(|hit| hit.id).filter(|id| !passages.contains_key(id)).collect();
        if !missing.is_empty() {
            passages.extend(self.fetch(missing).await?);
        }
        // A passage that was removed meanwhile is gone, and rightly missing.
        let hits = best.into_iter().filter_map(|hit| {
            let passage = passages.remove(&hit.id)?;
            Some(Hit { passage, score: hit.score, dense: hit.dense, sparse: hit.sparse })
        });
        Ok(Answer::Hits(hits.collect()))
    }

    fn sides(&self) -> Vec<Side> {
        let query = self.query;
        let mut sides = Vec::with_capacity(2);
        if let Some(vector) = query.dense.clone().filter(|_| self.has_dense && query.dense_weight > 0.0) {
            let vector = VectorInput::from(vector);
            sides.push(Side { name: DENSE, vector, weight: query.dense_weight, params: None });
        }
        if query.sparse_weight > 0.0 && !query.sparse.indices.is_empty() {
            let (indices, values) = (query.sparse.indices.clone(), query.sparse.values.clone());
            let vector = vector_input::Variant::Sparse(SparseVector { values, indices });
            // How rare a word is, is counted within the company alone. Servers before 1.19 pass over it.
            let corpus = Some(points::generation(self.company, self.marker.current));
            sides.push(Side {
                name: SPARSE,
                vector: VectorInput { variant: Some(vector) },
                weight: query.sparse_weight,
                params: Some(SearchParams { idf: Some(IdfParams { corpus }), ..SearchParams::default() }),
            });
        }
        sides
    }

    fn fused(&self, sides: &[Side], filter: &Conditions) -> QueryPoints {
        let prefetch = sides.iter().map(|side| PrefetchQuery {
            query: Some(nearest(side)),
            using: Some(side.name.to_owned()),
            filter: Some(filter.clone()),
            params: side.params.clone(),
            limit: Some(self.query.candidates as u64),
            ..PrefetchQuery::default()
        });
        let weights = sides.iter().map(|side| side.weight).collect();
        QueryPoints {
            collection_name: self.client.collection.clone(),
            prefetch: prefetch.collect(),
            query: Some(Asked { variant: Some(Variant::Rrf(Rrf { k: Some(SERVER_K), weights })) }),
            limit: Some(self.query.limit.saturating_add(SPARE) as u64),
            with_payload: Some(true.into()),
            ..QueryPoints::default()
        }
    }

    fn side(&self, side: &Side, filter: &Conditions) -> QueryPoints {
        QueryPoints {
            collection_name: self.client.collection.clone(),
            query: Some(nearest(side)),
            using: Some(side.name.to_owned()),
            filter: Some(filter.clone()),
            params: side.params.clone(),
            limit: Some(self.query.candidates as u64),
            with_payload: Some(false.into()),
            ..QueryPoints::default()
        }
    }

    async fn fetch(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Passage>, Error> {
        let request = GetPoints {
            collection_name: self.client.collection.clone(),
            ids: ids.into_iter().map(points::to_point_id).collect(),
            with_payload: Some(true.into()),
            with_vectors: Some(false.into()),
            timeout: self.client.read_seconds(),
            ..GetPoints::default()
        };
        let found = self.client.read("fetch", |server| async move { server.get_points(request).await }).await?;
        found.result.into_iter().map(|point| Ok((points::uuid(point.id)?, points::passage(point.payload)?))).collect()
    }
}

fn nearest(side: &Side) -> Asked {
    Asked { variant: Some(Variant::Nearest(side.vector.clone())) }
}

fn ids_and_scores(found: Vec<ScoredPoint>) -> Result<Vec<(Uuid, f32)>, Error> {
    found.into_iter().map(|point| Ok((points::uuid(point.id)?, point.score))).collect()
}
