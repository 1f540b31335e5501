//! A conversation's past: what the store has, and what this process knows that may not be stored yet.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::time::Instant;

use super::gone::Gone;
use super::neighbours::Neighbours;
use crate::domain::conversation::{Message, Role, StoredTurn, messages_of};
use crate::domain::{CompanyId, CompanyScope, ConversationId, Language, TurnId, TurnRecord};
use crate::ports::store::ConversationStore;

/// How long a turn waits for the store at most.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long the store is not asked after it kept a turn waiting.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a turn waits for the one before it to end, when that runs at another gateway.
const ENDING: Duration = Duration::from_millis(500);
/// Between two looks for a turn.
const LOOK: Duration = Duration::from_millis(25);
/// What is remembered of turns in all, in bytes of text.
const MEMORY_BYTES: u64 = 64 << 20;

/// The past of a conversation.
#[derive(Debug, Default)]
pub struct Past {
    /// Its last turns, oldest first.
    pub turns: Vec<PastTurn>,
    /// The turn that came last, even if it could not be read.
    pub previous: Option<TurnId>,
    /// Whether turns may be missing: the store or the other gateways were asked and did not answer in time.
    pub is_partial: bool,
}

impl Past {
    /// The messages of the turns, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.turns.iter().flat_map(|turn| turn.messages.clone()).collect()
    }

    /// The same place with another past: messages that the client holds, oldest first.
    pub fn told(self, messages: Vec<Message>) -> Self {
        let mut turns: Vec<PastTurn> = Vec::new();
        for message in messages {
            match turns.last_mut() {
                Some(turn) if message.role != Role::User => turn.messages.push(message),
                _ => {
                    turns.push(PastTurn { turn_id: TurnId::generate(), language: None, messages: vec![message] });
                }
            }
        }
        Self { turns, is_partial: false, ..self }
    }

    /// The user's last message.
    pub fn last_question(&self) -> Option<&str> {
        self.turns.last().and_then(|turn| turn.messages.first()).map(|message| message.content.as_str())
    }
}

/// What this process remembers of a conversation.
struct Recent {
    company: CompanyId,
    turns: Vec<PastTurn>,
}

/// What matters of a turn to the next one.
#[derive(Clone, Debug)]
pub struct PastTurn {
    /// The turn. Ids sort by time.
    pub turn_id: TurnId,
    /// Its language.
    pub language: Option<Language>,
    /// Question and answer.
    pub messages: Vec<Message>,
}

impl From<&TurnRecord> for PastTurn {
    fn from(record: &TurnRecord) -> Self {
        Self { turn_id: record.turn_id, language: record.language, messages: messages_of(record) }
    }
}

impl PastTurn {
    fn bytes(&self) -> usize {
        64 + self.messages.iter().map(|message| message.content.len()).sum::<usize>()
    }
}

/// Where a turn stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// In this conversation.
    pub conversation: ConversationId,
    /// The turn itself.
    pub turn: TurnId,
    /// The turn before it, if the client knows.
    pub previous: Option<TurnId>,
}

/// What is known of the turn before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// There is none that could be missing.
    None,
    /// It has ended.
    Turn(TurnId),
    /// It goes on at another gateway.
    Running(TurnId),
    /// The other gateways did not answer.
    Unknown,
}

/// Reads conversations' pasts.
pub struct History {
    store: Arc<dyn ConversationStore>,
    neighbours: Neighbours,
    /// How long a turn that exists is waited for.
    wait: Duration,
    recent: Cache<ConversationId, Arc<Recent>>,
    limit: usize,
    /// Companies for which the store kept a turn waiting, and is left alone for a while.
    paused: Cache<CompanyId, ()>,
}

impl History {
    /// A history of `limit` turns a conversation.
    pub fn new(store: Arc<dyn ConversationStore>, neighbours: Neighbours, limit: usize, wait: Duration) -> Self {
        let recent = Cache::builder()
            .max_capacity(MEMORY_BYTES)
            .weigher(|_, recent: &Arc<Recent>| {
                u32::try_from(recent.turns.iter().map(PastTurn::bytes).sum::<usize>()).unwrap_or(u32::MAX)
            })
            .time_to_idle(Duration::from_secs(3600))
            .build();
        let paused = Cache::builder().max_capacity(10_000).time_to_live(PAUSE).build();
        Self { store, neighbours, wait, recent, limit, paused }
    }

    /// Remembers a turn that ended, stored or not.
    pub fn remember(&self, record: &TurnRecord) {
        if self.limit == 0 {
            return;
        }
        self.recent.entry(record.conversation_id).and_upsert_with(|known| {
            let mut turns = known.map(|entry| entry.into_value().turns.clone()).unwrap_or_default();
            turns.retain(|turn| turn.turn_id != record.turn_id);
            turns.push(record.into());
            let surplus = turns.len().saturating_sub(self.limit);
            turns.drain(..surplus);
            Arc::new(Recent { company: record.company_id.clone(), turns })
        });
    }

