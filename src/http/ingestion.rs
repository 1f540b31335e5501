//! Documents on their way into the knowledge: taken at once, worked on in the background, one company after the other.
//!
//! Each company has a line of its own, in which things are done in the order they came. Workers go round the companies, so
//! that one with a thousand documents does not keep another one with a single document waiting for longer than those that
//! are being worked on. What waits is bounded, for each company and in all, by number and by size. It is kept in memory: a
//! client whose job is not known any more puts its documents again, which costs nothing for those that have arrived.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::domain::{Company, CompanyId, CompanyScope, DocumentId};
use crate::ports::curator::{Curator, Error, NewDocument, Outcome};
use crate::runtime::tasks;

/// Documents worked on at once, each of another company.
const WORKERS: usize = 2;
/// Documents that wait, of one company and in all.
const WAITING: (usize, usize) = (500, 5_000);
/// What waits, of one company and in all, in bytes.
const BYTES: (usize, usize) = (64 << 20, 256 << 20);
/// Jobs that ended and can still be asked for, of one company.
const ENDED: usize = 200;

/// What is to be done with a document.
pub(super) enum Task {
    /// It is put.
    Put(NewDocument),
    /// It is taken out.
    Remove(DocumentId),
}

impl Task {
    fn id(&self) -> &DocumentId {
        match self {
            Self::Put(document) => &document.id,
            Self::Remove(id) => id,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put(document) => document.content.len(),
            Self::Remove(_) => 0,
        }
    }
}

/// What became of one document so far.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It waits.
    Waiting,
    /// It is worked on.
    Running,
    /// It is done.
    Done(Outcome),
    /// It was not done.
    Failed(Error),
}

impl State {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// Documents that came together.
pub(super) struct Job {
    pub(super) id: Uuid,
    pub(super) company: CompanyId,
    pub(super) created_at: OffsetDateTime,
    progress: watch::Sender<Vec<(DocumentId, State)>>,
}

impl Job {
    /// What became of its documents so far, and whatever becomes of them.
    pub(super) fn progress(&self) -> watch::Receiver<Vec<(DocumentId, State)>> {
        self.progress.subscribe()
    }

    fn set(&self, place: usize, state: State) {
        self.progress.send_modify(|documents| {
            if let Some(document) = documents.get_mut(place) {
                document.1 = state;
            }
        });
    }

    fn has_ended(&self) -> bool {
        has_ended(&self.progress.borrow())
    }
}

/// Whether all of a job's documents have come to their end.
pub(super) fn has_ended(documents: &[(DocumentId, State)]) -> bool {
    documents.iter().all(|(_, state)| state.has_ended())
}

/// Why documents were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The company has as many waiting as it may.
    Company,
    /// As many wait as may.
    All,
    /// The company is being removed.
    Closed,
}

/// A document in line.
struct Work {
    job: Arc<Job>,
    place: usize,
    task: Task,
    company: Arc<Company>,
    scope: CompanyScope,
}

#[derive(Default)]
struct Lines {
    waiting: HashMap<CompanyId, VecDeque<Work>>,
    /// Companies that have something waiting and nothing worked on, the next one first.
    next: VecDeque<CompanyId>,
    running: HashSet<CompanyId>,
    closed: HashSet<CompanyId>,
    /// Each company's jobs, oldest first.
    jobs: HashMap<CompanyId, VecDeque<Arc<Job>>>,
    bytes: HashMap<CompanyId, usize>,
}

impl Lines {
    fn count(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Takes the next document, of the company whose turn it is.
    fn take(&mut self) -> Option<Work> {
        let company = self.next.pop_front()?;
        let work = self.waiting.get_mut(&company)?.pop_front()?;
        if self.waiting.get(&company).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(&company);
        }
        if let Some(bytes) = self.bytes.get_mut(&company) {
            *bytes = bytes.saturating_sub(work.task.bytes());
        }
        self.running.insert(company);
        Some(work)
    }

    fn finish(&mut self, company: &CompanyId) {
        self.running.remove(company);
        if self.waiting.contains_key(company) {
            self.next.push_back(company.clone());
        } else {
            self.bytes.remove(company);
        }
    }

