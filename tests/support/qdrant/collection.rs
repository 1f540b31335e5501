//! One collection of the tests' server: a `qdrant-edge` shard, and the little that a server does around one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use qdrant_client::qdrant as q;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::vector_input::Variant as Given;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, CountRequest, CreateIndex, CreateVectorName, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard,
    EdgeSparseVectorParams, EdgeVectorParams, FieldIndexOperations, Filter, Fusion, HasIdCondition, KeywordIndexParams,
    NamedQuery, PayloadFieldSchema, PayloadSchemaParams, PointId, PointInsertOperations, PointOperations, PointStruct,
    Prefetch, QueryEnum, QueryRequest, Record, ScoredPoint, ScoringQuery, ScrollRequest, UpdateOperation, Vector,
    VectorInternal, VectorNameOperations, Vectors, WalOptions, WithPayloadInterface, WithVector,
};
use tonic::Status;

use super::rarity::Rarity;
use super::wire::{self, engine, invalid, unknown};

pub(super) struct Collection {
    shard: EdgeShard,
    /// What it was made with, as it is told again.
    pub(super) made: Mutex<q::CreateCollection>,
    pub(super) payload_schema: Mutex<HashMap<String, q::PayloadSchemaInfo>>,
    /// Held by writers alone for a whole request, so that what a condition saw is still so when it is written.
    writers: RwLock<()>,
    writes: AtomicU64,
    rarity: Rarity,
    _dir: tempfile::TempDir,
}

impl Collection {
    pub(super) fn create(made: q::CreateCollection) -> Result<Self, Status> {
        let dir = tempfile::tempdir().unwrap();
        let mut vectors = HashMap::new();
        match made.vectors_config.clone().and_then(|config| config.config) {
            Some(Config::ParamsMap(map)) => {
                for (name, params) in map.map {
                    if params.distance() != q::Distance::Cosine {
                        return Err(unknown("this distance"));
                    }
                    if params.size == 0 {
                        return Err(invalid("vector size must be 1 or larger"));
                    }
                    let size = usize::try_from(params.size).unwrap();
                    vectors.insert(name, EdgeVectorParams::builder(size, Distance::Cosine).on_disk(true).build());
                }
            }
            Some(Config::Params(_)) => return Err(unknown("vectors without a name")),
            None => {}
        }
        let sparse = made.sparse_vectors_config.clone().unwrap_or_default().map;
        let sparse = sparse.into_keys().map(|name| (name, EdgeSparseVectorParams::builder().on_disk(true).build()));
        let config = EdgeConfig {
            on_disk_payload: true,
            vectors,
            sparse_vectors: sparse.collect(),
            optimizers: EdgeOptimizersConfig { default_segment_number: Some(1), ..EdgeOptimizersConfig::default() },
            wal_options: Some(WalOptions { segment_capacity: 1024 * 1024, ..WalOptions::default() }),
            ..EdgeConfig::default()
        };
        Ok(Self {
            shard: EdgeShard::new(dir.path(), config).map_err(engine)?,
            made: Mutex::new(made),
            payload_schema: Mutex::default(),
            writers: RwLock::new(()),
            writes: AtomicU64::new(0),
            rarity: Rarity::default(),
            _dir: dir,
        })
    }

    fn dense_size(&self, name: &str) -> Option<u64> {
        match self.made.lock().vectors_config.as_ref()?.config.as_ref()? {
            Config::ParamsMap(map) => Some(map.map.get(name)?.size),
            Config::Params(_) => None,
        }
    }

    fn sparse(&self, name: &str) -> Option<q::SparseVectorParams> {
        self.made.lock().sparse_vectors_config.as_ref()?.map.get(name).copied()
    }

    /// What a server checks of every vector that is written or asked for.
    fn check_vector(&self, name: &str, vector: &VectorInternal) -> Result<(), Status> {
        match vector {
            VectorInternal::Dense(values) => {
                let size = self.dense_size(name).ok_or_else(|| no_vector(name))?;
                if values.len() as u64 != size {
                    let text = format!("Vector dimension error: expected dim: {size}, got {}", values.len());
                    return Err(invalid(text));
                }
                Ok(())
            }
            VectorInternal::Sparse(_) => self.sparse(name).map(drop).ok_or_else(|| no_vector(name)),
            VectorInternal::MultiDense(_) => Err(unknown("multivectors")),
        }
    }

