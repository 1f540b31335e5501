//! Files of rows: written with their checksum, there whole or not at all, readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Entry, Error};

/// Rows on their way into a file, or into its checksum alone.
pub(super) struct Writer {
    file: Option<Part>,
    sha256: Sha256,
    rows: u64,
    bytes: u64,
    line: Vec<u8>,
}

/// A file that is not complete yet.
struct Part {
    out: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Writer {
    /// Rows that are counted and summed up but not kept.
    pub(super) fn counting() -> Self {
        Self { file: None, sha256: Sha256::new(), rows: 0, bytes: 0, line: Vec::new() }
    }

    /// Rows that go into a file, which is there when `finish` returns.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let part = path.with_extension("part");
        let out = BufWriter::new(create(&part).map_err(Error::io(&part))?);
        Ok(Self { file: Some(Part { out, part, path: path.to_owned() }), ..Self::counting() })
    }

    /// A line that is no row.
    pub(super) fn header(&mut self, value: &impl Serialize) -> Result<(), Error> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.sha256.update(&self.line);
        self.bytes += self.line.len() as u64;
        match &mut self.file {
            Some(file) => file.out.write_all(&self.line).map_err(Error::io(&file.part)),
            None => Ok(()),
        }
    }

    /// A row.
    pub(super) fn row(&mut self, value: &impl Serialize) -> Result<(), Error> {
        self.header(value)?;
        self.rows += 1;
        Ok(())
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Makes the file durable under its name, and says what it came to.
    pub(super) fn finish(self) -> Result<Entry, Error> {
        if let Some(Part { out, part, path }) = self.file {
            let file = out.into_inner().map_err(|error| error.into_error()).map_err(Error::io(&part))?;
            file.sync_all().map_err(Error::io(&part))?;
            fs::rename(&part, &path).map_err(Error::io(&path))?;
            sync_parent(&path)?;
        }
        Ok(Entry { rows: self.rows, bytes: self.bytes, sha256: hex(&self.sha256.finalize()) })
    }
}

/// Rows of a file, one after the other.
pub(super) struct Reader {
    lines: BufReader<File>,
    path: PathBuf,
    line: u64,
    text: Vec<u8>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        Ok(Self { lines: BufReader::new(file), path: path.to_owned(), line: 0, text: Vec::new() })
    }

    /// The next row, none at the end.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        self.text.clear();
        if self.lines.read_until(b'\n', &mut self.text).map_err(Error::io(&self.path))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        serde_json::from_slice(&self.text).map(Some).map_err(|error| self.wrong(error))
    }

    /// What is wrong with the row that was read last.
    pub(super) fn wrong(&self, reason: impl std::fmt::Display) -> Error {
        Error::Row { path: self.path.display().to_string(), line: self.line, reason: reason.to_string() }
    }
}

/// Whether a file is the one that the entry speaks of.
pub(super) fn check(path: &Path, entry: &Entry) -> Result<(), Error> {
    let name = || path.display().to_string();
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Missing(name())),
        opened => opened.map_err(Error::io(path))?,
    };
    let found = file.metadata().map_err(Error::io(path))?.len();
    if found != entry.bytes {
        return Err(Error::Size { path: name(), expected: entry.bytes, found });
    }
    let mut sha256 = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).map_err(Error::io(path))? {
            0 => break,
            read => sha256.update(block.get(..read).unwrap_or_default()),
        }
    }
    if hex(&sha256.finalize()) == entry.sha256 { Ok(()) } else { Err(Error::Damaged(name())) }
}

/// Writes a file so that a crash at any moment leaves the old content or the new.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    let mut file = create(&part).map_err(Error::io(&part))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(Error::io(&part))?;
    fs::rename(&part, path).map_err(Error::io(path))?;
    sync_parent(path)
}

/// Makes a folder, and those above it, for the owner alone.
pub(super) fn create_dir(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path))?;
    sync_parent(path)
}

/// Removes a file. That it is not there is as good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => sync_parent(path),
    }
}

/// A new file. One that is left over may have been readable by others, so it is not written into.
fn create(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the name of a file durable.
fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(Error::io(parent))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
