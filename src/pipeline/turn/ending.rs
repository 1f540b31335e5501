//! How a turn ends: its record on disk, and only then the last event.

use time::OffsetDateTime;

use super::{Turn, stage_seconds};
use crate::domain::FinishReason;
use crate::domain::event::Event;
use crate::domain::turn::Degraded;
use crate::pipeline::live::TurnEvent;

impl Turn<'_> {
    /// Puts the record on disk, and only then tells the client.
    pub(super) async fn finish(mut self) {
        if !self.journal.is_whole() {
            self.degrade(Degraded::Journal);
        }
        if let Some(error) = &self.error {
            self.record.finish_reason = FinishReason::Failed;
            self.record.error = Some(error.code().to_owned());
        }
        self.record.finished_at = OffsetDateTime::now_utc();
        self.record.timings.total_ms = self.ms();
        self.journal.finished(&self.record);
        self.engine.parts.neighbours.announce(&self.ask.scope, self.live.head(), true);
        let event = Event::turn_finished(&self.record, self.ask.traceparent.clone());
        let committed = match &event {
            Ok(event) => self.engine.parts.outbox.commit(event).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.engine.history.remember(&self.record);
        self.count(committed.is_ok());
        let last = match (committed, &self.error) {
            (Err(reason), _) => {
                // The journal stays: what there is of the turn is mended from it at the next start.
                tracing::error!(turn.id = %self.record.turn_id, reason, "a turn could not be put on disk");
                TurnEvent::Error {
                    code: "not_stored".into(),
                    message: "The answer could not be kept safely. Please ask again.".to_owned(),
                    retryable: true,
                }
            }
            (Ok(()), Some(error)) => {
                self.journal.close();
                TurnEvent::Error {
                    code: error.code().into(),
                    message: "No answer could be written. Please ask again later.".to_owned(),
                    retryable: true,
                }
            }
            (Ok(()), None) => {
                self.journal.close();
                TurnEvent::Done {
                    finish_reason: self.record.finish_reason,
                    usage: self.record.usage,
                    degraded: self.record.degraded.clone(),
                }
            }
        };
        self.live.push(last);
    }

    fn count(&self, is_stored: bool) {
        let company = match self.engine.parts.settings.telemetry.company_label {
            true => self.record.company_id.to_string(),
            false => String::new(),
        };
        let reason = self.record.finish_reason.as_str();
        metrics::counter!("turnpike_turns_total", "finish_reason" => reason, "company" => company).increment(1);
        for degraded in &self.record.degraded {
            metrics::counter!("turnpike_turns_degraded_total", "part" => degraded.as_str()).increment(1);
        }
        stage_seconds("total", self.record.timings.total_ms);
        tracing::info!(
            turn.id = %self.record.turn_id, company.id = %self.record.company_id, finish_reason = reason,
            model = self.record.model, first_content_ms = self.record.timings.first_content_ms,
            total_ms = self.record.timings.total_ms, sources = self.record.sources.len(), is_stored, "turn finished"
        );
    }
}
