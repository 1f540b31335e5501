//! What backends give back, as rows in one certain order: the same companies give the same bytes wherever they are.

use serde::Serialize;

use super::files::Writer;
use super::rows::{Head, Row};
use super::{Backends, Error};
use crate::domain::knowledge::{Document, EncodedPassage};
use crate::domain::webhook::Endpoint;
use crate::domain::{ApiKey, Company, CompanyScope};
use crate::ports::index::Encoder;

/// How often the encoder may change while the passages are read.
const TRIES: usize = 3;

/// The company.
pub(super) async fn company(from: &Backends, scope: &CompanyScope) -> Result<Company, Error> {
    let found = from.directory.company(scope.company()).await?;
    found.ok_or_else(|| Error::NoCompany(scope.company().clone()))
}

/// Its keys, oldest first. When one was used last is left behind: it goes on changing where the key is used.
pub(super) async fn keys(from: &Backends, scope: &CompanyScope) -> Result<Vec<ApiKey>, Error> {
    let mut keys = from.directory.keys(scope).await?;
    keys.iter_mut().for_each(|key| key.last_used_at = None);
    keys.sort_by(|a, b| (a.created_at, &a.hash).cmp(&(b.created_at, &b.hash)));
    Ok(keys)
}

/// Its endpoints, oldest first.
pub(super) async fn endpoints(from: &Backends, scope: &CompanyScope) -> Result<Vec<Endpoint>, Error> {
    let mut endpoints = from.directory.endpoints(scope).await?;
    endpoints.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(endpoints)
}

/// Its documents, by id.
pub(super) async fn documents(from: &Backends, scope: &CompanyScope) -> Result<Vec<Document>, Error> {
    let mut documents = from.documents.documents(scope).await?;
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(documents)
}

/// Its passages with their vectors, by document and place, and what made them.
pub(super) async fn passages(
    from: &Backends,
    scope: &CompanyScope,
) -> Result<(Option<Encoder>, Vec<EncodedPassage>), Error> {
    let mut before = from.index.contents(scope).await?.encoder;
    for _ in 0..TRIES {
        let mut passages = from.index.encoded(scope).await?;
        // The vectors are the encoder's if it is the same on both sides of the reading.
        let after = from.index.contents(scope).await?.encoder;
        if before == after {
            passages.sort_by(|a, b| {
                let (a, b) = (&a.passage, &b.passage);
                (&a.document_id, a.ordinal).cmp(&(&b.document_id, b.ordinal))
            });
            return Ok((before, passages));
        }
        before = after;
    }
    Err(Error::Changing(scope.company().clone()))
}

/// Writes rows that are there.
pub(super) fn write<T: Serialize>(rows: &[T], writer: &mut Writer) -> Result<(), Error> {
    rows.iter().try_for_each(|row| writer.row(row))
}

/// Writes passages with their vectors.
pub(super) fn write_passages(
    encoder: Option<Encoder>,
    passages: Vec<EncodedPassage>,
    writer: &mut Writer,
) -> Result<(), Error> {
    writer.header(&Head { encoder })?;
    passages.into_iter().try_for_each(|passage| writer.row(&Row::of(passage)))
}
