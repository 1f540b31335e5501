//! The HTTP face: [`server`] accepts connections, [`auth`] finds the company, `surfaces` are the routes, `sse` writes
//! streams, [`problem`] is the one place where errors become statuses.

pub mod auth;
mod body;
mod extract;
mod io;
pub mod problem;
pub mod server;
mod sse;
mod surfaces;

use std::collections::HashMap;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::Settings;
use crate::domain::CompanyId;
use crate::pipeline::engine::Engine;
use crate::ports::bus::Bus;
use crate::ports::store::ConversationStore;
use auth::Gate;

pub use surfaces::router;

/// What the routes share.
pub struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Runs turns.
    pub engine: Arc<Engine>,
    /// Finds the company of a request.
    pub gate: Gate,
    /// The stored conversations.
    pub store: Arc<dyn ConversationStore>,
    /// The bus, for its health and its accounts.
    pub bus: Arc<dyn Bus>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Refreshes the gauges that are read off a state, before `/metrics` is rendered.
    pub observe: Box<dyn Fn() + Send + Sync>,
    /// Questions that the chat page suggests, by company.
    pub questions: HashMap<CompanyId, Vec<String>>,
}
