//! Brings the engines to what this version works with, or says what is missing. Files are brought there when they are
//! opened; servers by `turnpike migrate` alone, so that several processes may start at once.

use std::sync::Arc;

use futures::future::join_all;

use super::parts;
use super::stores::Stores;
use crate::adapters::bus::rabbitmq::RabbitBus;
use crate::config::Settings;
use crate::ports::index::Encoder;

/// What an engine was or is to be brought to.
pub struct Migration {
    /// The engine's name.
    pub engine: &'static str,
    /// What was done, or is to be done; or why that cannot be told.
    pub steps: Result<Vec<String>, String>,
}

/// What is to be done before this version can work with the engines of the settings.
///
/// # Errors
/// When the settings of an engine are wrong.
pub async fn pending(settings: &Arc<Settings>, stores: &Stores, encoder: &Encoder) -> anyhow::Result<Vec<Migration>> {
    run(settings, stores, encoder, false).await
}

/// Does it.
///
/// # Errors
/// When the settings of an engine are wrong.
pub async fn migrate(settings: &Arc<Settings>, stores: &Stores, encoder: &Encoder) -> anyhow::Result<Vec<Migration>> {
    run(settings, stores, encoder, true).await
}

/// The first of many steps, and how many more there are.
pub fn in_short(steps: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = steps.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match steps.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

async fn run(
    settings: &Arc<Settings>,
    stores: &Stores,
    encoder: &Encoder,
    applies: bool,
) -> anyhow::Result<Vec<Migration>> {
    type Step<'a> = std::pin::Pin<Box<dyn Future<Output = Migration> + Send + 'a>>;
    let mut steps: Vec<Step<'_>> = Vec::new();
    if let Some(shared) = &stores.shared {
        steps.push(Box::pin(async {
            let store = &shared.mongodb;
            let steps = if applies { store.migrate().await } else { store.pending().await };
            Migration { engine: "MongoDB", steps: steps.map_err(|error| error.to_string()) }
        }));
    }
    if let Some(rabbitmq) = parts::rabbitmq(settings) {
        steps.push(Box::pin(async move {
            let steps = if applies { RabbitBus::migrate(&rabbitmq).await } else { RabbitBus::pending(&rabbitmq).await };
            Migration { engine: "RabbitMQ", steps: steps.map_err(|error| error.to_string()) }
        }));
    }
    if let Some(index) = parts::qdrant(settings, encoder)? {
        let dimensions = encoder.dense.as_ref().map(|dense| dense.dimensions);
        steps.push(Box::pin(async move {
            let steps = if applies { index.migrate(dimensions).await } else { index.pending().await };
            Migration { engine: "Qdrant", steps: steps.map_err(|error| error.to_string()) }
        }));
    }
    Ok(join_all(steps).await)
}
