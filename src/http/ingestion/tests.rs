use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::domain::knowledge::{Document, Passage};
use crate::ports::curator::Format;

/// Writes down what was done, and takes its time.
#[derive(Default)]
struct Slow(Mutex<Vec<String>>);

#[async_trait]
impl Curator for Slow {
    async fn put(&self, scope: &CompanyScope, _: &Company, document: NewDocument) -> Result<Outcome, Error> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_ne!(document.id.as_str(), "panics");
        self.0.lock().push(format!("{}/{}", scope.company(), document.id));
        match document.id.as_str() {
            "bad" => Err(Error::Unreadable { code: "binary", reason: "no text".to_owned() }),
            _ => Ok(Outcome::Added),
        }
    }

    async fn remove(&self, scope: &CompanyScope, _: &Company, id: &DocumentId) -> Result<Outcome, Error> {
        self.0.lock().push(format!("{}/-{id}", scope.company()));
        Ok(Outcome::Removed)
    }

    async fn documents(&self, _: &CompanyScope) -> Result<Vec<Document>, Error> {
        Ok(Vec::new())
    }

    async fn document(&self, _: &CompanyScope, _: &DocumentId) -> Result<Option<(Document, Vec<Passage>)>, Error> {
        Ok(None)
    }
}

fn company(id: &str) -> (CompanyScope, Arc<Company>) {
    let company: Company = serde_json::from_value(serde_json::json!({
        "id": id, "name": id, "industry": null, "languages": [], "pipeline": null, "description": null,
        "created_at": "2026-11-20T10:00:00Z",
    }))
    .unwrap();
    (CompanyScope::granted(company.id.clone()), Arc::new(company))
}

fn put(id: &str, bytes: usize) -> Task {
    Task::Put(NewDocument {
        id: id.parse().unwrap(),
        format: Format::Media("text/plain".to_owned()),
        content: vec![b'x'; bytes],
        title: None,
        url: None,
        language: None,
    })
}

async fn ended(job: &Job) -> Vec<(DocumentId, State)> {
    let mut progress = job.progress();
    progress.wait_for(|documents| has_ended(documents)).await.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn one_companys_thousand_documents_do_not_keep_another_waiting() {
    let slow = Arc::new(Slow::default());
    let ingestion = Ingestion::start(slow.clone());
    let ((a, company_a), (b, company_b)) = (company("a"), company("b"));
    let many = (0..300).map(|n| put(&n.to_string(), 1)).collect();
    let long = ingestion.take(&a, &company_a, many).unwrap();
    let short = ingestion.take(&b, &company_b, vec![put("1", 1)]).unwrap();
    ended(&short).await;
    assert!(slow.0.lock().len() < 5, "{:?}", slow.0.lock().len());
    // Each company's own are done in their order.
    let documents = ended(&long).await;
    assert!(documents.iter().all(|(_, state)| matches!(state, State::Done(Outcome::Added))));
    let order: Vec<String> = slow.0.lock().iter().filter(|done| done.starts_with("a/")).cloned().collect();
    assert_eq!(order, (0..300).map(|n| format!("a/{n}")).collect::<Vec<_>>());
    assert!(ingestion.job(&a, long.id).is_some() && ingestion.job(&b, long.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_panics_fails_alone() {
    let ingestion = Ingestion::start(Arc::new(Slow::default()));
    let (a, of_a) = company("a");
    let job = ingestion.take(
        &a,
        &of_a,
        vec![put("bad", 1), put("good", 1), Task::Remove("good".parse().unwrap()), put("panics", 1), put("last", 1)],
    );
    let documents = ended(&job.unwrap()).await;
    assert!(matches!(documents[3].1, State::Failed(Error::Unavailable(_))));
    assert!(matches!(documents[4].1, State::Done(Outcome::Added)));
    assert!(matches!(documents[0].1, State::Failed(Error::Unreadable { code: "binary", .. })));
    assert!(matches!(documents[1].1, State::Done(Outcome::Added)));
    assert!(matches!(documents[2].1, State::Done(Outcome::Removed)));
}

#[tokio::test(start_paused = true)]
async fn lines_are_bounded_and_closed_for_a_company_that_goes() {
    let slow = Arc::new(Slow::default());
    let ingestion = Ingestion::start(slow.clone());
    let ((a, of_a), (b, of_b)) = (company("a"), company("b"));
    let many = |count: usize| (0..count).map(|n| put(&n.to_string(), 1)).collect::<Vec<_>>();
    assert_eq!(ingestion.take(&a, &of_a, many(WAITING.0 + 1)).err(), Some(Full::Company));
    let first = ingestion.take(&a, &of_a, vec![put("large", BYTES.0 + 1)]);
    assert!(first.is_ok(), "alone it may be as large as documents may be");
    assert_eq!(ingestion.take(&a, &of_a, vec![put("more", 1)]).err(), Some(Full::Company));
    assert!(ingestion.take(&b, &of_b, many(3)).is_ok());
    ingestion.close(&a.company().clone()).await;
    let done = slow.0.lock().len();
    assert_eq!(ingestion.take(&a, &of_a, many(1)).err(), Some(Full::Closed));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let later: Vec<String> = slow.0.lock().iter().skip(done).filter(|done| done.starts_with("a/")).cloned().collect();
    assert_eq!(later, [""; 0]);
    ingestion.reopen(a.company());
    let again = ingestion.take(&a, &of_a, many(1)).unwrap();
    ended(&again).await;
}
