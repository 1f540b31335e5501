//! One company's index: opened when it is asked for, written by one at a time, replaced as a whole.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::files::{self, unavailable};
use super::folder::{Folder, Manifest};
use super::journal::{Journal, Write};
use super::shard::Shard;
use crate::adapters::index::fusion::fuse;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::{CompanyId, DocumentId};
use crate::ports::index::{Contents, Encoder, Error, Hit, Query};

/// There while segments are merged. Cut short, that may leave points twice.
const OPTIMIZING: &str = "optimizing";
/// A shard whose log holds more than this to drop is closed after a write, so that it starts the next with a short one.
const LONG_LOG: u64 = 64 * 1024 * 1024;
/// Room on the disk that a write asks for beside its own.
const ROOM: usize = 8 * 1024 * 1024;

/// An open shard. The lock keeps other processes from the folder for as long.
#[derive(Debug)]
struct Open {
    manifest: Manifest,
    shard: Shard,
    _lock: File,
}

/// A company's index, open or not.
#[derive(Debug)]
pub(super) struct CompanyIndex {
    folder: Folder,
    /// What reads and writes it now.
    encoder: Encoder,
    /// Taken by whoever writes, before `open`. The engine's flush panics when a write is under way beside it.
    writer: Mutex<()>,
    /// Held for reading by searches and writes alike, for writing only to open, swap and close.
    open: RwLock<Option<Open>>,
    /// When it was last asked for, on the clock of all companies.
    pub(super) used_at: AtomicU64,
}

impl CompanyIndex {
    pub(super) fn new(id: CompanyId, dir: PathBuf, encoder: Encoder) -> Self {
        Self {
            folder: Folder { company: id, dir },
            encoder,
            writer: Mutex::new(()),
            open: RwLock::new(None),
            used_at: AtomicU64::new(0),
        }
    }

    /// Whether its shard is open, as far as can be seen without waiting.
    pub(super) fn is_open(&self) -> bool {
        self.open.try_read().is_none_or(|open| open.is_some())
    }

    /// Closes its shard unless somebody is at it.
    pub(super) fn close_if_idle(&self) {
        if let (Some(_writer), Some(mut open)) = (self.writer.try_lock(), self.open.try_write()) {
            self.close(&mut open);
        }
    }

    pub(super) fn search(&self, query: &Query) -> Result<Vec<Hit>, Error> {
        let Some(open) = self.opened()? else { return Ok(Vec::new()) };
        self.require_sparse(&open.manifest)?;
        let made_by = &open.manifest.encoder.dense;
        if made_by.is_some() && self.encoder.dense.is_some() && *made_by != self.encoder.dense {
            return Err(self.mismatch(&open.manifest));
        }
        let dense = match &query.dense {
            Some(vector) if query.dense_weight > 0.0 && made_by.is_some() && self.encoder.dense.is_some() => {
                self.require_length(vector)?;
                open.shard.nearest(vector.clone(), &query.filter, query.candidates)?
            }
            _ => Vec::new(),
        };
        let sparse = if query.sparse_weight > 0.0 && !query.sparse.indices.is_empty() {
            open.shard.matching(&query.sparse, &query.filter, query.candidates)?
        } else {
            Vec::new()
        };
        let fused = fuse((dense, query.dense_weight), (sparse, query.sparse_weight), query.limit);
        let mut passages = open.shard.passages_by_id(fused.iter().map(|fused| fused.id))?;
        // A passage that was replaced between the search and here is gone, and rightly missing.
        Ok(fused
            .into_iter()
            .filter_map(|fused| {
                let passage = passages.remove(&fused.id)?;
                Some(Hit { passage, score: fused.score, dense: fused.dense, sparse: fused.sparse })
            })
            .collect())
    }

