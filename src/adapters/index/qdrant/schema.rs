//! What the collection has to be: read from `migrations/qdrant`, compared with what the server has, and made.

use std::collections::BTreeMap;

use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, CreateFieldIndexCollection, CreateVectorNameRequest, DenseVectorCreationConfig,
    Distance, FieldType, HnswConfigDiff, KeywordIndexParams, Modifier, PayloadIndexParams, PayloadSchemaType,
    SparseVectorConfig, SparseVectorParams, UpdateCollection, VectorParams, VectorParamsMap, VectorsConfig,
    create_vector_name_request,
};
use serde::Deserialize;

use super::client::Client;
use super::marker::strong;
use super::version::Version;
use crate::ports::index::Error;

/// The steps, oldest first. A later one adds to what the earlier ones describe.
const STEPS: &[(&str, &str)] = &[("0001-passages", include_str!("../../../../migrations/qdrant/0001-passages.json"))];

#[derive(Clone, Debug, Deserialize)]
struct Dense {
    distance: Metric,
    on_disk: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Cosine,
}

#[derive(Clone, Debug, Deserialize)]
struct Sparse {
    modifier: Weighting,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Weighting {
    Idf,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Graph {
    m: u64,
    payload_m: u64,
}

/// A keyword index over a field of the payload.
#[derive(Clone, Debug, Deserialize)]
struct PayloadIndex {
    field: String,
    /// Whether its values are the tenants, whose points are to lie together.
    #[serde(default)]
    is_tenant: bool,
    /// Whether each value gets a graph of its own.
    #[serde(default)]
    graph: bool,
}

/// All steps taken together.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Schema {
    #[serde(default)]
    vectors: BTreeMap<String, Dense>,
    #[serde(default)]
    sparse_vectors: BTreeMap<String, Sparse>,
    hnsw: Option<Graph>,
    on_disk_payload: Option<bool>,
    #[serde(default)]
    payload_indexes: Vec<PayloadIndex>,
}

/// What the server's collection lacks.
#[derive(Debug)]
enum Lack {
    Collection,
    Vector(String),
    Graph(Graph),
    PayloadIndex(PayloadIndex),
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Collection => write!(f, "the collection"),
            Self::Vector(name) => write!(f, "the vector {name}"),
            Self::Graph(Graph { m, payload_m }) => write!(f, "graphs with m = {m} and payload_m = {payload_m}"),
            Self::PayloadIndex(index) => write!(f, "the payload index {}", index.field),
        }
    }
}

impl Schema {
    /// What the compiled-in steps describe.
    pub(super) fn read() -> Result<Self, Error> {
        let mut all = Self::default();
        for (name, text) in STEPS {
            let step: Self = serde_json::from_str(text)
                .map_err(|error| Error::Failed(format!("the migration {name} cannot be read: {error}")))?;
            all.vectors.extend(step.vectors);
            all.sparse_vectors.extend(step.sparse_vectors);
            all.hnsw = step.hnsw.or(all.hnsw);
            all.on_disk_payload = step.on_disk_payload.or(all.on_disk_payload);
            all.payload_indexes.retain(|old| step.payload_indexes.iter().all(|new| new.field != old.field));
            all.payload_indexes.extend(step.payload_indexes);
        }
        Ok(all)
    }

    /// What there is to do, in words.
    pub(super) async fn pending(&self, client: &Client, dimensions: Option<usize>) -> Result<Vec<String>, Error> {
        let there = collection(client).await?;
        let lacks = self.compare(there.as_ref(), dimensions, &client.collection)?;
        Ok(lacks.iter().map(|lack| format!("{}: {lack}", client.collection)).collect())
    }

