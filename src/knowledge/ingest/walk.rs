//! Which files a folder run reads, in which order, and what their documents are called.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::Failure;
use crate::domain::DocumentId;

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: DocumentId,
    pub(super) path: PathBuf,
    /// The folder that the run was asked for and that it is below; none for a file that was asked for itself.
    pub(super) root: Option<String>,
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// By document id.
    pub(super) files: Vec<Found>,
    /// Whether every path was walked without missing anything.
    pub(super) is_whole: bool,
    /// The folders that were.
    pub(super) whole_roots: Vec<String>,
    pub(super) failed: Vec<Failure>,
}

/// A file, and its document's id with and without the extension.
struct Candidate {
    path: PathBuf,
    root: Option<String>,
    stem: String,
    name: String,
}

/// Walks files and folders. Names that begin with a dot are passed over; links are followed, but into no folder twice.
/// A document is called like its file, from the folder down and without its extension; files that differ in nothing else
/// keep theirs.
pub(super) fn walk(paths: &[PathBuf]) -> Walked {
    let mut walked = Walked::default();
    let mut candidates = Vec::new();
    for path in paths {
        let failures = walked.failed.len();
        match fs::canonicalize(path) {
            Ok(root) if root.is_dir() => {
                let name = root.to_string_lossy().into_owned();
                let mut folder = Folder { root: &root, name: &name, seen: HashSet::new() };
                folder.walk(&root, &mut candidates, &mut walked.failed);
                if walked.failed.len() == failures {
                    walked.whole_roots.push(name);
                }
            }
            Ok(file) => {
                let below = file.parent().unwrap_or(Path::new("")).to_owned();
                candidate(&below, path.clone(), &file, None, &mut candidates, &mut walked.failed);
            }
            Err(error) => walked.failed.push(Failure::new(path, error)),
        }
    }
    walked.is_whole = walked.failed.is_empty();
    name(candidates, &mut walked);
    walked
}

struct Folder<'a> {
    root: &'a Path,
    name: &'a str,
    /// Folders by their real place: a link back up would go round for ever.
    seen: HashSet<PathBuf>,
}

impl Folder<'_> {
    fn walk(&mut self, dir: &Path, candidates: &mut Vec<Candidate>, failed: &mut Vec<Failure>) {
        let entries = fs::canonicalize(dir).and_then(|real| {
            let is_new = self.seen.insert(real);
            let entries = if is_new { fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()? } else { Vec::new() };
            Ok(entries)
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return failed.push(Failure::new(dir, error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.walk(&path, candidates, failed),
                Ok(metadata) if metadata.is_file() => {
                    candidate(self.root, path.clone(), &path, Some(self.name.to_owned()), candidates, failed);
                }
                // Pipes and devices hold no documents, and reading them may never end.
                Ok(_) => {}
                Err(error) => failed.push(Failure::new(&path, error)),
            }
        }
    }
}

fn candidate(
    below: &Path,
    path: PathBuf,
    real: &Path,
    root: Option<String>,
    candidates: &mut Vec<Candidate>,
    failed: &mut Vec<Failure>,
) {
    let name = real.strip_prefix(below).ok().and_then(id_text);
    let stem = real.with_extension("").strip_prefix(below).ok().and_then(id_text);
    match (name, stem) {
        (Some(name), Some(stem)) => candidates.push(Candidate { path, root, stem, name }),
        _ => failed.push(Failure::new(&path, "its name is not valid UTF-8; rename it")),
    }
}

fn id_text(relative: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
    // The same name may be composed on one system and decomposed on another.
    Some(parts?.join("/").nfc().collect())
}

fn name(candidates: Vec<Candidate>, walked: &mut Walked) {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for candidate in &candidates {
        *uses.entry(candidate.stem.clone()).or_default() += 1;
    }
    let mut files: BTreeMap<DocumentId, Found> = BTreeMap::new();
    for Candidate { path, root, stem, name } in candidates {
        let text = if uses.get(&stem).copied().unwrap_or_default() > 1 { name } else { stem };
        let id: DocumentId = match text.parse() {
            Ok(id) => id,
            Err(error) => {
                walked.failed.push(Failure::new(&path, error));
                continue;
            }
        };
        if let Some(other) = files.get(&id) {
            let reason = format!("it would be document {id}, as {} is; rename one of them", other.path.display());
            walked.failed.push(Failure::new(&path, reason));
            continue;
        }
        files.insert(id.clone(), Found { id, path, root });
    }
    walked.files = files.into_values().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(walked: &Walked) -> Vec<&str> {
        walked.files.iter().map(|found| found.id.as_str()).collect()
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, file).expect("a file");
        }
        dir
    }

    #[test]
    fn documents_are_called_like_their_files() {
        let dir = folder(&["b.md", "a/x.txt", ".hidden.md", ".git/config.txt", "a/faq.md", "a/faq.html"]);
        let walked = walk(&[dir.path().to_owned()]);
        assert_eq!(ids(&walked), ["a/faq.html", "a/faq.md", "a/x", "b"]);
        assert_eq!(walked.whole_roots.len(), 1);
        assert!(walked.failed.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_round_and_round() {
        let dir = folder(&["a/one.md"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/up")).expect("a link");
        std::os::unix::fs::symlink(dir.path().join("a/one.md"), dir.path().join("two.md")).expect("a link");
        std::os::unix::fs::symlink(dir.path().join("gone"), dir.path().join("dead.md")).expect("a link");
        let walked = walk(&[dir.path().to_owned()]);
        assert_eq!(ids(&walked), ["a/one", "two"]);
        assert_eq!(walked.failed.len(), 1);
        assert!(walked.whole_roots.is_empty(), "what could not be read is not gone");
    }

    #[test]
    fn a_file_by_itself_and_one_that_is_not_there() {
        let dir = folder(&["deep/down/one.md"]);
        let walked = walk(&[dir.path().join("deep/down/one.md"), dir.path().join("missing.md")]);
        assert_eq!(ids(&walked), ["one"]);
        assert_eq!(walked.files.first().and_then(|found| found.root.clone()), None);
        assert_eq!(walked.failed.len(), 1);
    }
}
