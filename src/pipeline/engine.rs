//! The face of the pipeline: lets questions in, finds the turns that clients come back to, and starts the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ask::{Ask, Refused};
use super::catalog::Catalog;
use super::chain::Chain;
use super::history::History;
use super::live::{Busy, LiveTurn, LiveTurns, Reader, RequestKey, TurnEvent, TurnHead};
use super::stages::language::Detector;
use super::stages::retrieve::Retriever;
use super::turn::Turn;
use crate::config::Settings;
use crate::domain::{CompanyScope, ConversationId, SessionId, TurnId};
use crate::ports::outbox::Outbox;
use crate::ports::store::ConversationStore;
use crate::runtime::tasks;

/// How long a request with an `Idempotency-Key` waits for the store to say whether the key is known.
const KEY_PATIENCE: Duration = Duration::from_millis(500);

/// What the engine is made of.
pub struct Parts {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The pipelines.
    pub catalog: Arc<Catalog>,
    /// The models.
    pub chain: Arc<Chain>,
    /// The knowledge.
    pub retriever: Retriever,
    /// The stored conversations.
    pub store: Arc<dyn ConversationStore>,
    /// Where turns go.
    pub outbox: Arc<dyn Outbox>,
}

/// Runs turns.
pub struct Engine {
    pub(super) parts: Parts,
    pub(super) detector: Detector,
    pub(super) history: History,
    turns: LiveTurns,
    closing: AtomicBool,
}

impl Engine {
    /// An engine.
    pub fn new(parts: Parts) -> Arc<Self> {
        let history = History::new(Arc::clone(&parts.store), parts.settings.turn.history_turns);
        Arc::new(Self {
            parts,
            detector: Detector::new(),
            history,
            turns: LiveTurns::default(),
            closing: AtomicBool::new(false),
        })
    }

    /// The turns in memory.
    pub fn turns(&self) -> &LiveTurns {
        &self.turns
    }

    /// The past of conversations.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The models.
    pub fn chain(&self) -> &Chain {
        &self.parts.chain
    }

    /// The knowledge.
    pub fn retriever(&self) -> &Retriever {
        &self.parts.retriever
    }

    /// Whether new turns are let in, and why not.
    ///
    /// # Errors
    /// The reason.
    pub fn admits(&self) -> Result<(), String> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refused::ShuttingDown.to_string());
        }
        self.parts.outbox.admit().map_err(|error| error.to_string())
    }

    /// Lets no new turn in.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Begins a turn, or finds the one that the same request began before, and reads it from its first event.
    ///
    /// # Errors
    /// Why it does not begin.
    pub async fn begin(self: &Arc<Self>, ask: Ask) -> Result<Reader, Refused> {
        let fingerprint = ask.idempotency_key.as_ref().map(|_| ask.fingerprint());
        let key = ask.idempotency_key.clone().zip(fingerprint);
        let key = key.as_ref().map(|(key, fingerprint)| RequestKey { key, fingerprint });
        if let Some(key) = key
            && let Some(reader) = self.known(&ask, key).await?
        {
            return Ok(reader);
        }
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refused::ShuttingDown);
        }
        self.parts.outbox.admit().map_err(Refused::Outbox)?;
        let session_id = ask.session_id.clone().unwrap_or_else(SessionId::generate);
        let head = TurnHead {
            turn_id: TurnId::generate(),
            company_id: ask.company.id.clone(),
            conversation_id: ConversationId::of_session(&ask.company.id, &session_id),
            session_id,
        };
        let live = LiveTurn::new(head);
        let limits = &self.parts.settings.limits;
        let known = self.turns.admit(&live, key, limits.streams, limits.streams_per_company)?;
        if let Some(known) = known {
            // The same request came twice at the same moment, and the other one was first.
            return Ok(known.read(0));
        }
        let reader = live.read(0);
        let engine = Arc::clone(self);
        let started = Instant::now();
        tasks::spawn("turn", async move {
            let ending = Ending { engine: &engine, live: &live };
            Turn::new(&engine, ask, &live, started).run().await;
            drop(ending);
        });
        Ok(reader)
    }

    /// Reads a turn from an event on: from memory, or from the store when it ended long ago.
    pub async fn resume(&self, scope: &CompanyScope, id: TurnId, after: usize) -> Option<Reader> {
        if let Some(turn) = self.turns.get(scope, id) {
            return Some(turn.read(after));
        }
        let stored = self.parts.store.turn(scope, id).await.ok()??;
        let turn = LiveTurn::of_record(&stored.record, after > 0);
        // The pieces' numbers are forgotten: whoever has some of them begins with the reset, event 5 at the latest.
        let stages = 2 + usize::from(stored.record.language.is_some()) + usize::from(stored.record.intent.is_some());
        Some(turn.read(if after > 0 { stages } else { 0 }))
    }

    async fn known(&self, ask: &Ask, key: RequestKey<'_>) -> Result<Option<Reader>, Refused> {
        if let Some(turn) = self.turns.known(&ask.scope, key)? {
            return Ok(Some(turn.read(0)));
        }
        // A store that does not answer cannot tell; the request is then taken for a new one.
        let asked = self.parts.store.turn_by_idempotency_key(&ask.scope, key.key);
        let Ok(Ok(Some(stored))) = tokio::time::timeout(KEY_PATIENCE, asked).await else { return Ok(None) };
        if stored.record.request_fingerprint.as_deref() != Some(key.fingerprint) {
            return Err(Refused::KeyReused);
        }
        Ok(Some(LiveTurn::of_record(&stored.record, false).read(0)))
    }
}

impl From<Busy> for Refused {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::All => Self::TooManyStreams,
            Busy::Company => Self::TooManyStreamsOfCompany,
            Busy::KeyReused => Self::KeyReused,
        }
    }
}

/// What the end of a turn's task is bound to see to, also when the task panics: its readers are told, and its place is
/// free again. What it left in its journal is mended at the next start.
struct Ending<'a> {
    engine: &'a Engine,
    live: &'a LiveTurn,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // A turn that ended takes no further event.
        self.live.push(TurnEvent::Error {
            code: "internal".into(),
            message: "Something went wrong on our side. Please ask again.".to_owned(),
            retryable: true,
        });
        self.engine.turns.release(self.live.head());
    }
}
