//! One `qdrant-edge` shard: passages as points, and the engine's panics as errors.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use qdrant_edge::{
    AnyVariants, Condition, CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams,
    EdgeVectorParams, FieldCondition, FieldIndexOperations, Filter as EdgeFilter, HasIdCondition, JsonPath,
    KeywordIndexParams, Match, MatchAny, MatchValue, Modifier, NamedQuery, OperationError, Payload, PayloadFieldSchema,
    PayloadSchemaParams, PointId, PointInsertOperations, PointOperations, PointStruct, QueryEnum, Record,
    ScrollRequest, SearchRequest, UpdateOperation, ValueVariants, Vector, VectorInternal, VectorStructInternal,
    Vectors, WalOptions, WithPayloadInterface, WithVector,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::files;
use crate::domain::DocumentId;
use crate::domain::knowledge::{EncodedPassage, Passage, SparseVector};
use crate::ports::index::{Error, Filter};

const DENSE: &str = "dense";
const SPARSE: &str = "sparse";
/// The fields of a passage that searches and replacements filter by.
const KEYWORDS: [&str; 3] = ["document_id", "industry", "language"];
/// Points in one write of the engine's log.
const POINTS_PER_UPDATE: usize = 128;
/// Points in one page of a listing.
const PAGE: usize = 1024;
/// A segment of the engine's log, in bytes.
const LOG_SEGMENT: usize = 1024 * 1024;

/// A shard that is open.
#[derive(Debug)]
pub(super) struct Shard {
    /// There until the shard is closed: the engine flushes when it is dropped, and panics when the disk fails it then.
    engine: Option<EdgeShard>,
    path: PathBuf,
}

