//! The role of a worker: the jobs that store, deliver and count, and the upkeep that goes with them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::stores::Stores;
use crate::adapters::webhook::HttpSender;
use crate::config::Settings;
use crate::jobs::analytics::Analytics;
use crate::jobs::deliver::{Deliver, Share};
use crate::jobs::persist::{Persist, Returning};
use crate::jobs::{retention, runner};
use crate::ports::bus::Bus;
use crate::ports::cluster::{Cluster, Member};
use crate::runtime::tasks;

/// Between two looks for messages that were lost on their way.
const SWEEP: Duration = Duration::from_secs(10);
/// A sweep takes one part in so many of the time, at most.
const SWEEP_SHARE: u32 = 10;
/// Between two looks for turns that are kept no longer.
const EXPIRE: Duration = Duration::from_secs(3600);

/// Between two counts of the workers that deliver.
const COUNT: Duration = Duration::from_secs(3);
/// Who was not heard of for so long is not counted.
const HEARD_OF: Duration = Duration::from_secs(10);

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Storing turns.
    Persist,
    /// Delivering webhooks.
    Deliver,
    /// Counting turns.
    Analytics,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Persist, Self::Deliver, Self::Analytics];
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persist => "persist",
            Self::Deliver => "deliver",
            Self::Analytics => "analytics",
        })
    }
}

impl FromStr for JobKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| format!("there is no job {name:?}; write persist, deliver or analytics"))
    }
}

/// Jobs at work.
pub struct Workers {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Option<()>>>,
}

impl Workers {
    /// Starts jobs.
    ///
    /// # Errors
    /// When the HTTP client of webhooks cannot be set up.
    pub fn start(settings: &Settings, stores: &Stores, bus: &Arc<dyn Bus>, kinds: &[JobKind]) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut running = Vec::new();
        for kind in kinds {
            let (bus, stop) = (Arc::clone(bus), stop.clone());
            running.push(match kind {
                JobKind::Persist => {
                    let store = Arc::clone(&stores.conversations);
                    let expire =
                        retention::run(Arc::clone(&store), Arc::clone(&stores.deliveries), EXPIRE, stop.clone());
                    tasks::spawn("retention", expire);
                    let returning = if settings.bus.is_shared() { Returning::Anywhere } else { Returning::Here };
                    let persist = Persist::new(store, Arc::clone(&stores.directory), &settings.jobs, returning);
                    tasks::spawn("persist", runner::run(Arc::new(persist), bus, stop))
                }
                JobKind::Deliver => {
                    let sender = HttpSender::new(&settings.webhooks).context("setting up the client of webhooks")?;
                    let directory = Arc::clone(&stores.directory);
                    let (log, share) = (Arc::clone(&stores.deliveries), Share::whole());
                    if let Some(cluster) = stores.cluster() {
                        tasks::spawn("share", shared(cluster, share.clone(), stop.clone()));
                    }
                    let (webhooks, jobs) = (&settings.webhooks, &settings.jobs);
                    let deliver = Deliver::new(directory, log, Arc::new(sender), share, webhooks, jobs);
                    let shared = stores.shared.as_ref().filter(|_| settings.bus.is_shared());
                    let deliver = match shared {
                        Some(shared) => deliver.among_others(Arc::clone(&shared.leases)),
                        None => deliver,
                    };
                    tasks::spawn("sweep", sweep(Arc::clone(&bus), stop.clone()));
                    if let Some(keep) = settings.jobs.keep_dead {
                        tasks::spawn("forget", forget(Arc::clone(&bus), keep, stop.clone()));
                    }
                    tasks::spawn("deliver", runner::run(Arc::new(deliver), bus, stop))
                }
                JobKind::Analytics => {
                    let (numbers, directory) = (Arc::clone(&stores.analytics), Arc::clone(&stores.directory));
                    let analytics = Analytics::new(numbers, directory, &settings.jobs);
                    tasks::spawn("analytics", runner::run(Arc::new(analytics), bus, stop))
                }
            });
        }
        Ok(Self { stop, tasks: running })
    }

    /// Lets the jobs finish what they hold.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has been logged.
            let _ = task.await;
        }
    }
}

async fn sweep(bus: Arc<dyn Bus>, stop: CancellationToken) {
    let mut pause = SWEEP;
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        let begun = Instant::now();
        match bus.sweep().await {
            Ok(0) => {}
            Ok(messages) => tracing::warn!(messages, "messages were not heard of in time; they were published again"),
            Err(error) => tracing::debug!(%error, "messages that are overdue cannot be looked for"),
        }
        // Books that are slow have enough to do: what is overdue is most likely on its way.
        pause = SWEEP.max(begun.elapsed() * SWEEP_SHARE);
    }
}

/// Keeps count of the workers that deliver, this one among them.
async fn shared(cluster: Arc<dyn Cluster>, share: Share, stop: CancellationToken) {
    loop {
        match cluster.members().await {
            Ok(members) => {
                let since = OffsetDateTime::now_utc() - HEARD_OF;
                let delivers = |member: &&Member| member.jobs.iter().any(|job| *job == JobKind::Deliver.to_string());
                share.among(members.iter().filter(delivers).filter(|member| member.seen_at >= since).count());
            }
            Err(error) => tracing::debug!(%error, "the workers that deliver cannot be counted"),
        }
        if tokio::time::timeout(COUNT, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Removes what was given up long ago, now and every hour.
async fn forget(bus: Arc<dyn Bus>, keep: Duration, stop: CancellationToken) {
    loop {
        match bus.expire(OffsetDateTime::now_utc() - keep).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "messages that were given up long ago were forgotten"),
            Err(error) => tracing::warn!(%error, "what was given up long ago could not be removed; tried again"),
        }
        if tokio::time::timeout(EXPIRE, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}
