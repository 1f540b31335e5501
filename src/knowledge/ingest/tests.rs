//! Folder runs against an index and a register in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

use std::fs;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::domain::knowledge::Passage;
use crate::ports::embedder::EmbeddingModel;
use crate::ports::index::{Contents, Hit, Query};

#[derive(Default)]
struct Memory {
    index: Mutex<BTreeMap<DocumentId, Vec<EncodedPassage>>>,
    register: Mutex<BTreeMap<DocumentId, Document>>,
    writes: Mutex<usize>,
    optimised: Mutex<usize>,
    index_is_down: Mutex<bool>,
}

#[async_trait]
impl KnowledgeIndex for Memory {
    async fn replace(
        &self,
        _scope: &CompanyScope,
        documents: Vec<(DocumentId, Vec<EncodedPassage>)>,
    ) -> Result<(), index::Error> {
        if *self.index_is_down.lock() {
            return Err(index::Error::Unavailable("down".into()));
        }
        *self.writes.lock() += 1;
        self.index.lock().extend(documents);
        Ok(())
    }

    async fn remove(&self, _scope: &CompanyScope, documents: &[DocumentId]) -> Result<(), index::Error> {
        self.index.lock().retain(|id, _| !documents.contains(id));
        Ok(())
    }

    async fn search(&self, _scope: &CompanyScope, _query: &Query) -> Result<Vec<Hit>, index::Error> {
        Ok(Vec::new())
    }

    async fn contents(&self, _scope: &CompanyScope) -> Result<Contents, index::Error> {
        Ok(Contents { encoder: None, passages: self.index.lock().values().map(Vec::len).sum() })
    }

    async fn passages(&self, _scope: &CompanyScope) -> Result<Vec<Passage>, index::Error> {
        Ok(self.index.lock().values().flatten().map(|encoded| encoded.passage.clone()).collect())
    }

    async fn encoded(&self, _scope: &CompanyScope) -> Result<Vec<EncodedPassage>, index::Error> {
        Ok(self.index.lock().values().flatten().cloned().collect())
    }

    async fn optimize(&self, _scope: &CompanyScope) -> Result<(), index::Error> {
        *self.optimised.lock() += 1;
        Ok(())
    }

    async fn rebuild(&self, _scope: &CompanyScope, passages: Vec<EncodedPassage>) -> Result<(), index::Error> {
        let mut index = self.index.lock();
        index.clear();
        for encoded in passages {
            index.entry(encoded.passage.document_id.clone()).or_default().push(encoded);
        }
        Ok(())
    }

    async fn erase(&self, _scope: &CompanyScope) -> Result<usize, index::Error> {
        Ok(0)
    }

    async fn is_isolated(&self) -> Result<bool, index::Error> {
        Ok(true)
    }

    async fn check(&self) -> Result<(), index::Error> {
        Ok(())
    }
}

#[async_trait]
impl DocumentRegister for Memory {
    async fn document(&self, _scope: &CompanyScope, id: &DocumentId) -> Result<Option<Document>, store::Error> {
        Ok(self.register.lock().get(id).cloned())
    }

    async fn documents(&self, _scope: &CompanyScope) -> Result<Vec<Document>, store::Error> {
        Ok(self.register.lock().values().cloned().collect())
    }

    async fn register(&self, _scope: &CompanyScope, documents: &[Document]) -> Result<(), store::Error> {
        self.register.lock().extend(documents.iter().map(|document| (document.id.clone(), document.clone())));
        Ok(())
    }

    async fn forget(&self, _scope: &CompanyScope, ids: &[DocumentId]) -> Result<(), store::Error> {
        self.register.lock().retain(|id, _| !ids.contains(id));
        Ok(())
    }
}

/// Knows English alone; a text's vector is its length.
struct Lengths(EmbeddingModel);

#[async_trait]
impl Embedder for Lengths {
    fn model(&self) -> &EmbeddingModel {
        &self.0
    }

    async fn embed_query(&self, _text: &str) -> Result<Vec<f32>, embedder::Error> {
        Ok(vec![1.0])
    }

