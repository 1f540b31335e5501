//! What a turn is asked for, and why it may be refused.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::config::pipelines::ModelRef;
use crate::domain::conversation::Message;
use crate::domain::turn::UserInfo;
use crate::domain::{Company, CompanyScope, Language, SessionId, TurnId};
use crate::ports::model::Thinking;
use crate::ports::outbox;

/// A question to a company's chatbot.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The company asked.
    pub company: Arc<Company>,
    /// The right to touch its data.
    pub scope: CompanyScope,
    /// The question, NFC, checked for length.
    pub message: String,
    /// The session; none begins one.
    pub session_id: Option<SessionId>,
    /// The turn that the client knows to come before this one: its history waits for it to be stored, within a bound.
    pub previous_turn_id: Option<TurnId>,
    /// The language to answer in; none means the question's.
    pub language: Option<Language>,
    /// The industry that the client names, for companies that have none.
    pub industry: Option<String>,
    /// Who asks.
    pub user: UserInfo,
    /// What the client sends along.
    pub context: serde_json::Map<String, serde_json::Value>,
    /// What it wants otherwise than the company's pipeline has it.
    pub options: Options,
    /// The client's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The client's trace (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// What a client wants otherwise than the company's pipeline has it. What is not said stays as it is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Another pipeline, by a name that the catalog has.
    pub pipeline: Option<String>,
    /// Models to be asked first, before those of the agent and of the chain.
    pub models: Vec<ModelRef>,
    /// Instructions that stand after the agent's own.
    pub instructions: Option<String>,
    /// Randomness, 0 to 2.
    pub temperature: Option<f32>,
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
    /// Whether the model thinks before it answers.
    pub thinking: Option<Thinking>,
    /// The conversation so far as the client has it, in place of the stored one.
    pub history: Option<Vec<Message>>,
}

impl Ask {
    /// Tells the same request from another under one `Idempotency-Key`: SHA-256 of all that the client sent, in
    /// hexadecimal, the same in every process.
    pub fn fingerprint(&self) -> String {
        let options = format!("{:?}", self.options);
        let sent = serde_json::json!([
            self.message,
            self.session_id,
            self.language,
            self.industry,
            self.user,
            self.context,
            options,
        ]);
        Sha256::digest(sent.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why a turn does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// As many turns run as may.
    #[error("too many answers are being written at once; try again in a moment")]
    TooManyStreams,
    /// As many turns of the company run as may.
    #[error("too many answers are being written for this company at once; try again in a moment")]
    TooManyStreamsOfCompany,
    /// What it would leave could not be kept.
    #[error("new questions cannot be kept safely right now; try again in a moment")]
    Outbox(#[source] outbox::Error),
    /// The key was used for another request.
    #[error("this Idempotency-Key was used for a different request")]
    KeyReused,
    /// The turn runs at another gateway that does not answer.
    #[error("this turn cannot be read right now; try again in a moment")]
    Unreachable,
    /// The service is going down.
    #[error("the service is going down")]
    ShuttingDown,
}