    /// Does it, and says what was done.
    pub(super) async fn apply(
        &self,
        client: &Client,
        dimensions: Option<usize>,
        version: &Version,
    ) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        let mut there = collection(client).await?;
        if there.is_none() {
            let created = self.create(client, dimensions).await;
            there = collection(client).await?;
            match there {
                // Another process may have been faster.
                Some(_) => done.push(format!("{}: {}", client.collection, Lack::Collection)),
                None => {
                    created?;
                }
            }
        }
        for lack in self.compare(there.as_ref(), dimensions, &client.collection)? {
            match &lack {
                Lack::Collection => {}
                Lack::Vector(name) => self.add_vector(client, name, dimensions, version).await?,
                Lack::Graph(graph) => set_graph(client, *graph).await?,
                Lack::PayloadIndex(index) => add_index(client, index).await?,
            }
            done.push(format!("{}: {lack}", client.collection));
        }
        Ok(done)
    }

    /// # Errors
    /// When the collection is another one than ours, and nothing can be added to make it so.
    fn compare(
        &self,
        there: Option<&CollectionInfo>,
        dimensions: Option<usize>,
        collection: &str,
    ) -> Result<Vec<Lack>, Error> {
        let Some(there) = there else { return Ok(vec![Lack::Collection]) };
        let config = there.config.as_ref();
        let params = config.and_then(|config| config.params.as_ref());
        let mut lacks = Vec::new();
        let config_of_vectors = params.and_then(|params| params.vectors_config.as_ref()?.config.as_ref());
        for name in self.vectors.keys().filter(|_| dimensions.is_some()) {
            let vector = match config_of_vectors {
                Some(Config::ParamsMap(map)) => map.map.get(name),
                Some(Config::Params(_)) => {
                    return Err(not_ours(collection, "it has a vector without a name"));
                }
                None => None,
            };
            match vector {
                None => lacks.push(Lack::Vector(name.clone())),
                Some(vector) => fits(vector, dimensions, collection)?,
            }
        }
        let sparse = params.and_then(|params| params.sparse_vectors_config.as_ref());
        for name in self.sparse_vectors.keys() {
            let modifier = sparse.and_then(|sparse| sparse.map.get(name)).map(SparseVectorParams::modifier);
            if modifier != Some(Modifier::Idf) {
                return Err(not_ours(collection, &format!("its vector {name} is not weighted by IDF")));
            }
        }
        let graph = config.and_then(|config| config.hnsw_config.as_ref());
        let is_same = |wanted: &Graph| {
            graph.is_some_and(|graph| graph.m == Some(wanted.m) && graph.payload_m == Some(wanted.payload_m))
        };
        lacks.extend(self.hnsw.filter(|wanted| !is_same(wanted)).map(Lack::Graph));
        for index in &self.payload_indexes {
            let is_there = there.payload_schema.get(&index.field).is_some_and(|found| {
                found.data_type() == PayloadSchemaType::Keyword
                    && (!index.is_tenant || is_tenant(found.params.as_ref()))
            });
            if !is_there {
                lacks.push(Lack::PayloadIndex(index.clone()));
            }
        }
        Ok(lacks)
    }

    #[expect(deprecated, reason = "servers before 1.19 know no other name for where data lies")]
    async fn create(&self, client: &Client, dimensions: Option<usize>) -> Result<(), Error> {
        let vectors = self.vectors.iter().filter_map(|(name, vector)| {
            let params = VectorParams {
                size: dimensions? as u64,
                distance: vector.distance.wire(),
                on_disk: Some(vector.on_disk),
                ..VectorParams::default()
            };
            Some((name.clone(), params))
        });
        let sparse = self.sparse_vectors.iter().map(|(name, sparse)| {
            let Weighting::Idf = sparse.modifier;
            let params = SparseVectorParams { modifier: Some(Modifier::Idf.into()), ..SparseVectorParams::default() };
            (name.clone(), params)
        });
        let request = CreateCollection {
            collection_name: client.collection.clone(),
            vectors_config: Some(VectorsConfig {
                config: Some(Config::ParamsMap(VectorParamsMap { map: vectors.collect() })),
            }),
            sparse_vectors_config: Some(SparseVectorConfig { map: sparse.collect() }),
            hnsw_config: self.hnsw.map(Graph::wire),
            on_disk_payload: self.on_disk_payload,
            timeout: client.write_seconds(),
            ..CreateCollection::default()
        };
        client.write("migrate", |server| async move { server.create_collection(request).await }).await?;
        Ok(())
    }

    async fn add_vector(
        &self,
        client: &Client,
        name: &str,
        dimensions: Option<usize>,
        version: &Version,
    ) -> Result<(), Error> {
        let (Some(vector), Some(dimensions)) = (self.vectors.get(name), dimensions) else { return Ok(()) };
        if !version.adds_vectors() {
            let reason = format!("it has no dense vectors, and Qdrant {} cannot add them", version.text);
            return Err(not_ours(&client.collection, &reason));
        }
        let config = DenseVectorCreationConfig {
            size: dimensions as u64,
            distance: vector.distance.wire(),
            ..DenseVectorCreationConfig::default()
        };
        let request = CreateVectorNameRequest {
            collection_name: client.collection.clone(),
            wait: Some(true),
            vector_name: name.to_owned(),
            timeout: client.write_seconds(),
            ordering: Some(strong()),
            vector_config: Some(create_vector_name_request::VectorConfig::DenseConfig(config)),
        };
        client.write("migrate", |server| async move { server.create_vector_name(request).await }).await?;
        Ok(())
    }
}

