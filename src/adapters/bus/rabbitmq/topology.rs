//! Exchanges, queues and bindings: read from `migrations/rabbitmq`, declared, and compared with what a server has.

use std::time::Duration;

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use serde::Deserialize;

use super::delay;
use super::error::{self, Code};
use super::events::Mended;
use super::line::Session;
use super::names::Names;
use crate::ports::bus::Error;

/// The steps, in order. A step that was released is never edited.
const STEPS: [&str; 2] = [
    include_str!("../../../../migrations/rabbitmq/0001-topology.toml"),
    include_str!("../../../../migrations/rabbitmq/0002-webhooks.toml"),
];

/// How long the server is given to take down a queue that was deleted.
const TAKEN_DOWN: Duration = Duration::from_millis(300);

/// All that is to be there, by full names.
#[derive(Debug)]
pub(super) struct Topology {
    exchanges: Vec<String>,
    queues: Vec<(String, FieldTable)>,
    bindings: Vec<Binding>,
    /// Exchanges that say that bindings are there, and which.
    marks: Vec<(String, String)>,
    /// One declaration at a time: who comes later finds everything done.
    turn: tokio::sync::Mutex<()>,
}

/// What goes from an exchange to a queue or to another exchange.
#[derive(Clone, Debug, PartialEq)]
struct Binding {
    exchange: String,
    key: String,
    to: Target,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Queue(String),
    Exchange(String),
}

impl Topology {
    /// What the steps amount to in a namespace.
    ///
    /// # Errors
    /// When a step is not what it should be.
    pub(super) fn new(names: &Names) -> Result<Self, Error> {
        let mut topology = Self {
            exchanges: Vec::new(),
            queues: Vec::new(),
            bindings: Vec::new(),
            marks: Vec::new(),
            turn: tokio::sync::Mutex::default(),
        };
        for step in STEPS {
            let step: Step = toml::from_str(step).map_err(|error| Error::Invalid(error.to_string()))?;
            topology.add(&step, names);
        }
        Ok(topology)
    }

    /// Queues, by full name.
    pub(super) fn queues(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(|(name, _)| &**name)
    }

    /// Queues that take messages which another one takes too.
    pub(super) fn shared_queues(&self) -> impl Iterator<Item = &str> {
        let is_shared = |name: &str| {
            self.bindings.iter().any(|binding| {
                let takes = |other: &Binding| (&other.exchange, &other.key) == (&binding.exchange, &binding.key);
                let is_it = matches!(&binding.to, Target::Queue(queue) if queue == name);
                is_it && self.bindings.iter().any(|other| other.to != binding.to && takes(other))
            })
        };
        self.queues().filter(move |name| is_shared(name))
    }

    fn add(&mut self, step: &Step, names: &Names) {
        self.exchanges.extend(step.exchanges.iter().map(|exchange| names.of(&exchange.name)));
        for queue in &step.queues {
            let name = names.of(&queue.name);
            for Bound { exchange, keys } in &queue.bindings {
                self.bindings.extend(keys.iter().map(|key| Binding {
                    exchange: names.of(exchange),
                    key: key.clone(),
                    to: Target::Queue(name.clone()),
                }));
            }
            let dead_letters_to = queue.dead_letters_to.as_deref().map(|exchange| names.of(exchange));
            self.queues.push((name, arguments(queue.delivery_limit, dead_letters_to, None)));
        }
        for added in &step.bindings {
            self.bindings.extend(added.keys.iter().map(|key| Binding {
                exchange: names.of(&added.exchange),
                key: key.clone(),
                to: Target::Queue(names.of(&added.queue)),
            }));
        }
        if let Some(mark) = &step.mark {
            let keys: Vec<&str> = step.bindings.iter().flat_map(|added| &added.keys).map(String::as_str).collect();
            self.marks.push((names.of(mark), keys.join(", ")));
        }
        let Some(delays) = &step.delays else { return };
        for level in 0..delays.levels {
            let name = names.level(level);
            let lower = if level == 0 { names.of(&delays.into) } else { names.level(level - 1) };
            self.exchanges.push(name.clone());
            let (waits, passes) = delay::bindings(level, delays.levels);
            let bind = |key, to| Binding { exchange: name.clone(), key, to };
            self.bindings.push(bind(waits, Target::Queue(name.clone())));
            self.bindings.push(bind(passes, Target::Exchange(lower.clone())));
            let ttl = Duration::from_secs(1 << level);
            self.queues.push((name, arguments(delays.delivery_limit, Some(lower), Some(ttl))));
        }
    }

