//! What jobs tell the operator: one type for each notable event, which writes the log line and the metric together.

use std::fmt::Display;
use std::time::Duration;

use uuid::Uuid;

use crate::ports::store::Erased;

/// A message was handled.
pub(super) struct MessageHandled {
    /// The job.
    pub(super) job: &'static str,
    /// The message.
    pub(super) id: Uuid,
    /// Tries before this one.
    pub(super) attempts: u32,
    /// How it ended, for the metric.
    pub(super) outcome: &'static str,
    /// Why, unless it ended well.
    pub(super) reason: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
}

impl MessageHandled {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_job_runs_total", "job" => self.job, "outcome" => self.outcome).increment(1);
        metrics::histogram!("turnpike_job_seconds", "job" => self.job).record(self.took.as_secs_f64());
        let (job, outcome, took_ms) = (self.job, self.outcome, self.took.as_secs_f64() * 1000.0);
        let reason = self.reason.as_deref().unwrap_or_default();
        match outcome {
            "dead" => tracing::error!(job, message.id = %self.id, attempts = self.attempts, reason, "message given up"),
            "panic" => {
                tracing::error!(job, message.id = %self.id, attempts = self.attempts, reason, "a handler panicked")
            }
            "retry" => {
                tracing::warn!(job, message.id = %self.id, attempts = self.attempts, reason, "message to be tried again")
            }
            _ => {
                tracing::debug!(job, message.id = %self.id, attempts = self.attempts, outcome, reason, took_ms, "message handled")
            }
        }
    }
}

/// There was nothing to do for a message any more.
pub(super) struct MessageDiscarded {
    /// The job.
    pub(super) job: &'static str,
    /// The message.
    pub(super) id: Uuid,
    /// Why.
    pub(super) reason: &'static str,
}

impl MessageDiscarded {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_job_discards_total", "job" => self.job, "reason" => self.reason).increment(1);
        tracing::info!(job = self.job, message.id = %self.id, reason = self.reason, "message discarded");
    }
}

/// The bus did not give or settle a message.
pub(super) struct BusFailed<'a> {
    /// The job.
    pub(super) job: &'static str,
    /// What was asked of the bus.
    pub(super) operation: &'static str,
    /// Why it failed.
    pub(super) error: &'a dyn Display,
}

impl BusFailed<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_job_bus_errors_total", "job" => self.job, "operation" => self.operation)
            .increment(1);
        tracing::warn!(job = self.job, operation = self.operation, error = %self.error, "the bus failed a job");
    }
}

/// Handlers were still at work when the time to stop was over; their messages will be given again.
pub(super) struct HandlersAbandoned {
    /// The job.
    pub(super) job: &'static str,
    /// How many.
    pub(super) handlers: usize,
}

impl HandlersAbandoned {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_job_abandoned_total", "job" => self.job).increment(self.handlers as u64);
        tracing::warn!(job = self.job, handlers = self.handlers, "stopped with handlers at work");
    }
}

/// A webhook was posted, whatever came of it.
pub(super) struct WebhookPosted<'a> {
    /// Where.
    pub(super) endpoint: &'a str,
    /// Whose it is.
    pub(super) company: &'a str,
    /// The `webhook-id`.
    pub(super) webhook_id: &'a str,
    /// Tries before this one.
    pub(super) attempts: u32,
    /// How it ended, for the metric.
    pub(super) outcome: &'static str,
    /// What the endpoint or the network said.
    pub(super) detail: &'a str,
    /// How long it took.
    pub(super) took: Duration,
}

impl WebhookPosted<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_webhook_attempts_total", "outcome" => self.outcome).increment(1);
        metrics::histogram!("turnpike_webhook_seconds").record(self.took.as_secs_f64());
        tracing::debug!(
            endpoint.id = self.endpoint,
            company.id = self.company,
            webhook.id = self.webhook_id,
            attempts = self.attempts,
            outcome = self.outcome,
            detail = self.detail,
            took_ms = self.took.as_secs_f64() * 1000.0,
            "webhook posted"
        );
    }
}

/// An endpoint failed so often that nothing is sent to it for a while.
pub(super) struct BreakerOpened<'a> {
    /// The endpoint.
    pub(super) endpoint: &'a str,
    /// How long.
    pub(super) pause: Duration,
    /// The last failure.
    pub(super) reason: &'a str,
}

impl BreakerOpened<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_webhook_breaker_opened_total").increment(1);
        tracing::warn!(
            endpoint.id = self.endpoint,
            pause_s = self.pause.as_secs_f64(),
            reason = self.reason,
            "endpoint keeps failing; paused"
        );
    }
}

/// An endpoint was disabled because of how it answers.
pub(super) struct EndpointDisabled<'a> {
    /// The endpoint.
    pub(super) endpoint: &'a str,
    /// Whose it is.
    pub(super) company: &'a str,
    /// Why.
    pub(super) reason: &'a str,
}

impl EndpointDisabled<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_webhook_endpoints_disabled_total").increment(1);
        let reason = self.reason;
        tracing::warn!(endpoint.id = self.endpoint, company.id = self.company, reason, "endpoint disabled");
    }
}

/// What was not to be kept any longer was removed.
pub(super) struct Expired {
    /// What went of conversations.
    pub(super) erased: Erased,
    /// What went of the log of deliveries.
    pub(super) deliveries: u64,
}

impl Expired {
    pub(super) fn emit(self) {
        let (Erased { turns, conversations, .. }, deliveries) = (self.erased, self.deliveries);
        metrics::counter!("turnpike_retention_turns_total").increment(turns);
        metrics::counter!("turnpike_retention_deliveries_total").increment(deliveries);
        if turns > 0 || deliveries > 0 {
            tracing::info!(turns, conversations, deliveries, "removed what was not to be kept any longer");
        }
    }
}

/// What is not to be kept any longer could not be removed; it is tried again.
pub(super) struct RetentionFailed<'a> {
    /// Why.
    pub(super) error: &'a dyn Display,
}

impl RetentionFailed<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_retention_failures_total").increment(1);
        tracing::warn!(error = %self.error, "cannot remove what is not to be kept any longer; tried again");
    }
}

/// Something about deliveries could not be written down. It is missing in the log; nothing else is.
pub(super) struct LogMissed<'a> {
    /// What it was about.
    pub(super) what: &'static str,
    /// Why.
    pub(super) error: &'a dyn Display,
}

impl LogMissed<'_> {
    pub(super) fn emit(self) {
        metrics::counter!("turnpike_delivery_log_missed_total", "what" => self.what).increment(1);
        tracing::warn!(what = self.what, error = %self.error, "the log of deliveries was not written");
    }
}
