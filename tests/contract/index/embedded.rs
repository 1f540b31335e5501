//! The embedded index: the contract, and what it promises beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use turnpike::adapters::index::edge::{EdgeIndex, Settings};
use turnpike::domain::CompanyScope;
use turnpike::ports::index::{Encoder, Error, KnowledgeIndex, Query};

use super::{EAST, NORTH, both, company, document, hybrid, ids, keywords, placed};

pub(crate) struct EdgeStorage(pub(crate) tempfile::TempDir);

impl EdgeStorage {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn open(&self, encoder: Encoder) -> Arc<dyn KnowledgeIndex> {
        Arc::new(edge(self.0.path(), encoder, 64))
    }
}

pub(crate) fn edge(dir: &Path, encoder: Encoder, open_shards: usize) -> EdgeIndex {
    EdgeIndex::new(dir.to_owned(), encoder, Settings { open_shards })
}

index_contract!(contract, EdgeStorage::new());

fn folder_of(dir: &Path, scope: &CompanyScope) -> PathBuf {
    dir.join(scope.company().as_str())
}

#[tokio::test]
async fn only_so_many_shards_stay_open() {
    let storage = EdgeStorage::new();
    let index = edge(storage.0.path(), hybrid(), 3);
    let companies: Vec<_> = (0..8).map(|n| company(&format!("c{n}"))).collect();
    for scope in &companies {
        index.replace(scope, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
        assert!(index.open_shards() <= 3);
    }
    for scope in &companies {
        assert_eq!(index.search(scope, &both("lãi", NORTH)).await.unwrap().len(), 1);
        assert!(index.open_shards() <= 3);
    }
}

#[tokio::test]
async fn one_broken_index_breaks_no_other() {
    let storage = EdgeStorage::new();
    let (a, b) = (company("whole"), company("broken"));
    let index = edge(storage.0.path(), hybrid(), 4);
    for scope in [&a, &b] {
        index.replace(scope, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
    }
    drop(index);
    let shard = folder_of(storage.0.path(), &b).join("shard-1");
    for entry in std::fs::read_dir(shard.join("segments")).unwrap() {
        let segment = entry.unwrap().path();
        for file in std::fs::read_dir(&segment).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                std::fs::write(file, b"not what it was").unwrap();
            }
        }
    }
    let index = edge(storage.0.path(), hybrid(), 4);
    let error = index.search(&b, &keywords("lãi")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("ingest")), "{error}");
    assert_eq!(index.search(&a, &keywords("lãi")).await.unwrap().len(), 1);
    index.rebuild(&b, vec![placed("d", 0, "lãi", NORTH)]).await.unwrap();
    assert_eq!(index.search(&b, &keywords("lãi")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_processes_do_not_share_a_shard() {
    let storage = EdgeStorage::new();
    let a = company("shared");
    let first = edge(storage.0.path(), hybrid(), 4);
    first.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
    let second = edge(storage.0.path(), hybrid(), 4);
    let error = second.search(&a, &keywords("lãi")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("another process")), "{error}");
    drop(first);
    assert_eq!(second.search(&a, &keywords("lãi")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_cut_short_is_thrown_away_at_opening() {
    let storage = EdgeStorage::new();
    let a = company("leftovers");
    let index = edge(storage.0.path(), hybrid(), 4);
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
    drop(index);
    let folder = folder_of(storage.0.path(), &a);
    std::fs::create_dir_all(folder.join("shard-2/segments/half")).unwrap();
    std::fs::write(folder.join("index.tmp"), b"{").unwrap();
    std::fs::write(folder.join("optimizing"), b"").unwrap();
    let index = edge(storage.0.path(), hybrid(), 4);
    assert_eq!(index.search(&a, &both("lãi", NORTH)).await.unwrap().len(), 1);
    assert!(!folder.join("index.tmp").exists() && !folder.join("optimizing").exists());
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "khác", NORTH)])]).await.unwrap();
    drop(index);
    let index = edge(storage.0.path(), hybrid(), 4);
    assert_eq!(index.search(&a, &keywords("khác")).await.unwrap().len(), 1);
    let shards = std::fs::read_dir(&folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("shard-"));
    assert_eq!(shards.count(), 1);
}

