//! The console at `/console`: pages for the operator, and for a company that brings a key of its own. They are made here,
//! work without a script, and are kept up to date by server-sent events where there is one.

mod assets;
mod charts;
mod companies;
mod conversations;
mod delivery;
mod documents;
mod endpoint;
mod failure;
mod form;
mod keys;
mod layout;
mod live;
mod login;
mod overview;
mod pieces;
mod queues;
mod search;
mod snapshot;
mod usage;
mod visit;
mod webhooks;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::App;
use super::health::Health;
use super::problem::Problem;
use failure::Failure;
use login::Logins;
use snapshot::Snapshots;

/// Pages that are kept up to date at a time.
const LIVE_PAGES: usize = 200;

/// What the pages share.
struct Console {
    app: Arc<App>,
    logins: Logins,
    snapshots: Snapshots,
    live: Arc<Semaphore>,
}

/// The routes of the console.
pub(super) fn routes(app: &Arc<App>, health: &Arc<Health>) -> Router {
    let console = Console {
        app: Arc::clone(app),
        logins: Logins::new(),
        snapshots: Snapshots::new(Arc::clone(app), Arc::clone(health)),
        live: Arc::new(Semaphore::new(LIVE_PAGES)),
    };
    Router::new()
        .route("/console", get(overview::page))
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .route("/console/login", get(login::page).post(login::log_in))
        .route("/console/logout", post(login::log_out))
        .route("/console/session", get(login::session))
        .route("/console/queues", get(queues::page))
        .route("/console/queues/redrive", post(queues::redrive))
        .route("/console/companies", get(companies::list))
        .route("/console/companies/{company}", get(companies::numbers))
        .route("/console/companies/{company}/conversations", get(conversations::list))
        .route("/console/companies/{company}/conversations/{conversation}", get(conversations::one))
        .route("/console/companies/{company}/documents", get(documents::list))
        .route("/console/companies/{company}/documents/{document}", get(documents::one))
        .route("/console/webhooks", get(webhooks::of_all))
        .route("/console/companies/{company}/webhooks", get(webhooks::of_company))
        .route("/console/companies/{company}/webhooks/{endpoint}", get(endpoint::page))
        .route("/console/companies/{company}/webhooks/{endpoint}/disable", post(endpoint::actions::disable))
        .route("/console/companies/{company}/webhooks/{endpoint}/enable", post(endpoint::actions::enable))
        .route("/console/companies/{company}/webhooks/{endpoint}/test", post(endpoint::actions::test))
        .route("/console/companies/{company}/webhooks/{endpoint}/replay", post(endpoint::actions::replay))
        .route("/console/companies/{company}/replays/{replay}/cancel", post(endpoint::actions::cancel))
        .route("/console/companies/{company}/deliveries/{delivery}", get(delivery::page))
        .route("/console/companies/{company}/deliveries/{delivery}/replay", post(delivery::replay))
        .route("/console/companies/{company}/search", get(search::page))
        .route("/console/companies/{company}/usage", get(usage::page))
        .route("/console/companies/{company}/keys", get(keys::page))
        .merge(assets::routes())
        .route("/console/{*rest}", get(|| async { Failure::from(Problem::not_found("page")) }))
        .method_not_allowed_fallback(|| async { Failure::from(Problem::not_found("page")) })
        .with_state(Arc::new(console))
}
