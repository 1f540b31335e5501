//! Whether the process lives, whether it is ready, and what it measures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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

pub(super) fn routes() -> OpenApiRouter<Arc<Health>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(health)).routes(routes!(ready)).routes(routes!(metrics))
}

/// How a process is.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct Answer {
    /// Whether it takes new turns.
    pub(super) status: Readiness,
    /// The version of the service.
    pub(super) version: &'static str,
    /// The parts that something stands in for.
    pub(super) degraded: Vec<&'static str>,
    /// Each part: `ok`, or what is wrong with it.
    pub(super) parts: BTreeMap<&'static str, String>,
}

/// Whether new turns are taken.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) enum Readiness {
    /// They are.
    #[serde(rename = "ready")]
    Ready,
    /// They are not.
    #[serde(rename = "not ready")]
    NotReady,
}

/// The parts of a process, and which of them something stands in for.
#[derive(Default)]
struct Report {
    parts: BTreeMap<&'static str, String>,
    degraded: Vec<&'static str>,
}

impl Report {
    fn add(&mut self, name: &'static str, found: Result<(), String>) {
        if found.is_err() {
            self.degraded.push(name);
        }
        self.parts.insert(name, found.err().unwrap_or_else(|| "ok".to_owned()));
    }
}

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/livez",
    tag = "Health",
    security(()),
    responses((status = 200, description = "It does.", content_type = "text/plain", body = String, example = "ok")),
)]
async fn live() -> &'static str {
    "ok"
}

/// How the process is
///
/// The same as `/readyz`.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Health",
    security(()),
    responses(
        (status = 200, description = "New turns are taken.", body = Answer),
        (status = 503, description = "No new turns are taken.", body = Answer),
    ),
)]
async fn health(state: State<Arc<Health>>) -> (StatusCode, Json<Answer>) {
    ready(state).await
}

/// Whether new turns are taken
///
/// 200 as long as they are, in a worker as long as it runs. `degraded` names what a fallback stands in for.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Health",
    security(()),
    responses(
        (status = 200, description = "New turns are taken.", body = Answer),
        (status = 503, description = "No new turns are taken.", body = Answer),
    ),
)]
async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<Answer>) {
    let answer = health.look().await;
    let status = match answer.status {
        Readiness::Ready => StatusCode::OK,
        Readiness::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(answer))
}

impl Health {
    /// How the process is.
    pub(super) async fn look(&self) -> Answer {
        let mut report = Report::default();
        let (store, bus) = tokio::join!(
            check(async { self.store.check().await.map_err(|error| error.to_string()) }),
            check(async { self.bus.check().await.map_err(|error| error.to_string()) }),
        );
        report.add("store", store);
        report.add("bus", bus);
        let admits = match &self.engine {
            Some(engine) => gateway(engine, &mut report).await,
            None => Ok(()),
        };
        let status = if admits.is_ok() { Readiness::Ready } else { Readiness::NotReady };
        let Report { parts, degraded } = report;
        Answer { status, version: env!("CARGO_PKG_VERSION"), degraded, parts }
    }
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

/// What the process measures
///
/// In the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Health",
    security(()),
    responses((status = 200, description = "The metrics.", content_type = "text/plain", body = String,
        example = "turnpike_http_problems_total{code=\"not_found\"} 3\n")),
)]
async fn metrics(State(health): State<Arc<Health>>) -> Response {
    (health.observe)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render()).into_response()
}
