//! The journal of one company's index: the write that is under way.
//!
//! The engine does not replay its own log: a write that a crash cuts short would leave some of a document's old passages
//! beside some of its new ones. So each write is on disk here before the engine sees it, is done again at opening when it
//! is still here, and is forgotten once the engine has flushed. Doing it twice is the same as doing it once.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::domain::DocumentId;
use crate::domain::knowledge::{EncodedPassage, Passage, SparseVector};

/// Documents with the passages that they shall have from now on: none for a document to take out.
pub(super) type Write = Vec<(DocumentId, Vec<EncodedPassage>)>;

#[derive(Serialize, Deserialize)]
struct Record {
    /// The generation of the shard that the write is for. A rebuilt index has another and forgets it.
    generation: u64,
    documents: Vec<(DocumentId, Vec<Entry>)>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    passage: Passage,
    dense: Option<Vec<f32>>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

pub(super) struct Journal(PathBuf);

impl Journal {
    pub(super) fn of(company_dir: &Path) -> Self {
        Self(company_dir.join("journal.json"))
    }

    /// Writes down what is about to be done, and says how many bytes that took. Durable when it returns.
    pub(super) fn begin(&self, generation: u64, write: &Write) -> io::Result<usize> {
        let documents =
            write.iter().map(|(id, passages)| (id.clone(), passages.iter().map(Entry::from).collect())).collect();
        let bytes = serde_json::to_vec(&Record { generation, documents })?;
        files::write_atomically(&self.0, &bytes)?;
        Ok(bytes.len())
    }

    /// Forgets it, once it is done and flushed. Should the file come back after a power cut, its write is done again
    /// to the same effect: the next one replaces it before anything else is written.
    pub(super) fn end(&self) -> io::Result<()> {
        files::remove_any(&self.0)
    }

    /// What was under way when the process died.
    pub(super) fn unfinished(&self, generation: u64) -> io::Result<Option<Write>> {
        let bytes = match std::fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Record = serde_json::from_slice(&bytes)?;
        let write = record
            .documents
            .into_iter()
            .map(|(id, entries)| (id, entries.into_iter().map(EncodedPassage::from).collect()))
            .collect();
        Ok((record.generation == generation).then_some(write))
    }
}

impl From<&EncodedPassage> for Entry {
    fn from(encoded: &EncodedPassage) -> Self {
        let EncodedPassage { passage, dense, sparse } = encoded.clone();
        Self { passage, dense, indices: sparse.indices, values: sparse.values }
    }
}

impl From<Entry> for EncodedPassage {
    fn from(entry: Entry) -> Self {
        let sparse = SparseVector { indices: entry.indices, values: entry.values };
        Self { passage: entry.passage, dense: entry.dense, sparse }
    }
}
