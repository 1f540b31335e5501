//! A process of the service: a gateway, a worker, or both in one, with or without the HTTP face, and how it goes down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::curator::Knowledge;
use super::erase::Eraser;
use super::gateway::Gateway;
use super::known;
use super::membership;
use super::operations::Operator;
use super::parts::{self, Parts, Purpose};
use super::stores::Stores;
use super::trial::WebhookTrial;
use super::workers::{JobKind, Workers};
use crate::adapters::peer::HttpPeer;
use crate::config::Settings;
use crate::domain::CompanyId;
use crate::http::auth::Gate;
use crate::http::health::Health;
use crate::http::ingestion::Ingestion;
use crate::http::listings::Listings;
use crate::http::{self, App};
use crate::pipeline::engine::Engine;
use crate::ports::bus::{Bus, Queue};
use crate::ports::cluster::Member;
use crate::runtime::{tasks, telemetry};
use crate::spool::Spool;

/// How often turns that ended long ago are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Whether it runs turns.
    pub is_gateway: bool,
    /// The jobs that it does.
    pub jobs: Vec<JobKind>,
}

impl Roles {
    /// Everything.
    pub fn all() -> Self {
        Self { is_gateway: true, jobs: JobKind::ALL.to_vec() }
    }

    /// What a command does that runs turns besides a service: with a bus of its own nobody else does the jobs.
    pub fn of_command(settings: &Settings) -> Self {
        if settings.bus.is_shared() { Self { is_gateway: true, jobs: Vec::new() } } else { Self::all() }
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if self.is_gateway {
            names.push("gateway".to_owned());
        }
        if !self.jobs.is_empty() {
            names.push("worker".to_owned());
        }
        names
    }
}

/// What a process has open.
pub struct Open {
    stores: Stores,
    bus: Arc<dyn Bus>,
    /// What only a gateway has.
    parts: Option<Parts>,
}

impl Open {
    /// Opens what the roles need. `what` says to others who has the data directory.
    ///
    /// # Errors
    /// When a part cannot be opened.
    pub async fn new(settings: &Arc<Settings>, roles: &Roles, what: &str) -> anyhow::Result<Self> {
        if roles.is_gateway {
            return Ok(Parts::open(settings, what, Purpose::Turns).await?.into());
        }
        let stores = Stores::open(settings)?;
        let bus = parts::bus(settings, &stores)?;
        Ok(Self { stores, bus, parts: None })
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What only a gateway has.
    pub fn parts(&self) -> Option<&Parts> {
        self.parts.as_ref()
    }
}

impl From<Parts> for Open {
    fn from(parts: Parts) -> Self {
        Self { stores: parts.stores.clone(), bus: Arc::clone(&parts.bus), parts: Some(parts) }
    }
}

/// A service that runs.
pub struct Service {
    settings: Arc<Settings>,
    open: Open,
    gateway: Option<Gateway>,
    workers: Workers,
    stop_reports: CancellationToken,
    reports: Option<JoinHandle<Option<()>>>,
}

impl Service {
    /// Starts what the roles name. `url` is where other gateways reach this process.
    ///
    /// # Errors
    /// When the spool cannot be read or written, or a client cannot be set up.
    pub async fn start(
        settings: Arc<Settings>,
        open: Open,
        roles: &Roles,
        url: Option<String>,
    ) -> anyhow::Result<Self> {
        let gateway = match open.parts() {
            Some(parts) => Some(Gateway::start(&settings, parts, url.clone()).await?),
            None => None,
        };
        let workers = Workers::start(&settings, &open.stores, &open.bus, &roles.jobs)?;
        let stop_reports = CancellationToken::new();
        let reports = match open.stores.cluster() {
            Some(cluster) => {
                let now = OffsetDateTime::now_utc();
                let member = Member {
                    id: membership::id(open.parts().map(|parts| &parts.dir))?,
                    roles: roles.names(),
                    jobs: roles.jobs.iter().map(ToString::to_string).collect(),
                    url,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    started_at: now,
                    seen_at: now,
                    turns: None,
                    streams: None,
                };
                let gateway = gateway.as_ref().map(|gateway| (gateway.spool.clone(), Arc::clone(&gateway.engine)));
                let report = membership::report(cluster, member, gateway, stop_reports.clone());
                Some(tasks::spawn("report", report))
            }
            None => None,
        };
        Ok(Self { settings, open, gateway, workers, stop_reports, reports })
    }

    /// Runs turns, for a gateway.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.gateway.as_ref().map(|gateway| &gateway.engine)
    }

