//! What the server holds: declared, checked, and declared again when it is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use tokio::time::timeout;
use turnpike::adapters::bus::rabbitmq::{RabbitBus, Settings};
use turnpike::config::Secret;
use turnpike::ports::bus::{Bus, Error, Queue};

use super::{Here, channel};
use crate::bus::support::{done, message, take, take_and_finish, turn};
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_what_migrate_would_do() {
    let Some(here) = Here::shared("a_check_says_what_migrate_would_do").await else { return };
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), Vec::<String>::new());
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    channel.queue_delete(here.name("delay.3").as_str().into(), Default::default()).await.unwrap();
    channel.exchange_delete(here.name("events").as_str().into(), Default::default()).await.unwrap();
    let missing = |what: &str, name: &str| format!("{what} {} is missing", here.name(name));
    let expected = [missing("exchange", "events"), missing("queue", "delay.3")];
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), expected);
    assert!(here.bus.check().await.is_err(), "a bus without one of its queues says that it is well");
    let done = RabbitBus::migrate(&here.settings).await.unwrap();
    assert!(done.len() == 2 && done.iter().all(|line| line.ends_with("was missing and is declared")), "{done:?}");
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), Vec::<String>::new());
    assert_eq!(RabbitBus::migrate(&here.settings).await.unwrap(), Vec::<String>::new());
    here.bus.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_another_kind_is_not_taken_for_ours() {
    let Some(here) = Here::shared("a_queue_of_another_kind").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    let name = here.name("persist");
    channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    let pending = RabbitBus::pending(&here.settings).await.unwrap();
    assert!(pending.len() == 1 && pending[0].contains("is not as it should be"), "{pending:?}");
    let error = RabbitBus::migrate(&here.settings).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(reason) if reason.contains(&name)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_wrong_virtual_host_are_told() {
    let Some(here) = Here::shared("a_wrong_password").await else { return };
    let url = here.settings.url.reveal();
    let (scheme, (_, host)) = (url.split("://").next().unwrap(), url.rsplit_once('@').unwrap());
    let address = host.split('/').next().unwrap();
    for (url, expected) in [
        (format!("{scheme}://nobody:swordfish@{address}"), "ACCESS_REFUSED"),
        (url.replace(host, &format!("{address}/nowhere")), "nowhere"),
    ] {
        let settings = Settings { patience: Duration::from_secs(1), ..Settings::new(Secret::new(url)) };
        let error = RabbitBus::pending(&settings).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("swordfish"), "{error}");
        let bus = RabbitBus::open(settings, Arc::clone(&here.ledger) as _).unwrap();
        let error = bus.publish(&[turn("x")]).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("swordfish"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_never_migrated_is_by_the_first_taker() {
    let Some(here) = Here::shared("a_server_that_was_never_migrated_is_by_the_first_taker").await else { return };
    super::clean(here.settings.url.reveal(), &here.settings.namespace).await.unwrap();
    let waiting = tokio::spawn({
        let bus = Arc::clone(&here.bus);
        async move { take_and_finish(&*bus, Queue::Persist).await }
    });
    wait_for("queues", async || RabbitBus::pending(&here.settings).await.unwrap().is_empty().then_some(())).await;
    let sent = turn("first");
    here.bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    assert_eq!(waiting.await.unwrap().id, sent.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_never_migrated_is_by_the_first_message() {
    let Some(mut here) = Here::shared("a_server_that_was_never_migrated").await else { return };
    let namespace = here.settings.namespace.clone();
    super::clean(here.settings.url.reveal(), &namespace).await.unwrap();
    here.settings.patience = Duration::from_secs(10);
    let sent = turn("first");
    here.bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.id, sent.id);
    assert_eq!(take_and_finish(&*here.bus, Queue::Analytics).await.id, sent.id);
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), Vec::<String>::new());
}

/// A server as the first version has left it: without the bindings that came later.
async fn before_the_second_step(here: &Here, channel: &Channel) {
    let (queue, events) = (here.name("deliver"), here.name("events"));
    for key in Queue::Deliver.bindings().iter().skip(4) {
        channel
            .queue_unbind(queue.as_str().into(), events.as_str().into(), (*key).into(), FieldTable::default())
            .await
            .unwrap();
    }
    channel.exchange_delete(here.name("step.2").as_str().into(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_sees_the_bindings_that_an_older_version_did_not_make() {
    let Some(here) = Here::shared("a_check_sees_the_bindings").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    before_the_second_step(&here, &channel).await;
    let pending = RabbitBus::pending(&here.settings).await.unwrap();
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert!(pending[0].contains("knowledge.updated.*") && pending[0].ends_with("is missing"), "{pending:?}");
    let done = RabbitBus::migrate(&here.settings).await.unwrap();
    assert!(done.len() == 1 && done[0].ends_with("was missing and is declared"), "{done:?}");
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), Vec::<String>::new());

    // And a service that starts without a migration makes them by the first message that needs one.
    before_the_second_step(&here, &channel).await;
    let topics = ["endpoint.disabled", "turn.feedback", "knowledge.updated", "conversation.ended", "webhook.replay"];
    let sent = topics.map(|topic| message(topic, "comp_a", topic));
    here.bus.publish(&sent).await.unwrap();
    let mut got = Vec::new();
    for _ in topics {
        got.push(take_and_finish(&*here.bus, Queue::Deliver).await.id);
    }
    assert_eq!(got, sent.map(|message| message.id));
    assert_eq!(RabbitBus::pending(&here.settings).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_no_queue_takes_any_more_is_not_lost() {
    let Some(here) = Here::shared("a_message_that_no_queue_takes").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    for (queue, key) in [("deliver", "webhook.attempt.*"), ("persist", "turn.failed.*"), ("analytics", "turn.failed.*")]
    {
        let (queue, events) = (here.name(queue), here.name("events"));
        channel
            .queue_unbind(queue.as_str().into(), events.as_str().into(), key.into(), FieldTable::default())
            .await
            .unwrap();
    }
    let sent: Vec<_> = ["conversation.updated", "webhook.attempt", "turn.failed", "turn.received"]
        .map(|topic| message(topic, "comp_a", topic))
        .into();
    here.bus.publish(&sent).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..2 {
        got.push(take_and_finish(&*here.bus, Queue::Deliver).await.id);
    }
    assert_eq!(got, [sent[0].id, sent[1].id]);
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.id, sent[2].id);
    // What was routed the first time was not sent twice.
    crate::bus::support::nothing_comes(&*here.bus, Queue::Deliver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_comes_back_when_its_queue_was_deleted() {
    let Some(here) = Here::shared("a_consumer_comes_back").await else { return };
    let sent = [turn("in work"), turn("read ahead"), turn("after")];
    here.bus.publish(&sent[..2]).await.unwrap();
    let in_work = take(&*here.bus, Queue::Persist).await;
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    channel.queue_delete(here.name("persist").as_str().into(), Default::default()).await.unwrap();
    // What this process has of the queue that is gone is all that is left of it, and is not thrown away.
    in_work.settle(done()).await.unwrap();
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.id, sent[1].id);
    wait_for("another consumer", async || {
        let (_connection, channel) = self::channel(here.settings.url.reveal()).await.ok()?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(here.name("persist").as_str().into(), options, FieldTable::default()).await;
        (queue.ok()?.consumer_count() == 1).then_some(())
    })
    .await;
    here.bus.publish(&sent[2..]).await.unwrap();
    assert_eq!(take_and_finish(&*here.bus, Queue::Persist).await.id, sent[2].id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_stranger_is_given_to_the_job() {
    let Some(here) = Here::shared("a_message_of_a_stranger").await else { return };
    let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
    for (exchange, key) in [("", here.name("persist")), (&here.name("events"), "turn.completed.comp_a".to_owned())] {
        let sent = channel
            .basic_publish(exchange.into(), key.as_str().into(), Default::default(), b"{", BasicProperties::default())
            .await
            .unwrap();
        sent.await.unwrap();
        let got = take_and_finish(&*here.bus, Queue::Persist).await;
        assert_eq!((&*got.body, got.attempts), (b"{".as_slice(), 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_messages_the_server_drops_begins_anew() {
    // A few that are dropped are missed when nothing has come for a while; more than a consumer may hold are missed sooner.
    for (many, patience) in [(1, Duration::from_secs(60)), (30, Duration::from_secs(14))] {
        let Some(mut here) = Here::shared("a_consumer_whose_messages_the_server_drops").await else { return };
        here.settings.persist_prefetch = 2;
        let bus = here.another();
        let before: Vec<_> = (0..10).map(|n| turn(&n.to_string())).collect();
        bus.publish(&before).await.unwrap();
        for _ in &before {
            take_and_finish(&*bus, Queue::Persist).await;
        }
        let (_connection, channel) = channel(here.settings.url.reveal()).await.unwrap();
        replace(&here, &channel, "persist").await;
        let sent: Vec<_> = (0..many).map(|n| turn(&n.to_string())).collect();
        bus.publish(&sent).await.unwrap();
        let begun = Instant::now();
        for expected in &sent {
            let taken = timeout(patience, bus.take(Queue::Persist)).await.expect("the consumer is dead").unwrap();
            assert_eq!(taken.message().id, expected.id);
            taken.settle(done()).await.unwrap();
        }
        assert!(begun.elapsed() < patience);
    }
}

/// Deletes a queue and declares it at once: the server never tells the consumers of the old one.
async fn replace(here: &Here, channel: &Channel, queue: &str) {
    let (queue, dead) = (here.name(queue), here.name("dead"));
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-overflow", "reject-publish"),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-dead-letter-exchange", &dead),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(100_000));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_delete(queue.as_str().into(), Default::default()).await.unwrap();
    channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    RabbitBus::migrate(&here.settings).await.unwrap();
}