    /// Forgets a company's jobs that ended, but the last ones.
    fn forget_ended(&mut self, company: &CompanyId) {
        let Some(jobs) = self.jobs.get_mut(company) else { return };
        let mut surplus = jobs.iter().filter(|job| job.has_ended()).count().saturating_sub(ENDED);
        jobs.retain(|job| {
            let goes = surplus > 0 && job.has_ended();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// All lines, and those who work on them.
pub struct Ingestion {
    curator: Arc<dyn Curator>,
    lines: Mutex<Lines>,
    changed: Notify,
}

impl Ingestion {
    /// Begins to work.
    pub fn start(curator: Arc<dyn Curator>) -> Arc<Self> {
        let this = Arc::new(Self { curator, lines: Mutex::default(), changed: Notify::new() });
        for _ in 0..WORKERS {
            let this = Arc::clone(&this);
            tasks::spawn("ingest", this.work());
        }
        this
    }

    /// Takes documents, all of them or none.
    ///
    /// # Errors
    /// What is full.
    pub(super) fn take(
        &self,
        scope: &CompanyScope,
        company: &Arc<Company>,
        tasks: Vec<Task>,
    ) -> Result<Arc<Job>, Full> {
        let mut lines = self.lines.lock();
        let bytes: usize = tasks.iter().map(Task::bytes).sum();
        let of_company = lines.waiting.get(&company.id).map_or(0, VecDeque::len);
        let bytes_of_company = lines.bytes.get(&company.id).copied().unwrap_or_default();
        if lines.closed.contains(&company.id) {
            return Err(Full::Closed);
        }
        // What is larger than the limit is taken when nothing else waits.
        let too_much = |waiting: usize, bytes: usize, held: usize, limit: usize| waiting > 0 && held + bytes > limit;
        if of_company + tasks.len() > WAITING.0 || too_much(of_company, bytes, bytes_of_company, BYTES.0) {
            return Err(Full::Company);
        }
        let (all, all_bytes) = (lines.count(), lines.bytes.values().sum());
        if all + tasks.len() > WAITING.1 || too_much(all, bytes, all_bytes, BYTES.1) {
            return Err(Full::All);
        }
        let documents = tasks.iter().map(|task| (task.id().clone(), State::Waiting)).collect();
        let job = Arc::new(Job {
            id: Uuid::now_v7(),
            company: company.id.clone(),
            created_at: OffsetDateTime::now_utc(),
            progress: watch::Sender::new(documents),
        });
        let works = tasks.into_iter().enumerate().map(|(place, task)| Work {
            job: Arc::clone(&job),
            place,
            task,
            company: Arc::clone(company),
            scope: scope.clone(),
        });
        lines.waiting.entry(company.id.clone()).or_default().extend(works);
        *lines.bytes.entry(company.id.clone()).or_default() += bytes;
        lines.jobs.entry(company.id.clone()).or_default().push_back(Arc::clone(&job));
        lines.forget_ended(&company.id);
        if of_company == 0 && !lines.running.contains(&company.id) {
            lines.next.push_back(company.id.clone());
        }
        drop(lines);
        self.changed.notify_one();
        Ok(job)
    }

    /// A job of the company, if it is known still.
    pub(super) fn job(&self, scope: &CompanyScope, id: Uuid) -> Option<Arc<Job>> {
        self.lines.lock().jobs.get(scope.company())?.iter().find(|job| job.id == id).cloned()
    }

    /// What works on the knowledge.
    pub(super) fn curator(&self) -> &dyn Curator {
        self.curator.as_ref()
    }

    /// Drops what waits of a company that is being removed and takes nothing more; resolves when nothing of it is worked on.
    pub(super) async fn close(&self, company: &CompanyId) {
        {
            let mut lines = self.lines.lock();
            lines.closed.insert(company.clone());
            lines.waiting.remove(company);
            lines.bytes.remove(company);
            lines.jobs.remove(company);
            lines.next.retain(|next| next != company);
        }
        loop {
            let changed = self.changed.notified();
            if !self.lines.lock().running.contains(company) {
                // Whoever it was that was told may be waited for.
                self.changed.notify_one();
                return;
            }
            // A worker that ends tells one that waits; it is looked again in any case.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), changed).await;
        }
    }

    /// A company that was removed may come again.
    pub(super) fn reopen(&self, company: &CompanyId) {
        self.lines.lock().closed.remove(company);
    }

    async fn work(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            let taken = self.lines.lock().take();
            let Some(work) = taken else {
                changed.await;
                continue;
            };
            let this = Arc::clone(&self);
            // A panic, which has been logged, ends the work on that document alone.
            let _ = tasks::spawn("ingest document", async move { this.work_on(work).await }).await;
        }
    }

    async fn work_on(&self, work: Work) {
        let Work { job, place, task, company, scope } = work;
        job.set(place, State::Running);
        // The place in the line is given back also when this panics.
        let _done = Finished { ingestion: self, job: &job, place };
        let result = match task {
            Task::Put(document) => self.curator.put(&scope, &company, document).await,
            Task::Remove(id) => self.curator.remove(&scope, &company, &id).await,
        };
        let outcome = if result.is_ok() { "done" } else { "failed" };
        metrics::counter!("turnpike_ingested_documents_total", "outcome" => outcome).increment(1);
        job.set(place, result.map_or_else(State::Failed, State::Done));
    }
}

struct Finished<'a> {
    ingestion: &'a Ingestion,
    job: &'a Job,
    place: usize,
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        let is_open = self.job.progress.borrow().get(self.place).is_some_and(|(_, state)| !state.has_ended());
        if is_open {
            self.job.set(self.place, State::Failed(Error::Unavailable("it broke off".to_owned())));
        }
        self.ingestion.lines.lock().finish(&self.job.company);
        self.ingestion.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
