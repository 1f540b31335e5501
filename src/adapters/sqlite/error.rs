//! What SQLite says, turned into what an operator can act on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

/// Why a file did not do it. Clones, because one failed commit answers many writers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written as it stands.
    #[error("{}: {problem}: {source}; {remedy}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What SQLite says.
        source: Arc<rusqlite::Error>,
    },
    /// A newer version has changed the file's schema.
    #[error(
        "{} was changed by a newer version of turnpike: its schema is {ahead} ahead of this one; run the newer version",
        file.display()
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Migrations that this version does not know.
        ahead: usize,
    },
    /// Something reads old pages and keeps the log from being emptied.
    #[error("{}: deleted rows are still in its log, because another process reads it for long; try again", file.display())]
    OldPages {
        /// Which file.
        file: PathBuf,
    },
    /// A write beside this one failed so that SQLite took all of its transaction back.
    #[error("{}: a write beside this one failed and took it along; try again", file.display())]
    Undone {
        /// Which file.
        file: PathBuf,
    },
    /// The threads that work on the file have ended.
    #[error("{}: closed, or the work on it broke off", file.display())]
    Stopped {
        /// Which file.
        file: PathBuf,
    },
    /// A thread cannot be started.
    #[error("{}: cannot start a thread to work on it: {source}", file.display())]
    Thread {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// Something in the file, or meant for it, is not understood; a later try would end the same.
    #[error("{0}")]
    Content(String),
    /// Anything else that SQLite says.
    #[error("SQLite: {0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
}

impl Error {
    /// Whether the same thing would fail again however often it is tried.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Content(_) => true,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(code) => {
                    matches!(code, ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
                }
                // Without a code it is a value that does not fit its column.
                None => true,
            },
            Self::File { .. }
            | Self::Newer { .. }
            | Self::OldPages { .. }
            | Self::Undone { .. }
            | Self::Stopped { .. }
            | Self::Thread { .. } => false,
        }
    }

    /// Whether a row is there already, or one that it needs is not.
    pub fn is_constraint(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation))
    }

    pub(super) fn of_migration(error: rusqlite_migration::Error) -> Self {
        match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
            other => Self::Content(format!("cannot change its schema: {other}")),
        }
    }

    /// The same, naming the file when the file is to blame.
    pub(super) fn at(self, file: &Path) -> Self {
        let source = match self {
            Self::Sqlite(source) => source,
            Self::Content(text) => return Self::Content(format!("{}: {text}", file.display())),
            other => return other,
        };
        let Some((problem, remedy)) = source.sqlite_error_code().and_then(advice) else { return Self::Sqlite(source) };
        Self::File { file: file.to_path_buf(), problem, remedy, source }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn advice(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    Some(match code {
        ErrorCode::DiskFull => ("the disk is full", "make room"),
        ErrorCode::SystemIoFailure => ("the disk failed", "see that it has room and is sound"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            ("another process keeps it locked", "try again, or end that process")
        }
        ErrorCode::DatabaseCorrupt => (
            "it is damaged",
            "stop turnpike, keep a copy of it, and restore a backup or save what `sqlite3 FILE .recover` finds",
        ),
        ErrorCode::NotADatabase => ("it is not a database of turnpike", "move it out of the data directory"),
        ErrorCode::CannotOpen => ("it cannot be opened", "see that its folder exists and may be written"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            ("it may not be written", "give turnpike's user the right to write it and its folder")
        }
        ErrorCode::OutOfMemory => ("there is no memory left", "give the process more"),
        _ => return None,
    })
}