    /// Forgets what is gone.
    pub fn forget(&self, gone: &Gone) {
        let forget = |id: ConversationId| {
            self.recent.entry(id).and_compute_with(|known| {
                let Some(known) = known.map(|entry| entry.into_value()) else { return Op::Nop };
                let mut turns = known.turns.clone();
                turns.retain(|turn| !gone.has(&known.company, id, turn.turn_id));
                if turns.is_empty() {
                    return Op::Remove;
                }
                Op::Put(Arc::new(Recent { company: known.company.clone(), turns }))
            });
        };
        match gone.conversation {
            Some((id, _)) => forget(id),
            None => {
                let theirs = self.recent.iter().filter(|(_, recent)| recent.company == gone.company);
                theirs.map(|(id, _)| *id).collect::<Vec<_>>().into_iter().for_each(forget);
            }
        }
    }

    /// The language of the conversation's last turn, if this process saw it.
    pub fn last_language(&self, conversation: ConversationId) -> Option<Language> {
        self.recent.get(&conversation)?.turns.last()?.language
    }

    /// The conversation's last turn, if this process saw it end.
    pub fn last_turn(&self, conversation: ConversationId) -> Option<TurnId> {
        Some(self.recent.get(&conversation)?.turns.last()?.turn_id)
    }

    /// The past of a conversation, as a turn of it sees it. Waits for the store within bounds only.
    pub async fn load(&self, scope: &CompanyScope, place: Place) -> Past {
        if self.limit == 0 {
            return Past::default();
        }
        let is_paused = self.paused.contains_key(scope.company());
        let stored = async { if is_paused { None } else { self.stored(scope, place.conversation).await } };
        let (stored, before) = tokio::join!(stored, self.before(scope, place, is_paused));
        let mut is_partial = stored.is_none() || matches!(before, Before::Unknown | Before::Running(_));
        let mut turns: Vec<PastTurn> =
            stored.unwrap_or_default().iter().map(|turn| PastTurn::from(&turn.record)).collect();
        if let Some(recent) = self.recent.get(&place.conversation) {
            let is_known = |turn: &PastTurn| turns.iter().any(|known| known.turn_id == turn.turn_id);
            // What the store does not have is about to be stored, or was removed by way of another gateway.
            if !is_paused && !is_partial && !recent.turns.iter().all(is_known) {
                self.forget_removed(scope, place.conversation).await;
            }
        }
        if let Some(recent) = self.recent.get(&place.conversation) {
            turns.extend(recent.turns.iter().cloned());
        }
        if let Before::Turn(before) = before
            && turns.iter().all(|turn| turn.turn_id != before)
        {
            match self.awaited(scope, before).await {
                Some(turn) => turns.push(turn),
                None => is_partial = true,
            }
        }
        turns.sort_by_key(|turn| turn.turn_id);
        turns.dedup_by_key(|turn| turn.turn_id);
        let surplus = turns.len().saturating_sub(self.limit);
        turns.drain(..surplus);
        let named = match before {
            Before::Turn(id) | Before::Running(id) => Some(id),
            Before::None | Before::Unknown => None,
        };
        let previous = turns.last().map(|turn| turn.turn_id).max(named);
        Past { turns, previous, is_partial }
    }

    /// Forgets what was removed of a conversation. A store that does not answer in time has said nothing.
    async fn forget_removed(&self, scope: &CompanyScope, conversation: ConversationId) {
        let asked = tokio::time::timeout(PATIENCE, self.store.removed(scope, &[conversation])).await;
        for removed in asked.into_iter().flatten().flatten() {
            let conversation = Some((removed.conversation, removed.until));
            self.forget(&Gone { company: scope.company().clone(), conversation });
        }
    }

    async fn stored(&self, scope: &CompanyScope, conversation: ConversationId) -> Option<Vec<StoredTurn>> {
        match tokio::time::timeout(PATIENCE, self.store.history(scope, conversation, self.limit)).await {
            Ok(Ok(turns)) => Some(turns),
            Ok(Err(error)) => {
                tracing::warn!(%error, "history comes from memory alone");
                None
            }
            Err(_) => {
                self.paused.insert(scope.company().clone(), ());
                tracing::warn!(waited_ms = PATIENCE.as_millis(), "the store is slow; history comes from memory alone");
                None
            }
        }
    }

    /// The turn that comes before, as the client says, or as another gateway has said. One that is just about to end gets
    /// a moment; one that goes on is not history yet.
    async fn before(&self, scope: &CompanyScope, place: Place, is_paused: bool) -> Before {
        if let Some(previous) = place.previous {
            return Before::Turn(previous);
        }
        if is_paused || !self.neighbours.exist() {
            return Before::None;
        }
        let deadline = Instant::now() + ENDING;
        loop {
            let asked = self.neighbours.turn_before(scope, place.conversation, place.turn).await;
            let Ok(last) = asked else { return Before::Unknown };
            match last {
                None => return Before::None,
                Some(last) if last.has_ended => return Before::Turn(last.turn_id),
                Some(last) if Instant::now() >= deadline => return Before::Running(last.turn_id),
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// A turn that exists and may not be stored yet.
    async fn awaited(&self, scope: &CompanyScope, id: TurnId) -> Option<PastTurn> {
        let deadline = Instant::now() + self.wait;
        loop {
            let asked = tokio::time::timeout(PATIENCE, self.store.turn(scope, id)).await;
            if let Ok(Ok(Some(turn))) = asked {
                return Some(PastTurn::from(&turn.record));
            }
            if Instant::now() >= deadline {
                tracing::warn!(turn.id = %id, "the turn before is not stored yet; history goes without it");
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