    fn update(&self, operation: UpdateOperation) -> Result<(), Status> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let done = self.shard.update(operation).map_err(engine);
        self.writes.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// `has_modes` and `has_filters` are what the version that is played knows of conditional writes.
    pub(super) fn upsert(&self, request: q::UpsertPoints, has_modes: bool, has_filters: bool) -> Result<(), Status> {
        let mode = if has_modes { request.update_mode() } else { q::UpdateMode::Upsert };
        let only = wire::filter(request.update_filter.filter(|_| has_filters))?;
        let _alone = self.writers.write();
        let mut points = Vec::new();
        for point in request.points {
            let id = wire::point_id(point.id)?;
            let vectors = wire::vectors(point.vectors)?;
            for (name, Vector(vector)) in &vectors {
                self.check_vector(name, vector)?;
            }
            let is_written = match (mode, &only) {
                (q::UpdateMode::InsertOnly, _) => !self.is_there(id, None)?,
                (q::UpdateMode::UpdateOnly, only) => self.is_there(id, only.clone())?,
                (q::UpdateMode::Upsert, Some(only)) => {
                    !self.is_there(id, None)? || self.is_there(id, Some(only.clone()))?
                }
                (q::UpdateMode::Upsert, None) => true,
            };
            if is_written {
                points.push(PointStruct::new(id, Vectors::new_named(vectors), wire::json(point.payload)).into());
            }
        }
        if points.is_empty() {
            return Ok(());
        }
        let points = PointInsertOperations::PointsList(points);
        self.update(UpdateOperation::PointOperation(PointOperations::UpsertPoints(points)))
    }

    fn is_there(&self, id: PointId, only: Option<Filter>) -> Result<bool, Status> {
        let mut must = vec![Condition::HasId([id].into_iter().collect::<HasIdCondition>())];
        must.extend(only.map(Condition::Filter));
        let filter = Some(Filter { must: Some(must), ..Filter::default() });
        Ok(self.shard.count(CountRequest { filter, exact: true }).map_err(engine)? > 0)
    }

    pub(super) fn delete(&self, selector: Option<q::PointsSelector>) -> Result<(), Status> {
        use q::points_selector::PointsSelectorOneOf;
        let operation = match selector.and_then(|selector| selector.points_selector_one_of) {
            Some(PointsSelectorOneOf::Filter(filter)) => {
                PointOperations::DeletePointsByFilter(wire::filter(Some(filter))?.unwrap_or_default())
            }
            Some(PointsSelectorOneOf::Points(list)) => {
                let ids = list.ids.into_iter().map(|id| wire::point_id(Some(id))).collect::<Result<_, _>>()?;
                PointOperations::DeletePoints { ids }
            }
            None => return Err(invalid("PointSelector is missing")),
        };
        let _alone = self.writers.write();
        self.update(UpdateOperation::PointOperation(operation))
    }

    pub(super) fn count(&self, filter: Option<q::Filter>) -> Result<usize, Status> {
        let _reading = self.writers.read();
        self.shard.count(CountRequest { filter: wire::filter(filter)?, exact: true }).map_err(engine)
    }

    pub(super) fn get(&self, request: q::GetPoints) -> Result<Vec<q::RetrievedPoint>, Status> {
        let ids = request.ids.into_iter().map(|id| wire::point_id(Some(id))).collect::<Result<Vec<_>, _>>()?;
        let payload = wire::with_payload(request.with_payload, true)?;
        let vectors = wire::with_vectors(request.with_vectors)?;
        let _reading = self.writers.read();
        let found = self
            .shard
            .retrieve(&ids, Some(WithPayloadInterface::Bool(payload)), Some(WithVector::Bool(vectors)))
            .map_err(engine)?;
        Ok(found.into_iter().map(|record| retrieved(record, vectors)).collect())
    }

