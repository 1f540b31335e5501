//! One file of the log. A record is `length u32 | crc32c u32 | sequence u64 | payload`, little-endian, the checksum over
//! sequence and payload. Files are allocated at full size before they are used, so that a disk that fills up later
//! cannot stop the turns that are under way; a length of zero ends them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before a record's payload.
pub(super) const HEADER: u64 = 16;

/// A segment that is being written.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    offset: u64,
    size: u64,
}

impl Segment {
    /// A new segment whose first record will have the sequence `first`. Its space is allocated and its name is durable.
    pub(super) fn create(dir: &Path, first: u64, size: u64) -> io::Result<Self> {
        // One of the same name holds no whole record, else the next sequence were another.
        Self::allocate(dir, segment_path(dir, first), size)
    }

    /// A segment for later, under a name that no reader takes for one.
    pub(super) fn create_spare(dir: &Path, size: u64) -> io::Result<Self> {
        Self::allocate(dir, dir.join("spare"), size)
    }

    /// A spare becomes the segment that begins with the sequence `first`.
    pub(super) fn rename(mut self, dir: &Path, first: u64) -> io::Result<Self> {
        let path = segment_path(dir, first);
        std::fs::rename(&self.path, &path)?;
        sync_dir(dir)?;
        self.path = path;
        Ok(self)
    }

    fn allocate(dir: &Path, path: PathBuf, size: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        if let Err(error) = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
            let _ = std::fs::remove_file(&path);
            return Err(error.into());
        }
        file.sync_all()?;
        sync_dir(dir)?;
        Ok(Self { file, path, offset: 0, size })
    }

    /// Whether so many bytes more fit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.offset + bytes as u64 <= self.size
    }

    /// Writes encoded records behind the last ones.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        self.file.write_all_at(records, self.offset)?;
        self.offset += records.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offset == 0
    }

    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Appends an encoded record to a buffer.
pub(super) fn encode(buffer: &mut Vec<u8>, sequence: u64, payload: &[u8]) {
    let sequence = sequence.to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&sequence), payload);
    // Appending refuses payloads over the segment's size, which is far below 4 GiB.
    buffer.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend_from_slice(&checksum.to_le_bytes());
    buffer.extend_from_slice(&sequence);
    buffer.extend_from_slice(payload);
}

/// A record read back.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) payload: Vec<u8>,
    /// Where the next record begins.
    pub(super) end: u64,
}

/// The record at an offset; `Ok(None)` at the end or where the bytes are no record.
pub(super) fn read_at(file: &File, offset: u64, size: u64) -> io::Result<Option<Record>> {
    let mut header = [0u8; HEADER as usize];
    if offset + HEADER > size {
        return Ok(None);
    }
    match file.read_exact_at(&mut header, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3, sequence @ ..] = header;
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
    let end = offset + HEADER + length;
    if length == 0 || end > size {
        return Ok(None);
    }
    let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
    match file.read_exact_at(&mut payload, offset + HEADER) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    if crc32c::crc32c_append(crc32c::crc32c(&sequence), &payload) != checksum {
        return Ok(None);
    }
    Ok(Some(Record { sequence: u64::from_le_bytes(sequence), payload, end }))
}

/// What is in a segment.
pub(super) struct Scan {
    /// The last whole record's sequence, or the one before the first.
    pub(super) last: u64,
    records: Vec<(u64, u64)>,
    pub(super) torn: Option<Torn>,
}

/// Bytes at a segment's end that are no record.
pub(super) struct Torn {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    tail: Vec<u8>,
}

impl Scan {
    /// Bytes of the records after a sequence.
    pub(super) fn bytes_after(&self, sequence: u64) -> u64 {
        self.records.iter().filter(|(record, _)| *record > sequence).map(|(_, bytes)| bytes).sum()
    }
}

/// Reads a segment through, up to its end or to the first bytes that are no record.
pub(super) fn scan(path: &Path, first: u64) -> io::Result<Scan> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut scan = Scan { last: first.saturating_sub(1), records: Vec::new(), torn: None };
    let mut offset = 0;
    while let Some(record) = read_at(&file, offset, size)? {
        scan.last = record.sequence;
        scan.records.push((record.sequence, record.end - offset));
        offset = record.end;
    }
    let mut tail = Vec::new();
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.read_to_end(&mut tail)?;
    if let Some(end) = tail.iter().rposition(|&byte| byte != 0) {
        tail.truncate(end + 1);
        scan.torn = Some(Torn { offset, bytes: tail.len(), tail });
    }
    Ok(scan)
}

/// Sets the torn end of a segment aside as `<segment>.torn` and cuts it off, so that it is reported once and can be
/// looked at.
pub(super) fn keep_torn(path: &Path, torn: &Torn) -> io::Result<()> {
    std::fs::write(path.with_extension("torn"), &torn.tail)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(torn.offset)?;
    file.sync_all()
}

/// The segments of a directory with their first sequences, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(first), Some("seg")) = (first, path.extension().and_then(|extension| extension.to_str())) {
            found.push((path, first));
        }
    }
    found.sort_by_key(|(_, first)| *first);
    Ok(found)
}

/// The sequence up to which everything was confirmed. Without a cursor it is what stands before the first segment:
/// records published twice are told apart by their ids, records never published would be lost.
pub(super) fn read_cursor(dir: &Path) -> u64 {
    let cursor =
        std::fs::read_to_string(dir.join("cursor")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let oldest = list(dir).ok().and_then(|found| found.first().map(|(_, first)| first.saturating_sub(1)));
    cursor.max(oldest.unwrap_or(0))
}

/// Writes the cursor by renaming a whole file into place.
pub(super) fn write_cursor(dir: &Path, sequence: u64) -> io::Result<()> {
    let temporary = dir.join("cursor.new");
    std::fs::write(&temporary, sequence.to_string())?;
    std::fs::rename(temporary, dir.join("cursor"))
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
