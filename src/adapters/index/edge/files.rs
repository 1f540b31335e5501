//! Files that are there whole or not at all, and what to tell someone whose disk does not play along.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::ports::index::Error;

/// Writes a file so that a crash at any moment leaves the old content or the new.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes everything below a folder durable, the folder's own name in its parent excepted.
pub(super) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// Removes a file or folder, whatever it is. That it is not there is as good.
pub(super) fn remove_any(path: &Path) -> io::Result<()> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Fails unless `bytes` more fit on the disk. The engine writes through memory maps of sparse files, and there a full
/// disk is not an error but the end of the process: so the room is asked for before, by taking it and giving it back.
pub(super) fn check_room(dir: &Path, bytes: usize) -> io::Result<()> {
    static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];
    let path = dir.join("room.tmp");
    let taken = (|| {
        let mut file = File::create(&path)?;
        (0..bytes.div_ceil(BLOCK.len())).try_for_each(|_| file.write_all(&BLOCK))
    })();
    remove_any(&path)?;
    taken
}

/// Whether files can be made in a folder, which is made when it is not there.
pub(super) fn check_writable(dir: &Path) -> Result<(), Error> {
    let path = dir.join(".check.tmp");
    let outcome = fs::create_dir_all(dir).and_then(|()| File::create(&path)).and_then(|_| fs::remove_file(&path));
    match outcome {
        // Two checks at once remove each other's file.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable(dir, &error)),
        _ => Ok(()),
    }
}

/// The error for a file that could not be read or written, with what to do about it.
pub(super) fn unavailable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::Unavailable(match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("the disk of {path} is full: free some space and try again")
        }
        ErrorKind::PermissionDenied => format!("{path} may not be written: give this user the right to ({error})"),
        ErrorKind::ReadOnlyFilesystem => format!("{path} is on a disk that is mounted read-only"),
        _ => format!("{path}: {error}"),
    })
}
