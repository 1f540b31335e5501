//! The running service: spool, jobs and engine together, with or without the HTTP face, and how it goes down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::config::Settings;
use crate::domain::CompanyId;
use crate::http::auth::Gate;
use crate::http::{self, App};
use crate::pipeline::engine::{self, Engine};
use crate::pipeline::stages::retrieve::Retriever;
use crate::ports::bus::{Bus, Queue};
use crate::ports::outbox::Outbox;
use crate::runtime::{tasks, telemetry};
use crate::spool::{self, Spool};

/// How often turns that ended long ago are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(5);
/// How long what is in the spool may take to reach the bus when the service goes down.
const DRAIN: Duration = Duration::from_secs(10);

/// A service that runs.
pub struct Service {
    /// Runs turns.
    pub engine: Arc<Engine>,
    settings: Arc<Settings>,
    parts: Parts,
    spool: Spool,
    /// Stops what makes work, then what does it.
    stop_forwarding: CancellationToken,
    stop_jobs: CancellationToken,
    workers: Vec<JoinHandle<Option<()>>>,
    forwarder: JoinHandle<Option<()>>,
}

impl Service {
    /// Starts the spool, mends what a crash left, and starts the jobs.
    ///
    /// # Errors
    /// When the spool cannot be read or written.
    pub async fn start(settings: Arc<Settings>, parts: Parts) -> anyhow::Result<Self> {
        let spool = parts.spool(&settings)?;
        let recovered = spool.recover().await.context("keeping the turns that were cut short")?;
        let chain = Arc::new(super::models::chain(&settings)?);
        let own = parts.catalog.iter().flat_map(|pipeline| {
            let agents = &pipeline.definition.agents;
            [&agents.sales, &agents.information, &agents.support, &agents.general]
        });
        let unknown = chain.unknown(own.flat_map(|agent| &agent.models));
        anyhow::ensure!(
            unknown.is_empty(),
            "no provider has the models {}; add them to a provider's `models`, or take them out of the chain",
            unknown.join(", ")
        );
        let engine = Engine::new(engine::Parts {
            settings: Arc::clone(&settings),
            catalog: Arc::clone(&parts.catalog),
            chain: Arc::clone(&chain),
            retriever: Retriever::new(parts.index.clone(), parts.embedder.clone()),
            store: parts.store.clone(),
            outbox: Arc::new(spool.clone()) as Arc<dyn Outbox>,
        });
        // Turns that are not stored yet belong to the past of their conversations all the same.
        for turn in spool.pending_turns().context("reading the spool")?.iter().chain(&recovered) {
            engine.history().remember(turn);
            engine.turns().restore(turn);
        }
        let (stop_forwarding, stop_jobs) = (CancellationToken::new(), CancellationToken::new());
        let bus: Arc<dyn Bus> = parts.bus.clone();
        let forwarder = tasks::spawn("forward", spool::forward::run(spool.clone(), bus, stop_forwarding.clone()));
        let workers = parts.start_jobs(&settings, &stop_jobs)?;
        let catalog = Arc::clone(&parts.catalog);
        tasks::spawn("warm", async move {
            chain.warm().await;
            // Training takes a moment of one core; the first turns must not wait for it.
            let trained = tokio::task::spawn_blocking(move || catalog.warm()).await;
            if let Err(error) = trained {
                tracing::warn!(%error, "the classifiers are trained when they are needed");
            }
        });
        Ok(Self { engine, settings, parts, spool, stop_forwarding, stop_jobs, workers, forwarder })
    }

    /// Serves HTTP until `shutdown`, then goes down in order: streams, spool, jobs.
    ///
    /// # Errors
    /// None so far; the type leaves room.
    pub async fn serve(
        self,
        listener: TcpListener,
        metrics: PrometheusHandle,
        questions: HashMap<CompanyId, Vec<String>>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let spool = self.spool.clone();
        let app = Arc::new(App {
            settings: Arc::clone(&self.settings),
            engine: Arc::clone(&self.engine),
            gate: Gate::new(
                self.parts.store.clone(),
                self.settings.auth.mode,
                self.settings.limits.requests_per_minute,
            ),
            store: self.parts.store.clone(),
            bus: self.parts.bus.clone(),
            metrics: metrics.clone(),
            observe: Box::new(move || observe(&spool)),
            questions,
        });
        let upkeep = tasks::spawn("upkeep", upkeep(Arc::clone(&self.engine), Arc::clone(&self.settings), metrics));
        let closing = Arc::clone(&self.engine);
        let signal = shutdown.clone();
        let closer = tasks::spawn("close", async move {
            signal.cancelled().await;
            closing.close();
        });
        http::server::run(listener, http::router(app), self.settings.server.clone(), shutdown).await;
        closer.abort();
        upkeep.abort();
        self.stop().await;
        Ok(())
    }

    /// Goes down in order: turns end, what they left reaches the bus, jobs finish what they hold.
    pub async fn stop(self) {
        self.engine.close();
        self.engine.turns().interrupt_all();
        let turns_ended = async {
            while self.engine.turns().running() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.spool.drained().await;
            self.stored().await;
        };
        if tokio::time::timeout(DRAIN, turns_ended).await.is_err() {
            tracing::warn!("some events wait in the spool or on the bus; the next start goes on with them");
        }
        self.stop_forwarding.cancel();
        // A task that panicked has been logged.
        let _ = self.forwarder.await;
        self.stop_jobs.cancel();
        for worker in self.workers {
            let _ = worker.await;
        }
        let spool = self.spool;
        let closed = tokio::task::spawn_blocking(move || spool.close()).await;
        if let Err(error) = closed {
            tracing::warn!(%error, "the spool was not closed in order");
        }
        tracing::info!("stopped");
        drop(self.parts);
    }
}

impl Service {
    /// Resolves when no turn waits to be stored. Webhooks may wait: their retries take days.
    async fn stored(&self) {
        loop {
            match self.parts.bus.accounts().await {
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
}

fn observe(spool: &Spool) {
    let account = spool.account();
    metrics::gauge!("turnpike_spool_pending_events").set(account.accepted.saturating_sub(account.forwarded) as f64);
    metrics::gauge!("turnpike_spool_pending_bytes").set(account.pending_bytes as f64);
    metrics::gauge!("turnpike_spool_oldest_seconds").set(spool.oldest_age().as_secs_f64());
    metrics::gauge!("turnpike_spool_lost_events").set(account.lost as f64);
}

async fn upkeep(engine: Arc<Engine>, settings: Arc<Settings>, metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(FORGET_EVERY.min(telemetry::UPKEEP)).await;
        engine.turns().forget_ended(settings.turn.retain);
        metrics.run_upkeep();
    }
}
