//! The HTTP face: [`server`] accepts connections, [`auth`] finds the company, `surfaces` are the routes, `wires` write
//! streams, [`problem`] is the one place where errors become statuses.

mod accept;
mod asking;
pub mod auth;
mod body;
mod console;
mod cors;
mod detail;
mod extract;
pub mod health;
pub mod ingestion;
mod io;
pub mod listings;
mod openapi;
pub mod problem;
mod reading;
mod relay;
mod replays;
pub mod server;
mod sessions;
mod surfaces;
mod token;
mod wires;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Settings;
use crate::domain::CompanyId;
use crate::pipeline::engine::Engine;
use crate::ports::analytics::Analytics;
use crate::ports::deliveries::Deliveries;
use crate::ports::directory::Directory;
use crate::ports::erasure::Erasure;
use crate::ports::operations::Operations;
use crate::ports::peer::Peer;
use crate::ports::store::ConversationStore;
use crate::ports::upstream::Upstream;
use crate::ports::webhook::Trial;
use auth::Gate;
use ingestion::Ingestion;
use listings::Listings;

pub use surfaces::{description, health_router, router};

/// What the routes share.
pub struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Runs turns.
    pub engine: Arc<Engine>,
    /// Finds the company of a request.
    pub gate: Arc<Gate>,
    /// Companies and their keys.
    pub directory: Arc<dyn Directory>,
    /// The stored conversations.
    pub store: Arc<dyn ConversationStore>,
    /// Removes companies and conversations.
    pub erasure: Arc<dyn Erasure>,
    /// Documents on their way into the knowledge, and what works on it.
    pub ingestion: Arc<Ingestion>,
    /// Queues, books and processes.
    pub operations: Arc<dyn Operations>,
    /// Tries webhook endpoints out.
    pub webhooks: Arc<dyn Trial>,
    /// Numbers about turns.
    pub analytics: Arc<dyn Analytics>,
    /// The log of webhook deliveries.
    pub deliveries: Arc<dyn Deliveries>,
    /// The way to other gateways.
    pub peer: Arc<dyn Peer>,
    /// Providers that are asked as they are.
    pub upstreams: Vec<Arc<dyn Upstream>>,
    /// The models that they have.
    pub listings: Listings,
    /// Questions that the chat page suggests, by company.
    pub questions: HashMap<CompanyId, Vec<String>>,
}
