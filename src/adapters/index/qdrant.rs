//! The knowledge index on a Qdrant server: one collection for all companies.
//!
//! Every point names its company, and every request that reads or writes points is filtered by it. Rankings are those
//! of the embedded index: the same sparse encoder, the same fusion, and word frequencies counted per company where the
//! server can (1.19).

mod client;
mod company;
mod marker;
mod points;
mod schema;
mod search;
mod version;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::sync::Cache;
use qdrant_client::qdrant::CollectionStatus;
use tokio::time::Instant;

use self::client::Client;
use self::company::CompanyPoints;
use self::marker::Marker;
use self::schema::Schema;
use self::search::{Answer, Question};
use self::version::Version;
use crate::config::Secret;
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::{CompanyId, CompanyScope, DocumentId};
use crate::ports::index::{Contents, Encoder, Error, Hit, KnowledgeIndex, Query};

/// Companies whose marker is remembered.
const REMEMBERED: u64 = 10_000;
/// Times that a question is asked again because the index was replaced meanwhile.
const TRIES: usize = 4;
/// How long [`KnowledgeIndex::optimize`] waits for the server, which goes on by itself afterwards.
const OPTIMIZE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// Where the server is and how it is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its gRPC address, `http://` or `https://`. Port 6333, which is that of REST, means 6334, and so does none.
    pub url: String,
    /// Its key, if it asks for one.
    pub api_key: Option<Secret>,
    /// The collection.
    pub collection: String,
    /// Longest wait for a read.
    pub timeout: Duration,
    /// Longest wait for a write, which the server answers when it is applied.
    pub write_timeout: Duration,
    /// Points in one write, at least 1.
    pub batch: usize,
}

impl Settings {
    /// The defaults for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api_key: None,
            collection: "turnpike".to_owned(),
            timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(30),
            batch: 128,
        }
    }
}

/// What the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it is, without credentials.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Whether another company's documents leave a company's scores alone. Servers before 1.19 count how rare a word is
    /// over all companies.
    pub is_ranking_isolated: bool,
}

/// Passages in a collection of a Qdrant server. Clones share the connections.
#[derive(Clone, Debug)]
pub struct QdrantIndex(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    encoder: Encoder,
    batch: usize,
    markers: Cache<CompanyId, Arc<Marker>>,
}

impl QdrantIndex {
    /// The index in a server's collection, read and written by vectors of `encoder`. Connects when it is first asked.
    ///
    /// # Errors
    /// `Unavailable` when address or key cannot be used.
    pub fn open(settings: &Settings, encoder: Encoder) -> Result<Self, Error> {
        let client = Client::new(settings)?;
        let (batch, markers) = (settings.batch.max(1), Cache::new(REMEMBERED));
        Ok(Self(Arc::new(Shared { client, encoder, batch, markers })))
    }

    /// Makes the collection what `migrations/qdrant` describes, for dense vectors of this length, or of the encoder's
    /// when none is given. Says what was done; doing it again does nothing.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be asked or is too old, `Failed` when there is a collection of that name
    /// that cannot be used, as for another length of vectors.
    pub async fn migrate(&self, dimensions: Option<usize>) -> Result<Vec<String>, Error> {
        let version = self.version().await?;
        Schema::read()?.apply(&self.0.client, dimensions.or(self.dimensions()), &version).await
    }

    /// What [`Self::migrate`] would do.
    ///
    /// # Errors
    /// As of `migrate`.
    pub async fn pending(&self) -> Result<Vec<String>, Error> {
        self.version().await?;
        Schema::read()?.pending(&self.0.client, self.dimensions()).await
    }

    /// What the server is.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be asked or is too old.
    pub async fn describe(&self) -> Result<Description, Error> {
        let version = self.version().await?;
        Ok(Description {
            address: self.0.client.address().to_owned(),
            is_ranking_isolated: version.isolates_ranking(),
            version: version.text,
        })
    }

    async fn version(&self) -> Result<Version, Error> {
        let reply = self.0.client.read("health", |server| async move { server.health_check().await }).await?;
        Version::parse(&reply.version)
    }

    fn dimensions(&self) -> Option<usize> {
        self.0.encoder.dense.as_ref().map(|dense| dense.dimensions)
    }

    fn of<'a>(&'a self, scope: &'a CompanyScope) -> CompanyPoints<'a> {
        let Shared { client, encoder, batch, .. } = &*self.0;
        CompanyPoints { client, company: scope.company(), encoder, batch: *batch }
    }

    /// The company's marker, remembered or asked for.
    async fn marker(&self, company: &CompanyId) -> Result<Option<Arc<Marker>>, Error> {
        if let Some(marker) = self.0.markers.get(company) {
            return Ok(Some(marker));
        }
        self.fresh_marker(company).await
    }