    /// Declares everything. What is there already stays as it is.
    ///
    /// # Errors
    /// `Invalid` when a queue or exchange exists with other arguments, or the user may not declare it; otherwise
    /// `Unavailable`.
    pub(super) async fn declare(&self, session: &Session) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let channel = session.channel().await?;
        for name in &self.exchanges {
            let declared = channel.exchange_declare(text(name)?, ExchangeKind::Topic, durable(), FieldTable::default());
            session.ask(declared).await.map_err(|error| error::declaring("exchange", name, &error))?;
        }
        for (name, arguments) in &self.queues {
            let declared = declare_queue(session, &channel, name, arguments).await;
            declared.map_err(|error| error::declaring("queue", name, &error))?;
            // At once: until it is bound a queue gets nothing.
            let is_its = |binding: &&Binding| matches!(&binding.to, Target::Queue(queue) if queue == name);
            for binding in self.bindings.iter().filter(is_its) {
                bind(session, &channel, binding).await?;
            }
        }
        for binding in self.bindings.iter().filter(|binding| matches!(binding.to, Target::Exchange(_))) {
            bind(session, &channel, binding).await?;
        }
        // Last: a mark says that what comes before it is done.
        for (name, _) in &self.marks {
            let declared = channel.exchange_declare(text(name)?, ExchangeKind::Topic, durable(), FieldTable::default());
            session.ask(declared).await.map_err(|error| error::declaring("exchange", name, &error))?;
        }
        Ok(())
    }

    /// Declares everything after something was found missing.
    ///
    /// # Errors
    /// Those of `declare`.
    pub(super) async fn mend(&self, session: &Session, reason: &str) -> Result<(), Error> {
        // A queue that is declared again while the server still takes the old one down keeps the old one's consumers: they
        // are never told, and get nothing any more.
        tokio::time::sleep(TAKEN_DOWN).await;
        self.declare(session).await?;
        Mended { reason }.emit();
        Ok(())
    }

    /// What is missing or different, in words. Bindings cannot be asked for; those of a step with a mark are there if that
    /// is.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn pending(&self, session: &Session) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let mut channel = session.channel().await?;
        for name in &self.exchanges {
            let options = ExchangeDeclareOptions { passive: true, ..durable() };
            let asked = channel.exchange_declare(text(name)?, ExchangeKind::Topic, options, FieldTable::default());
            if let Err(error) = session.ask(asked).await {
                found.push(difference("exchange", name, &error)?);
                channel = session.channel().await?;
            }
        }
        for (name, arguments) in &self.queues {
            let mut asked = look(session, &channel, name).await.map(|_| ());
            if asked.is_ok() {
                // It is there, so this declares nothing, and says whether it is what it should be.
                asked = declare_queue(session, &channel, name, arguments).await;
            }
            if let Err(error) = asked {
                found.push(difference("queue", name, &error)?);
                channel = session.channel().await?;
            }
        }
        for (name, keys) in &self.marks {
            let options = ExchangeDeclareOptions { passive: true, ..durable() };
            let asked = channel.exchange_declare(text(name)?, ExchangeKind::Topic, options, FieldTable::default());
            if let Err(error) = session.ask(asked).await {
                found.push(match error.code() {
                    Code::NotFound => format!("the binding of {keys} ({name}) is missing"),
                    _ => difference("exchange", name, &error)?,
                });
                channel = session.channel().await?;
            }
        }
        Ok(found)
    }
}

/// What is seen of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Messages that wait to be given to someone.
    pub(super) waiting: u32,
    /// Those who take messages.
    pub(super) consumers: u32,
}

/// Looks at a queue. An error other than of the connection closes the channel.
pub(super) async fn look(session: &Session, channel: &Channel, queue: &str) -> Result<Seen, error::Broker> {
    let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let name = ShortString::try_new(queue).map_err(|_| error::Broker::name_too_long())?;
    let queue = session.ask(channel.queue_declare(name, options, FieldTable::default())).await?;
    Ok(Seen { waiting: queue.message_count(), consumers: queue.consumer_count() })
}

async fn declare_queue(
    session: &Session,
    channel: &Channel,
    name: &str,
    arguments: &FieldTable,
) -> Result<(), error::Broker> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = ShortString::try_new(name).map_err(|_| error::Broker::name_too_long())?;
    session.ask(channel.queue_declare(name, options, arguments.clone())).await.map(|_| ())
}

