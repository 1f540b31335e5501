//! A company's folder on disk: which shard in it is the current one, what made it, and who may touch it.
//!
//! It holds `index.json`, which names the current generation and its encoder, the shard of that generation in
//! `shard-<generation>`, and the journal. Everything else is left over from something that was cut short and goes at the
//! next opening. A folder without `index.json` is no index: making one, and replacing it by another, both end with the
//! renaming of that one file.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::files::{self, unavailable};
use crate::domain::CompanyId;
use crate::ports::index::{Encoder, Error};

const MANIFEST: &str = "index.json";
const LOCK: &str = "lock";

/// The current index of a company.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) generation: u64,
    pub(super) encoder: Encoder,
}

/// Where a company's index lies.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) company: CompanyId,
    pub(super) dir: PathBuf,
}

impl Folder {
    /// What the current index is; none when the company has none.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>, Error> {
        let path = self.dir.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(&path, &error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::Unavailable(format!("{} is damaged ({error}); restore it from a backup", path.display()))
        })
    }

    /// Makes a shard the current one. It is whole by now, and the old one may go.
    pub(super) fn point_at(&self, manifest: &Manifest) -> Result<(), Error> {
        let path = self.dir.join(MANIFEST);
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|error| Error::Failed(error.to_string()))?;
        files::write_atomically(&path, &bytes).map_err(|error| unavailable(&path, &error))
    }

    /// Keeps other processes from the folder for as long as the file is held.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let path = self.dir.join(LOCK);
        let file = File::create(&path).map_err(|error| unavailable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Unavailable(format!(
                "the index of company {} is in use by another process; ask that one, or stop it",
                self.company
            ))),
            Err(TryLockError::Error(error)) => Err(unavailable(&path, &error)),
        }
    }

    /// Removes what was cut short, and every shard but that of a generation.
    pub(super) fn remove_leftovers(&self, generation: Option<u64>) -> std::io::Result<()> {
        let current = generation.map(|generation| self.shard_dir(generation));
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_old_shard = name.starts_with("shard-") && current.as_ref() != Some(&entry.path());
            if is_old_shard || name.ends_with(".tmp") {
                files::remove_any(&entry.path())?;
            }
        }
        // Segments that were being merged when the process died.
        current.map_or(Ok(()), |shard| files::remove_any(&shard.join("temp_segments")))
    }

    /// Where the shard of a generation lies.
    pub(super) fn shard_dir(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("shard-{generation}"))
    }
}
