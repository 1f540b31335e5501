//! How rare a word is. It is counted here and not in the engine, which cannot count it over a part of the points only:
//! the server's `idf.corpus`. The formula is the engine's own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use qdrant_client::qdrant as q;
use qdrant_edge::{EdgeShard, ScrollRequest, VectorInternal, VectorStructInternal, WithPayloadInterface, WithVector};
use tonic::Status;

use super::wire::{self, engine};

/// Points looked at together.
const PAGE: usize = 1000;

/// A corpus as it was when it was counted: the vector's name, the filter, and the writes until then.
type Corpus = (String, String, u64);

/// In how many vectors of a corpus each dimension stands.
#[derive(Default)]
pub(super) struct Counted {
    vectors: usize,
    having: HashMap<u32, u32>,
}

impl Counted {
    pub(super) fn rarity(&self, dimension: u32) -> f32 {
        let (all, having) = (self.vectors as f32, self.having.get(&dimension).copied().unwrap_or(0) as f32);
        ((all - having + 0.5) / (having + 0.5) + 1.0).ln()
    }
}

/// What was counted, until something is written.
#[derive(Default)]
pub(super) struct Rarity(Mutex<HashMap<Corpus, Arc<Counted>>>);

impl Rarity {
    /// The counts of a sparse vector over the points of a filter, or over all.
    pub(super) fn of(
        &self,
        shard: &EdgeShard,
        name: &str,
        corpus: Option<q::Filter>,
        writes: u64,
    ) -> Result<Arc<Counted>, Status> {
        let key = (name.to_owned(), format!("{corpus:?}"), writes);
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let counted = Arc::new(count(shard, name, corpus)?);
        let mut known = self.0.lock();
        known.retain(|(.., writes), _| *writes == key.2);
        known.insert(key, Arc::clone(&counted));
        Ok(counted)
    }
}

fn count(shard: &EdgeShard, name: &str, corpus: Option<q::Filter>) -> Result<Counted, Status> {
    let filter = wire::filter(corpus)?;
    let (mut counted, mut offset) = (Counted::default(), None);
    loop {
        let page = ScrollRequest {
            offset,
            limit: Some(PAGE),
            filter: filter.clone(),
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: WithVector::Bool(true),
            order_by: None,
        };
        let (found, next) = shard.scroll(page).map_err(engine)?;
        for record in found {
            let Some(VectorStructInternal::Named(vectors)) = record.vector else { continue };
            let sparse = vectors.into_iter().find(|(other, _)| other.as_str() == name);
            let Some((_, VectorInternal::Sparse(sparse))) = sparse else { continue };
            counted.vectors += 1;
            for dimension in sparse.indices.into_iter().collect::<HashSet<_>>() {
                *counted.having.entry(dimension).or_default() += 1;
            }
        }
        offset = match next {
            Some(next) => Some(next),
            None => return Ok(counted),
        };
    }
}