    pub(super) fn scroll(&self, request: q::ScrollPoints) -> Result<q::ScrollResponse, Status> {
        if request.order_by.is_some() {
            return Err(unknown("order_by"));
        }
        let limit = request.limit.unwrap_or(10) as usize;
        let vectors = wire::with_vectors(request.with_vectors)?;
        let asked = ScrollRequest {
            offset: request.offset.map(|id| wire::point_id(Some(id))).transpose()?,
            limit: Some(positive(limit)?),
            filter: wire::filter(request.filter)?,
            with_payload: Some(WithPayloadInterface::Bool(wire::with_payload(request.with_payload, true)?)),
            with_vector: WithVector::Bool(vectors),
            order_by: None,
        };
        let _reading = self.writers.read();
        let (found, next) = self.shard.scroll(asked).map_err(engine)?;
        Ok(q::ScrollResponse {
            next_page_offset: next.map(wire::wire_id),
            result: found.into_iter().map(|record| retrieved(record, vectors)).collect(),
            ..q::ScrollResponse::default()
        })
    }

    /// `has_corpora` is whether the version that is played counts words over a part of the points.
    pub(super) fn query(&self, request: q::QueryPoints, has_corpora: bool) -> Result<Vec<q::ScoredPoint>, Status> {
        let limit = positive(usize::try_from(request.limit.unwrap_or(10)).unwrap())?;
        if request.score_threshold.is_some() || request.lookup_from.is_some() {
            return Err(unknown("thresholds and look-ups"));
        }
        let _reading = self.writers.read();
        let prefetches = request.prefetch.into_iter().map(|prefetch| self.prefetch(prefetch, has_corpora));
        let vectors = wire::with_vectors(request.with_vectors)?;
        let asked = QueryRequest {
            prefetches: prefetches.collect::<Result<_, _>>()?,
            query: self.scoring(request.query, request.using, request.params, has_corpora)?,
            filter: wire::filter(request.filter)?,
            score_threshold: None,
            limit,
            offset: usize::try_from(request.offset.unwrap_or(0)).unwrap(),
            params: None,
            with_vector: WithVector::Bool(vectors),
            with_payload: WithPayloadInterface::Bool(wire::with_payload(request.with_payload, false)?),
        };
        Ok(self.shard.query(asked).map_err(engine)?.into_iter().map(|point| scored(point, vectors)).collect())
    }

    fn prefetch(&self, prefetch: q::PrefetchQuery, has_corpora: bool) -> Result<Prefetch, Status> {
        if !prefetch.prefetch.is_empty() || prefetch.score_threshold.is_some() || prefetch.lookup_from.is_some() {
            return Err(unknown("nested prefetches, thresholds and look-ups"));
        }
        Ok(Prefetch {
            prefetches: Vec::new(),
            query: self.scoring(prefetch.query, prefetch.using, prefetch.params, has_corpora)?,
            limit: positive(usize::try_from(prefetch.limit.unwrap_or(10)).unwrap())?,
            params: None,
            filter: wire::filter(prefetch.filter)?,
            score_threshold: None,
        })
    }

    fn scoring(
        &self,
        query: Option<q::Query>,
        using: Option<String>,
        params: Option<q::SearchParams>,
        has_corpora: bool,
    ) -> Result<Option<ScoringQuery>, Status> {
        let idf = params.and_then(|params| params.idf).filter(|_| has_corpora);
        let nearest = match query.map(|query| query.variant) {
            None => return Ok(None),
            Some(Some(Variant::Nearest(input))) => input,
            Some(Some(Variant::Rrf(rrf))) => {
                let weights = rrf.weights.into_iter().map(OrderedFloat).collect::<Vec<_>>();
                let weights = (!weights.is_empty()).then_some(weights);
                return Ok(Some(ScoringQuery::Fusion(Fusion::Rrf { k: rrf.k.unwrap_or(2) as usize, weights })));
            }
            Some(_) => return Err(unknown("this query")),
        };
        let name = using.unwrap_or_default();
        let vector = match nearest.variant {
            Some(Given::Dense(dense)) if idf.is_none() => VectorInternal::Dense(dense.data),
            Some(Given::Dense(_)) => return Err(invalid("IDF corpus is for sparse vectors with the IDF modifier")),
            Some(Given::Sparse(sparse)) => {
                let values = self.weighted(&name, &sparse.indices, sparse.values, idf.and_then(|idf| idf.corpus))?;
                Vector::new_sparse(sparse.indices, values).map_err(engine)?.0
            }
            _ => return Err(unknown("this vector")),
        };
        self.check_vector(&name, &vector)?;
        let query = NamedQuery { query: vector, using: Some(name) };
        Ok(Some(ScoringQuery::Vector(QueryEnum::Nearest(query))))
    }

