//! What operators are told: one type for each notable event, which writes the log line and the metric together.

use std::fmt::Display;
use std::time::Duration;

use uuid::Uuid;

/// A connection is up.
pub(super) struct Connected {
    /// Which one.
    pub(super) line: &'static str,
}

impl Connected {
    pub(super) fn emit(self) {
        metrics::gauge!("turnpike_bus_connected", "line" => self.line).set(1.0);
        metrics::counter!("turnpike_bus_connects_total", "line" => self.line).increment(1);
        tracing::info!(line = self.line, "connected to RabbitMQ");
    }
}

/// A connection was lost.
pub(super) struct ConnectionLost<'a> {
    /// Which one.
    pub(super) line: &'static str,
    /// Why.
    pub(super) reason: &'a str,
}

impl ConnectionLost<'_> {
    pub(super) fn emit(self) {
        metrics::gauge!("turnpike_bus_connected", "line" => self.line).set(0.0);
        tracing::warn!(line = self.line, reason = self.reason, "the connection to RabbitMQ is lost; making a new one");
    }
}

/// A connection could not be made.
pub(super) struct ConnectFailed<'a> {
    /// Which one.
    pub(super) line: &'static str,
    /// Tries that failed since one did not.
    pub(super) failures: u32,
    /// Why.
    pub(super) error: &'a dyn Display,
}

impl ConnectFailed<'_> {
    pub(super) fn emit(self) {
        metrics::gauge!("turnpike_bus_connected", "line" => self.line).set(0.0);
        metrics::counter!("turnpike_bus_connect_failures_total", "line" => self.line).increment(1);
        tracing::warn!(line = self.line, failures = self.failures, error = %self.error, "RabbitMQ cannot be reached");
    }
}

/// The server takes no messages, or takes them again.
pub(super) struct Blocked<'a> {
    /// Which connection is blocked.
    pub(super) line: &'static str,
    /// Why; none when it no longer is.
    pub(super) reason: Option<&'a str>,
}

impl Blocked<'_> {
    pub(super) fn emit(self) {
        let blocked = metrics::gauge!("turnpike_bus_blocked", "line" => self.line);
        match self.reason {
            Some(reason) => {
                blocked.set(1.0);
                tracing::warn!(line = self.line, reason, "RabbitMQ takes no messages: an alarm of memory or disk");
            }
            None => {
                blocked.set(0.0);
                tracing::info!(line = self.line, "RabbitMQ takes messages again");
            }
        }
    }
}

/// Messages were confirmed.
pub(super) struct Confirmed {
    /// How many.
    pub(super) messages: usize,
    /// From the first one sent to the last one confirmed.
    pub(super) took: Duration,
}

impl Confirmed {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_published_total").increment(self.messages as u64);
        metrics::histogram!("turnpike_bus_confirm_seconds").record(self.took.as_secs_f64());
    }
}

/// Messages came back because no queue took them.
pub(super) struct Returned {
    /// How many.
    pub(super) messages: usize,
}

impl Returned {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_returned_total").increment(self.messages as u64);
        tracing::warn!(messages = self.messages, "RabbitMQ has no queue for messages that should have one");
    }
}

/// A queue, an exchange or a binding was gone, and all were declared anew.
pub(super) struct Mended<'a> {
    /// What was found.
    pub(super) reason: &'a str,
}

impl Mended<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_mended_total").increment(1);
        tracing::warn!(reason = self.reason, "queues and exchanges were missing and are declared again");
    }
}

/// A consumer ended, and another one begins.
pub(super) struct ConsumerEnded<'a> {
    /// The queue.
    pub(super) queue: &'static str,
    /// Why.
    pub(super) reason: &'a str,
}

impl ConsumerEnded<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_consumers_ended_total", "queue" => self.queue).increment(1);
        tracing::warn!(queue = self.queue, reason = self.reason, "a consumer ended; the next one begins");
    }
}

/// A copy of a message was dropped, because the ledger knows better.
pub(super) struct CopyDropped {
    /// The queue.
    pub(super) queue: &'static str,
    /// The message.
    pub(super) id: Uuid,
    /// What the ledger says.
    pub(super) standing: &'static str,
}

impl CopyDropped {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_copies_dropped_total", "queue" => self.queue).increment(1);
        tracing::debug!(queue = self.queue, message.id = %self.id, standing = self.standing, "a copy of a message");
    }
}

/// The ledger cannot be asked; messages wait until it can.
pub(super) struct LedgerFailed<'a> {
    /// The queue whose messages wait.
    pub(super) queue: &'static str,
    /// Why.
    pub(super) error: &'a dyn Display,
}

impl LedgerFailed<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_ledger_failures_total", "queue" => self.queue).increment(1);
        tracing::warn!(queue = self.queue, error = %self.error, "the ledger does not answer; a message waits for it");
    }
}

/// A message that was given again and again and never settled is given up.
pub(super) struct Poisoned {
    /// The queue.
    pub(super) queue: &'static str,
    /// The message.
    pub(super) id: Uuid,
    /// How often it was given.
    pub(super) deliveries: u64,
}

impl Poisoned {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_poisoned_total", "queue" => self.queue).increment(1);
        tracing::error!(queue = self.queue, message.id = %self.id, deliveries = self.deliveries, "message given up");
    }
}

/// Messages that should have come to their end, and of which nothing was heard, were published again.
pub(super) struct Republished {
    /// The queue.
    pub(super) queue: &'static str,
    /// How many.
    pub(super) messages: usize,
}

impl Republished {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_bus_republished_total", "queue" => self.queue).increment(self.messages as u64);
        tracing::debug!(queue = self.queue, messages = self.messages, "overdue messages are published again");
    }
}
