//! What the service is about: ids, companies, turns, conversations, knowledge, events. No IO, and nothing of the rest of the crate.

pub mod analytics;
pub mod company;
pub mod conversation;
pub mod delivery;
pub mod event;
pub mod id;
pub mod key;
pub mod knowledge;
pub mod language;
pub mod text;
pub mod told;
pub mod turn;
pub mod webhook;

pub use company::{Company, CompanyScope};
pub use event::{Event, EventType};
pub use id::{CompanyId, ConversationId, DocumentId, EndpointId, SessionId, TurnId};
pub use key::{ApiKey, KeyScope};
pub use language::Language;
pub use turn::{FinishReason, TurnRecord};