    /// A question's weights, times the rarity of each dimension in the corpus.
    fn weighted(
        &self,
        name: &str,
        indices: &[u32],
        values: Vec<f32>,
        corpus: Option<q::Filter>,
    ) -> Result<Vec<f32>, Status> {
        if self.sparse(name).map(|params| params.modifier()) != Some(q::Modifier::Idf) {
            return Ok(values);
        }
        let counted = self.rarity.of(&self.shard, name, corpus, self.writes.load(Ordering::SeqCst))?;
        Ok(indices.iter().zip(values).map(|(index, value)| value * counted.rarity(*index)).collect())
    }

    pub(super) fn index_field(&self, request: q::CreateFieldIndexCollection) -> Result<(), Status> {
        if request.field_type() != q::FieldType::Keyword {
            return Err(unknown("this kind of payload index"));
        }
        let field_name = request.field_name.parse().map_err(|()| invalid("Malformed field name"))?;
        let params = KeywordIndexParams { on_disk: Some(true), ..KeywordIndexParams::default() };
        let schema = PayloadFieldSchema::FieldParams(PayloadSchemaParams::Keyword(params));
        self.update(UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(CreateIndex {
            field_name,
            field_schema: Some(schema),
        })))?;
        let info = q::PayloadSchemaInfo {
            data_type: q::PayloadSchemaType::Keyword.into(),
            params: request.field_index_params,
            points: None,
        };
        self.payload_schema.lock().insert(request.field_name, info);
        Ok(())
    }

    pub(super) fn add_vector(&self, name: String, config: q::DenseVectorCreationConfig) -> Result<(), Status> {
        if self.dense_size(&name).is_some() {
            return Err(invalid(format!("Vector {name} already exists")));
        }
        // The engine does not name the type of this one.
        let params = serde_json::json!({"dense": {"size": config.size, "distance": "Cosine"}});
        let create = CreateVectorName { vector_name: name.clone(), config: serde_json::from_value(params).unwrap() };
        self.update(UpdateOperation::VectorNameOperation(VectorNameOperations::CreateVectorName(create)))?;
        let params = q::VectorParams { size: config.size, distance: config.distance, ..q::VectorParams::default() };
        let mut made = self.made.lock();
        let config = made.vectors_config.get_or_insert_default();
        match config.config.get_or_insert_with(|| Config::ParamsMap(q::VectorParamsMap::default())) {
            Config::ParamsMap(map) => map.map.insert(name, params),
            Config::Params(_) => return Err(unknown("vectors without a name")),
        };
        Ok(())
    }

    /// Builds what makes searches fast, which a real server does by itself.
    pub(super) fn optimize(&self) {
        let _alone = self.writers.write();
        self.shard.optimize().unwrap();
    }
}

fn no_vector(name: &str) -> Status {
    invalid(format!("Not existing vector name error: {name}"))
}

fn positive(limit: usize) -> Result<usize, Status> {
    if limit == 0 { Err(Status::invalid_argument("Validation error: limit must be 1 or larger")) } else { Ok(limit) }
}

fn retrieved(record: Record, with_vectors: bool) -> q::RetrievedPoint {
    q::RetrievedPoint {
        id: Some(wire::wire_id(record.id)),
        payload: wire::wire_payload(record.payload),
        vectors: with_vectors.then(|| wire::wire_vectors(record.vector)),
        ..q::RetrievedPoint::default()
    }
}

fn scored(point: ScoredPoint, with_vectors: bool) -> q::ScoredPoint {
    q::ScoredPoint {
        id: Some(wire::wire_id(point.id)),
        payload: wire::wire_payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: with_vectors.then(|| wire::wire_vectors(point.vector)),
        ..q::ScoredPoint::default()
    }
}
