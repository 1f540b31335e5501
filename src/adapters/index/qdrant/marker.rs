//! Who made a company's index: a point of its own beside the passages, without vectors, so that no search finds it.
//!
//! It names the encoder and the *generation*. Every passage's point carries the generation that it was written into,
//! and only those of the current one are read. So an index that is made anew grows unseen beside the old one and takes
//! its place by one write, and what an interrupted or outdated writer leaves is never mixed into it.

use qdrant_client::qdrant::{
    GetPoints, PointStruct, QueryPoints, RetrievedPoint, ScoredPoint, UpdateMode, UpsertPoints, WriteOrdering,
    WriteOrderingType,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Client;
use super::points::{self, COMPANY, Payload};
use crate::domain::CompanyId;
use crate::ports::index::{Encoder, Error};

/// What a company's index is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The generation to read.
    pub(super) current: Uuid,
    /// What made it.
    pub(super) encoder: Encoder,
}

/// What may be there for a marker to be written.
pub(super) enum Instead<'a> {
    /// Nothing; one that is there stays. Servers before 1.17 write in any case.
    OfNothing,
    /// This one; another one stays.
    Of(&'a Marker),
    /// Whatever is there.
    OfAny,
}

/// The marker's own point.
pub(super) fn id(company: &CompanyId) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x1c9f_48d3_e05b_47a6_9a22_7be4_d8c1_5f30);
    Uuid::new_v5(&NAMESPACE, company.as_str().as_bytes())
}

impl Marker {
    /// A new generation by an encoder.
    pub(super) fn new(encoder: &Encoder) -> Self {
        Self { current: Uuid::now_v7(), encoder: encoder.clone() }
    }

    /// The company's marker as it is now.
    pub(super) async fn read(client: &Client, company: &CompanyId) -> Result<Option<Self>, Error> {
        let request = GetPoints {
            collection_name: client.collection.clone(),
            ids: vec![points::to_point_id(id(company))],
            with_payload: Some(true.into()),
            with_vectors: Some(false.into()),
            timeout: client.read_seconds(),
            ..GetPoints::default()
        };
        let found = client.read("marker", |server| async move { server.get_points(request).await }).await?;
        found.result.into_iter().next().map(|RetrievedPoint { payload, .. }| Self::of(payload)).transpose()
    }

    /// The question for the marker that goes along with a search.
    pub(super) fn query(client: &Client, company: &CompanyId) -> QueryPoints {
        QueryPoints {
            collection_name: client.collection.clone(),
            filter: Some(qdrant_client::qdrant::Filter::must([points::has_id([id(company)])])),
            limit: Some(1),
            with_payload: Some(true.into()),
            ..QueryPoints::default()
        }
    }

    /// The answer to that question.
    pub(super) fn of_answer(answer: Vec<ScoredPoint>) -> Result<Option<Self>, Error> {
        answer.into_iter().next().map(|ScoredPoint { payload, .. }| Self::of(payload)).transpose()
    }

    fn of(payload: Payload) -> Result<Self, Error> {
        points::parsed(payload)
    }

    /// Writes it for a company, and gives what is there then: this one, or the one that was not to be replaced.
    pub(super) async fn put(self, client: &Client, company: &CompanyId, instead: Instead<'_>) -> Result<Self, Error> {
        let mut payload = points::fields(&self)?;
        payload.insert(COMPANY.to_owned(), company.as_str().into());
        let point = PointStruct {
            id: Some(points::to_point_id(id(company))),
            payload,
            vectors: Some(points::named([].into())),
        };
        let (update_mode, update_filter) = match instead {
            Instead::OfNothing => (Some(UpdateMode::InsertOnly.into()), None),
            Instead::Of(old) => {
                let is_old = points::equals("current", &old.current.to_string());
                (None, Some(qdrant_client::qdrant::Filter::must([is_old])))
            }
            Instead::OfAny => (None, None),
        };
        let request = UpsertPoints {
            collection_name: client.collection.clone(),
            wait: Some(true),
            points: vec![point],
            ordering: Some(strong()),
            update_filter,
            timeout: client.write_seconds(),
            update_mode,
            ..UpsertPoints::default()
        };
        client.write("mark", |server| async move { server.upsert_points(request).await }).await?;
        let there = Self::read(client, company).await?;
        there.ok_or_else(|| Error::Unavailable("the company was removed from the index meanwhile".into()))
    }
}

/// Writes of several processes in one order.
pub(super) fn strong() -> WriteOrdering {
    WriteOrdering { r#type: WriteOrderingType::Strong.into() }
}
