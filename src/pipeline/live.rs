//! Turns in memory: the running ones and, for a while, those that ended.
//!
//! A turn writes its events into a [`LiveTurn`]; any number of [`Reader`]s follow it from any event on. So a client that
//! lost its connection reads on where it was, and one that reads slowly delays nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::turn::{Degraded, FinishReason, IntentFound, Source, Usage};
use crate::domain::{CompanyId, ConversationId, Language, SessionId, TurnId, TurnRecord};

pub use turns::{Busy, LiveTurns, Occupied, RequestKey};

mod turns;

/// What a client is told of a turn. Exactly one `Done` or `Error` ends every turn.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEvent {
    /// The turn was accepted.
    Start,
    /// Its language.
    Language {
        /// The language.
        language: Language,
        /// Calibrated probability.
        confidence: f32,
    },
    /// Its intent, and the agent that answers.
    Intent(IntentFound),
    /// The passages that the answer may cite.
    Sources(Arc<[Source]>),
    /// A piece of the answer.
    Content(Arc<str>),
    /// The answer begins again from nothing.
    Reset {
        /// Why.
        reason: &'static str,
    },
    /// The turn is on disk.
    Done {
        /// How the answer ended.
        finish_reason: FinishReason,
        /// Tokens.
        usage: Usage,
        /// What was missing.
        degraded: Vec<Degraded>,
    },
    /// The turn ended without an answer.
    Error {
        /// A short code.
        code: Cow<'static, str>,
        /// What happened, for people.
        message: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
}

impl TurnEvent {
    fn ends(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error { .. })
    }

    /// Roughly what the event takes of memory.
    fn bytes(&self) -> usize {
        let text = match self {
            Self::Content(text) => text.len() + 16,
            Self::Sources(sources) => {
                sources.iter().map(|source| 256 + source.snippet.len() + source.title.len()).sum()
            }
            _ => 0,
        };
        std::mem::size_of::<Self>() + text
    }
}

/// Which turn it is.
#[derive(Clone, Debug)]
pub struct TurnHead {
    /// The turn.
    pub turn_id: TurnId,
    /// The company asked.
    pub company_id: CompanyId,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Where its user writes.
    pub channel: String,
}

/// A turn and the events it has made so far.
pub struct LiveTurn {
    head: TurnHead,
    state: Mutex<State>,
    /// Wakes readers when there is another event, and the turn when readers come and go.
    changed: Notify,
    stop: CancellationToken,
    /// Whether it was the service that stopped the turn, because it goes down.
    is_interrupted: AtomicBool,
}

struct State {
    events: Vec<TurnEvent>,
    ended_at: Option<Instant>,
    readers: usize,
    /// Events handed to the reader that got furthest.
    delivered: usize,
    /// Since when nobody reads.
    unread_since: Option<Instant>,
    /// Whether the turn waits for a reader to get all.
    is_awaited: bool,
}

impl LiveTurn {
    /// A turn that begins. It counts as unread until a reader comes.
    pub fn new(head: TurnHead) -> Arc<Self> {
        Arc::new(Self {
            head,
            state: Mutex::new(State {
                events: Vec::with_capacity(8),
                ended_at: None,
                readers: 0,
                delivered: 0,
                unread_since: Some(Instant::now()),
                is_awaited: false,
            }),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            is_interrupted: AtomicBool::new(false),
        })
    }

    /// A turn that ended before, as a client would have seen it: its events, but the answer in one piece. `resumes` says
    /// that the client has seen a part of it; the numbers of the pieces are forgotten, so the answer begins again.
    pub fn of_record(record: &TurnRecord, resumes: bool) -> Arc<Self> {
        let turn = Self::new(TurnHead {
            turn_id: record.turn_id,
            company_id: record.company_id.clone(),
            session_id: record.session_id.clone(),
            conversation_id: record.conversation_id,
            channel: record.channel.clone(),
        });
        turn.push(TurnEvent::Start);
        if let Some(language) = record.language {
            turn.push(TurnEvent::Language { language, confidence: 1.0 });
        }
        if let Some(intent) = &record.intent {
            turn.push(TurnEvent::Intent(intent.clone()));
        }
        turn.push(TurnEvent::Sources(record.sources.clone().into()));
        if resumes {
            turn.push(TurnEvent::Reset { reason: "resumed" });
        }
        if !record.answer.is_empty() {
            turn.push(TurnEvent::Content(record.answer.as_str().into()));
        }
        turn.push(match &record.error {
            Some(code) => TurnEvent::Error {
                code: code.clone().into(),
                message: "No answer could be written.".to_owned(),
                retryable: true,
            },
            None => TurnEvent::Done {
                finish_reason: record.finish_reason,
                usage: record.usage,
                degraded: record.degraded.clone(),
            },
        });
        turn
    }

    /// Which turn it is.
    pub fn head(&self) -> &TurnHead {
        &self.head
    }