    async fn fresh_marker(&self, company: &CompanyId) -> Result<Option<Arc<Marker>>, Error> {
        let marker = Marker::read(&self.0.client, company).await?;
        Ok(self.remember(company, marker))
    }

    fn remember(&self, company: &CompanyId, marker: Option<Marker>) -> Option<Arc<Marker>> {
        let marker = marker.map(Arc::new);
        match &marker {
            Some(marker) => self.0.markers.insert(company.clone(), Arc::clone(marker)),
            None => self.0.markers.invalidate(company),
        }
        marker
    }

    /// Whether an index can be read by the encoder in use.
    fn is_readable(&self, marker: &Marker) -> bool {
        let (made_by, current) = (&marker.encoder, &self.0.encoder);
        let is_other_model = made_by.dense.is_some() && current.dense.is_some() && made_by.dense != current.dense;
        made_by.sparse == current.sparse && !is_other_model
    }
}

#[async_trait]
impl KnowledgeIndex for QdrantIndex {
    async fn replace(
        &self,
        scope: &CompanyScope,
        documents: Vec<(DocumentId, Vec<EncodedPassage>)>,
    ) -> Result<(), Error> {
        self.of(scope).replace(documents).await
    }

    async fn remove(&self, scope: &CompanyScope, documents: &[DocumentId]) -> Result<(), Error> {
        self.of(scope).remove(documents).await
    }

    async fn search(&self, scope: &CompanyScope, query: &Query) -> Result<Vec<Hit>, Error> {
        let company = scope.company();
        let Some(mut marker) = self.marker(company).await? else { return Ok(Vec::new()) };
        if !self.is_readable(&marker) {
            // What is remembered may be outdated, and then nothing else would ever tell.
            let Some(fresh) = self.fresh_marker(company).await? else { return Ok(Vec::new()) };
            marker = fresh;
        }
        for _ in 0..TRIES {
            if !self.is_readable(&marker) {
                return Err(self.of(scope).mismatch(&marker));
            }
            let has_dense = marker.encoder.dense.is_some() && self.0.encoder.dense.is_some();
            if let Some(vector) = query.dense.as_ref().filter(|_| has_dense) {
                self.of(scope).require_length(vector)?;
            }
            let question = Question { client: &self.0.client, company, marker: &marker, query, has_dense };
            match question.ask().await? {
                Answer::Hits(hits) => return Ok(hits),
                Answer::Outdated(now) => match self.remember(company, now) {
                    Some(now) => marker = now,
                    None => return Ok(Vec::new()),
                },
            }
        }
        Err(Error::Unavailable(format!("the index of company {company} is replaced again and again")))
    }

    async fn contents(&self, scope: &CompanyScope) -> Result<Contents, Error> {
        self.of(scope).contents().await
    }

    async fn passages(&self, scope: &CompanyScope) -> Result<Vec<Passage>, Error> {
        let found = self.of(scope).list(false).await?;
        let mut passages =
            found.into_iter().map(|point| points::passage(point.payload)).collect::<Result<Vec<_>, _>>()?;
        passages.sort_unstable_by(|a, b| (&a.document_id, a.ordinal).cmp(&(&b.document_id, b.ordinal)));
        Ok(passages)
    }

    async fn encoded(&self, scope: &CompanyScope) -> Result<Vec<EncodedPassage>, Error> {
        let found = self.of(scope).list(true).await?;
        let mut encoded = found.into_iter().map(points::encoded_passage).collect::<Result<Vec<_>, _>>()?;
        encoded.sort_unstable_by(|a, b| {
            (&a.passage.document_id, a.passage.ordinal).cmp(&(&b.passage.document_id, b.passage.ordinal))
        });
        Ok(encoded)
    }

    /// The server builds graphs by itself; this waits for it, within a bound. Searches are right meanwhile, and slower.
    async fn optimize(&self, _scope: &CompanyScope) -> Result<(), Error> {
        let deadline = Instant::now() + OPTIMIZE;
        while let Some(info) = schema::collection(&self.0.client).await? {
            if info.status() != CollectionStatus::Yellow || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn rebuild(&self, scope: &CompanyScope, passages: Vec<EncodedPassage>) -> Result<(), Error> {
        self.of(scope).rebuild(passages).await
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<usize, Error> {
        let passages = self.of(scope).erase().await?;
        self.0.markers.invalidate(scope.company());
        Ok(passages)
    }

    async fn is_isolated(&self) -> Result<bool, Error> {
        Ok(self.version().await?.isolates_ranking())
    }

    async fn check(&self) -> Result<(), Error> {
        self.version().await?;
        let name = self.0.client.collection.clone();
        let exists = self.0.client.read("exists", |server| async move { server.collection_exists(name).await });
        if exists.await? {
            return Ok(());
        }
        let Client { collection, .. } = &self.0.client;
        Err(Error::Unavailable(format!(
            "{} has no collection {collection}; run `turnpike migrate`",
            self.0.client.address()
        )))
    }
}
