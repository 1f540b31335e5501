//! Tells webhooks what becomes of documents: through the spool of a gateway at work, or straight to the bus by a command.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::domain::event::{GATEWAY, Origin};
use crate::domain::knowledge::Document;
use crate::domain::told::{Action, KnowledgeUpdated};
use crate::domain::{CompanyScope, ConversationId, Event, EventType};
use crate::ports::bus::{Bus, Message};
use crate::ports::curator::Listener;
use crate::ports::directory::Directory;
use crate::ports::outbox::Outbox;

/// How long a command waits for the bus.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where events go.
pub enum Way {
    /// Into the spool.
    Outbox(Arc<dyn Outbox>),
    /// To the bus.
    Bus(Arc<dyn Bus>),
}

/// Makes `knowledge.updated` of what becomes of documents, where an endpoint asks for it.
pub struct Tidings {
    /// Who listens.
    pub directory: Arc<dyn Directory>,
    /// Where events go.
    pub way: Way,
}

impl Tidings {
    /// Whether an endpoint of the company asks for it. Where nobody can tell, one may.
    async fn is_asked_for(&self, scope: &CompanyScope) -> bool {
        let Ok(endpoints) = self.directory.endpoints(scope).await else { return true };
        endpoints.iter().any(|it| it.disabled.is_none() && it.event_types.contains(&EventType::KnowledgeUpdated))
    }

    async fn send(&self, events: &[Event]) -> anyhow::Result<()> {
        match &self.way {
            Way::Outbox(outbox) => {
                for event in events {
                    outbox.commit(event).await?;
                }
            }
            Way::Bus(bus) => {
                let messages = events.iter().map(Message::of_event).collect::<Result<Vec<_>, _>>()?;
                tokio::time::timeout(PATIENCE, bus.publish(&messages)).await??;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Listener for Tidings {
    async fn changed(&self, scope: &CompanyScope, changes: &[(Document, Action)]) {
        if !self.is_asked_for(scope).await {
            return;
        }
        let now = OffsetDateTime::now_utc();
        let events = changes.iter().map(|(document, action)| event(scope, document, *action, now));
        let sent = match events.collect::<Result<Vec<_>, _>>() {
            Ok(events) => self.send(&events).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            metrics::counter!("turnpike_knowledge_events_lost_total").increment(changes.len() as u64);
            tracing::warn!(
                error = format!("{error:#}"),
                documents = changes.len(),
                "webhooks hear nothing of documents"
            );
        }
    }
}

fn event(
    scope: &CompanyScope,
    document: &Document,
    action: Action,
    now: OffsetDateTime,
) -> Result<Event, serde_json::Error> {
    let company_id = scope.company();
    let subject = document.id.to_string();
    let origin = Origin {
        source: GATEWAY,
        company_id: company_id.clone(),
        conversation_id: ConversationId::of_subject(company_id, &subject),
        subject,
        traceparent: None,
    };
    let data = KnowledgeUpdated::by_document(company_id, document, action, now);
    // The same document of another company, or put again, is another event.
    let discriminator = format!("{company_id}/{}", now.unix_timestamp_nanos());
    Event::new(EventType::KnowledgeUpdated, &origin, &discriminator, &data)
}
