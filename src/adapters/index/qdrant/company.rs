//! What is done with one company's points. Writers of several processes share no lock: a writer looks at the marker
//! before and after, and does it again when the index was replaced meanwhile.

use std::collections::HashSet;

use qdrant_client::qdrant::{
    CountPoints, DeletePoints, Filter as Conditions, PointsSelector, RetrievedPoint, ScrollPoints, UpsertPoints,
};
use uuid::Uuid;

use super::client::Client;
use super::marker::{self, Instead, Marker};
use super::points::{self, COMPANY, DOCUMENT, GENERATION};
use crate::domain::knowledge::EncodedPassage;
use crate::domain::{CompanyId, DocumentId};
use crate::ports::index::{Contents, Encoder, Error};

/// Points in one page of a listing.
const PAGE: u32 = 512;
/// Times that something is tried which a replaced index makes void.
const TRIES: usize = 4;

/// One company's part of the collection.
pub(super) struct CompanyPoints<'a> {
    pub(super) client: &'a Client,
    pub(super) company: &'a CompanyId,
    /// What reads and writes it now.
    pub(super) encoder: &'a Encoder,
    /// Points in one write.
    pub(super) batch: usize,
}

impl CompanyPoints<'_> {
    pub(super) async fn replace(&self, documents: Vec<(DocumentId, Vec<EncodedPassage>)>) -> Result<(), Error> {
        documents.iter().flat_map(|(_, passages)| passages).try_for_each(|encoded| self.require_fit(encoded))?;
        if documents.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = documents.iter().map(|(id, _)| id.as_str().to_owned()).collect();
        let passages: Vec<EncodedPassage> = documents.into_iter().flat_map(|(_, passages)| passages).collect();
        for _ in 0..TRIES {
            let marker = match Marker::read(self.client, self.company).await? {
                Some(marker) if marker.encoder == *self.encoder => marker,
                Some(marker) if self.count(marker.current).await? > 0 => return Err(self.mismatch(&marker)),
                _ if passages.is_empty() => return Ok(()),
                // Nothing is lost when an empty index is made anew by the encoder in use.
                old => {
                    let instead = old.as_ref().map_or(Instead::OfNothing, Instead::Of);
                    let there = Marker::new(self.encoder).put(self.client, self.company, instead).await?;
                    if there.encoder != *self.encoder {
                        return Err(self.mismatch(&there));
                    }
                    there
                }
            };
            let kept = self.insert(marker.current, passages.clone()).await?;
            let mut gone = points::generation(self.company, marker.current);
            gone.must.push(points::one_of(DOCUMENT, names.clone()));
            gone.must_not.push(points::has_id(kept));
            self.delete(gone).await?;
            if self.is_current(&marker).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    pub(super) async fn remove(&self, documents: &[DocumentId]) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        for _ in 0..TRIES {
            let Some(marker) = Marker::read(self.client, self.company).await? else { return Ok(()) };
            if marker.encoder.sparse != self.encoder.sparse {
                return Err(self.mismatch(&marker));
            }
            let mut gone = points::generation(self.company, marker.current);
            gone.must.push(points::one_of(DOCUMENT, documents.iter().map(|id| id.as_str().to_owned()).collect()));
            self.delete(gone).await?;
            if self.is_current(&marker).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    pub(super) async fn rebuild(&self, passages: Vec<EncodedPassage>) -> Result<(), Error> {
        passages.iter().try_for_each(|encoded| self.require_fit(encoded))?;
        let marker = Marker::new(self.encoder);
        let current = marker.current;
        let filled = self.fill(current, passages).await;
        if let Err(error) = filled {
            // Nobody reads what was begun. What stays when this fails too goes with the next rebuilding.
            let _left = self.delete(points::generation(self.company, current)).await;
            return Err(error);
        }
        marker.put(self.client, self.company, Instead::OfAny).await?;
        let mut gone = Conditions::must([points::equals(COMPANY, self.company.as_str())]);
        gone.must_not.push(points::equals(GENERATION, &current.to_string()));
        gone.must_not.push(points::has_id([marker::id(self.company)]));
        self.delete(gone).await
    }

    async fn fill(&self, generation: Uuid, passages: Vec<EncodedPassage>) -> Result<(), Error> {
        let put = self.insert(generation, passages).await?;
        // Another process that rebuilds at the same time takes away what is not its own.
        if self.count(generation).await? == put.len() { Ok(()) } else { Err(self.contended()) }
    }

    /// Removes all points of all generations, and says how many passages that were.
    pub(super) async fn erase(&self) -> Result<usize, Error> {
        let all = Conditions::must([points::equals(COMPANY, self.company.as_str())]);
        let mut passages = all.clone();
        passages.must_not.push(points::has_id([marker::id(self.company)]));
        let count = self.count_of(passages).await?;
        self.delete(all).await?;
        Ok(count)
    }

    pub(super) async fn contents(&self) -> Result<Contents, Error> {
        let Some(marker) = Marker::read(self.client, self.company).await? else {
            return Ok(Contents { encoder: None, passages: 0 });
        };
        let passages = self.count(marker.current).await?;
        Ok(Contents { encoder: (passages > 0).then_some(marker.encoder), passages })
    }

    /// All passages, each by its point, in no order.
    pub(super) async fn list(&self, with_vectors: bool) -> Result<Vec<RetrievedPoint>, Error> {
        for _ in 0..TRIES {
            let Some(marker) = Marker::read(self.client, self.company).await? else { return Ok(Vec::new()) };
            let points = self.scroll(marker.current, with_vectors).await?;
            if self.is_current(&marker).await? {
                return Ok(points);
            }
        }
        Err(self.contended())
    }

    async fn scroll(&self, generation: Uuid, with_vectors: bool) -> Result<Vec<RetrievedPoint>, Error> {
        let mut all = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollPoints {
                collection_name: self.client.collection.clone(),
                filter: Some(points::generation(self.company, generation)),
                offset,
                limit: Some(PAGE),
                with_payload: Some(true.into()),
                with_vectors: Some(with_vectors.into()),
                timeout: self.client.write_seconds(),
                ..ScrollPoints::default()
            };
            let page = self.client.write("list", |server| async move { server.scroll(request).await }).await?;
            all.extend(page.result);
            offset = match page.next_page_offset {
                Some(next) => Some(next),
                None => return Ok(all),
            };
        }
    }

    /// Writes passages into a generation, and gives their points.
    async fn insert(&self, generation: Uuid, passages: Vec<EncodedPassage>) -> Result<HashSet<Uuid>, Error> {
        let ids = passages.iter().map(|encoded| points::point_id(self.company, generation, encoded.passage.id()));
        let ids = ids.collect();
        let mut passages = passages.into_iter().peekable();
        while passages.peek().is_some() {
            let some = passages.by_ref().take(self.batch);
            let points = some.map(|encoded| points::point(self.company, generation, encoded));
            let request = UpsertPoints {
                collection_name: self.client.collection.clone(),
                wait: Some(true),
                points: points.collect::<Result<_, _>>()?,
                ordering: Some(marker::strong()),
                timeout: self.client.write_seconds(),
                ..UpsertPoints::default()
            };
            self.client.write("put", |server| async move { server.upsert_points(request).await }).await?;
        }
        Ok(ids)
    }

    async fn delete(&self, filter: Conditions) -> Result<(), Error> {
        let request = DeletePoints {
            collection_name: self.client.collection.clone(),
            wait: Some(true),
            points: Some(PointsSelector::from(filter)),
            ordering: Some(marker::strong()),
            timeout: self.client.write_seconds(),
            ..DeletePoints::default()
        };
        self.client.write("delete", |server| async move { server.delete_points(request).await }).await?;
        Ok(())
    }

    async fn count(&self, generation: Uuid) -> Result<usize, Error> {
        self.count_of(points::generation(self.company, generation)).await
    }

    async fn count_of(&self, filter: Conditions) -> Result<usize, Error> {
        let request = CountPoints {
            collection_name: self.client.collection.clone(),
            filter: Some(filter),
            exact: Some(true),
            timeout: self.client.read_seconds(),
            ..CountPoints::default()
        };
        let answer = self.client.read("count", |server| async move { server.count(request).await }).await?;
        Ok(answer.result.map_or(0, |result| usize::try_from(result.count).unwrap_or(usize::MAX)))
    }

    async fn is_current(&self, marker: &Marker) -> Result<bool, Error> {
        Ok(Marker::read(self.client, self.company).await?.as_ref() == Some(marker))
    }

    /// The index by another encoder, as an error.
    pub(super) fn mismatch(&self, marker: &Marker) -> Error {
        Error::EncoderMismatch {
            company: self.company.to_string(),
            index: Box::new(marker.encoder.clone()),
            current: Box::new(self.encoder.clone()),
        }
    }

    fn contended(&self) -> Error {
        Error::Unavailable(format!("the index of company {} was replaced meanwhile; try again", self.company))
    }

    /// A passage may lack a dense vector, and is then found by keywords alone; but it may not have another model's.
    fn require_fit(&self, encoded: &EncodedPassage) -> Result<(), Error> {
        encoded.dense.as_ref().map_or(Ok(()), |vector| self.require_length(vector))
    }

    pub(super) fn require_length(&self, vector: &[f32]) -> Result<(), Error> {
        let expected = self.encoder.dense.as_ref().map_or(0, |dense| dense.dimensions);
        if vector.len() == expected {
            return Ok(());
        }
        Err(Error::Failed(format!("a dense vector has {} dimensions, not {expected}", vector.len())))
    }
}
