//! The face of the pipeline: lets questions in, finds the turns that clients come back to, and starts the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ask::{Ask, Refused};
use super::catalog::Catalog;
use super::chain::Chain;
use super::gone::Gone;
use super::history::History;
use super::live::{Busy, LiveTurn, LiveTurns, Occupied, Reader, RequestKey, TurnEvent, TurnHead};
use super::neighbours::Neighbours;
use super::stages::language::Detector;
use super::stages::retrieve::Retriever;
use super::told;
use super::turn::Turn;
use crate::config::Settings;
use crate::domain::conversation::Conversation;
use crate::domain::{CompanyScope, ConversationId, Event, SessionId, TurnId, TurnRecord};
use crate::ports::cluster::Claim;
use crate::ports::outbox::{self, Outbox};
use crate::ports::store::{self, ConversationStore};
use crate::runtime::tasks;

/// How long a request with an `Idempotency-Key` waits for the store to say whether the key is known.
const KEY_PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks for a turn that another gateway has begun.
const LOOK: Duration = Duration::from_millis(50);
/// A turn so young may run at a gateway whose word of it has not come yet.
const FRESH: Duration = Duration::from_secs(10);
/// A claim is as good as none when its turn began so long ago and nobody knows it.
const STALE: Duration = Duration::from_secs(60);

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
    /// The other gateways.
    pub neighbours: Neighbours,
}

/// Where a turn can be read.
pub enum Found {
    /// Here.
    Here(Reader),
    /// At another gateway.
    Elsewhere {
        /// The turn.
        turn_id: TurnId,
        /// Where that gateway is reached.
        url: String,
    },
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
        let turn = &parts.settings.turn;
        let history =
            History::new(Arc::clone(&parts.store), parts.neighbours.clone(), turn.history_turns, turn.history_wait);
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

    /// The pipelines.
    pub fn catalog(&self) -> &Catalog {
        &self.parts.catalog
    }

    /// The knowledge.
    pub fn retriever(&self) -> &Retriever {
        &self.parts.retriever
    }

    /// Has webhooks told that a conversation was ended, after its last turn. On disk when it returns.
    ///
    /// # Errors
    /// When the outbox does not take it.
    pub async fn tell_of_end(&self, conversation: &Conversation, last: &TurnRecord) -> Result<(), outbox::Error> {
        for event in told::of_end(conversation, last).map_err(|error| outbox::Error::Disk(error.to_string()))? {
            self.parts.outbox.commit(&event).await?;
        }
        Ok(())
    }

