//! Bringing knowledge: documents with their passages, in the order in which an ingestion writes them, so that a run that
//! was cut short leaves nothing that a later run, or a later ingestion, would take for whole.

use std::collections::BTreeMap;

use super::PURPOSE;
use crate::domain::knowledge::{Document, EncodedPassage};
use crate::domain::{CompanyScope, DocumentId};
use crate::ports::index::Encoder;
use crate::transfer::rows::{Head, Row};
use crate::transfer::{Archive, Backends, Encode, Error, Kind, Progress, read};

/// Passages that are encoded and written together.
const BATCH: usize = 256;
/// New passages after which the index is optimised.
const MANY: u64 = 2_000;

/// Brings documents and passages. The vectors are taken as they are when the encoder in use made them; otherwise they
/// would find nothing, and they are made anew. Says what had made them then.
pub(super) async fn import(
    archive: &Archive,
    to: &Backends,
    scope: &CompanyScope,
    encode: &dyn Encode,
    progress: &dyn Progress,
) -> Result<Option<Encoder>, Error> {
    let documents: Vec<Document> = archive.all(scope.company(), Kind::Documents)?;
    let mut rows = archive.reader(scope.company(), Kind::Passages)?;
    let Some(Head { encoder }) = rows.next()? else {
        return Err(rows.wrong("the line that names the encoder is missing"));
    };
    let other = encoder.filter(|encoder| encoder != encode.encoder());
    let mut import = Import {
        to,
        scope,
        encode: other.is_some().then_some(encode),
        there: there(to, scope).await?,
        documents: documents.into_iter().map(|document| (document.id.clone(), document)).collect(),
        last: None,
        is_there: false,
        batch: Vec::new(),
        passages: 0,
        written: 0,
    };
    let mut done = 0;
    while let Some(row) = rows.next::<Row>()? {
        let row = row.into_encoded().map_err(|reason| rows.wrong(reason))?;
        import.put(row).await?;
        done += 1;
        if done % BATCH as u64 == 0 {
            progress.at(scope.company(), PURPOSE, Kind::Passages, done);
        }
    }
    import.end().await?;
    Ok(other)
}

/// The documents that the target holds as its register says. When register and index do not agree, none is sure.
async fn there(to: &Backends, scope: &CompanyScope) -> Result<BTreeMap<DocumentId, Document>, Error> {
    let documents = read::documents(to, scope).await?;
    let registered: usize = documents.iter().map(|document| document.passages).sum();
    if to.index.contents(scope).await?.passages != registered {
        return Ok(BTreeMap::new());
    }
    let settled = documents.into_iter().filter(|document| !document.fingerprint.is_empty());
    Ok(settled.map(|document| (document.id.clone(), document)).collect())
}

struct Import<'a> {
    to: &'a Backends,
    scope: &'a CompanyScope,
    /// What makes vectors anew, if they are to be.
    encode: Option<&'a dyn Encode>,
    there: BTreeMap<DocumentId, Document>,
    /// Those whose passages have not come yet.
    documents: BTreeMap<DocumentId, Document>,
    /// The document whose passages are coming, and whether the target has it.
    last: Option<DocumentId>,
    is_there: bool,
    batch: Vec<(DocumentId, Option<Document>, Vec<EncodedPassage>)>,
    /// Passages in the batch.
    passages: usize,
    written: u64,
}

impl Import<'_> {
    async fn put(&mut self, encoded: EncodedPassage) -> Result<(), Error> {
        let id = &encoded.passage.document_id;
        if self.last.as_ref() != Some(id) {
            self.last = Some(id.clone());
            // The batch is written between documents, since each is replaced as a whole.
            if self.passages >= BATCH {
                self.write().await?;
            }
            let document = self.documents.remove(id);
            self.is_there = document.is_some() && self.there.get(id) == document.as_ref();
            if !self.is_there {
                self.batch.push((id.clone(), document, Vec::new()));
            }
        }
        if let (false, Some((_, _, passages))) = (self.is_there, self.batch.last_mut()) {
            passages.push(encoded);
            self.passages += 1;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.passages = 0;
        let (mut documents, mut writes) = (Vec::new(), Vec::new());
        for (id, document, passages) in std::mem::take(&mut self.batch) {
            documents.extend(document);
            writes.push((id, passages));
        }
        if writes.is_empty() {
            return Ok(());
        }
        if let Some(encode) = self.encode {
            writes = encoded_anew(encode, writes).await?;
        }
        self.written += writes.iter().map(|(_, passages)| passages.len() as u64).sum::<u64>();
        // No content has this fingerprint: until the index has the passages, the documents count as changed.
        let unsettled: Vec<Document> =
            documents.iter().map(|document| Document { fingerprint: String::new(), ..document.clone() }).collect();
        self.to.documents.register(self.scope, &unsettled).await?;
        self.to.index.replace(self.scope, writes).await?;
        self.to.documents.register(self.scope, &documents).await?;
        Ok(())
    }

    async fn end(mut self) -> Result<(), Error> {
        self.write().await?;
        // Documents without passages; the target may have some of an earlier version.
        while let Some((id, document)) = self.documents.pop_first() {
            if self.there.get(&id) != Some(&document) {
                self.batch.push((id, Some(document), Vec::new()));
            }
            if self.batch.len() == BATCH {
                self.write().await?;
            }
        }
        self.write().await?;
        if self.written > MANY {
            self.to.index.optimize(self.scope).await?;
        }
        Ok(())
    }
}

async fn encoded_anew(
    encode: &dyn Encode,
    writes: Vec<(DocumentId, Vec<EncodedPassage>)>,
) -> Result<Vec<(DocumentId, Vec<EncodedPassage>)>, Error> {
    let (mut counts, mut passages) = (Vec::new(), Vec::new());
    for (id, some) in writes {
        counts.push((id, some.len()));
        passages.extend(some.into_iter().map(|encoded| encoded.passage));
    }
    let all = passages.len();
    let encoded = encode.encode(passages).await.map_err(Error::Encode)?;
    if encoded.len() != all {
        return Err(Error::Encode(format!("{all} passages came back as {}", encoded.len())));
    }
    let mut encoded = encoded.into_iter();
    Ok(counts.into_iter().map(|(id, count)| (id, encoded.by_ref().take(count).collect())).collect())
}
