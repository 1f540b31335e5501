//! An export as it is read: checked first, then row by row.

use std::path::{Path, PathBuf};

use super::files::{self, Reader};
use super::{Entry, Error, Kind, Manifest, path_of};
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{Company, CompanyId};

/// A folder with an export that is complete.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    manifest: Manifest,
}

impl Archive {
    /// Opens an export.
    ///
    /// # Errors
    /// `NoManifest`, `Incomplete`, `Version` or `Manifest`.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("manifest.json");
        if !path.exists() {
            let dir_name = dir.display().to_string();
            let is_begun = dir.join("progress.json").exists();
            return Err(if is_begun { Error::Incomplete(dir_name) } else { Error::NoManifest(dir_name) });
        }
        let manifest = Manifest::read(&path)?;
        for company in &manifest.companies {
            if let Some(lacking) = Kind::ALL.into_iter().find(|kind| !company.files.contains_key(kind)) {
                let reason = format!("company {} has no {}", company.id, lacking.file_name());
                return Err(Error::Manifest { path: path.display().to_string(), reason });
            }
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// What the export holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Those of the companies that are named, or all of them.
    ///
    /// # Errors
    /// `NotHeld` for one that the export lacks.
    pub fn companies(&self, named: &[CompanyId]) -> Result<Vec<CompanyId>, Error> {
        let held: Vec<CompanyId> = self.manifest.companies.iter().map(|company| company.id.clone()).collect();
        if let Some(company) = named.iter().find(|id| !held.contains(id)).cloned() {
            let held = held.iter().map(CompanyId::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::NotHeld { company, held });
        }
        Ok(if named.is_empty() { held } else { held.into_iter().filter(|id| named.contains(id)).collect() })
    }

    /// Reads all files of a company and compares them with their checksums.
    ///
    /// # Errors
    /// `Missing`, `Size` or `Damaged`.
    pub fn check(&self, company: &CompanyId) -> Result<(), Error> {
        for kind in Kind::ALL {
            files::check(&path_of(&self.dir, company, kind), self.entry(company, kind)?)?;
        }
        Ok(())
    }

    pub(super) fn entry(&self, company: &CompanyId, kind: Kind) -> Result<&Entry, Error> {
        let missing = || Error::Missing(path_of(&self.dir, company, kind).display().to_string());
        self.manifest.entry(company, kind).ok_or_else(missing)
    }

    pub(super) fn reader(&self, company: &CompanyId, kind: Kind) -> Result<Reader, Error> {
        Reader::open(&path_of(&self.dir, company, kind))
    }

    /// The company itself.
    ///
    /// # Errors
    /// When its file cannot be read, or is not of this company.
    pub fn company(&self, id: &CompanyId) -> Result<Company, Error> {
        let mut reader = self.reader(id, Kind::Company)?;
        match reader.next::<Company>()? {
            Some(company) if company.id == *id => Ok(company),
            Some(company) => Err(reader.wrong(format!("this is company {}, not {id}", company.id))),
            None => Err(reader.wrong("there is no company")),
        }
    }

    /// All rows of a file that is small.
    pub(super) fn all<T: serde::de::DeserializeOwned>(&self, company: &CompanyId, kind: Kind) -> Result<Vec<T>, Error> {
        let mut reader = self.reader(company, kind)?;
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    /// Its conversations with their turns.
    pub(super) fn conversations(&self, company: &CompanyId) -> Result<Conversations, Error> {
        Ok(Conversations {
            heads: self.reader(company, Kind::Conversations)?,
            turns: self.reader(company, Kind::Turns)?,
            head: None,
            ahead: None,
        })
    }
}

/// Conversations with their turns, in pieces, so that a long conversation is never in memory as a whole.
pub(super) struct Conversations {
    heads: Reader,
    turns: Reader,
    head: Option<Conversation>,
    /// The turn that was read too far.
    ahead: Option<StoredTurn>,
}

impl Conversations {
    /// The next conversation, or the next piece of one, with `most` turns at most.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<(Conversation, Vec<StoredTurn>)>, Error> {
        let Some(mut turn) = self.turn()? else {
            return match self.heads.next::<Conversation>()? {
                Some(_) => Err(self.heads.wrong("this conversation has no turn")),
                None => Ok(None),
            };
        };
        let id = turn.record.conversation_id;
        let head = match self.head.take() {
            Some(head) if head.conversation_id == id => head,
            _ => match self.heads.next::<Conversation>()? {
                Some(head) if head.conversation_id == id => head,
                _ => return Err(self.turns.wrong(format!("conversation {id} is not in its place among the heads"))),
            },
        };
        let mut turns = Vec::new();
        loop {
            turns.push(turn);
            match self.turn()? {
                Some(next) if next.record.conversation_id == id && turns.len() < most => turn = next,
                next => {
                    self.ahead = next;
                    self.head = Some(head.clone());
                    return Ok(Some((head, turns)));
                }
            }
        }
    }

    fn turn(&mut self) -> Result<Option<StoredTurn>, Error> {
        match self.ahead.take() {
            Some(turn) => Ok(Some(turn)),
            None => self.turns.next(),
        }
    }
}