impl Shard {
    /// Makes a shard in a folder that is not there yet, for dense vectors of this length, if any. Durable when it
    /// returns.
    pub(super) fn create(path: &Path, dimensions: Option<usize>) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|error| files::unavailable(path, &error))?;
        let engine = guarded(|| EdgeShard::new(path, config(dimensions)))?;
        let shard = Self { engine: Some(engine), path: path.to_owned() };
        for field in KEYWORDS {
            shard.update(UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(CreateIndex {
                field_name: json_path(field)?,
                field_schema: Some(PayloadFieldSchema::FieldParams(PayloadSchemaParams::Keyword(KeywordIndexParams {
                    on_disk: Some(true),
                    ..KeywordIndexParams::default()
                }))),
            })))?;
        }
        shard.flush()?;
        files::sync_tree(path).map_err(|error| files::unavailable(path, &error))?;
        Ok(shard)
    }

    /// Opens a shard.
    pub(super) fn open(path: &Path, dimensions: Option<usize>) -> Result<Self, Error> {
        trim_log(path).map_err(|error| files::unavailable(path, &error))?;
        let engine = guarded(|| EdgeShard::load(path, Some(config(dimensions)))).map_err(|error| {
            Error::Unavailable(format!(
                "the index in {} cannot be opened ({error}); restore it from a backup, or remove that folder and ingest \
                 the documents again",
                path.display()
            ))
        })?;
        Ok(Self { engine: Some(engine), path: path.to_owned() })
    }

    /// Flushes and closes it. Dropping it does the same, but nobody hears of what went wrong.
    pub(super) fn close(mut self) -> Result<(), Error> {
        let engine = self.engine.take();
        guarded(|| {
            drop(engine);
            Ok(())
        })
    }

    /// Makes what was written durable.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.call(|engine| {
            engine.flush();
            Ok(())
        })
    }

    /// Gives documents these passages and no others. The new ones are there before the old ones go, and doing it again
    /// changes nothing.
    pub(super) fn put(&self, documents: &[(DocumentId, Vec<EncodedPassage>)]) -> Result<(), Error> {
        let passages: Vec<&EncodedPassage> = documents.iter().flat_map(|(_, passages)| passages).collect();
        self.insert(&passages)?;
        let names = documents.iter().map(|(id, _)| id.as_str().to_owned()).collect();
        let kept: HasIdCondition = passages.iter().map(|encoded| PointId::Uuid(encoded.passage.id())).collect();
        self.update(UpdateOperation::PointOperation(PointOperations::DeletePointsByFilter(EdgeFilter {
            should: None,
            min_should: None,
            must: Some(vec![matches("document_id", Match::Any(MatchAny { any: AnyVariants::Strings(names) }))?]),
            must_not: Some(vec![Condition::HasId(kept)]),
        })))
    }

    /// Adds passages, in place of those with the same ids.
    pub(super) fn insert(&self, passages: &[&EncodedPassage]) -> Result<(), Error> {
        for some in passages.chunks(POINTS_PER_UPDATE) {
            let points = some.iter().map(|encoded| point(encoded)).collect::<Result<Vec<_>, _>>()?;
            let points = points.into_iter().map(Into::into).collect();
            self.update(UpdateOperation::PointOperation(PointOperations::UpsertPoints(
                PointInsertOperations::PointsList(points),
            )))?;
        }
        Ok(())
    }

    /// The passages nearest to a dense vector, with their cosines.
    pub(super) fn nearest(&self, vector: Vec<f32>, filter: &Filter, limit: usize) -> Result<Vec<(Uuid, f32)>, Error> {
        self.search(DENSE, VectorInternal::Dense(vector), filter, limit)
    }

    /// The passages with the most weight of a question's keywords, with their scores.
    pub(super) fn matching(
        &self,
        vector: &SparseVector,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>, Error> {
        let vector =
            Vector::new_sparse(vector.indices.clone(), vector.values.clone()).map_err(|error| failed(&error))?;
        self.search(SPARSE, vector.0, filter, limit)
    }

    fn search(
        &self,
        name: &str,
        vector: VectorInternal,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>, Error> {
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery { query: vector, using: Some(name.to_owned()) }),
            filter: edge_filter(filter)?,
            params: None,
            limit,
            offset: 0,
            with_payload: None,
            with_vector: None,
            score_threshold: None,
        };
        let found = self.call(|engine| engine.search(request))?;
        found.into_iter().map(|point| Ok((uuid(point.id)?, point.score))).collect()
    }

    /// Passages by id; those that are not there are missing.
    pub(super) fn passages_by_id(&self, ids: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Passage>, Error> {
        let ids: Vec<PointId> = ids.map(PointId::Uuid).collect();
        let records = self.call(|engine| {
            engine.retrieve(&ids, Some(WithPayloadInterface::Bool(true)), Some(WithVector::Bool(false)))
        })?;
        records.into_iter().map(|record| Ok((uuid(record.id)?, passage(record.payload)?))).collect()
    }

    /// All passages, in no order.
    pub(super) fn passages(&self) -> Result<Vec<Passage>, Error> {
        self.scroll(false, |record| passage(record.payload))
    }

    /// All passages with their vectors, in no order.
    pub(super) fn encoded_passages(&self) -> Result<Vec<EncodedPassage>, Error> {
        self.scroll(true, encoded_passage)
    }

    fn scroll<T>(&self, vectors: bool, read: impl Fn(Record) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(PAGE),
                filter: None,
                with_payload: Some(WithPayloadInterface::Bool(true)),
                with_vector: WithVector::Bool(vectors),
                order_by: None,
            };
            let (records, next) = self.call(|engine| engine.scroll(request))?;
            for record in records {
                all.push(read(record)?);
            }
            offset = match next {
                Some(next) => Some(next),
                None => return Ok(all),
            };
        }
    }

    /// Passages in it.
    pub(super) fn count(&self) -> Result<usize, Error> {
        self.call(|engine| engine.count(qdrant_edge::CountRequest { filter: None, exact: true }))
    }

    /// Merges segments, builds the graph for dense vectors where there are many, drops what was deleted. Searches go on.
    pub(super) fn optimize(&self) -> Result<(), Error> {
        self.call(|engine| engine.optimize())?;
        self.flush()?;
        files::sync_tree(&self.path).map_err(|error| files::unavailable(&self.path, &error))
    }

    /// Size of the log segments that opening the shard again would drop, in bytes.
    pub(super) fn log_to_trim(&self) -> u64 {
        let closed = closed_log_segments(&self.path).unwrap_or_default();
        closed.iter().rev().skip(1).filter_map(|(_, path)| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    fn call<T>(&self, call: impl FnOnce(&EdgeShard) -> Result<T, OperationError>) -> Result<T, Error> {
        let Some(engine) = &self.engine else { return Err(Error::Failed("the index is closed".into())) };
        guarded(|| call(engine))
    }

    fn update(&self, operation: UpdateOperation) -> Result<(), Error> {
        self.call(|engine| engine.update(operation))
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let engine = self.engine.take();
        // What was acknowledged is flushed already.
        let _closed = guarded(|| {
            drop(engine);
            Ok(())
        });
    }
}

/// Runs a call of the engine. It panics where a disk fails it, and that must not take more than this call down.
fn guarded<T>(call: impl FnOnce() -> Result<T, OperationError>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error)),
        Err(panic) => {
            let reason = panic.downcast_ref::<String>().map(String::as_str);
            let reason = reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave no reason");
            Err(Error::Failed(format!("the engine stopped: {reason}")))
        }
    }
}

/// The engine's error without the stack that it carries along.
fn failed(error: &OperationError) -> Error {
    let text = error.to_string();
    if text.contains("No space left on device") || text.contains("Not enough space") {
        return Error::Unavailable("the disk is full: free some space and try again".into());
    }
    Error::Failed(text)
}

