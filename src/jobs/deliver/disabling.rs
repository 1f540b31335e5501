//! Endpoints that say that they are gone, or have failed for days, are disabled.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::events::EndpointDisabled;
use super::super::runner::Outcome;
use super::{Deliver, Error};
use crate::domain::event::{Origin, WORKER};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{CompanyScope, ConversationId, Event, EventType, told};
use crate::ports::bus::Message;

/// When a message comes again that has disabled its endpoint.
const AT_ONCE: Duration = Duration::from_millis(20);

impl Deliver {
    /// Disables an endpoint that has failed for too long.
    pub(super) async fn despair(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        since: OffsetDateTime,
        outcome: Outcome,
        message: &Message,
    ) -> Result<Outcome, Error> {
        let for_long = self.disable_after.is_some_and(|limit| OffsetDateTime::now_utc() - since >= limit);
        if !for_long {
            return Ok(outcome);
        }
        let since = since.replace_nanosecond(0).unwrap_or(since).format(&Rfc3339).unwrap_or_default();
        self.disable(scope, endpoint, &format!("every try since {since} failed"), message, outcome).await
    }

    /// Disables an endpoint because of how it answers. The message that this shows by comes again at once, and tells of it
    /// then: whatever happens in between, it finds that it was the one. Where another one was faster, it comes to its
    /// `outcome`.
    pub(super) async fn disable(
        &self,
        scope: &CompanyScope,
        endpoint: &Endpoint,
        reason: &str,
        message: &Message,
        outcome: Outcome,
    ) -> Result<Outcome, Error> {
        let disabled = Disabled { by: Some(message.id), ..Disabled::now(reason) };
        if !self.directory.disable_endpoint(scope, &endpoint.id, &disabled).await? {
            return Ok(outcome);
        }
        EndpointDisabled { endpoint: endpoint.id.as_str(), company: scope.company().as_str(), reason }.emit();
        Ok(Outcome::Defer { after: AT_ONCE })
    }
}

/// The event that says that an endpoint was disabled. Made again, it has the same id.
pub(super) fn told_of(endpoint: &Endpoint, disabled: &Disabled) -> Result<Message, Error> {
    let subject = endpoint.id.to_string();
    let origin = Origin {
        source: WORKER,
        company_id: endpoint.company_id.clone(),
        conversation_id: ConversationId::of_subject(&endpoint.company_id, &subject),
        subject,
        traceparent: None,
    };
    let nanos = disabled.at.map(OffsetDateTime::unix_timestamp_nanos).unwrap_or_default();
    let data = told::EndpointDisabled::by_delivery(endpoint, disabled);
    let event = Event::new(EventType::EndpointDisabled, &origin, &nanos.to_string(), &data)?;
    Ok(Message::of_event(&event)?)
}
