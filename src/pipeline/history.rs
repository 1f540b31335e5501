//! A conversation's past: what the store has, and what this process knows that may not be stored yet.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::conversation::{Message, messages_of};
use crate::domain::{CompanyId, CompanyScope, ConversationId, Language, TurnId, TurnRecord};
use crate::ports::store::ConversationStore;

/// How long a turn waits for the store at most.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long the store is not asked after it kept a turn waiting.
const PAUSE: Duration = Duration::from_secs(5);
/// What is remembered of turns in all, in bytes of text.
const MEMORY_BYTES: u64 = 64 << 20;

/// The past of a conversation.
#[derive(Debug, Default)]
pub struct Past {
    /// Its last turns, oldest first.
    pub turns: Vec<PastTurn>,
    /// Whether the store was asked and did not answer.
    pub is_partial: bool,
}

impl Past {
    /// The messages of the turns, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.turns.iter().flat_map(|turn| turn.messages.clone()).collect()
    }

    /// The user's last message.
    pub fn last_question(&self) -> Option<&str> {
        self.turns.last().and_then(|turn| turn.messages.first()).map(|message| message.content.as_str())
    }
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

/// Reads conversations' pasts.
pub struct History {
    store: Arc<dyn ConversationStore>,
    recent: Cache<ConversationId, Arc<Vec<PastTurn>>>,
    limit: usize,
    /// Companies for which the store kept a turn waiting, and is left alone for a while.
    paused: Cache<CompanyId, ()>,
}

impl History {
    /// A history of `limit` turns a conversation.
    pub fn new(store: Arc<dyn ConversationStore>, limit: usize) -> Self {
        let recent = Cache::builder()
            .max_capacity(MEMORY_BYTES)
            .weigher(|_, turns: &Arc<Vec<PastTurn>>| {
                u32::try_from(turns.iter().map(PastTurn::bytes).sum::<usize>()).unwrap_or(u32::MAX)
            })
            .time_to_idle(Duration::from_secs(3600))
            .build();
        let paused = Cache::builder().max_capacity(10_000).time_to_live(PAUSE).build();
        Self { store, recent, limit, paused }
    }

    /// Remembers a turn that ended, stored or not.
    pub fn remember(&self, record: &TurnRecord) {
        if self.limit == 0 {
            return;
        }
        self.recent.entry(record.conversation_id).and_upsert_with(|known| {
            let mut turns = known.map(|entry| entry.into_value().as_ref().clone()).unwrap_or_default();
            turns.retain(|turn| turn.turn_id != record.turn_id);
            turns.push(record.into());
            let surplus = turns.len().saturating_sub(self.limit);
            turns.drain(..surplus);
            Arc::new(turns)
        });
    }

    /// The language of the conversation's last turn, if this process saw it.
    pub fn last_language(&self, conversation: ConversationId) -> Option<Language> {
        self.recent.get(&conversation)?.last()?.language
    }

    /// The past of a conversation. Waits for the store within a bound only.
    pub async fn load(&self, scope: &CompanyScope, conversation: ConversationId) -> Past {
        if self.limit == 0 {
            return Past::default();
        }
        let stored = if self.paused.contains_key(scope.company()) {
            None
        } else {
            match tokio::time::timeout(PATIENCE, self.store.history(scope, conversation, self.limit)).await {
                Ok(Ok(turns)) => Some(turns),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "history comes from memory alone");
                    None
                }
                Err(_) => {
                    self.paused.insert(scope.company().clone(), ());
                    tracing::warn!(
                        waited_ms = PATIENCE.as_millis(),
                        "the store is slow; history comes from memory alone"
                    );
                    None
                }
            }
        };
        let is_partial = stored.is_none();
        let mut turns: Vec<PastTurn> =
            stored.unwrap_or_default().iter().map(|turn| PastTurn::from(&turn.record)).collect();
        if let Some(recent) = self.recent.get(&conversation) {
            turns.extend(recent.iter().cloned());
        }
        turns.sort_by_key(|turn| turn.turn_id);
        turns.dedup_by_key(|turn| turn.turn_id);
        let surplus = turns.len().saturating_sub(self.limit);
        turns.drain(..surplus);
        Past { turns, is_partial }
    }
}
