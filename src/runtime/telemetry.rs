//! Logs and metrics.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::Telemetry;

/// Bounds of the histograms that count seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Sends logs to standard error. Texts and secrets are never among the fields.
pub fn log(settings: &Telemetry) {
    let filter: Targets =
        settings.log_level.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    // The search engine and the runtime libraries tell much at info that is of no use to operators.
    let filter = match settings.log_level.contains('=') {
        true => filter,
        false => {
            let own = filter.default_level().unwrap_or(tracing::level_filters::LevelFilter::INFO);
            let others = own.min(tracing::level_filters::LevelFilter::WARN);
            // What it warns of are settings of a server that it is not run in.
            let engine = own.min(tracing::level_filters::LevelFilter::ERROR);
            // What it says of errors the bus says too; what it says of messages that came back holds their texts.
            let lapin = tracing::level_filters::LevelFilter::OFF;
            Targets::new()
                .with_target("turnpike", own)
                .with_target("qdrant_edge", engine)
                .with_target("lapin", lapin)
                .with_default(others)
        }
    };
    let layer = if settings.log_json {
        fmt::layer().json().with_writer(std::io::stderr).boxed()
    } else {
        let is_terminal = std::io::stderr().is_terminal();
        fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false).boxed()
    };
    // A second call, in a process that runs two roles of a test, changes nothing.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Collects metrics; the handle renders them for `/metrics`.
pub fn metrics() -> PrometheusHandle {
    let builder = PrometheusBuilder::new();
    let builder = match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS) {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(),
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    handle
}

/// How often the histograms are folded together.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// An error with what caused it, for a log line.
pub struct Causes<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
