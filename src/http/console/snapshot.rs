//! The whole service at a moment, looked at once for all who watch it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::domain::analytics::{Grain, Report};
use crate::http::App;
use crate::http::auth::Visitor;
use crate::http::health::{Answer, Health};
use crate::ports::cluster::Member;
use crate::ports::operations::Books;

/// How long a snapshot is good enough.
const FRESH: Duration = Duration::from_secs(1);
/// How long one of its parts may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// The time that rates are taken over.
const RATES_OVER: Duration = Duration::from_secs(60);
/// Minutes that are counted.
const MINUTES: i64 = 60;

/// The service at a moment. What could not be read is none.
pub(super) struct Snapshot {
    /// Turns that run.
    pub(super) streams: u64,
    /// How the process is.
    pub(super) health: Answer,
    /// The turns of the last hour, by the minute.
    pub(super) report: Option<Report>,
    /// The queues.
    pub(super) books: Option<Books>,
    /// What each queue got done in a second, over the last minute that somebody looked.
    pub(super) rates: BTreeMap<&'static str, f64>,
    /// The processes; none where there can be no other.
    pub(super) members: Option<Vec<Member>>,
}

/// Takes snapshots.
pub(super) struct Snapshots {
    app: Arc<App>,
    health: Arc<Health>,
    last: Cache<(), Arc<Snapshot>>,
    /// What each queue had done at moments of the last minute.
    done: Mutex<VecDeque<(Instant, BTreeMap<&'static str, u64>)>>,
}

impl Snapshots {
    pub(super) fn new(app: Arc<App>, health: Arc<Health>) -> Self {
        let last = Cache::builder().max_capacity(1).time_to_live(FRESH).build();
        Self { app, health, last, done: Mutex::default() }
    }

    /// The service as it is, or was a moment ago.
    pub(super) async fn now(&self) -> Arc<Snapshot> {
        self.last.get_with((), async { Arc::new(self.take().await) }).await
    }

    async fn take(&self) -> Snapshot {
        let (health, report, books, members) = tokio::join!(
            self.health.look(),
            within("the numbers", self.report()),
            within("the queues", async { self.app.operations.books().await.map_err(|error| error.to_string()) }),
            within("the processes", async { self.app.operations.members().await.map_err(|error| error.to_string()) }),
        );
        let rates = books.as_ref().map(|books| self.rates(books)).unwrap_or_default();
        let own = self.app.engine.turns().running() as u64;
        let told = members.iter().flatten().filter_map(|member| member.streams).reduce(|sum, one| sum + one);
        Snapshot { streams: told.unwrap_or(own).max(own), health, report, books, rates, members }
    }

    async fn report(&self) -> Result<Report, String> {
        let app = &self.app;
        let scopes =
            app.gate.visited_together(&Visitor::Operator).await.map_err(|problem| problem.detail().to_owned())?;
        let to = Grain::Minute.floor(OffsetDateTime::now_utc()) + Grain::Minute.length();
        let from = to - time::Duration::minutes(MINUTES);
        let cells = app.analytics.cells_of_several(&scopes, from, to, Grain::Minute).await;
        Ok(Report::of(&cells.map_err(|error| error.to_string())?, from, to, Grain::Minute))
    }

    fn rates(&self, books: &Books) -> BTreeMap<&'static str, f64> {
        let now = Instant::now();
        let done: BTreeMap<_, _> = books.queues.iter().map(|account| (account.queue, account.done)).collect();
        let mut all = self.done.lock();
        all.retain(|(at, _)| now - *at <= RATES_OVER);
        let rates = all.front().map(|(at, before)| {
            let seconds = (now - *at).as_secs_f64();
            let rate = |queue, done: u64| Some((queue, done.checked_sub(*before.get(queue)?)? as f64 / seconds));
            done.iter().filter_map(|(queue, done)| rate(*queue, *done)).collect()
        });
        all.push_back((now, done));
        rates.unwrap_or_default()
    }
}

async fn within<T>(what: &'static str, asked: impl Future<Output = Result<T, String>>) -> Option<T> {
    let error = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(found)) => return Some(found),
        Ok(Err(error)) => error,
        Err(_) => "it takes too long".to_owned(),
    };
    tracing::warn!(what, error, "the console does without");
    None
}
