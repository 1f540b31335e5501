//! The manifest: what an export holds, and by which checksums.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Error, files};
use crate::domain::CompanyId;

/// The version of the format that is written and read here.
const VERSION: u64 = 1;
/// Tells the manifest from any other JSON.
const FORMAT: &str = "turnpike-export";

/// One of a company's files. In this order they are written; what is written later may be newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// The company.
    #[serde(rename = "company.json")]
    Company,
    /// Its API keys.
    #[serde(rename = "keys.jsonl")]
    Keys,
    /// Its webhook endpoints.
    #[serde(rename = "endpoints.jsonl")]
    Endpoints,
    /// The register of its documents. It comes before the passages: a register that is older than its index makes the
    /// next ingestion put too much, one that is newer too little.
    #[serde(rename = "documents.jsonl")]
    Documents,
    /// Its passages with their vectors.
    #[serde(rename = "passages.jsonl")]
    Passages,
    /// The heads of its conversations.
    #[serde(rename = "conversations.jsonl")]
    Conversations,
    /// Its turns.
    #[serde(rename = "turns.jsonl")]
    Turns,
}

impl Kind {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 7] =
        [Self::Company, Self::Keys, Self::Endpoints, Self::Documents, Self::Passages, Self::Conversations, Self::Turns];

    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Company => "company.json",
            Self::Keys => "keys.jsonl",
            Self::Endpoints => "endpoints.jsonl",
            Self::Documents => "documents.jsonl",
            Self::Passages => "passages.jsonl",
            Self::Conversations => "conversations.jsonl",
            Self::Turns => "turns.jsonl",
        }
    }

    /// What its rows are.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Keys => "keys",
            Self::Endpoints => "endpoints",
            Self::Documents => "documents",
            Self::Passages => "passages",
            Self::Conversations => "conversations",
            Self::Turns => "turns",
        }
    }
}

/// What is known of a file that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its rows. The first line of the passages, which names the encoder, is none.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A company in an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyFiles {
    /// The company.
    pub id: CompanyId,
    /// Its files.
    pub files: BTreeMap<Kind, Entry>,
}

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u64,
    /// The program that wrote it.
    pub made_by: String,
    /// When the export began.
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// The companies.
    pub companies: Vec<CompanyFiles>,
}

/// What every version of the manifest has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

impl Manifest {
    /// A manifest of nothing yet.
    pub(super) fn begun(made_at: OffsetDateTime) -> Self {
        let made_by = concat!("turnpike ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { format: FORMAT.to_owned(), version: VERSION, made_by, made_at, companies: Vec::new() }
    }

    /// Reads a manifest, or the progress of an export, which looks the same.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Manifest { path: path.display().to_string(), reason };
        let text = std::fs::read(path).map_err(Error::io(path))?;
        let header: Header = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if header.format != FORMAT {
            return Err(wrong(format!("its format is {:?}, not {FORMAT:?}", header.format)));
        }
        if header.version != VERSION {
            return Err(Error::Version { path: path.display().to_string(), found: header.version, known: VERSION });
        }
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Writes it so that it is there whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        files::write_atomically(path, &text)
    }

    /// The files of a company.
    pub fn company(&self, id: &CompanyId) -> Option<&CompanyFiles> {
        self.companies.iter().find(|company| company.id == *id)
    }

    /// What is known of a file.
    pub(super) fn entry(&self, id: &CompanyId, kind: Kind) -> Option<&Entry> {
        self.company(id)?.files.get(&kind)
    }

    /// Takes note of a file that is complete.
    pub(super) fn note(&mut self, id: &CompanyId, kind: Kind, entry: Entry) {
        match self.companies.iter_mut().find(|company| company.id == *id) {
            Some(company) => drop(company.files.insert(kind, entry)),
            None => self.companies.push(CompanyFiles { id: id.clone(), files: BTreeMap::from([(kind, entry)]) }),
        }
    }
}
