//! The data directory: where each part keeps its files, and the lock that keeps a second process out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("the data directory {dir} is in use by {owner}; stop that process, or give another --data-dir")]
    InUse {
        /// The directory.
        dir: String,
        /// Who has it.
        owner: String,
    },
    /// It cannot be made or written.
    #[error("the data directory {dir} cannot be used: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// A data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// The right to write what only one process may: held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// The directory, made if it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let dir = Self { root: root.to_owned() };
        std::fs::create_dir_all(root).map_err(|source| dir.io(source))?;
        Ok(dir)
    }

    /// Takes the directory for this process. `what` says to others who has it.
    ///
    /// # Errors
    /// `InUse` when another process has it.
    pub fn lock(&self, what: &str) -> Result<Lock, Error> {
        let path = self.root.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = open.map_err(|source| self.io(source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // What cannot be read is not said.
                let _ = file.read_to_string(&mut owner);
                let owner =
                    if owner.trim().is_empty() { "another process".to_owned() } else { owner.trim().to_owned() };
                return Err(Error::InUse { dir: self.root.display().to_string(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(self.io(source)),
        }
        let named = file.set_len(0).and_then(|()| write!(file, "turnpike {what}, process {}", std::process::id()));
        named.map_err(|source| self.io(source))?;
        Ok(Lock { _file: file })
    }

    /// The file of conversations, documents, companies, keys and endpoints.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.db")
    }

    /// The file of the embedded bus.
    pub fn bus(&self) -> PathBuf {
        self.root.join("bus.db")
    }

    /// The folder of the spool.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// The folder of the knowledge index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The file of what a gateway knows of companies and keys when the directory is not its own.
    pub fn known(&self) -> PathBuf {
        self.root.join("known.json")
    }

    /// The folder of ONNX Runtime and the embedding models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io { dir: self.root.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let first = dir.lock("serve").unwrap();
        let refused = dir.lock("ingest").unwrap_err().to_string();
        assert!(refused.contains("turnpike serve") && refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert!(dir.lock("ingest").is_ok());
    }
}