impl Metric {
    fn wire(self) -> i32 {
        match self {
            Self::Cosine => Distance::Cosine.into(),
        }
    }
}

impl Graph {
    fn wire(self) -> HnswConfigDiff {
        HnswConfigDiff { m: Some(self.m), payload_m: Some(self.payload_m), ..HnswConfigDiff::default() }
    }
}

/// The collection as the server has it.
pub(super) async fn collection(client: &Client) -> Result<Option<CollectionInfo>, Error> {
    let name = client.collection.clone();
    let exists = client.read("exists", |server| async move { server.collection_exists(name).await }).await?;
    if !exists {
        return Ok(None);
    }
    let name = client.collection.clone();
    let info = client.read("collection", |server| async move { server.collection_info(name).await }).await?;
    Ok(info.result)
}

async fn set_graph(client: &Client, graph: Graph) -> Result<(), Error> {
    let request = UpdateCollection {
        collection_name: client.collection.clone(),
        hnsw_config: Some(graph.wire()),
        timeout: client.write_seconds(),
        ..UpdateCollection::default()
    };
    client.write("migrate", |server| async move { server.update_collection(request).await }).await?;
    Ok(())
}

async fn add_index(client: &Client, index: &PayloadIndex) -> Result<(), Error> {
    let params = KeywordIndexParams {
        is_tenant: Some(index.is_tenant),
        enable_hnsw: Some(index.graph),
        ..KeywordIndexParams::default()
    };
    let request = CreateFieldIndexCollection {
        collection_name: client.collection.clone(),
        wait: Some(true),
        field_name: index.field.clone(),
        field_type: Some(FieldType::Keyword.into()),
        field_index_params: Some(PayloadIndexParams { index_params: Some(IndexParams::KeywordIndexParams(params)) }),
        ordering: Some(strong()),
        timeout: client.write_seconds(),
    };
    client.write("migrate", |server| async move { server.create_field_index(request).await }).await?;
    Ok(())
}

fn is_tenant(params: Option<&PayloadIndexParams>) -> bool {
    match params.and_then(|params| params.index_params.as_ref()) {
        Some(IndexParams::KeywordIndexParams(keyword)) => keyword.is_tenant(),
        _ => false,
    }
}

fn fits(vector: &VectorParams, dimensions: Option<usize>, collection: &str) -> Result<(), Error> {
    let wanted = dimensions.unwrap_or_default() as u64;
    if vector.size != wanted {
        let reason = format!("its vectors have {} dimensions, and the embedding model's have {wanted}", vector.size);
        return Err(not_ours(collection, &reason));
    }
    if vector.distance() != Distance::Cosine {
        return Err(not_ours(collection, "its vectors are not compared by cosine"));
    }
    Ok(())
}

fn not_ours(collection: &str, reason: &str) -> Error {
    Error::Failed(format!(
        "the collection {collection} cannot be used: {reason}; set `index.collection` to a new name, run `turnpike \
         migrate`, and ingest the documents again"
    ))
}
