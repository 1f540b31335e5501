//! Companies that are exported and imported, between backends in memory.

mod damage;
mod interrupted;
mod meanwhile;

use std::path::Path;
use std::sync::Arc;

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::testing::{Memory, State};
use super::*;
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::knowledge::{Document, SparseVector};
use crate::domain::webhook::Endpoint;
use crate::domain::{ApiKey, Company, CompanyScope, ConversationId, FinishReason, KeyScope, TurnId, TurnRecord};
use crate::ports::index::DenseEncoder;

struct Silent;

impl Progress for Silent {
    fn at(&self, _: &CompanyId, _: &'static str, _: Kind, _: u64) {}
}

/// An encoder whose vectors say that they are its own.
struct Mine(Encoder);

#[async_trait]
impl Encode for Mine {
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    async fn encode(&self, passages: Vec<Passage>) -> Result<Vec<EncodedPassage>, String> {
        let sparse = SparseVector { indices: vec![99], values: vec![1.0] };
        Ok(passages
            .into_iter()
            .map(|passage| EncodedPassage { passage, dense: None, sparse: sparse.clone() })
            .collect())
    }
}

fn id() -> CompanyId {
    "acme".parse().unwrap()
}

fn scope() -> CompanyScope {
    CompanyScope::granted(id())
}

fn encoder(fingerprint: &str) -> Encoder {
    let dense = DenseEncoder { model: "m".into(), fingerprint: fingerprint.into(), dimensions: 3 };
    Encoder { sparse: 1, dense: Some(dense) }
}

fn company(retention_days: Option<u32>) -> Company {
    Company {
        name: "Bến Sen".into(),
        industry: Some("banking".into()),
        languages: vec!["vi".parse().unwrap()],
        retention_days,
        ..Company::new(id(), datetime!(2026-01-02 03:04:05.123456789 UTC))
    }
}

fn turn(session: &str, sequence: u64, finished_at: OffsetDateTime) -> StoredTurn {
    let began = finished_at - Duration::seconds(2);
    let record = TurnRecord {
        channel: "web".into(),
        context: serde_json::from_str(r#"{"z":1,"a":[0.1,18446744073709551615,-3]}"#).unwrap(),
        message: format!("Câu hỏi {sequence}\u{2028}"),
        answer: "Đáp [1]".into(),
        finish_reason: FinishReason::Stop,
        language: "vi".parse().ok(),
        finished_at,
        ..TurnRecord::begun(TurnId::generate(), id(), session.parse().unwrap(), began)
    };
    StoredTurn { sequence, record }
}

impl State {
    /// Adds a turn and counts it.
    fn add(&mut self, turn: StoredTurn) {
        let id = turn.record.conversation_id;
        let head = self.heads.remove(&id).unwrap_or_else(|| Conversation::begun_by(&turn.record));
        self.heads.insert(id, head.with(&turn.record));
        self.turns.insert((id, turn.sequence), (turn, None));
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A company with some of everything: conversations that begin and end within pages and at their ends, documents with
/// one passage, with several and with none.
fn source() -> Arc<Memory> {
    let memory = Memory::new(encoder("one"));
    {
        let mut state = memory.state.lock();
        state.companies.insert(id(), company(None));
        state.keys = (1..=2u8)
            .map(|n| ApiKey::issue(id(), KeyScope::Backend, [n; 24], now() - Duration::seconds(n.into())).0)
            .collect();
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap();
        let url = "https://example.com/hook".to_owned();
        state.endpoints = vec![Endpoint::new("ep_1".parse().unwrap(), id(), url, secret, Vec::new(), now())];
        for (name, count) in [("a", 1usize), ("b", 300), ("c", 0), ("d", 2)] {
            let document_id: crate::domain::DocumentId = name.parse().unwrap();
            let passages = (0..count).map(|ordinal| EncodedPassage {
                passage: Passage {
                    document_id: document_id.clone(),
                    ordinal,
                    title: name.into(),
                    url: None,
                    headings: Vec::new(),
                    text: format!("đoạn {ordinal}"),
                    language: "vi".parse().ok(),
                    industry: None,
                },
                dense: (ordinal % 2 == 0).then(|| vec![0.6, -0.8, ordinal as f32 / 3.0]),
                sparse: SparseVector { indices: vec![1, 5], values: vec![0.1 * ordinal as f32, 0.7] },
            });
            state.passages.insert(document_id.clone(), passages.collect());
            state.documents.insert(
                document_id.clone(),
                Document {
                    id: document_id,
                    title: name.into(),
                    url: None,
                    language: None,
                    fingerprint: format!("print of {name}"),
                    collection: Some("folder".into()),
                    passages: count,
                    bytes: 10,
                    updated_at: now(),
                },
            );
        }
        state.made_by = Some(encoder("one"));
        for (session, turns) in [("s1", 1), ("s2", 7), ("s3", 3), ("s4", 2)] {
            (1..=turns).for_each(|sequence| state.add(turn(session, sequence, now())));
        }
    }
    memory
}

async fn export_of(memory: &Arc<Memory>, dir: &Path) -> Result<Exported, Error> {
    export(&memory.backends(), &[scope()], dir, &Silent).await
}

async fn import_into(memory: &Arc<Memory>, dir: &Path) -> Result<Imported, Error> {
    let archive = Archive::open(dir)?;
    archive.check(&id())?;
    import(&archive, &memory.backends(), &scope(), &Mine(memory.encoder.clone()), &Silent).await
}

/// What is kept, in an order that does not depend on who wrote it.
fn kept(memory: &Memory) -> State {
    let mut state = memory.state.lock().clone();
    state.keys.sort_by(|a, b| a.hash.cmp(&b.hash));
    state
}

#[tokio::test]
async fn what_comes_in_is_what_went_out() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    let exported = export_of(&from, dir.path()).await.unwrap();
    let rows = |kind| exported.manifest.companies[0].files[&kind].rows;
    assert_eq!(Kind::ALL.map(rows), [1, 2, 1, 4, 303, 4, 13]);
    assert_eq!(exported.missing, 0);
    let imported = import_into(&to, dir.path()).await.unwrap();
    assert!(imported.comparisons.iter().all(Comparison::agrees), "{:#?}", imported.comparisons);
    assert_eq!(imported.comparisons.len(), Kind::ALL.len());
    assert_eq!(kept(&to), kept(&from));
    // Once more, and again from where it is now, there is nothing to do and nothing changes.
    let again = import_into(&to, dir.path()).await.unwrap();
    assert!(again.comparisons.iter().all(Comparison::agrees));
    assert_eq!(kept(&to), kept(&from));
    let second = tempfile::tempdir().unwrap();
    let back = export_of(&to, second.path()).await.unwrap();
    assert_eq!(back.manifest.companies, exported.manifest.companies);
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    export_of(&from, dir.path()).await.unwrap();
    import_into(&to, dir.path()).await.unwrap();
    // Something that only a further write would put right.
    let document = "b".parse().unwrap();
    to.state.lock().passages.get_mut(&document).unwrap()[0].sparse.values[0] = 7.0;
    let again = import_into(&to, dir.path()).await.unwrap();
    assert_eq!(to.state.lock().passages[&document][0].sparse.values[0], 7.0);
    // It is not hidden either.
    let differing: Vec<Kind> =
        again.comparisons.iter().filter(|comparison| !comparison.agrees()).map(|comparison| comparison.kind).collect();
    assert_eq!(differing, [Kind::Passages]);
    // A register that does not agree with its index is not believed.
    to.state.lock().passages.remove(&"d".parse().unwrap());
    assert!(import_into(&to, dir.path()).await.unwrap().comparisons.iter().all(Comparison::agrees));
    assert_eq!(kept(&to), kept(&from));
}

#[tokio::test]
async fn what_the_target_has_besides_is_a_difference() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    export_of(&from, dir.path()).await.unwrap();
    import_into(&to, dir.path()).await.unwrap();
    to.state.lock().add(turn("s2", 8, now()));
    let again = import_into(&to, dir.path()).await.unwrap();
    let of = |kind| again.comparisons.iter().find(|comparison| comparison.kind == kind).unwrap();
    assert!(!of(Kind::Turns).agrees() && !of(Kind::Conversations).agrees() && of(Kind::Documents).agrees());
    assert_eq!((of(Kind::Turns).exported.rows, of(Kind::Turns).imported.rows), (13, 14));
}

#[tokio::test]
async fn another_company_of_the_same_name_is_not_mixed_with() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    export_of(&from, dir.path()).await.unwrap();
    let mut other = company(None);
    other.created_at += Duration::nanoseconds(1);
    to.state.lock().companies.insert(id(), other);
    let before = kept(&to);
    assert!(matches!(import_into(&to, dir.path()).await, Err(Error::OtherCompany(_))));
    assert_eq!(kept(&to), before);
}

#[tokio::test]
async fn another_encoder_encodes_anew_and_the_texts_are_compared() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("two")));
    export_of(&from, dir.path()).await.unwrap();
    let imported = import_into(&to, dir.path()).await.unwrap();
    assert_eq!(imported.encoded_anew_from, Some(encoder("one")));
    assert!(imported.comparisons.iter().all(Comparison::agrees), "{:#?}", imported.comparisons);
    let all: Vec<EncodedPassage> = to.state.lock().passages.values().flatten().cloned().collect();
    assert!(all.len() == 303 && all.iter().all(|passage| passage.dense.is_none() && passage.sparse.indices == [99]));
    to.state.lock().passages.get_mut(&"a".parse().unwrap()).unwrap()[0].passage.text.push('.');
    let again = import_into(&to, dir.path()).await.unwrap();
    assert!(again.comparisons.iter().any(|comparison| comparison.kind == Kind::Passages && !comparison.agrees()));
}