fn config(dimensions: Option<usize>) -> EdgeConfig {
    let dense = dimensions.map(|size| {
        // In memory, every open shard would take 32 MiB however little it holds.
        let params = EdgeVectorParams::builder(size, Distance::Cosine).on_disk(true).build();
        (DENSE.to_owned(), params)
    });
    let sparse = EdgeSparseVectorParams::builder().modifier(Modifier::Idf).on_disk(true).build();
    EdgeConfig {
        on_disk_payload: true,
        vectors: dense.into_iter().collect(),
        sparse_vectors: HashMap::from([(SPARSE.to_owned(), sparse)]),
        optimizers: EdgeOptimizersConfig { default_segment_number: Some(1), ..EdgeOptimizersConfig::default() },
        wal_options: Some(WalOptions { segment_capacity: LOG_SEGMENT, ..WalOptions::default() }),
        ..EdgeConfig::default()
    }
}

/// The engine never reads its log again and never shortens it either; all it needs of it is the number of the last
/// entry, for later writes must have higher ones. So all closed segments but the last can go.
fn trim_log(path: &Path) -> std::io::Result<()> {
    let mut closed = closed_log_segments(path)?;
    closed.pop();
    closed.iter().try_for_each(|(_, file)| fs::remove_file(file))
}

fn closed_log_segments(path: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut closed = Vec::new();
    let dir = path.join("wal");
    if !dir.exists() {
        return Ok(closed);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let start = entry.file_name().to_str().and_then(|name| name.strip_prefix("closed-")?.parse().ok());
        closed.extend(start.map(|start| (start, entry.path())));
    }
    closed.sort_unstable();
    Ok(closed)
}

fn edge_filter(filter: &Filter) -> Result<Option<EdgeFilter>, Error> {
    let mut must = Vec::new();
    if let Some(industry) = &filter.industry {
        must.push(equals("industry", industry.clone())?);
    }
    if let Some(language) = &filter.language {
        must.push(equals("language", written(language)?)?);
    }
    Ok((!must.is_empty()).then(|| EdgeFilter { should: None, min_should: None, must: Some(must), must_not: None }))
}

/// A field's value as the payload has it.
fn written(value: &impl serde::Serialize) -> Result<String, Error> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        other => Err(Error::Failed(format!("cannot filter by {other:?}"))),
    }
}

fn equals(field: &str, value: String) -> Result<Condition, Error> {
    matches(field, Match::Value(MatchValue { value: ValueVariants::String(value) }))
}

fn matches(field: &str, value: Match) -> Result<Condition, Error> {
    Ok(Condition::Field(FieldCondition::new_match(json_path(field)?, value)))
}

fn json_path(field: &str) -> Result<JsonPath, Error> {
    field.parse().map_err(|()| Error::Failed(format!("{field} is no field of a payload")))
}

fn point(encoded: &EncodedPassage) -> Result<PointStruct, Error> {
    let EncodedPassage { passage, dense, sparse } = encoded;
    let payload = serde_json::to_value(passage).map_err(|error| Error::Failed(error.to_string()))?;
    let mut vectors: Vec<(&str, Vector)> = Vec::new();
    vectors.extend(dense.clone().map(|dense| (DENSE, Vector::new_dense(dense))));
    if !sparse.indices.is_empty() {
        let sparse = Vector::new_sparse(sparse.indices.clone(), sparse.values.clone());
        vectors.push((SPARSE, sparse.map_err(|error| failed(&error))?));
    }
    Ok(PointStruct::new(PointId::Uuid(passage.id()), Vectors::new_named(vectors), payload))
}

fn passage(payload: Option<Payload>) -> Result<Passage, Error> {
    parsed(payload.unwrap_or_default())
}

fn parsed<T: DeserializeOwned>(payload: Payload) -> Result<T, Error> {
    serde_json::from_value(serde_json::Value::Object(payload.0))
        .map_err(|error| Error::Failed(format!("a stored passage cannot be read: {error}")))
}

fn encoded_passage(record: Record) -> Result<EncodedPassage, Error> {
    let mut encoded =
        EncodedPassage { passage: passage(record.payload)?, dense: None, sparse: SparseVector::default() };
    if let Some(VectorStructInternal::Named(vectors)) = record.vector {
        for vector in vectors.into_values() {
            match vector {
                VectorInternal::Dense(dense) => encoded.dense = Some(dense),
                VectorInternal::Sparse(sparse) => {
                    encoded.sparse = SparseVector { indices: sparse.indices, values: sparse.values };
                }
                VectorInternal::MultiDense(_) => {}
            }
        }
    }
    Ok(encoded)
}

fn uuid(id: PointId) -> Result<Uuid, Error> {
    match id {
        PointId::Uuid(id) => Ok(id),
        PointId::NumId(number) => Err(Error::Failed(format!("point {number} is none of ours"))),
    }
}