    /// Forgets what is gone.
    pub fn forget(&self, gone: &Gone) {
        self.turns.forget(gone);
        self.history.forget(gone);
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

    /// Lets something in that streams and is no turn: it counts as one against the limits until it is dropped.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn occupy(&self, scope: &CompanyScope) -> Result<Occupied, Refused> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refused::ShuttingDown);
        }
        let limits = &self.parts.settings.limits;
        Ok(self.turns.occupy(scope, limits.streams, limits.streams_per_company)?)
    }

    /// Whether no new turn is let in any more, because the service goes down.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Lets no new turn in.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Begins a turn, or finds the one that the same request began before, here or elsewhere, and reads it from its
    /// first event.
    ///
    /// # Errors
    /// Why it does not begin.
    pub async fn begin(self: &Arc<Self>, ask: Ask) -> Result<Found, Refused> {
        let fingerprint = ask.idempotency_key.as_ref().map(|_| ask.fingerprint());
        let key = ask.idempotency_key.clone().zip(fingerprint);
        let key = key.as_ref().map(|(key, fingerprint)| RequestKey { key, fingerprint });
        let turn_id = TurnId::generate();
        if let Some(key) = key
            && let Some(found) = self.known(&ask, key, turn_id).await?
        {
            return Ok(found);
        }
        let begun = self.start(&ask, key, turn_id);
        if let (Err(_), Some(key)) = (&begun, key) {
            let claim = Claim { key: key.key.to_owned(), fingerprint: key.fingerprint.to_owned(), turn_id };
            self.parts.neighbours.disclaim(&ask.scope, claim);
        }
        begun.map(Found::Here)
    }

    fn start(self: &Arc<Self>, ask: &Ask, key: Option<RequestKey<'_>>, turn_id: TurnId) -> Result<Reader, Refused> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refused::ShuttingDown);
        }
        self.parts.outbox.admit().map_err(Refused::Outbox)?;
        let session_id = ask.session_id.clone().unwrap_or_else(SessionId::generate);
        let head = TurnHead {
            turn_id,
            company_id: ask.company.id.clone(),
            conversation_id: ConversationId::of_session(&ask.company.id, &session_id),
            session_id,
            channel: ask.user.channel(),
        };
        let live = LiveTurn::new(head);
        let limits = &self.parts.settings.limits;
        let known = self.turns.admit(&live, key, limits.streams, limits.streams_per_company)?;
        if let Some(known) = known {
            // The same request came twice at the same moment, and the other one was first.
            return Ok(known.read(0));
        }
        let reader = live.read(0);
        self.parts.neighbours.announce(&ask.scope, live.head(), false);
        let engine = Arc::clone(self);
        let ask = ask.clone();
        let started = Instant::now();
        tasks::spawn("turn", async move {
            let ending = Ending { engine: &engine, live: &live };
            Turn::new(&engine, ask, &live, started).run().await;
            drop(ending);
        });
        Ok(reader)
    }

    /// Keeps an event that belongs to a turn and is not of its making. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep(&self, event: &Event) -> Result<(), Refused> {
        self.parts.outbox.admit().map_err(Refused::Outbox)?;
        self.parts.outbox.commit(event).await.map_err(Refused::Outbox)
    }

    /// Finds a turn to be read from an event on: in memory, in the store when it ended long ago, or at another gateway.
    ///
    /// # Errors
    /// `Unreachable` when it is not found and may be there all the same: the store or the others do not answer, or the turn
    /// is so young that its gateway may not have told of it yet.
    pub async fn resume(&self, scope: &CompanyScope, id: TurnId, after: usize) -> Result<Option<Found>, Refused> {
        if let Some(turn) = self.turns.get(scope, id) {
            return Ok(Some(Found::Here(turn.read(after))));
        }
        let (stored, holder) =
            tokio::join!(self.find_stored(scope, id, after), self.parts.neighbours.holder(scope, id));
        // Where it runs, the numbers of its events are known; from the store they are not.
        if let Ok(Some(url)) = holder {
            return Ok(Some(Found::Elsewhere { turn_id: id, url }));
        }
        match stored {
            Ok(Some(reader)) => Ok(Some(Found::Here(reader))),
            Err(_) => Err(Refused::Unreachable),
            Ok(None) if holder.is_err() => Err(Refused::Unreachable),
            Ok(None) if self.parts.neighbours.exist() && id.age().is_some_and(|age| age < FRESH) => {
                Err(Refused::Unreachable)
            }
            Ok(None) => Ok(None),
        }
    }

    /// Reads a turn that is stored.
    pub async fn stored(&self, scope: &CompanyScope, id: TurnId, after: usize) -> Option<Reader> {
        self.find_stored(scope, id, after).await.ok()?
    }

    async fn find_stored(
        &self,
        scope: &CompanyScope,
        id: TurnId,
        after: usize,
    ) -> Result<Option<Reader>, store::Error> {
        let Some(stored) = self.parts.store.turn(scope, id).await? else { return Ok(None) };
        let turn = LiveTurn::of_record(&stored.record, after > 0);
        // The pieces' numbers are forgotten: whoever has some of them begins with the reset, event 5 at the latest.
        let stages = 2 + usize::from(stored.record.language.is_some()) + usize::from(stored.record.intent.is_some());
        Ok(Some(turn.read(if after > 0 { stages } else { 0 })))
    }

    /// The turn that the same request made before. None makes `turn_id` the one.
    async fn known(&self, ask: &Ask, key: RequestKey<'_>, turn_id: TurnId) -> Result<Option<Found>, Refused> {
        if let Some(turn) = self.turns.known(&ask.scope, key)? {
            return Ok(Some(Found::Here(turn.read(0))));
        }
        // A store that does not answer cannot tell; the request is then taken for a new one.
        let asked = self.parts.store.turn_by_idempotency_key(&ask.scope, key.key);
        let (stored, claim) = tokio::join!(
            tokio::time::timeout(KEY_PATIENCE, asked),
            self.parts.neighbours.claim(&ask.scope, key, turn_id)
        );
        if let Ok(Ok(Some(stored))) = stored {
            if stored.record.request_fingerprint.as_deref() != Some(key.fingerprint) {
                return Err(Refused::KeyReused);
            }
            return Ok(Some(Found::Here(LiveTurn::of_record(&stored.record, false).read(0))));
        }
        let Some(claim) = claim.filter(|claim| claim.turn_id != turn_id) else { return Ok(None) };
        if claim.fingerprint != key.fingerprint {
            return Err(Refused::KeyReused);
        }
        // The other gateway says where its turn is just after it has claimed the key.
        let deadline = Instant::now() + self.parts.settings.turn.history_wait;
        loop {
            if let Ok(Some(found)) = self.resume(&ask.scope, claim.turn_id, 0).await {
                return Ok(Some(found));
            }
            if Instant::now() >= deadline {
                // Its gateway may have died before anything of the turn was written; the key is not lost for that.
                return if claim.turn_id.age().is_some_and(|age| age > STALE) {
                    Ok(None)
                } else {
                    Err(Refused::Unreachable)
                };
            }
            tokio::time::sleep(LOOK).await;
        }
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
