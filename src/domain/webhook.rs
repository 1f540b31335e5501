//! Webhook endpoints: where a company wants to hear of its conversations.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::event::EventType;
use super::id::{CompanyId, EndpointId};

/// An endpoint of a company.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint.
    pub id: EndpointId,
    /// The company it belongs to.
    pub company_id: CompanyId,
    /// Where webhooks are posted.
    pub url: String,
    /// The Standard Webhooks secret, `whsec_` and base64.
    pub secret: String,
    /// What it wants to hear of.
    pub event_types: Vec<EventType>,
    /// Why nothing is sent to it, if so.
    pub disabled: Option<String>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}
