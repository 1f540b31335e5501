//! Messages to publish, and what every check does with them.

use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::time::timeout;
use turnpike::ports::bus::{Account, Bus, Message, Queue, Settlement, Taken};
use uuid::Uuid;

/// Long enough for whatever is to come, on a machine that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

pub(super) fn message(topic: &str, company: &str, body: &str) -> Message {
    Message {
        id: Uuid::now_v7(),
        routing_key: format!("{topic}.{company}"),
        body: Bytes::copy_from_slice(body.as_bytes()),
        attempts: 0,
        first_queued_at: OffsetDateTime::now_utc(),
    }
}

pub(super) fn turn(body: &str) -> Message {
    message("turn.completed", "comp_a", body)
}

pub(super) async fn take(bus: &dyn Bus, queue: Queue) -> Box<dyn Taken> {
    timeout(PATIENCE, bus.take(queue)).await.expect("no message came").unwrap()
}

pub(super) async fn take_and_finish(bus: &dyn Bus, queue: Queue) -> Message {
    let taken = take(bus, queue).await;
    let message = taken.message().clone();
    taken.settle(done()).await.unwrap();
    message
}

pub(super) async fn nothing_comes(bus: &dyn Bus, queue: Queue) {
    if let Ok(taken) = timeout(SILENCE, bus.take(queue)).await {
        panic!("{:?} came", taken.unwrap().message());
    }
}

pub(super) async fn account(bus: &dyn Bus, queue: Queue) -> Account {
    let accounts = bus.accounts().await.unwrap();
    assert_eq!(accounts.len(), Queue::ALL.len());
    accounts.into_iter().find(|account| account.queue == queue.name()).unwrap()
}

pub(super) fn done() -> Settlement {
    Settlement::Done { follow_ups: Vec::new() }
}
