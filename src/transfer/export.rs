//! Writing an export: file by file, each complete and synced before the next, so that a run that was cut short is gone
//! on with where it stood.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use time::OffsetDateTime;

use super::files::{self, Writer};
use super::walk::Walk;
use super::{Backends, Error, Kind, Manifest, Progress, path_of, read};
use crate::domain::CompanyScope;

const PURPOSE: &str = "exporting";

/// What an export came to.
#[derive(Debug)]
pub struct Exported {
    /// What it holds.
    pub manifest: Manifest,
    /// Files that an earlier run had written, and that were not written again.
    pub kept: usize,
    /// Turns that the source had counted and did not have yet: they are not in the export, and their numbers are
    /// missing in their conversations.
    pub missing: u64,
}

/// Writes companies into a folder that is empty, not there yet, or holds an export that was cut short.
///
/// # Errors
/// `Foreign`, `Complete` or `Busy` when the folder cannot be used, and when a backend or the disk fails: the same call
/// goes on with what is there then.
pub async fn export(
    from: &Backends,
    scopes: &[CompanyScope],
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Exported, Error> {
    files::create_dir(dir)?;
    let _lock = lock(dir)?;
    let notes = dir.join("progress.json");
    let before = earlier(dir, &notes)?;
    let now = OffsetDateTime::now_utc();
    let mut manifest = Manifest::begun(before.as_ref().map_or(now, |before| before.made_at));
    let mut export = Export { from, dir, notes: &notes, before, kept: 0, progress };
    if export.before.is_none() {
        manifest.write(&notes)?;
    }
    let mut missing = 0;
    for scope in scopes {
        missing += export.company(scope, &mut manifest).await?;
    }
    manifest.write(&dir.join("manifest.json"))?;
    files::remove(&notes)?;
    Ok(Exported { manifest, kept: export.kept, missing })
}

/// An export under way.
struct Export<'a> {
    from: &'a Backends,
    dir: &'a Path,
    notes: &'a Path,
    /// What an earlier run had written.
    before: Option<Manifest>,
    kept: usize,
    progress: &'a dyn Progress,
}

impl Export<'_> {
    async fn company(&mut self, scope: &CompanyScope, manifest: &mut Manifest) -> Result<u64, Error> {
        let id = scope.company();
        files::create_dir(&self.dir.join("companies").join(id.as_str()))?;
        for kind in [Kind::Company, Kind::Keys, Kind::Endpoints, Kind::Documents, Kind::Passages] {
            if self.is_kept(scope, kind, manifest)? {
                continue;
            }
            let mut writer = Writer::create(&path_of(self.dir, id, kind))?;
            self.write(scope, kind, &mut writer).await?;
            self.progress.at(id, PURPOSE, kind, writer.rows());
            manifest.note(id, kind, writer.finish()?);
            manifest.write(self.notes)?;
        }
        // Both are of one reading, and so are the heads and the turns that they count.
        if self.is_kept(scope, Kind::Conversations, manifest)? && self.is_kept(scope, Kind::Turns, manifest)? {
            return Ok(0);
        }
        let mut heads = Writer::create(&path_of(self.dir, id, Kind::Conversations))?;
        let mut turns = Writer::create(&path_of(self.dir, id, Kind::Turns))?;
        let company = read::company(self.from, scope).await?;
        let kept_at = OffsetDateTime::now_utc();
        let walk = Walk { from: self.from, scope, company: &company, kept_at, purpose: PURPOSE };
        let missing = walk.write(&mut heads, &mut turns, self.progress).await?;
        manifest.note(id, Kind::Conversations, heads.finish()?);
        manifest.note(id, Kind::Turns, turns.finish()?);
        manifest.write(self.notes)?;
        Ok(missing)
    }

    async fn write(&self, scope: &CompanyScope, kind: Kind, writer: &mut Writer) -> Result<(), Error> {
        match kind {
            Kind::Company => read::write(&[read::company(self.from, scope).await?], writer),
            Kind::Keys => read::write(&read::keys(self.from, scope).await?, writer),
            Kind::Endpoints => read::write(&read::endpoints(self.from, scope).await?, writer),
            Kind::Documents => read::write(&read::documents(self.from, scope).await?, writer),
            Kind::Passages => {
                let (encoder, passages) = read::passages(self.from, scope).await?;
                read::write_passages(encoder, passages, writer)
            }
            Kind::Conversations | Kind::Turns => Ok(()),
        }
    }

    /// Whether an earlier run wrote the file and it is as it was then. If so, it is in the manifest.
    fn is_kept(&mut self, scope: &CompanyScope, kind: Kind, manifest: &mut Manifest) -> Result<bool, Error> {
        let id = scope.company();
        let Some(entry) = self.before.as_ref().and_then(|before| before.entry(id, kind)) else { return Ok(false) };
        match files::check(&path_of(self.dir, id, kind), entry) {
            Ok(()) => {
                manifest.note(id, kind, entry.clone());
                self.kept += 1;
                Ok(true)
            }
            Err(Error::Missing(_) | Error::Size { .. } | Error::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What an earlier run has noted, if there was one. A folder with anything else in it is left alone.
fn earlier(dir: &Path, notes: &Path) -> Result<Option<Manifest>, Error> {
    if dir.join("manifest.json").exists() {
        return Err(Error::Complete(dir.display().to_string()));
    }
    match Manifest::read(notes) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        other => return other.map(Some),
    }
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        // Noting that nothing is written yet is the first thing that may have been cut short.
        if entry.map_err(Error::io(dir))?.file_name() != "progress.part" {
            return Err(Error::Foreign(dir.display().to_string()));
        }
    }
    Ok(None)
}

/// Keeps a second export out of the folder. File systems that cannot lock a folder do without.
fn lock(dir: &Path) -> Result<File, Error> {
    let file = File::open(dir).map_err(Error::io(dir))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy(dir.display().to_string())),
        _ => Ok(file),
    }
}
