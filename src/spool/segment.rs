//! One file of the log. A record is `length u32 | crc32c u32 | sequence u64 | payload`, little-endian, the checksum over
//! sequence and payload. Files are allocated at full size before they are used, so that a disk that fills up later
//! cannot stop the turns that are under way; a length of zero ends them. Inside one segment the sequences have no gaps,
//! so that what damage has cost can be counted; between segments there may be gaps, left by writes that failed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before a record's payload.
pub(super) const HEADER: u64 = 16;
/// Bytes that the search for a record behind damage reads at a time.
const WINDOW: usize = 64 * 1024;

/// A segment that is being written.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// Where the last write began.
    begun: u64,
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
        Ok(Self { file, path, begun: 0, offset: 0, size })
    }

    /// Whether so many bytes more fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.offset + bytes <= self.size
    }

    /// Writes encoded records behind the last ones.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        self.begun = self.offset;
        self.file.write_all_at(records, self.offset)?;
        self.offset += records.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes the last write, of so many bytes, back out of a segment that is given up: whoever waited for it was told
    /// that it failed. What was written before stays.
    pub(super) fn cut_last(self, bytes: usize) -> io::Result<()> {
        if let Err(error) = self.file.set_len(self.begun) {
            // Zeros end the records as well as the end of the file does.
            self.file.write_all_at(&vec![0u8; bytes], self.begun).map_err(|_| error)?;
        }
        let synced = self.file.sync_all();
        if self.begun == 0 {
            return self.remove();
        }
        synced
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
    // Appending refuses payloads long before they come near 4 GiB.
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
    let (length, checksum, sequence) = decode(header);
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
    if crc32c::crc32c_append(crc32c::crc32c(&sequence.to_le_bytes()), &payload) != checksum {
        return Ok(None);
    }
    Ok(Some(Record { sequence, payload, end }))
}

/// A header's length, checksum and sequence.
fn decode(header: [u8; HEADER as usize]) -> (u64, u32, u64) {
    let [l0, l1, l2, l3, c0, c1, c2, c3, sequence @ ..] = header;
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    (length, u32::from_le_bytes([c0, c1, c2, c3]), u64::from_le_bytes(sequence))
}

/// Where the next record with a sequence after `last_sequence` begins, at `offset` or anywhere behind it. For bytes
/// that are no record: what is whole behind them must not be lost with them. `last_sequence` is at least the one before
/// the segment's first.
pub(super) fn next_after_damage(file: &File, offset: u64, size: u64, last_sequence: u64) -> io::Result<Option<u64>> {
    let zeros = vec![0u8; WINDOW];
    let mut window = vec![0u8; WINDOW];
    let mut begin = offset;
    while begin + HEADER < size {
        let read = read_up_to(file, &mut window, begin)?;
        if read < HEADER as usize {
            break;
        }
        if window[..read] != zeros[..read] {
            for (at, header) in (begin..).zip(window[..read].windows(HEADER as usize)) {
                let Ok(header) = <[u8; HEADER as usize]>::try_from(header) else { continue };
                let (length, _, sequence) = decode(header);
                // A segment has no more sequences than headers fit into it. With this bound, nothing that a payload of
                // text contains is ever taken for a header.
                let is_plausible = length > 0
                    && at + HEADER + length <= size
                    && sequence > last_sequence
                    && sequence - last_sequence <= size / HEADER;
                if is_plausible && read_at(file, at, size)?.is_some() {
                    return Ok(Some(at));
                }
            }
        }
        // A header may begin in the last bytes of a window.
        begin += read as u64 - (HEADER - 1);
    }
    Ok(None)
}

/// Fills the buffer as far as the file goes.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// What is in a segment.
pub(super) struct Scan {
    /// The last whole record's sequence, or the one before the first.
    pub(super) last: u64,
    records: Vec<(u64, u64)>,
    /// Bytes that are no record and that records follow, here or in a later segment.
    pub(super) damaged: Vec<Damage>,
    /// Bytes that are no record and that nothing follows.
    pub(super) torn: Option<Torn>,
}

/// Bytes that are no record, between records.
pub(super) struct Damage {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// The sequences of the records before and behind it.
    before: u64,
    behind: u64,
}

