//! The role of a gateway: turns run here, and what they leave goes from the spool to the bus.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::config::Settings;
use crate::jobs::ended::TurnEnds;
use crate::pipeline::engine::{self, Engine};
use crate::pipeline::neighbours::Neighbours;
use crate::pipeline::stages::retrieve::Retriever;
use crate::ports::outbox::Outbox;
use crate::runtime::tasks;
use crate::spool::{self, Spool};

/// How long what is in the spool may take to reach the bus when the gateway goes down.
const DRAIN: Duration = Duration::from_secs(10);

/// A gateway at work.
pub struct Gateway {
    /// Runs turns.
    pub engine: Arc<Engine>,
    /// What turns leave.
    pub spool: Spool,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Option<()>>>,
}

impl Gateway {
    /// Opens the spool, mends what a crash left, and begins to forward. `url` is where other gateways reach this one.
    ///
    /// # Errors
    /// When the spool cannot be read or written, or no provider has a model that a pipeline names.
    pub async fn start(settings: &Arc<Settings>, parts: &Parts, url: Option<String>) -> anyhow::Result<Self> {
        let spool = parts.spool(settings)?;
        let recovered = spool.recover().await.context("keeping the turns that were cut short")?;
        let engine = engine(settings, parts, &spool, url)?;
        // Turns that are not stored yet belong to the past of their conversations all the same.
        for turn in spool.pending_turns().context("reading the spool")?.iter().chain(&recovered) {
            engine.history().remember(turn);
            engine.turns().restore(turn);
        }
        let stop = CancellationToken::new();
        let forward = spool::forward::run(spool.clone(), parts.bus.clone(), stop.clone());
        let mut running = vec![tasks::spawn("forward", forward)];
        if let Some(shared) = parts.stores.shared.as_ref().filter(|_| settings.bus.is_shared()) {
            let (store, directory) = (parts.stores.conversations.clone(), parts.stores.directory.clone());
            let ends = Arc::new(TurnEnds::new(store, directory, shared.ledger.clone()));
            let resend = settings.spool.resend_after;
            let verify = spool::verify::run(spool.clone(), ends, parts.bus.clone(), resend, stop.clone());
            running.push(tasks::spawn("verify", verify));
        }
        let (catalog, warming) = (Arc::clone(&parts.catalog), Arc::clone(&engine));
        tasks::spawn("warm", async move {
            warming.chain().warm().await;
            // Training takes a moment of one core; the first turns must not wait for it.
            let trained = tokio::task::spawn_blocking(move || catalog.warm()).await;
            if let Err(error) = trained {
                tracing::warn!(%error, "the classifiers are trained when they are needed");
            }
        });
        Ok(Self { engine, spool, stop, tasks: running })
    }

    /// Ends the turns, and hands what they left to the bus as far as that is possible in time. `then` is waited for within
    /// the same time.
    pub async fn stop(self, then: impl Future<Output = ()>) {
        self.engine.close();
        self.engine.turns().interrupt_all();
        let drained = async {
            while self.engine.turns().running() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.spool.drained().await;
            then.await;
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some events wait in the spool or on the bus; the next start goes on with them");
        }
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has been logged.
            let _ = task.await;
        }
        let spool = self.spool;
        let closed = tokio::task::spawn_blocking(move || spool.close()).await;
        if let Err(error) = closed {
            tracing::warn!(%error, "the spool was not closed in order");
        }
    }
}

fn engine(settings: &Arc<Settings>, parts: &Parts, spool: &Spool, url: Option<String>) -> anyhow::Result<Arc<Engine>> {
    let chain = Arc::new(super::models::chain(settings)?);
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
    Ok(Engine::new(engine::Parts {
        settings: Arc::clone(settings),
        catalog: Arc::clone(&parts.catalog),
        chain,
        retriever: Retriever::new(parts.index.clone(), parts.embedder.clone()),
        store: parts.stores.conversations.clone(),
        outbox: Arc::new(spool.clone()) as Arc<dyn Outbox>,
        neighbours: Neighbours::of(parts.stores.cluster(), url),
    }))
}