async fn bind(session: &Session, channel: &Channel, Binding { exchange, key, to }: &Binding) -> Result<(), Error> {
    let (from, key, none) = (text(exchange)?, text(key)?, FieldTable::default());
    let bound = match to {
        Target::Queue(to) => {
            session.ask(channel.queue_bind(text(to)?, from, key, QueueBindOptions::default(), none)).await
        }
        Target::Exchange(to) => {
            session.ask(channel.exchange_bind(text(to)?, from, key, ExchangeBindOptions::default(), none)).await
        }
    };
    bound.map_err(|error| error::declaring("a binding of exchange", exchange, &error))
}

/// A missing or different part in words; other errors are errors.
fn difference(kind: &str, name: &str, error: &error::Broker) -> Result<String, Error> {
    match error.code() {
        Code::NotFound => Ok(format!("{kind} {name} is missing")),
        Code::Different => Ok(format!("{kind} {name} is not as it should be: {error}")),
        Code::Refused => Ok(format!("{kind} {name} may not be looked at by this user: {error}")),
        Code::Other => Err(Error::Unavailable(error.to_string())),
    }
}

fn durable() -> ExchangeDeclareOptions {
    ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() }
}

fn text(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|error| Error::Invalid(format!("{name:?}: {error}")))
}

fn arguments(delivery_limit: i64, dead_letters_to: Option<String>, ttl: Option<Duration>) -> FieldTable {
    let mut table = FieldTable::default();
    let mut put = |name: &'static str, value: lapin::types::AMQPValue| {
        table.insert(ShortString::from(name), value);
    };
    let string = |text: String| lapin::types::AMQPValue::LongString(text.into());
    put("x-queue-type", string("quorum".to_owned()));
    put("x-delivery-limit", delivery_limit.into());
    if let Some(exchange) = dead_letters_to {
        put("x-dead-letter-exchange", string(exchange));
        // Without these two a dead letter is sent once and forgotten.
        put("x-dead-letter-strategy", string("at-least-once".to_owned()));
        put("x-overflow", string("reject-publish".to_owned()));
    }
    if let Some(ttl) = ttl {
        put("x-message-ttl", i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).into());
    }
    table
}

/// A file of `migrations/rabbitmq`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    exchanges: Vec<Exchange>,
    #[serde(default)]
    queues: Vec<QueueStep>,
    /// What queues of earlier steps take besides.
    #[serde(default)]
    bindings: Vec<Added>,
    /// The exchange that says that these bindings are there.
    mark: Option<String>,
    delays: Option<Delays>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    queue: String,
    exchange: String,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueStep {
    name: String,
    delivery_limit: i64,
    dead_letters_to: Option<String>,
    bindings: Vec<Bound>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    exchange: String,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delays {
    levels: u32,
    into: String,
    delivery_limit: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::bus::rabbitmq::names::short;
    use crate::ports::bus::Queue;

    fn topology() -> Topology {
        Topology::new(&Names::new("turnpike").unwrap()).unwrap()
    }

    #[test]
    fn the_queues_take_what_the_port_says() {
        let topology = topology();
        for queue in Queue::ALL {
            let to = Target::Queue(queue.name().to_owned());
            let keys: Vec<_> = topology
                .bindings
                .iter()
                .filter(|binding| binding.exchange == "turnpike.events" && binding.to == to)
                .map(|binding| &*binding.key)
                .collect();
            assert_eq!(keys, queue.bindings());
            let due = Binding { exchange: "turnpike.due".to_owned(), key: format!("#.{}", short(queue)), to };
            assert!(topology.bindings.contains(&due));
        }
    }

    #[test]
    fn the_levels_are_those_that_delays_are_sent_by() {
        let topology = topology();
        let levels = topology.queues().filter(|name| name.starts_with("turnpike.delay.")).count();
        assert_eq!(levels, delay::LEVELS as usize);
        let names = Names::new("turnpike").unwrap();
        assert!(topology.queues().any(|name| name == names.dead()));
        assert!(topology.exchanges.contains(&names.events()));
    }

    #[test]
    fn turns_go_to_two_queues() {
        let topology = topology();
        assert_eq!(topology.shared_queues().collect::<Vec<_>>(), ["turnpike.persist", "turnpike.analytics"]);
    }
}