impl Damage {
    /// How many records after a sequence it has cost.
    pub(super) fn lost_after(&self, sequence: u64) -> u64 {
        self.behind.saturating_sub(self.before.max(sequence)).saturating_sub(1)
    }
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

    /// The sequence of the last record, if there is one.
    pub(super) fn last_record(&self) -> Option<u64> {
        self.records.last().map(|(sequence, _)| *sequence)
    }

    /// Records that damage has cost after a sequence.
    pub(super) fn lost_after(&self, sequence: u64) -> u64 {
        self.damaged.iter().map(|damage| damage.lost_after(sequence)).sum()
    }
}

/// Reads all segments through, in order.
pub(super) fn scan_all(dir: &Path) -> io::Result<Vec<(PathBuf, Scan)>> {
    let mut scans = Vec::new();
    for (path, first) in list(dir)? {
        match scan(&path, first) {
            Ok(scan) => scans.push((path, first, scan)),
            // The process that owns the spool may have forwarded and deleted it since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // A crash tears only the end of the log. Where records follow in a later segment, it was something else.
    let mut behind = None;
    for (_, first, scan) in scans.iter_mut().rev() {
        if let Some(behind) = behind
            && let Some(Torn { offset, bytes, .. }) = scan.torn.take()
        {
            scan.damaged.push(Damage { offset, bytes: bytes as u64, before: scan.last, behind });
        }
        if !scan.records.is_empty() {
            behind = Some(*first);
        }
    }
    Ok(scans.into_iter().map(|(path, _, scan)| (path, scan)).collect())
}

/// Reads a segment through, over damage, up to its end or to bytes that are no record and that none follows.
pub(super) fn scan(path: &Path, first: u64) -> io::Result<Scan> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut scan = Scan { last: first.saturating_sub(1), records: Vec::new(), damaged: Vec::new(), torn: None };
    let mut offset = 0;
    loop {
        if let Some(record) = read_at(&file, offset, size)? {
            scan.last = record.sequence;
            scan.records.push((record.sequence, record.end - offset));
            offset = record.end;
            continue;
        }
        let Some(next) = next_after_damage(&file, offset, size, scan.last)? else { break };
        // Another process may have been writing here, and be done by now: then it is no damage.
        if read_at(&file, offset, size)?.is_some() {
            continue;
        }
        let Some(record) = read_at(&file, next, size)? else { break };
        let damage = Damage { offset, bytes: next - offset, before: scan.last, behind: record.sequence };
        scan.damaged.push(damage);
        offset = next;
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

/// Copies the damaged bytes of a segment to `<segment>.damaged`, to be looked at. The segment stays as it is: records
/// follow them.
pub(super) fn keep_damaged(path: &Path, damaged: &[Damage]) -> io::Result<()> {
    let file = File::open(path)?;
    let mut copy = Vec::new();
    for damage in damaged {
        let mut bytes = vec![0; usize::try_from(damage.bytes).unwrap_or_default()];
        let read = read_up_to(&file, &mut bytes, damage.offset)?;
        copy.extend_from_slice(&bytes[..read]);
    }
    std::fs::write(path.with_extension("damaged"), copy)
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

/// How far turns were followed to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Everything up to this sequence has come to its end.
    pub(super) sequence: u64,
    /// Turns that have, since the spool was made.
    pub(super) turns: u64,
}

/// How far turns were followed to their end. Where they were not so far, it begins with what the bus has not confirmed,
/// which is written down: the cursor moves on, and what it passes is to be followed.
pub(super) fn read_ended(dir: &Path, cursor: u64) -> io::Result<Ended> {
    let text = std::fs::read_to_string(dir.join("ended")).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(sequence)), Some(Ok(turns))) => Ok(Ended { sequence: sequence.min(cursor), turns }),
        _ => {
            let ended = Ended { sequence: cursor, turns: 0 };
            write_ended(dir, ended)?;
            Ok(ended)
        }
    }
}

/// Writes that down, by renaming a whole file into place.
pub(super) fn write_ended(dir: &Path, ended: Ended) -> io::Result<()> {
    let temporary = dir.join("ended.new");
    std::fs::write(&temporary, format!("{} {}", ended.sequence, ended.turns))?;
    std::fs::rename(temporary, dir.join("ended"))
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