#[tokio::test]
async fn a_write_that_was_begun_is_finished_at_opening() {
    let storage = EdgeStorage::new();
    let a = company("begun");
    let index = edge(storage.0.path(), hybrid(), 4);
    let old = vec![placed("d", 0, "cũ", NORTH), placed("d", 1, "cũ", NORTH)];
    let other = vec![placed("e", 0, "khác", EAST)];
    index.replace(&a, vec![(document("d"), old), (document("e"), other)]).await.unwrap();
    drop(index);
    let journal = folder_of(storage.0.path(), &a).join("journal.json");
    let new = placed("d", 0, "mới", EAST);
    let entry = serde_json::json!({
        "passage": new.passage, "dense": new.dense, "indices": new.sparse.indices, "values": new.sparse.values,
    });
    let begin = |generation: u64| {
        let record = serde_json::json!({"generation": generation, "documents": [["d", [entry]], ["e", []]]});
        std::fs::write(&journal, serde_json::to_vec(&record).unwrap()).unwrap();
    };
    begin(7);
    let index = edge(storage.0.path(), hybrid(), 4);
    assert_eq!(index.contents(&a).await.unwrap().passages, 3, "another generation's write is none of ours");
    drop(index);
    begin(1);
    let index = edge(storage.0.path(), hybrid(), 4);
    assert_eq!(index.passages(&a).await.unwrap(), [new.passage]);
    assert_eq!(ids(&index.search(&a, &both("mới", EAST)).await.unwrap()), ["d#0"]);
    assert!(!journal.exists());
}

#[tokio::test]
async fn the_engines_log_is_cut_and_writes_go_on() {
    let storage = EdgeStorage::new();
    let a = company("log");
    for round in 0..6 {
        let index = edge(storage.0.path(), hybrid(), 4);
        let text = format!("vòng {round} {}", "dài ".repeat(400));
        let passages = (0..200).map(|n| placed("d", n, &text, NORTH)).collect();
        index.replace(&a, vec![(document("d"), passages)]).await.unwrap();
        let word = format!("{round}");
        assert_eq!(
            index.search(&a, &Query { limit: 300, candidates: 300, ..keywords(&word) }).await.unwrap().len(),
            200
        );
    }
    drop(edge(storage.0.path(), hybrid(), 4).contents(&a).await.unwrap());
    let closed = std::fs::read_dir(folder_of(storage.0.path(), &a).join("shard-1/wal"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("closed-"));
    assert!(closed.count() <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_go_on_while_others_write() {
    let storage = EdgeStorage::new();
    let index = edge(storage.0.path(), hybrid(), 4);
    let (a, b) = (company("reads"), company("writes"));
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi suất", NORTH)])]).await.unwrap();
    let is_written = AtomicBool::new(false);
    let write = async {
        for n in 0..20 {
            let name = format!("d{n}-written");
            let passages: Vec<_> = (0..50).map(|n| placed(&name, n, "lãi suất khác", EAST)).collect();
            index.replace(&b, vec![(document(&name), passages.clone())]).await.unwrap();
            index.replace(&a, vec![(document(&name), passages)]).await.unwrap();
        }
        is_written.store(true, Ordering::Relaxed);
    };
    let search = async {
        let mut searches = 0;
        while !is_written.load(Ordering::Relaxed) || searches < 50 {
            let query = both("lãi suất", NORTH);
            for hits in join_all((0..4).map(|_| index.search(&a, &query))).await {
                assert!(ids(&hits.unwrap()).contains(&"d#0".to_owned()));
                searches += 1;
            }
        }
    };
    tokio::join!(write, search);
    assert_eq!(index.contents(&a).await.unwrap().passages, 1001);
}
