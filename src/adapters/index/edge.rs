//! The embedded knowledge index: one `qdrant-edge` shard per company, in a folder of its own.
//!
//! The engine is synchronous, so everything here runs on blocking threads. A company's shard is opened when it is first
//! asked for and closed again when too many others were asked for since. What one company's shard does, or fails to do,
//! touches no other's: they share nothing but the list of who is open.

mod company;
mod files;
mod folder;
mod journal;
mod shard;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use self::company::CompanyIndex;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::{CompanyId, CompanyScope, DocumentId};
use crate::ports::index::{Contents, Encoder, Error, Hit, KnowledgeIndex, Query};

/// How the embedded index uses the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Shards that stay open at once. Those in use stay open beyond it.
    pub open_shards: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { open_shards: 64 }
    }
}

/// Passages in `qdrant-edge` shards below one folder. Clones share the shards.
#[derive(Clone, Debug)]
pub struct EdgeIndex(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    encoder: Encoder,
    open_shards: usize,
    clock: AtomicU64,
    companies: Mutex<HashMap<CompanyId, Arc<CompanyIndex>>>,
}

impl EdgeIndex {
    /// The index below `dir`, read and written by vectors of `encoder`. Nothing is opened yet.
    pub fn new(dir: PathBuf, encoder: Encoder, settings: Settings) -> Self {
        let open_shards = settings.open_shards.max(1);
        let (clock, companies) = (AtomicU64::new(0), Mutex::new(HashMap::new()));
        Self(Arc::new(Shared { dir, encoder, open_shards, clock, companies }))
    }

    /// Shards open now.
    pub fn open_shards(&self) -> usize {
        self.0.companies.lock().values().filter(|company| company.is_open()).count()
    }

    async fn on<T, F>(&self, scope: &CompanyScope, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&CompanyIndex) -> Result<T, Error> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        let company = shared.company(scope.company());
        blocking(move || {
            let was_open = company.is_open();
            let outcome = job(&company);
            if !was_open {
                shared.close_oldest();
            }
            outcome
        })
        .await
    }
}

impl Shared {
    fn company(&self, id: &CompanyId) -> Arc<CompanyIndex> {
        let mut companies = self.companies.lock();
        let company = companies.entry(id.clone()).or_insert_with(|| {
            Arc::new(CompanyIndex::new(id.clone(), self.dir.join(id.as_str()), self.encoder.clone()))
        });
        company.used_at.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Arc::clone(company)
    }

    /// Closes the shards that were not asked for the longest, as many as are too many. Closing flushes, so the list is
    /// not locked meanwhile.
    fn close_oldest(&self) {
        let mut open: Vec<_> = self.companies.lock().values().filter(|company| company.is_open()).cloned().collect();
        open.sort_by_key(|company| company.used_at.load(Ordering::Relaxed));
        for company in open.iter().take(open.len().saturating_sub(self.open_shards)) {
            company.close_if_idle();
        }
    }
}

async fn blocking<T, F>(job: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(job).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::Failed(format!("its thread ended: {error}"))),
    }
}

#[async_trait]
impl KnowledgeIndex for EdgeIndex {
    async fn replace(
        &self,
        scope: &CompanyScope,
        documents: Vec<(DocumentId, Vec<EncodedPassage>)>,
    ) -> Result<(), Error> {
        self.on(scope, move |company| company.replace(documents)).await
    }

    async fn remove(&self, scope: &CompanyScope, documents: &[DocumentId]) -> Result<(), Error> {
        let documents = documents.to_vec();
        self.on(scope, move |company| company.remove(documents)).await
    }

    async fn search(&self, scope: &CompanyScope, query: &Query) -> Result<Vec<Hit>, Error> {
        let query = query.clone();
        self.on(scope, move |company| company.search(&query)).await
    }

    async fn contents(&self, scope: &CompanyScope) -> Result<Contents, Error> {
        self.on(scope, CompanyIndex::contents).await
    }

    async fn passages(&self, scope: &CompanyScope) -> Result<Vec<Passage>, Error> {
        self.on(scope, CompanyIndex::passages).await
    }

    async fn encoded(&self, scope: &CompanyScope) -> Result<Vec<EncodedPassage>, Error> {
        self.on(scope, CompanyIndex::encoded).await
    }

    async fn optimize(&self, scope: &CompanyScope) -> Result<(), Error> {
        self.on(scope, CompanyIndex::optimize).await
    }

    async fn rebuild(&self, scope: &CompanyScope, passages: Vec<EncodedPassage>) -> Result<(), Error> {
        self.on(scope, move |company| company.rebuild(&passages)).await
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<usize, Error> {
        self.on(scope, CompanyIndex::erase).await
    }

    /// Each company has a shard of its own.
    async fn is_isolated(&self) -> Result<bool, Error> {
        Ok(true)
    }

    async fn check(&self) -> Result<(), Error> {
        let dir = self.0.dir.clone();
        blocking(move || files::check_writable(&dir)).await
    }
}