    async fn embed_passages(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, embedder::Error> {
        #[expect(clippy::cast_precision_loss, reason = "texts are short")]
        Ok(texts.iter().map(|text| vec![text.len() as f32]).collect())
    }
}

fn ingester(memory: &Arc<Memory>) -> Ingester {
    let model =
        EmbeddingModel { name: "lengths".into(), dimensions: 1, languages: vec!["en".into()], fingerprint: "1".into() };
    Ingester {
        index: Arc::<Memory>::clone(memory),
        register: Arc::<Memory>::clone(memory),
        embedder: Some(Arc::new(Lengths(model))),
        sparse: SparseEncoder::default(),
        loaders: Arc::new(Loaders::default()),
        chunking: chunk::Settings::default(),
        detect: Arc::new(|text| text.contains("lãi").then_some(Language::VIETNAMESE)),
        listener: None,
    }
}

/// Writes down what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

#[async_trait]
impl Listener for Heard {
    async fn changed(&self, scope: &CompanyScope, changes: &[(Document, Action)]) {
        let told = changes.iter().map(|(document, action)| {
            format!("{} {} {action:?} {} {}", scope.company(), document.id, document.title, document.passages)
        });
        self.0.lock().extend(told);
    }
}

#[tokio::test]
async fn who_listens_hears_what_became_of_each_document() {
    let (memory, heard) = (Arc::new(Memory::default()), Arc::new(Heard::default()));
    let ingester = Ingester { listener: Some(Arc::clone(&heard) as _), ..ingester(&memory) };
    let dir = folder(&[("a.md", b"# First\n\nOne."), ("b.md", b"# Second\n\nTwo.")]);
    let options = Options { prune: true, ..Options::default() };
    let run = async || {
        ingester.ingest_paths(&scope(), &[dir.path().to_owned()], &options, &Quiet).await.unwrap();
        std::mem::take(&mut *heard.0.lock())
    };
    assert_eq!(run().await, ["c a Added First 1", "c b Added Second 1"]);
    assert_eq!(run().await, Vec::<String>::new(), "what has not changed is not told");
    fs::write(dir.path().join("a.md"), "# First\n\nAnother.").unwrap();
    fs::remove_file(dir.path().join("b.md")).unwrap();
    assert_eq!(run().await, ["c a Updated First 1", "c b Removed Second 1"]);
    let id: DocumentId = "a".parse().unwrap();
    ingester.remove(&scope(), &[id.clone(), "never-there".parse().unwrap()]).await.unwrap();
    assert_eq!(std::mem::take(&mut *heard.0.lock()), ["c a Removed First 1"]);

    // What the index does not take is not told of.
    *memory.index_is_down.lock() = true;
    let put = ingester.put_text(&scope(), id, "Three.".into(), Attributes::default()).await;
    assert!(put.is_err() && heard.0.lock().is_empty());
}

fn scope() -> CompanyScope {
    CompanyScope::granted("c".parse().unwrap())
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

async fn run(memory: &Arc<Memory>, dir: &Path, prune: bool) -> Report {
    let options = Options { prune, ..Options::default() };
    ingester(memory).ingest_paths(&scope(), &[dir.to_owned()], &options, &Quiet).await.unwrap()
}

fn counts(report: &Report) -> [usize; 5] {
    [report.added, report.updated, report.unchanged, report.removed, report.failed.len()]
}

#[tokio::test]
async fn a_second_run_does_what_has_changed_and_no_more() {
    let memory = Arc::new(Memory::default());
    let dir = folder(&[("a.md", b"# A\n\nOne."), ("b.txt", b"Two."), ("c.txt", b"Three.")]);
    assert_eq!(counts(&run(&memory, dir.path(), true).await), [3, 0, 0, 0, 0]);
    assert_eq!(*memory.writes.lock(), 1, "documents are written together");
    assert_eq!(counts(&run(&memory, dir.path(), true).await), [0, 0, 3, 0, 0]);
    assert_eq!(*memory.writes.lock(), 1);
    fs::write(dir.path().join("b.txt"), "Two and a half.").unwrap();
    fs::remove_file(dir.path().join("c.txt")).unwrap();
    assert_eq!(counts(&run(&memory, dir.path(), false).await), [0, 1, 2 - 1, 0, 0]);
    assert_eq!(memory.index.lock().len(), 3, "without --prune nothing goes");
    assert_eq!(counts(&run(&memory, dir.path(), true).await), [0, 0, 2, 1, 0]);
    assert_eq!(memory.index.lock().len(), 2);
    assert_eq!(memory.register.lock().len(), 2);
}

#[tokio::test]
async fn bad_files_are_reported_and_the_rest_goes_in() {
    let memory = Arc::new(Memory::default());
    let large = vec![b'x'; usize::try_from(load::DEFAULT_LIMIT).unwrap() + 1];
    let files: [(&str, &[u8]); 5] = [
        ("good.md", b"# Good\n\nText."),
        ("binary.txt", b"\0\x01\x02\0\0"),
        ("empty.md", b" \n"),
        ("large.txt", &large),
        ("picture.png", b"\x89PNG"),
    ];
    let dir = folder(&files);
    let report = run(&memory, dir.path(), true).await;
    assert_eq!(counts(&report), [1, 0, 0, 0, 4]);
    assert!(report.failed.iter().all(|failure| !failure.reason.is_empty()));
    fs::write(dir.path().join("good.md"), b"\0\0\0").unwrap();
    assert_eq!(counts(&run(&memory, dir.path(), true).await), [0, 0, 0, 0, 5]);
    assert_eq!(memory.index.lock().len(), 1, "a file that turned bad is not gone");
}

#[tokio::test]
async fn pruning_touches_no_other_collection() {
    let memory = Arc::new(Memory::default());
    let (one, two) = (folder(&[("a.txt", b"One.")]), folder(&[("b.txt", b"Two.")]));
    run(&memory, one.path(), true).await;
    run(&memory, two.path(), true).await;
    let id: DocumentId = "by-hand".parse().unwrap();
    ingester(&memory).put_text(&scope(), id, "Three.".into(), Attributes::default()).await.unwrap();
    fs::remove_file(two.path().join("b.txt")).unwrap();
    assert_eq!(counts(&run(&memory, two.path(), true).await), [0, 0, 0, 1, 0]);
    assert_eq!(memory.index.lock().len(), 2);
    let missing = one.path().join("not there");
    assert_eq!(counts(&run(&memory, &missing, true).await), [0, 0, 0, 0, 1]);
    assert_eq!(memory.index.lock().len(), 2);
}

#[tokio::test]
async fn a_failure_in_the_middle_is_healed_by_the_next_run() {
    let memory = Arc::new(Memory::default());
    let dir = folder(&[("a.txt", b"One.")]);
    run(&memory, dir.path(), false).await;
    fs::write(dir.path().join("a.txt"), "Two.").unwrap();
    *memory.index_is_down.lock() = true;
    let options = Options::default();
    let failed = ingester(&memory).ingest_paths(&scope(), &[dir.path().to_owned()], &options, &Quiet).await;
    assert!(matches!(failed, Err(Error::Index(index::Error::Unavailable(_)))));
    *memory.index_is_down.lock() = false;
    // The old content again: the register may not believe that it is still there.
    fs::write(dir.path().join("a.txt"), "One.").unwrap();
    assert_eq!(counts(&run(&memory, dir.path(), false).await), [0, 1, 0, 0, 0]);
    memory.index.lock().clear();
    assert_eq!(counts(&run(&memory, dir.path(), false).await), [0, 1, 0, 0, 0], "a lost index is filled again");
    assert_eq!(counts(&run(&memory, dir.path(), false).await), [0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn only_languages_that_the_model_knows_are_embedded() {
    let memory = Arc::new(Memory::default());
    let ingester = ingester(&memory);
    let english = Attributes { language: Some(Language::ENGLISH), ..Attributes::default() };
    let put = async |id: &str, text: &str, attributes| {
        ingester.put_text(&scope(), id.parse().unwrap(), text.into(), attributes).await.unwrap()
    };
    put("en", "interest", english.clone()).await;
    put("unknown", "interest", Attributes::default()).await;
    let (outcome, document) = put("vi", "lãi suất", Attributes::default()).await;
    assert_eq!((outcome, document.language), (Outcome::Added, Some(Language::VIETNAMESE)));
    let has_dense = |id: &str| memory.index.lock()[&id.parse::<DocumentId>().unwrap()][0].dense.is_some();
    assert!(has_dense("en") && has_dense("unknown") && !has_dense("vi"));
    assert_eq!(put("en", "interest", english).await.0, Outcome::Unchanged);
    assert_eq!(put("en", "interest", Attributes::default()).await.0, Outcome::Updated);
    assert_eq!(ingester.reindex(&scope(), &Quiet).await.unwrap(), 3);
    assert!(has_dense("en") && !has_dense("vi"));
    assert_eq!(ingester.remove(&scope(), &["en".parse().unwrap(), "never".parse().unwrap()]).await.unwrap(), 1);
    assert_eq!(memory.register.lock().len(), 2);
}

#[tokio::test]
async fn an_index_is_optimised_after_much_was_put() {
    let memory = Arc::new(Memory::default());
    let paragraph = "Words and words and more of them. ".repeat(30);
    let text = format!("{paragraph}\n\n").repeat(60);
    let names: Vec<String> = (0..45).map(|n| format!("{n}.txt")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), text.as_bytes())).collect();
    let dir = folder(&files);
    let report = run(&memory, dir.path(), false).await;
    assert!(report.passages > MANY, "{}", report.passages);
    assert_eq!(*memory.optimised.lock(), 1);
    assert!(*memory.writes.lock() > 5, "batches are bounded");
}