    /// Serves HTTP until `shutdown`, then goes down in order: streams, spool, jobs.
    ///
    /// # Errors
    /// When a client cannot be set up.
    pub async fn serve(
        self,
        listener: TcpListener,
        metrics: PrometheusHandle,
        questions: HashMap<CompanyId, Vec<String>>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let spool = self.gateway.as_ref().map(|gateway| gateway.spool.clone());
        let engine = self.engine().cloned();
        let health = Arc::new(Health {
            store: self.open.stores.conversations.clone(),
            bus: self.open.bus.clone(),
            engine: engine.clone(),
            metrics: metrics.clone(),
            observe: Box::new(move || spool.iter().for_each(observe)),
        });
        let (router, keeper) = match &engine {
            Some(engine) => {
                let app = self.app(engine, questions)?;
                let keeper = self.keep_known(&app.gate).await;
                (http::router(Arc::new(app), health), keeper)
            }
            None => (http::health_router(health), None),
        };
        let upkeep = tasks::spawn("upkeep", upkeep(engine.clone(), Arc::clone(&self.settings), metrics));
        let signal = shutdown.clone();
        let closer = tasks::spawn("close", async move {
            signal.cancelled().await;
            if let Some(engine) = engine {
                engine.close();
            }
        });
        http::server::run(listener, router, self.settings.server.clone(), shutdown).await;
        closer.abort();
        upkeep.abort();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        self.stop().await;
        Ok(())
    }

    /// Keeps what the gate knows over a restart, where the directory is in no file of this process.
    async fn keep_known(&self, gate: &Arc<Gate>) -> Option<JoinHandle<Option<()>>> {
        let stores = &self.open.stores;
        let (_, parts) = stores.cluster().zip(self.open.parts())?;
        let path = parts.dir.known();
        known::recall(gate, &path).await;
        Some(tasks::spawn("known", known::keep(Arc::clone(gate), stores.directory.clone(), path)))
    }

    fn app(&self, engine: &Arc<Engine>, questions: HashMap<CompanyId, Vec<String>>) -> anyhow::Result<App> {
        let (stores, settings) = (&self.open.stores, &self.settings);
        let upstreams = super::models::upstreams(settings)?;
        let (parts, gateway) = self.open.parts().zip(self.gateway.as_ref()).context("this process is no gateway")?;
        Ok(App {
            settings: Arc::clone(settings),
            engine: Arc::clone(engine),
            gate: Arc::new(Gate::new(stores.directory.clone(), settings)),
            directory: stores.directory.clone(),
            store: stores.conversations.clone(),
            analytics: stores.analytics.clone(),
            deliveries: stores.deliveries.clone(),
            peer: Arc::new(HttpPeer::new()?),
            listings: Listings::new(&upstreams, settings.models.catalog_cache),
            upstreams,
            erasure: Arc::new(Eraser {
                stores: stores.clone(),
                bus: Arc::clone(&self.open.bus),
                is_shared: settings.bus.is_shared(),
                index: parts.index.clone(),
                engine: Arc::clone(engine),
                spool: gateway.spool.clone(),
            }),
            operations: Arc::new(Operator {
                stores: stores.clone(),
                bus: Arc::clone(&self.open.bus),
                spool: gateway.spool.clone(),
            }),
            ingestion: Ingestion::start(Arc::new(Knowledge::of(settings, parts, Arc::new(gateway.spool.clone())))),
            webhooks: Arc::new(WebhookTrial::new(settings)?),
            questions,
        })
    }

    /// Goes down in order: turns end, what they left reaches the bus, jobs finish what they hold.
    pub async fn stop(self) {
        if let Some(gateway) = self.gateway {
            let has_own_bus = !self.settings.bus.is_shared();
            let bus = Arc::clone(&self.open.bus);
            gateway
                .stop(async move {
                    if has_own_bus {
                        stored(bus.as_ref()).await
                    }
                })
                .await;
        }
        self.workers.stop().await;
        self.stop_reports.cancel();
        if let Some(reports) = self.reports {
            // The last report is made when all is quiet. A store that is away must not hold up the end.
            let _ = tokio::time::timeout(FORGET_EVERY, reports).await;
        }
        tracing::info!("stopped");
        drop(self.open);
    }
}

/// Resolves when no turn waits to be stored. Webhooks may wait: their retries take days.
async fn stored(bus: &dyn Bus) {
    loop {
        match bus.accounts().await {
            Ok(accounts) => {
                let persist = accounts.iter().find(|account| account.queue == Queue::Persist.name());
                if persist.is_none_or(|account| account.pending == 0) {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the bus does not say what waits"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn observe(spool: &Spool) {
    let account = spool.account();
    metrics::gauge!("turnpike_spool_pending_events").set(account.accepted.saturating_sub(account.forwarded) as f64);
    metrics::gauge!("turnpike_spool_pending_bytes").set(account.pending_bytes as f64);
    metrics::gauge!("turnpike_spool_held_bytes").set(account.held_bytes as f64);
    metrics::gauge!("turnpike_spool_unended_turns")
        .set(account.turns_accepted.saturating_sub(account.turns_ended) as f64);
    metrics::gauge!("turnpike_spool_oldest_seconds").set(spool.oldest_age().as_secs_f64());
    metrics::gauge!("turnpike_spool_lost_events").set(account.lost as f64);
}

async fn upkeep(engine: Option<Arc<Engine>>, settings: Arc<Settings>, metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(FORGET_EVERY.min(telemetry::UPKEEP)).await;
        if let Some(engine) = &engine {
            engine.turns().forget_ended(settings.turn.retain);
        }
        metrics.run_upkeep();
    }
}
