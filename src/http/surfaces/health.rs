//! Whether the process lives, whether it is ready, and what it measures.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::App;

/// How long a part may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/health", get(ready))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// 200 as long as new turns are taken; `degraded` names what a fallback stands in for.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let (store, bus, index) = tokio::join!(
        check(async { app.store.check().await.map_err(|error| error.to_string()) }),
        check(async { app.bus.check().await.map_err(|error| error.to_string()) }),
        check(async { app.engine.retriever().index().check().await.map_err(|error| error.to_string()) }),
    );
    let spool = app.engine.admits();
    let mut degraded = Vec::new();
    let mut parts = serde_json::Map::new();
    for (name, result) in [("store", store), ("bus", bus), ("index", index), ("spool", spool.clone())] {
        if result.is_err() {
            degraded.push(name);
        }
        parts.insert(name.to_owned(), result.map_or_else(Value::String, |()| json!("ok")));
    }
    let embedder = app.engine.retriever().has_embedder();
    parts.insert(
        "embedder".to_owned(),
        json!(if embedder { "ok" } else { "no model: keyword search alone; run `turnpike models pull`" }),
    );
    if !embedder {
        degraded.push("embedder");
    }
    let chain = app.engine.chain();
    let out = chain.open_breakers();
    let llm = match (chain.has_providers(), out.is_empty()) {
        (false, _) => "no provider is set: answers quote the best passages".to_owned(),
        (true, true) => "ok".to_owned(),
        (true, false) => format!("out for now: {}", out.join(", ")),
    };
    if llm != "ok" {
        degraded.push("llm");
    }
    parts.insert("llm".to_owned(), json!(llm));
    let (status, word) = match spool {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let body = json!({"status": word, "version": env!("CARGO_PKG_VERSION"), "degraded": degraded, "parts": parts});
    (status, Json(body)).into_response()
}

async fn check(asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    (app.observe)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