    /// Adds an event. After the last one none is added.
    pub fn push(&self, event: TurnEvent) {
        {
            let mut state = self.state.lock();
            if state.ended_at.is_some() {
                return;
            }
            if event.ends() {
                state.ended_at = Some(Instant::now());
            }
            state.events.push(event);
        }
        self.changed.notify_waiters();
    }

    /// Follows the turn from event `after` on; events are numbered from 1. Whoever has seen all of a turn that ended
    /// gets its last event once more, so that every stream ends with one.
    pub fn read(self: &Arc<Self>, after: usize) -> Reader {
        let next = {
            let mut state = self.state.lock();
            state.readers += 1;
            state.unread_since = None;
            let most = state.events.len() - usize::from(state.ended_at.is_some() && !state.events.is_empty());
            after.min(most)
        };
        self.changed.notify_waiters();
        Reader { turn: Arc::clone(self), next }
    }

    /// Takes back what no reader has got, and gives the text that they have: a turn that is cut short is what was
    /// delivered of it.
    pub fn cut(&self) -> String {
        let mut state = self.state.lock();
        let delivered = state.delivered;
        state.events.truncate(delivered);
        let mut text = String::new();
        for event in &state.events {
            match event {
                TurnEvent::Content(piece) => text.push_str(piece),
                TurnEvent::Reset { .. } => text.clear(),
                _ => {}
            }
        }
        text
    }

    /// Asks the turn to stop; what was delivered is kept. Says whether it was running.
    pub fn stop(&self) -> bool {
        let running = self.state.lock().ended_at.is_none();
        self.stop.cancel();
        running
    }

    /// Resolves when the turn was asked to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Stops the turn because the service goes down: what was delivered is kept.
    pub fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Relaxed);
        self.stop.cancel();
    }

    /// Whether it was the service that stopped the turn.
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }

    /// Whether anyone reads, and the bytes of the answer that were handed out so far.
    pub fn attendance(&self) -> (bool, usize) {
        let state = self.state.lock();
        (state.readers > 0, delivered_bytes(&state))
    }

    /// Resolves when somebody reads, or when nobody does.
    pub async fn attendance_is(&self, attended: bool) {
        self.until(|state| (state.readers > 0) == attended).await;
    }

    /// Resolves when nobody has read for `grace`.
    pub async fn abandoned(&self, grace: Duration) {
        loop {
            let since = self.state.lock().unread_since;
            match since {
                Some(since) => {
                    let came_back = self.until(|state| state.unread_since != Some(since));
                    if tokio::time::timeout_at(since + grace, came_back).await.is_err() {
                        return;
                    }
                }
                None => self.until(|state| state.unread_since.is_some()).await,
            }
        }
    }

    /// Resolves when a reader has got all there is so far, or when nobody has read for `grace`: says which.
    pub async fn handed_out(&self, grace: Duration) -> bool {
        self.state.lock().is_awaited = true;
        tokio::select! {
            biased;
            () = self.until(|state| state.readers > 0 && state.delivered >= state.events.len()) => true,
            () = self.abandoned(grace) => false,
        }
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn left(&self) {
        {
            let mut state = self.state.lock();
            state.readers = state.readers.saturating_sub(1);
            if state.readers == 0 {
                state.unread_since = Some(Instant::now());
            }
        }
        self.changed.notify_waiters();
    }
}

/// Bytes of the answer among the events handed out, since the last reset.
fn delivered_bytes(state: &State) -> usize {
    state.events.iter().take(state.delivered).fold(0, |bytes, event| match event {
        TurnEvent::Content(text) => bytes + text.len(),
        TurnEvent::Reset { .. } => 0,
        _ => bytes,
    })
}

/// Follows a turn. Dropping it leaves the turn.
pub struct Reader {
    turn: Arc<LiveTurn>,
    next: usize,
}

impl Reader {
    /// The turn.
    pub fn turn(&self) -> &Arc<LiveTurn> {
        &self.turn
    }

    /// The next events with the number of the first, at least one of them; none when the turn has ended and all were
    /// handed out.
    pub async fn next(&mut self) -> Option<(usize, Vec<TurnEvent>)> {
        loop {
            let turn = Arc::clone(&self.turn);
            let changed = turn.changed.notified();
            {
                let mut state = self.turn.state.lock();
                if let Some(events) = state.events.get(self.next..).filter(|events| !events.is_empty()) {
                    let events = events.to_vec();
                    let first = self.next + 1;
                    self.next += events.len();
                    state.delivered = state.delivered.max(self.next);
                    if state.is_awaited {
                        self.turn.changed.notify_waiters();
                    }
                    return Some((first, events));
                }
                if state.ended_at.is_some() {
                    return None;
                }
            }
            changed.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.turn.left();
    }
}

#[cfg(test)]
mod tests;
