//! Whether the process lives, whether it is ready, and what it measures.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};

use crate::pipeline::engine::Engine;
use crate::ports::bus::Bus;
use crate::ports::store::ConversationStore;

/// How long a part may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(2);

/// What says how a process is.
pub struct Health {
    /// The stored conversations.
    pub store: Arc<dyn ConversationStore>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Runs turns, in a gateway.
    pub engine: Option<Arc<Engine>>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Refreshes the gauges that are read off a state, before `/metrics` is rendered.
    pub observe: Box<dyn Fn() + Send + Sync>,
}

pub(super) fn routes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/health", get(ready))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// The parts of a process, and which of them something stands in for.
#[derive(Default)]
struct Report {
    parts: Map<String, Value>,
    degraded: Vec<&'static str>,
}

impl Report {
    fn add(&mut self, name: &'static str, found: Result<(), String>) {
        if found.is_err() {
            self.degraded.push(name);
        }
        self.parts.insert(name.to_owned(), found.map_or_else(Value::String, |()| json!("ok")));
    }
}

/// 200 as long as new turns are taken, in a worker as long as it runs; `degraded` names what a fallback stands in for.
async fn ready(State(health): State<Arc<Health>>) -> Response {
    let mut report = Report::default();
    let (store, bus) = tokio::join!(
        check(async { health.store.check().await.map_err(|error| error.to_string()) }),
        check(async { health.bus.check().await.map_err(|error| error.to_string()) }),
    );
    report.add("store", store);
    report.add("bus", bus);
    let admits = match &health.engine {
        Some(engine) => gateway(engine, &mut report).await,
        None => Ok(()),
    };
    let (status, word) = match admits {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let Report { parts, degraded } = report;
    let body = json!({"status": word, "version": env!("CARGO_PKG_VERSION"), "degraded": degraded, "parts": parts});
    (status, Json(body)).into_response()
}

/// What a gateway has besides; whether it takes new turns.
async fn gateway(engine: &Engine, report: &mut Report) -> Result<(), String> {
    let retriever = engine.retriever();
    let index = check(async {
        retriever.index().check().await.map_err(|error| error.to_string())?;
        match retriever.index().is_isolated().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("ranking is not isolated between companies: the server is older than 1.19".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    report.add("index", index.await);
    let admits = engine.admits();
    report.add("spool", admits.clone());
    let embedder = match retriever.has_embedder() {
        true => Ok(()),
        false => Err("no model: keyword search alone; run `turnpike models pull`".to_owned()),
    };
    report.add("embedder", embedder);
    let chain = engine.chain();
    let out = chain.open_breakers();
    let llm = match (chain.has_providers(), out.is_empty()) {
        (false, _) => Err("no provider is set: answers quote the best passages".to_owned()),
        (true, true) => Ok(()),
        (true, false) => Err(format!("out for now: {}", out.join(", "))),
    };
    report.add("llm", llm);
    admits
}

async fn check(asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    (health.observe)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render()).into_response()
}
