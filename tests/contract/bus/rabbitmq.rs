//! What the bus on RabbitMQ promises beyond the contract, against real servers that do what servers do.

mod books;
mod delays;
mod faults;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use turnpike::adapters::bus::rabbitmq::{RabbitBus, Settings};
use turnpike::config::Secret;
use turnpike::ports::bus::{Bus, Settlement};
use uuid::Uuid;

use super::Fresh;
use super::ledger::MemoryLedger;
use crate::support::services;

/// Delay levels, with a queue each.
const LEVELS: u32 = 18;

/// An empty bus in a namespace of its own.
pub(super) async fn fresh(test: &str) -> Option<Fresh> {
    let here = Here::shared(test).await?;
    Some((Arc::clone(&here.bus) as Arc<dyn Bus>, Box::new(here)))
}

/// A bus, its ledger, and the namespace, which is gone when this is dropped.
struct Here {
    bus: Arc<RabbitBus>,
    ledger: Arc<MemoryLedger>,
    settings: Settings,
}

impl Here {
    async fn shared(test: &str) -> Option<Self> {
        Some(Self::at(&services::rabbitmq(test)?).await)
    }

    async fn at(url: &str) -> Self {
        let mut settings = Settings::new(Secret::new(url));
        settings.namespace = format!("test-{}", Uuid::new_v4().simple());
        settings.redeliver_after = Duration::from_millis(500);
        settings.patience = Duration::from_secs(3);
        settings.confirm = Duration::from_secs(3);
        RabbitBus::migrate(&settings).await.unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        let bus = RabbitBus::open(settings.clone(), Arc::clone(&ledger) as _).unwrap();
        Self { bus, ledger, settings }
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.settings.namespace)
    }

    /// Another process on the same queues and the same ledger.
    fn another(&self) -> Arc<RabbitBus> {
        RabbitBus::open(self.settings.clone(), Arc::clone(&self.ledger) as _).unwrap()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let (url, namespace) = (self.settings.url.reveal().to_owned(), self.settings.namespace.clone());
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                // A server that a test has stopped is gone with all that it holds.
                let cleaned = tokio::time::timeout(Duration::from_secs(20), clean(&url, &namespace)).await;
                drop(cleaned);
            });
        });
    }
}

async fn clean(url: &str, namespace: &str) -> lapin::Result<()> {
    let (_connection, channel) = channel(url).await?;
    let levels = (0..LEVELS).map(|level| format!("delay.{level}"));
    let common = ["persist", "deliver", "analytics", "dead", "events", "due", "step.2"].map(str::to_owned);
    for name in common.into_iter().chain(levels) {
        let name = format!("{namespace}.{name}");
        channel.queue_delete(name.as_str().into(), Default::default()).await?;
        channel.exchange_delete(name.as_str().into(), Default::default()).await?;
    }
    Ok(())
}

/// A connection of the test's own, to do to the server what others do to it.
async fn channel(url: &str) -> lapin::Result<(Connection, Channel)> {
    // To the library a path of `/` is a virtual host without a name.
    let url = url.strip_suffix('/').unwrap_or(url);
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

fn retry(after: Duration) -> Settlement {
    Settlement::Retry { after, reason: "not now".to_owned() }
}

/// Messages that wait in a queue.
async fn waiting(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
}
