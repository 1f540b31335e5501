//! Vectors that move: to a server and back, they and what is found by them are the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use turnpike::adapters::index::edge::{self, EdgeIndex};
use turnpike::adapters::index::qdrant::{self, QdrantIndex};
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::knowledge::{Document, EncodedPassage, Passage, SparseVector};
use turnpike::domain::{Company, CompanyId, CompanyScope, DocumentId};
use turnpike::ports::index::{DenseEncoder, Encoder, Filter, Hit, KnowledgeIndex, Query};
use turnpike::transfer::{self, Archive, Backends, Encode, Kind};

use crate::support::qdrant::QdrantServer;

const DIMENSIONS: usize = 16;
const DOCUMENTS: u64 = 40;

struct Silent;

impl transfer::Progress for Silent {
    fn at(&self, _: &CompanyId, _: &'static str, _: Kind, _: u64) {}
}

/// The encoder of everything here; nothing is encoded anew.
struct Same(Encoder);

#[async_trait]
impl Encode for Same {
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    async fn encode(&self, _: Vec<Passage>) -> Result<Vec<EncodedPassage>, String> {
        Err("nothing is to be encoded anew".to_owned())
    }
}

/// Numbers between -1 and 1 that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn dense(&mut self) -> Vec<f32> {
        let vector: Vec<f32> = (0..DIMENSIONS).map(|_| self.next()).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.into_iter().map(|value| value / length).collect()
    }

    fn sparse(&mut self) -> SparseVector {
        let indices: Vec<u32> = (0..60).filter(|_| self.next() > 0.7).collect();
        let values = indices.iter().map(|_| self.next().abs() + 0.01).collect();
        SparseVector { indices, values }
    }
}

fn encoder() -> Encoder {
    let dense = DenseEncoder { model: "dice".into(), fingerprint: "1".into(), dimensions: DIMENSIONS };
    Encoder { sparse: 1, dense: Some(dense) }
}

fn scope() -> CompanyScope {
    CompanyScope::granted("acme".parse().unwrap())
}

fn backends(dir: &Path, index: Arc<dyn KnowledgeIndex>) -> Backends {
    std::fs::create_dir_all(dir).unwrap();
    let store = Arc::new(SqliteStore::open(&dir.join("store.db")).unwrap());
    Backends { directory: store.clone(), conversations: store.clone(), documents: store, index }
}

fn embedded(dir: &Path) -> Backends {
    backends(dir, Arc::new(EdgeIndex::new(dir.join("index"), encoder(), edge::Settings::default())))
}

async fn fill(backends: &Backends) {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let company = Company::new(scope().company().clone(), OffsetDateTime::now_utc());
    backends.directory.put_company(&company).await.unwrap();
    let (mut documents, mut passages) = (Vec::new(), Vec::new());
    for n in 0..DOCUMENTS {
        let id: DocumentId = format!("d{n}").parse().unwrap();
        let count = usize::try_from(n % 4).unwrap();
        let encoded = (0..count).map(|ordinal| EncodedPassage {
            passage: Passage {
                document_id: id.clone(),
                ordinal,
                title: format!("Tài liệu {n}"),
                url: None,
                headings: vec!["H".into()],
                text: format!("đoạn {ordinal}"),
                language: if n % 3 == 0 { "vi".parse().ok() } else { None },
                industry: None,
            },
            // Some languages are not the model's.
            dense: (n % 5 != 0).then(|| dice.dense()),
            sparse: dice.sparse(),
        });
        passages.push((id.clone(), encoded.collect()));
        documents.push(Document {
            id,
            title: format!("Tài liệu {n}"),
            url: None,
            language: None,
            fingerprint: format!("{n}"),
            collection: None,
            passages: count,
            bytes: 1,
            updated_at: OffsetDateTime::now_utc(),
        });
    }
    backends.index.replace(&scope(), passages).await.unwrap();
    backends.documents.register(&scope(), &documents).await.unwrap();
}

async fn answers(index: &dyn KnowledgeIndex) -> Vec<Vec<Hit>> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut answers = Vec::new();
    for n in 0..20 {
        let query = Query {
            dense: (n % 4 != 0).then(|| dice.dense()),
            sparse: dice.sparse(),
            dense_weight: 1.0,
            sparse_weight: 0.7,
            filter: Filter { industry: None, language: if n % 5 == 0 { "vi".parse().ok() } else { None } },
            candidates: 30,
            limit: 8,
        };
        answers.push(index.search(&scope(), &query).await.unwrap());
    }
    answers
}

/// The engine adds weights up in an order that differs from one index to the next, even if both were filled alike, so
/// the last bit of a sparse score is nobody's. Everything else is the same: passages, their order and ranks, the fused
/// scores, which follow from the ranks, and the cosines.
#[track_caller]
fn require_same(found: Vec<Vec<Hit>>, expected: &[Vec<Hit>]) {
    for (n, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "question {n}");
        for (mut found, expected) in found.into_iter().zip(expected) {
            if let (Some(found), Some(expected)) = (&mut found.sparse, &expected.sparse)
                && (found.score - expected.score).abs() <= 2.0 * f32::EPSILON * expected.score
            {
                found.score = expected.score;
            }
            assert_eq!(&found, expected, "question {n}");
        }
    }
}

async fn move_to(from: &Backends, to: &Backends, dir: &Path) {
    transfer::export(from, &[scope()], dir, &Silent).await.unwrap();
    let archive = Archive::open(dir).unwrap();
    archive.check(scope().company()).unwrap();
    let imported = transfer::import(&archive, to, &scope(), &Same(encoder()), &Silent).await.unwrap();
    assert!(imported.comparisons.iter().all(transfer::Comparison::agrees), "{:#?}", imported.comparisons);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_move_to_the_bit_and_what_they_find_is_the_same() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (one, back) = (embedded(&at("one")), embedded(&at("back")));
    fill(&one).await;
    let expected = answers(one.index.as_ref()).await;
    assert!(expected.iter().all(|hits| hits.len() == 8), "{:?}", expected.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(expected.iter().flatten().any(|hit| hit.dense.is_some() && hit.sparse.is_some()));

    let server = QdrantServer::start();
    let settings = qdrant::Settings { timeout: Duration::from_secs(20), ..qdrant::Settings::new(server.url()) };
    let index = QdrantIndex::open(&settings, encoder()).unwrap();
    index.migrate(None).await.unwrap();
    let remote = backends(&at("remote"), Arc::new(index));
    move_to(&one, &remote, &at("out")).await;
    require_same(answers(remote.index.as_ref()).await, &expected);
    move_to(&remote, &back, &at("home")).await;
    require_same(answers(back.index.as_ref()).await, &expected);
    // The rows themselves are the same too: no number has lost a bit anywhere.
    for kind in Kind::ALL {
        let read = |name: &str| std::fs::read(at(name).join("companies/acme").join(kind.file_name())).unwrap();
        assert!(read("out") == read("home"), "{kind:?}");
    }
}