    pub(super) fn contents(&self) -> Result<Contents, Error> {
        let Some(open) = self.opened()? else { return Ok(Contents { encoder: None, passages: 0 }) };
        let passages = open.shard.count()?;
        Ok(Contents { encoder: (passages > 0).then(|| open.manifest.encoder.clone()), passages })
    }

    pub(super) fn passages(&self) -> Result<Vec<Passage>, Error> {
        let Some(open) = self.opened()? else { return Ok(Vec::new()) };
        let mut passages = open.shard.passages()?;
        passages.sort_unstable_by(|a, b| (&a.document_id, a.ordinal).cmp(&(&b.document_id, b.ordinal)));
        Ok(passages)
    }

    pub(super) fn encoded(&self) -> Result<Vec<EncodedPassage>, Error> {
        let Some(open) = self.opened()? else { return Ok(Vec::new()) };
        let mut encoded = open.shard.encoded_passages()?;
        encoded.sort_unstable_by(|a, b| {
            (&a.passage.document_id, a.passage.ordinal).cmp(&(&b.passage.document_id, b.passage.ordinal))
        });
        Ok(encoded)
    }

    pub(super) fn replace(&self, documents: Write) -> Result<(), Error> {
        for encoded in documents.iter().flat_map(|(_, passages)| passages) {
            self.require_fit(encoded)?;
        }
        let _writer = self.writer.lock();
        let stale = match self.opened()? {
            Some(open) if open.manifest.encoder == self.encoder => false,
            // Nothing is lost when an empty index is made anew by the encoder in use.
            Some(open) if open.shard.count()? > 0 => return Err(self.mismatch(&open.manifest)),
            _ => true,
        };
        if stale {
            if documents.iter().all(|(_, passages)| passages.is_empty()) {
                return Ok(());
            }
            self.start_generation(&[])?;
        }
        self.write(&documents)
    }

    pub(super) fn remove(&self, documents: Vec<DocumentId>) -> Result<(), Error> {
        let _writer = self.writer.lock();
        match self.opened()? {
            None => return Ok(()),
            Some(open) => self.require_sparse(&open.manifest)?,
        }
        self.write(&documents.into_iter().map(|id| (id, Vec::new())).collect())
    }

    pub(super) fn optimize(&self) -> Result<(), Error> {
        let _writer = self.writer.lock();
        let Some(open) = self.opened()? else { return Ok(()) };
        self.require_sparse(&open.manifest)?;
        let marker = self.folder.dir.join(OPTIMIZING);
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        files::write_atomically(&marker, b"").map_err(on_disk)?;
        open.shard.optimize()?;
        drop(open);
        files::remove_any(&marker).map_err(on_disk)?;
        self.shorten_log();
        Ok(())
    }

    pub(super) fn rebuild(&self, passages: &[EncodedPassage]) -> Result<(), Error> {
        passages.iter().try_for_each(|encoded| self.require_fit(encoded))?;
        let _writer = self.writer.lock();
        self.start_generation(passages)
    }

    pub(super) fn erase(&self) -> Result<usize, Error> {
        let _writer = self.writer.lock();
        // An index that cannot be opened is erased all the same, unless it is in use elsewhere.
        let passages = self.opened().and_then(|open| open.map_or(Ok(0), |open| open.shard.count())).unwrap_or(0);
        let mut open = self.open.write();
        if !self.folder.dir.exists() {
            return Ok(0);
        }
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        let _lock = self.close(&mut open).map_or_else(|| self.folder.lock(), Ok)?;
        fs::remove_dir_all(&self.folder.dir).map_err(on_disk)?;
        self.folder.dir.parent().map_or(Ok(()), files::sync_dir).map_err(on_disk)?;
        Ok(passages)
    }

