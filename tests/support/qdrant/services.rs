//! The protocol's services over the collections. Calls that are not needed are refused as UNIMPLEMENTED.

use std::sync::Arc;

use qdrant_client::qdrant as q;
use qdrant_client::qdrant::collections_server::Collections;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_server::Points;
use qdrant_client::qdrant::qdrant_server::Qdrant;
use tonic::{Request, Response, Status};

use super::State;
use super::collection::Collection;
use super::wire::{invalid, unknown};

type Answer<T> = Result<Response<T>, Status>;

/// All services of one server.
#[derive(Clone)]
pub(super) struct Services(pub(super) Arc<State>);

/// A service with some of its calls; the others are refused.
macro_rules! service {
    (impl $service:path { $($known:tt)* } refuses { $($name:ident: $request:ident -> $response:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Services {
            $($known)*
            $(
                async fn $name(&self, _: Request<q::$request>) -> Answer<q::$response> {
                    Err(unknown(concat!("the call ", stringify!($name))))
                }
            )*
        }
    };
}

service! {
    impl Qdrant {
        async fn health_check(&self, request: Request<q::HealthCheckRequest>) -> Answer<q::HealthCheckReply> {
            self.0.admit("health_check", &request).await?;
            Ok(Response::new(q::HealthCheckReply {
                title: "qdrant - vector search engine".to_owned(),
                version: self.0.version.lock().clone(),
                commit: None,
            }))
        }
    }
    refuses {}
}

service! {
    impl Collections {
        async fn get(&self, request: Request<q::GetCollectionInfoRequest>) -> Answer<q::GetCollectionInfoResponse> {
            self.0.admit("collection", &request).await?;
            let collection = self.0.collection(&request.get_ref().collection_name)?;
            let info = info(&collection)?;
            Ok(Response::new(q::GetCollectionInfoResponse { result: Some(info), time: 0.0 }))
        }

        async fn list(&self, request: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
            self.0.admit("list_collections", &request).await?;
            let names = self.0.collections.lock().keys().cloned().collect::<Vec<_>>();
            let collections = names.into_iter().map(|name| q::CollectionDescription { name }).collect();
            Ok(Response::new(q::ListCollectionsResponse { collections, time: 0.0 }))
        }

        async fn create(&self, request: Request<q::CreateCollection>) -> Answer<q::CollectionOperationResponse> {
            self.0.admit("create_collection", &request).await?;
            let request = request.into_inner();
            let name = request.collection_name.clone();
            let mut collections = self.0.collections.lock();
            if collections.contains_key(&name) {
                return Err(invalid(format!("Collection `{name}` already exists!")));
            }
            collections.insert(name, Arc::new(Collection::create(request)?));
            Ok(done_collection())
        }

        async fn update(&self, request: Request<q::UpdateCollection>) -> Answer<q::CollectionOperationResponse> {
            self.0.admit("update_collection", &request).await?;
            let request = request.into_inner();
            let collection = self.0.collection(&request.collection_name)?;
            let Some(hnsw) = request.hnsw_config else { return Err(unknown("this change of a collection")) };
            let mut made = collection.made.lock();
            let old = made.hnsw_config.get_or_insert_default();
            old.m = hnsw.m.or(old.m);
            old.payload_m = hnsw.payload_m.or(old.payload_m);
            Ok(done_collection())
        }

        async fn delete(&self, request: Request<q::DeleteCollection>) -> Answer<q::CollectionOperationResponse> {
            self.0.admit("delete_collection", &request).await?;
            self.0.collections.lock().remove(&request.get_ref().collection_name);
            Ok(done_collection())
        }

        async fn collection_exists(
            &self,
            request: Request<q::CollectionExistsRequest>,
        ) -> Answer<q::CollectionExistsResponse> {
            self.0.admit("collection_exists", &request).await?;
            let exists = self.0.collections.lock().contains_key(&request.get_ref().collection_name);
            let result = Some(q::CollectionExists { exists });
            Ok(Response::new(q::CollectionExistsResponse { result, time: 0.0 }))
        }
    }
    refuses {
        update_aliases: ChangeAliases -> CollectionOperationResponse;
        list_collection_aliases: ListCollectionAliasesRequest -> ListAliasesResponse;
        list_aliases: ListAliasesRequest -> ListAliasesResponse;
        collection_cluster_info: CollectionClusterInfoRequest -> CollectionClusterInfoResponse;
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest -> UpdateCollectionClusterSetupResponse;
        create_shard_key: CreateShardKeyRequest -> CreateShardKeyResponse;
        delete_shard_key: DeleteShardKeyRequest -> DeleteShardKeyResponse;
        list_shard_keys: ListShardKeysRequest -> ListShardKeysResponse;
    }
}

service! {
    impl Points {
        async fn upsert(&self, request: Request<q::UpsertPoints>) -> Answer<q::PointsOperationResponse> {
            self.0.admit("upsert", &request).await?;
            let request = request.into_inner();
            let collection = self.0.collection(&request.collection_name)?;
            collection.upsert(request, self.0.is_at_least(1, 17), self.0.is_at_least(1, 16))?;
            Ok(done())
        }

        async fn delete(&self, request: Request<q::DeletePoints>) -> Answer<q::PointsOperationResponse> {
            self.0.admit("delete", &request).await?;
            let request = request.into_inner();
            if let Some(PointsSelectorOneOf::Filter(filter)) =
                request.points.as_ref().and_then(|points| points.points_selector_one_of.as_ref())
            {
                self.0.note_scope(Some(filter));
            }
            self.0.collection(&request.collection_name)?.delete(request.points)?;
            Ok(done())
        }

        async fn get(&self, request: Request<q::GetPoints>) -> Answer<q::GetResponse> {
            self.0.admit("get", &request).await?;
            let request = request.into_inner();
            let result = self.0.collection(&request.collection_name)?.get(request)?;
            Ok(Response::new(q::GetResponse { result, ..q::GetResponse::default() }))
        }

        async fn scroll(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
            self.0.admit("scroll", &request).await?;
            let request = request.into_inner();
            self.0.note_scope(request.filter.as_ref());
            Ok(Response::new(self.0.collection(&request.collection_name)?.scroll(request)?))
        }

        async fn count(&self, request: Request<q::CountPoints>) -> Answer<q::CountResponse> {
            self.0.admit("count", &request).await?;
            let request = request.into_inner();
            self.0.note_scope(request.filter.as_ref());
            let count = self.0.collection(&request.collection_name)?.count(request.filter)? as u64;
            Ok(Response::new(q::CountResponse {
                result: Some(q::CountResult { count }),
                ..q::CountResponse::default()
            }))
        }

        async fn query(&self, request: Request<q::QueryPoints>) -> Answer<q::QueryResponse> {
            self.0.admit("query", &request).await?;
            let request = request.into_inner();
            let collection = self.0.collection(&request.collection_name)?;
            self.note_scopes(&request);
            let result = collection.query(request, self.0.is_at_least(1, 19))?;
            Ok(Response::new(q::QueryResponse { result, ..q::QueryResponse::default() }))
        }

        async fn query_batch(&self, request: Request<q::QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
            self.0.admit("query_batch", &request).await?;
            let request = request.into_inner();
            let collection = self.0.collection(&request.collection_name)?;
            let has_corpora = self.0.is_at_least(1, 19);
            request.query_points.iter().for_each(|query| self.note_scopes(query));
            let one = |query| Ok(q::BatchResult { result: collection.query(query, has_corpora)? });
            let result = request.query_points.into_iter().map(one).collect::<Result<_, Status>>()?;
            Ok(Response::new(q::QueryBatchResponse { result, ..q::QueryBatchResponse::default() }))
        }

        async fn create_field_index(
            &self,
            request: Request<q::CreateFieldIndexCollection>,
        ) -> Answer<q::PointsOperationResponse> {
            self.0.admit("create_field_index", &request).await?;
            let request = request.into_inner();
            self.0.collection(&request.collection_name)?.index_field(request)?;
            Ok(done())
        }

        async fn create_vector_name(
            &self,
            request: Request<q::CreateVectorNameRequest>,
        ) -> Answer<q::PointsOperationResponse> {
            self.0.admit("create_vector_name", &request).await?;
            if !self.0.is_at_least(1, 18) {
                return Err(Status::unimplemented("create_vector_name"));
            }
            let request = request.into_inner();
            let collection = self.0.collection(&request.collection_name)?;
            match request.vector_config {
                Some(q::create_vector_name_request::VectorConfig::DenseConfig(config)) => {
                    collection.add_vector(request.vector_name, config)?;
                }
                _ => return Err(unknown("other than dense vectors")),
            }
            Ok(done())
        }
    }
    refuses {
        update_vectors: UpdatePointVectors -> PointsOperationResponse;
        delete_vectors: DeletePointVectors -> PointsOperationResponse;
        set_payload: SetPayloadPoints -> PointsOperationResponse;
        overwrite_payload: SetPayloadPoints -> PointsOperationResponse;
        delete_payload: DeletePayloadPoints -> PointsOperationResponse;
        clear_payload: ClearPayloadPoints -> PointsOperationResponse;
        delete_field_index: DeleteFieldIndexCollection -> PointsOperationResponse;
        delete_vector_name: DeleteVectorNameRequest -> PointsOperationResponse;
        search: SearchPoints -> SearchResponse;
        search_batch: SearchBatchPoints -> SearchBatchResponse;
        search_groups: SearchPointGroups -> SearchGroupsResponse;
        recommend: RecommendPoints -> RecommendResponse;
        recommend_batch: RecommendBatchPoints -> RecommendBatchResponse;
        recommend_groups: RecommendPointGroups -> RecommendGroupsResponse;
        discover: DiscoverPoints -> DiscoverResponse;
        discover_batch: DiscoverBatchPoints -> DiscoverBatchResponse;
        update_batch: UpdateBatchPoints -> UpdateBatchResponse;
        query_groups: QueryPointGroups -> QueryGroupsResponse;
        facet: FacetCounts -> FacetResponse;
        search_matrix_pairs: SearchMatrixPoints -> SearchMatrixPairsResponse;
        search_matrix_offsets: SearchMatrixPoints -> SearchMatrixOffsetsResponse;
    }
}

impl Services {
    /// Whose points a query reads, and over whose points it counts words.
    fn note_scopes(&self, query: &q::QueryPoints) {
        let corpora = query.prefetch.iter().map(|prefetch| prefetch.params.as_ref()).chain([query.params.as_ref()]);
        for idf in corpora.filter_map(|params| params?.idf.as_ref()) {
            self.0.note_scope(idf.corpus.as_ref());
        }
        if query.prefetch.is_empty() {
            self.0.note_scope(query.filter.as_ref());
        }
        query.prefetch.iter().for_each(|prefetch| self.0.note_scope(prefetch.filter.as_ref()));
    }
}

fn done() -> Response<q::PointsOperationResponse> {
    let result = q::UpdateResult { operation_id: None, status: q::UpdateStatus::Completed.into() };
    Response::new(q::PointsOperationResponse { result: Some(result), ..q::PointsOperationResponse::default() })
}

fn done_collection() -> Response<q::CollectionOperationResponse> {
    Response::new(q::CollectionOperationResponse { result: true, time: 0.0 })
}

fn info(collection: &Collection) -> Result<q::CollectionInfo, Status> {
    let made = collection.made.lock().clone();
    let params = q::CollectionParams {
        shard_number: 1,
        vectors_config: made.vectors_config,
        sparse_vectors_config: made.sparse_vectors_config,
        ..q::CollectionParams::default()
    };
    Ok(q::CollectionInfo {
        status: q::CollectionStatus::Green.into(),
        segments_count: 1,
        config: Some(q::CollectionConfig {
            params: Some(params),
            hnsw_config: made.hnsw_config,
            ..q::CollectionConfig::default()
        }),
        payload_schema: collection.payload_schema.lock().clone(),
        points_count: Some(collection.count(None)? as u64),
        ..q::CollectionInfo::default()
    })
}
