//! Journals of running turns: one small file each, written as the answer streams and removed when the turn's record is
//! in the log. What is left in the folder at start are the turns that the death of the process cut short.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::domain::{FinishReason, TurnRecord};
use crate::ports::outbox::Journal;

/// The largest journal that is read at start. A turn's event is a fraction of it.
const MAX_BYTES: u64 = 4 * super::MAX_EVENT_BYTES;

/// The folder of the journals.
pub(super) struct Journals {
    dir: PathBuf,
}

impl Journals {
    pub(super) fn open(dir: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Begins the journal of a turn.
    pub(super) fn begin(&self, record: &TurnRecord) -> FileJournal {
        let path = self.dir.join(format!("{}.turn", record.turn_id));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let journal = FileJournal { whole: AtomicBool::new(file.is_ok()), path, file: file.ok() };
        journal.record(record);
        journal
    }
}

/// How many journals a folder holds.
pub(super) fn count(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .map_or(0, |entries| entries.flatten().filter(|entry| is_journal(&entry.path())).count() as u64)
}

/// The turns that a crash cut short, with their files; for a journal that cannot be read, why. An empty one says
/// nothing: its turn had told its client nothing either.
pub(super) fn unfinished(dir: &Path) -> std::io::Result<Vec<(PathBuf, std::io::Result<Option<TurnRecord>>)>> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).filter(|path| is_journal(path)).collect();
    // Turn ids sort by time, so conversations are mended in their order.
    found.sort();
    let with_turn = |path: PathBuf| {
        let turn = read(&path);
        (path, turn)
    };
    Ok(found.into_iter().map(with_turn).collect())
}

fn read(path: &Path) -> std::io::Result<Option<TurnRecord>> {
    let data = std::fs::metadata(path)?;
    if data.len() > MAX_BYTES {
        return Err(std::io::Error::other(format!("{} bytes are more than a journal has", data.len())));
    }
    let bytes = std::fs::read(path)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    // A line is written with one call, so a process that dies leaves no half of the first one.
    let turn = replay(&bytes, data.modified().ok());
    turn.map(Some).ok_or_else(|| std::io::Error::other("it holds no record of a turn"))
}

/// Sets a journal aside that no turn can be made of, as `<turn>.bad`, so that it is reported once and can be looked at.
pub(super) fn set_aside(path: &Path, error: &dyn std::fmt::Display) {
    let aside = path.with_extension("bad");
    tracing::error!(journal = %path.display(), aside = %aside.display(), %error, "a turn's journal cannot be used");
    if let Err(error) = std::fs::rename(path, &aside) {
        // It is met again at the next start.
        tracing::error!(journal = %path.display(), %error, "a journal cannot be set aside");
    }
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "turn")
}

/// One line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Record(#[serde(borrow)] std::borrow::Cow<'a, serde_json::value::RawValue>),
    /// The turn as it ended: nothing follows.
    Finished(#[serde(borrow)] std::borrow::Cow<'a, serde_json::value::RawValue>),
    Content(std::borrow::Cow<'a, str>),
    Reset,
    Left(usize),
    Resumed,
}

/// Puts a turn together from its journal. A last line that was not finished is passed over.
fn replay(bytes: &[u8], ended: Option<std::time::SystemTime>) -> Option<TurnRecord> {
    let mut record: Option<TurnRecord> = None;
    let mut answer = String::new();
    let mut delivered = None;
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Line<'_>>(line) {
            Ok(Line::Record(raw)) => record = serde_json::from_str(raw.get()).ok().or(record),
            Ok(Line::Finished(raw)) => {
                if let Ok(finished) = serde_json::from_str(raw.get()) {
                    return Some(finished);
                }
            }
            Ok(Line::Content(text)) => answer.push_str(&text),
            Ok(Line::Reset) => {
                answer.clear();
                delivered = None;
            }
            Ok(Line::Left(bytes)) => delivered = Some(bytes),
            Ok(Line::Resumed) => delivered = None,
            Err(_) => break,
        }
    }
    let mut record = record?;
    if let Some(text) = delivered.and_then(|bytes| answer.get(..bytes)) {
        answer = text.to_owned();
    }
    record.answer = answer;
    record.finish_reason = FinishReason::Interrupted;
    record.finished_at = ended.map_or(record.started_at, Into::into);
    Some(record)
}

/// A journal in a file.
pub(super) struct FileJournal {
    path: PathBuf,
    file: Option<File>,
    whole: AtomicBool,
}

impl FileJournal {
    fn write(&self, line: &Line<'_>) {
        let written = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            match &self.file {
                // One call a line: the death of the process never leaves half of one.
                Some(file) => (&*file).write_all(&bytes),
                None => Err(std::io::Error::other("it could not be made")),
            }
        });
        if let Err(error) = written
            && self.whole.swap(false, Ordering::Relaxed)
        {
            tracing::warn!(journal = %self.path.display(), %error, "a turn's journal cannot be written");
        }
    }
}

type Raw<'a> = std::borrow::Cow<'a, serde_json::value::RawValue>;

impl FileJournal {
    fn write_record(&self, record: &TurnRecord, line: impl Fn(Raw<'static>) -> Line<'static>) {
        match serde_json::value::to_raw_value(record) {
            Ok(raw) => self.write(&line(std::borrow::Cow::Owned(raw))),
            Err(_) => self.whole.store(false, Ordering::Relaxed),
        }
    }
}

impl Journal for FileJournal {
    fn record(&self, record: &TurnRecord) {
        self.write_record(record, Line::Record);
    }

    fn finished(&self, record: &TurnRecord) {
        self.write_record(record, Line::Finished);
    }

    fn content(&self, text: &str) {
        self.write(&Line::Content(text.into()));
    }

    fn reset(&self) {
        self.write(&Line::Reset);
    }

    fn left(&self, delivered_bytes: usize) {
        self.write(&Line::Left(delivered_bytes));
    }

    fn resumed(&self) {
        self.write(&Line::Resumed);
    }

    fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    fn close(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // It would be mended at the next start and recognised by its id as stored already.
            tracing::warn!(journal = %self.path.display(), %error, "a finished turn's journal cannot be removed");
        }
    }
}
