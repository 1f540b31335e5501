//! The embedded index under `kill -9`: what was acknowledged is there, and no document is in pieces.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use turnpike::domain::knowledge::{EncodedPassage, Passage};
use turnpike::domain::{CompanyScope, DocumentId};
use turnpike::ports::index::{KnowledgeIndex, Query};

use super::embedded::{EdgeStorage, edge};
use super::{NORTH, both, document, hybrid, placed};

const CHILD: &str = "TURNPIKE_TEST_INDEX_DIR";
const DOCUMENTS: u64 = 4;
const ROUNDS: u32 = 16;

/// Version `n` of a document: the number of its passages follows from it too.
fn version(n: u64) -> (DocumentId, Vec<EncodedPassage>) {
    let name = format!("d{}", n % DOCUMENTS);
    let passages = (0..1 + n % 7)
        .map(|place| placed(&name, usize::try_from(place).unwrap(), &format!("version {n} of passage {place}"), NORTH));
    (document(&name), passages.collect())
}

fn crash_scope() -> CompanyScope {
    CompanyScope::granted("crash".parse().unwrap())
}

/// Not a test of its own: the process that the next one kills. It says each version that was acknowledged.
#[tokio::test]
async fn child_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let index = edge(Path::new(&dir), hybrid(), 4);
    let first = index.passages(&crash_scope()).await.unwrap().iter().map(version_of).max().map_or(0, |n| n + 1);
    for n in first.. {
        index.replace(&crash_scope(), vec![version(n)]).await.unwrap();
        if n % 9 == 8 {
            index.optimize(&crash_scope()).await.unwrap();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

fn version_of(passage: &Passage) -> u64 {
    passage.text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn acknowledged_documents_survive_a_kill_whole() {
    let storage = EdgeStorage::new();
    let name = format!("{}::child_that_is_killed", module_path!().split_once("::").unwrap().1);
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(CHILD, storage.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut versions = lines.filter_map(|line| line.split("acknowledged ").nth(1)?.trim().parse::<u64>().ok());
        let mut last = Instant::now();
        let mut interval = Duration::ZERO;
        for _ in 0..3 + round % 3 {
            let n = versions.next().expect("the child goes on until it is killed");
            acknowledged.insert(n % DOCUMENTS, n);
            (interval, last) = (last.elapsed(), Instant::now());
        }
        // Each round picks another moment of the write that follows. The promise holds at all of them.
        std::thread::sleep(interval * round / ROUNDS);
        child.kill().unwrap();
        child.wait().unwrap();
        for n in versions {
            acknowledged.insert(n % DOCUMENTS, n);
        }

        let index = edge(storage.0.path(), hybrid(), 4);
        let mut found: BTreeMap<DocumentId, Vec<Passage>> = BTreeMap::new();
        for passage in index.passages(&crash_scope()).await.unwrap() {
            found.entry(passage.document_id.clone()).or_default().push(passage);
        }
        for (document, acknowledged) in &acknowledged {
            let passages = &found[&format!("d{document}").parse::<DocumentId>().unwrap()];
            let n = version_of(&passages[0]);
            assert!(n >= *acknowledged, "round {round}: version {acknowledged} was lost, {n} is there");
            let expected: Vec<_> = version(n).1.into_iter().map(|encoded| encoded.passage).collect();
            assert_eq!(passages, &expected, "round {round}: a document in pieces");
        }
        let all: usize = found.values().map(Vec::len).sum();
        let query = Query { candidates: 100, limit: 100, ..both("version", NORTH) };
        let hits = index.search(&crash_scope(), &query).await.unwrap();
        assert_eq!(hits.len(), all);
        assert!(hits.iter().all(|hit| hit.dense.is_some() && hit.sparse.is_some()));
    }
}