    /// The open shard, opened if need be; none when the company has no index.
    fn opened(&self) -> Result<Option<OpenGuard<'_>>, Error> {
        let open = self.open.read();
        if open.is_some() {
            return Ok(RwLockReadGuard::try_map(open, Option::as_ref).ok());
        }
        drop(open);
        let mut open = self.open.write();
        if open.is_none() {
            *open = self.load()?;
        }
        Ok(RwLockReadGuard::try_map(RwLockWriteGuard::downgrade(open), Option::as_ref).ok())
    }

    /// Opens what is on disk, heals what was cut short, and throws away what is left over.
    fn load(&self) -> Result<Option<Open>, Error> {
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        if self.folder.manifest()?.is_none() {
            return Ok(None);
        }
        let lock = self.folder.lock()?;
        // Another process may have replaced or erased the index until it let go of the lock.
        let Some(manifest) = self.folder.manifest()? else { return Ok(None) };
        self.folder.remove_leftovers(Some(manifest.generation)).map_err(on_disk)?;
        files::check_room(&self.folder.dir, ROOM).map_err(on_disk)?;
        let dimensions = manifest.encoder.dense.as_ref().map(|dense| dense.dimensions);
        let shard = Shard::open(&self.folder.shard_dir(manifest.generation), dimensions)?;
        let mut open = Open { manifest, shard, _lock: lock };
        if let Err(error) = self.heal(&mut open) {
            // What could not be done now is still in the journal for the next time.
            let _closed = open.shard.close();
            return Err(error);
        }
        Ok(Some(open))
    }

    fn heal(&self, open: &mut Open) -> Result<(), Error> {
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        let journal = Journal::of(&self.folder.dir);
        if let Some(write) = journal.unfinished(open.manifest.generation).map_err(on_disk)? {
            open.shard.put(&write)?;
            open.shard.flush()?;
        }
        journal.end().map_err(on_disk)?;
        let marker = self.folder.dir.join(OPTIMIZING);
        if marker.exists() {
            self.drop_duplicates(open)?;
            files::remove_any(&marker).map_err(on_disk)?;
        }
        Ok(())
    }

    /// Segments that were merged may be there beside the segment that they were merged into: then all that is there goes
    /// into a shard of its own, once.
    fn drop_duplicates(&self, open: &mut Open) -> Result<(), Error> {
        let mut passages = open.shard.encoded_passages()?;
        let all = passages.len();
        passages.sort_by_key(|encoded| encoded.passage.id());
        passages.dedup_by_key(|encoded| encoded.passage.id());
        if passages.len() == all && open.shard.count()? == all {
            return Ok(());
        }
        let (manifest, shard) = self.build(open.manifest.generation + 1, &open.manifest.encoder, &passages)?;
        open.manifest = manifest;
        // The old shard is let go of before its files are removed.
        let _closed = std::mem::replace(&mut open.shard, shard).close();
        self.folder
            .remove_leftovers(Some(open.manifest.generation))
            .map_err(|error| unavailable(&self.folder.dir, &error))
    }

    /// Puts documents into the open shard, by way of the journal.
    fn write(&self, write: &Write) -> Result<(), Error> {
        let Some(open) = self.opened()? else {
            return Err(Error::Failed("the index was taken away during a write".into()));
        };
        let journal = Journal::of(&self.folder.dir);
        let prepared = journal
            .begin(open.manifest.generation, write)
            .and_then(|bytes| files::check_room(&self.folder.dir, ROOM + 2 * bytes));
        if let Err(error) = prepared {
            // Nothing was written yet, and nothing shall be at the next opening.
            let _forgotten = journal.end();
            return Err(unavailable(&self.folder.dir, &error));
        }
        let written = open.shard.put(write).and_then(|()| open.shard.flush());
        drop(open);
        if let Err(error) = written {
            // The engine may be in any state: the next opening starts from disk and does the write again.
            self.close(&mut self.open.write());
            return Err(error);
        }
        journal.end().map_err(|error| unavailable(&self.folder.dir, &error))?;
        self.shorten_log();
        Ok(())
    }

    /// Makes a shard of the encoder in use, puts it in place of whatever was there, and opens it.
    fn start_generation(&self, passages: &[EncodedPassage]) -> Result<(), Error> {
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        fs::create_dir_all(&self.folder.dir).map_err(on_disk)?;
        let held = self.open.read().is_some();
        // The old shard is read on until the new one is ready; its lock is ours already then.
        let lock = if held { None } else { Some(self.folder.lock()?) };
        let old = self.folder.manifest()?;
        self.folder.remove_leftovers(old.as_ref().map(|manifest| manifest.generation)).map_err(on_disk)?;
        let generation = old.map_or(1, |manifest| manifest.generation + 1);
        let (manifest, shard) = self.build(generation, &self.encoder, passages)?;
        let mut open = self.open.write();
        let Some(lock) = lock.or(self.close(&mut open)) else {
            let _closed = shard.close();
            return Err(Error::Failed("the index was closed while it was rebuilt".into()));
        };
        *open = Some(Open { manifest, shard, _lock: lock });
        self.folder.remove_leftovers(Some(generation)).map_err(on_disk)
    }

    /// Makes a shard and, once it is whole, the company's current one.
    fn build(
        &self,
        generation: u64,
        encoder: &Encoder,
        passages: &[EncodedPassage],
    ) -> Result<(Manifest, Shard), Error> {
        let on_disk = |error| unavailable(&self.folder.dir, &error);
        files::check_room(&self.folder.dir, ROOM).map_err(on_disk)?;
        let dir = self.folder.shard_dir(generation);
        files::remove_any(&dir).map_err(on_disk)?;
        let shard = Shard::create(&dir, encoder.dense.as_ref().map(|dense| dense.dimensions))?;
        let manifest = Manifest { generation, encoder: encoder.clone() };
        let filled = shard.insert(&passages.iter().collect::<Vec<_>>()).and_then(|()| shard.flush()).and_then(|()| {
            files::sync_tree(&dir).map_err(on_disk)?;
            self.folder.point_at(&manifest)
        });
        if let Err(error) = filled {
            let _closed = shard.close();
            return Err(error);
        }
        Ok((manifest, shard))
    }

    /// Closes the shard and hands on its lock.
    fn close(&self, open: &mut Option<Open>) -> Option<File> {
        let Open { shard, _lock: lock, .. } = open.take()?;
        if let Err(error) = shard.close() {
            tracing::warn!(company.id = %self.folder.company, %error, "a knowledge index was not closed cleanly");
        }
        Some(lock)
    }

    fn shorten_log(&self) {
        let is_long = self.open.read().as_ref().is_some_and(|open| open.shard.log_to_trim() > LONG_LOG);
        if is_long {
            self.close(&mut self.open.write());
        }
    }

    fn require_sparse(&self, manifest: &Manifest) -> Result<(), Error> {
        if manifest.encoder.sparse == self.encoder.sparse { Ok(()) } else { Err(self.mismatch(manifest)) }
    }

    fn mismatch(&self, manifest: &Manifest) -> Error {
        Error::EncoderMismatch {
            company: self.folder.company.to_string(),
            index: Box::new(manifest.encoder.clone()),
            current: Box::new(self.encoder.clone()),
        }
    }

    /// A passage may lack a dense vector, and is then found by keywords alone; but it may not have another model's.
    fn require_fit(&self, encoded: &EncodedPassage) -> Result<(), Error> {
        match &encoded.dense {
            Some(vector) => self.require_length(vector),
            None => Ok(()),
        }
    }

    fn require_length(&self, vector: &[f32]) -> Result<(), Error> {
        let expected = self.encoder.dense.as_ref().map_or(0, |dense| dense.dimensions);
        if vector.len() == expected {
            return Ok(());
        }
        Err(Error::Failed(format!("a dense vector has {} dimensions, not {expected}", vector.len())))
    }
}

type OpenGuard<'a> = parking_lot::MappedRwLockReadGuard<'a, Open>;
