//! Ports in memory, for the tests of jobs.

mod log;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::Notify;

pub(super) use self::log::MemoryLog;
use crate::config;
use crate::domain::conversation::{Conversation, Status, StoredTurn};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{
    ApiKey, Company, CompanyId, CompanyScope, ConversationId, EndpointId, Event, EventType, FinishReason, TurnId,
    TurnRecord,
};
use crate::ports::bus::{self, Account, Bus, DeadLetter, Message, Queue, Settlement, Taken, Turns};
use crate::ports::directory::Directory;
use crate::ports::store::{Appended, ConversationStore, Erased, Error, Filter, Page, Removed};

pub(super) fn company() -> CompanyId {
    "comp_1".parse().unwrap()
}

pub(super) fn record(session: &str, message: &str, answer: &str) -> TurnRecord {
    let began = time::macros::datetime!(2026-11-20 10:00 UTC);
    TurnRecord {
        channel: "web".to_owned(),
        message: message.to_owned(),
        answer: answer.to_owned(),
        finish_reason: FinishReason::Stop,
        language: "vi".parse().ok(),
        finished_at: began + time::Duration::seconds(2),
        ..TurnRecord::begun(TurnId::generate(), company(), session.parse().unwrap(), began)
    }
}

pub(super) fn finished(record: &TurnRecord) -> Message {
    Message::of_event(&Event::turn_finished(record, None).unwrap()).unwrap()
}

pub(super) fn endpoint(id: &str, event_types: &[EventType]) -> Endpoint {
    let url = format!("https://{id}.example.com/hook").replace('_', "-");
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap();
    let (id, added) = (id.parse().unwrap(), OffsetDateTime::UNIX_EPOCH);
    Endpoint::new(id, company(), url, secret, event_types.to_vec(), added)
}

pub(super) fn jobs() -> config::Jobs {
    config::Jobs {
        persist_concurrency: 8,
        analytics_concurrency: 16,
        analytics_keep: Duration::from_secs(400 * 24 * 3600),
        keep_dead: None,
        initial_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(60),
    }
}

pub(super) fn webhooks() -> config::Webhooks {
    config::Webhooks {
        deadline: Duration::from_secs(15),
        initial_delay: Duration::from_secs(5),
        max_delay: Duration::from_secs(12 * 3600),
        give_up_after: Duration::from_secs(72 * 3600),
        concurrency: 32,
        concurrency_per_endpoint: 16,
        response_bytes: 1024,
        allow_private: false,
        allow_addresses: Vec::new(),
        ca_file: None,
        disable_after: Some(Duration::from_secs(5 * 24 * 3600)),
        keep_deliveries: Duration::from_secs(30 * 24 * 3600),
        endpoints_per_company: 50,
    }
}

/// A bus in memory, which can be told to fail.
#[derive(Default)]
pub(super) struct MemoryBus {
    state: Arc<Mutex<BusState>>,
    /// For the one that waits with `until`.
    settled_one: Arc<Notify>,
    /// For the one that waits with `take`.
    came: Arc<Notify>,
}

#[derive(Default)]
struct BusState {
    waiting: VecDeque<(tokio::time::Instant, Message)>,
    settled: Vec<(Message, Settlement)>,
    taken: usize,
    take_failures: usize,
    settle_failures: usize,
}

impl MemoryBus {
    pub(super) fn with(messages: impl IntoIterator<Item = Message>) -> Arc<Self> {
        let bus = Self::default();
        let now = tokio::time::Instant::now();
        bus.state.lock().waiting.extend(messages.into_iter().map(|message| (now, message)));
        Arc::new(bus)
    }

    pub(super) fn fail(&self, takes: usize, settles: usize) {
        let mut state = self.state.lock();
        (state.take_failures, state.settle_failures) = (takes, settles);
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub(super) fn in_hand(&self) -> usize {
        self.state.lock().taken
    }

    pub(super) fn settled(&self) -> Vec<(Message, Settlement)> {
        self.state.lock().settled.clone()
    }

    /// Waits until there are `enough` settlements.
    pub(super) async fn until(&self, enough: impl Fn(&[(Message, Settlement)]) -> bool) {
        while !enough(&self.state.lock().settled) {
            self.settled_one.notified().await;
        }
    }
}

struct MemoryTaken {
    message: Message,
    state: Arc<Mutex<BusState>>,
    settled_one: Arc<Notify>,
    came: Arc<Notify>,
    is_settled: bool,
}

#[async_trait]
impl Taken for MemoryTaken {
    fn message(&self) -> &Message {
        &self.message
    }

    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), bus::Error> {
        let mut state = self.state.lock();
        if state.settle_failures > 0 {
            state.settle_failures -= 1;
            drop(state);
            return Err(bus::Error::Unavailable("told to".to_owned()));
        }
        let now = tokio::time::Instant::now();
        match &settlement {
            Settlement::Done { follow_ups } => state.waiting.extend(follow_ups.iter().map(|it| (now, it.clone()))),
            Settlement::Retry { after, .. } => {
                let message = Message { attempts: self.message.attempts + 1, ..self.message.clone() };
                state.waiting.push_back((now + *after, message));
            }
            Settlement::Defer { after } => state.waiting.push_back((now + *after, self.message.clone())),
            Settlement::Dead { .. } => {}
        }
        state.settled.push((self.message.clone(), settlement));
        drop(state);
        self.is_settled = true;
        Ok(())
    }
}

impl Drop for MemoryTaken {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.taken -= 1;
        if !self.is_settled {
            state.waiting.push_front((tokio::time::Instant::now(), self.message.clone()));
        }
        drop(state);
        self.settled_one.notify_one();
        self.came.notify_one();
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, messages: &[Message]) -> Result<(), bus::Error> {
        let now = tokio::time::Instant::now();
        self.state.lock().waiting.extend(messages.iter().map(|it| (now, it.clone())));
        self.came.notify_one();
        Ok(())
    }

    async fn take(&self, _: Queue) -> Result<Box<dyn Taken>, bus::Error> {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.take_failures > 0 {
                    state.take_failures -= 1;
                    return Err(bus::Error::Unavailable("told to".to_owned()));
                }
                let now = tokio::time::Instant::now();
                let due = state.waiting.iter().position(|(due, _)| *due <= now);
                if let Some((_, message)) = due.and_then(|at| state.waiting.remove(at)) {
                    state.taken += 1;
                    return Ok(Box::new(MemoryTaken {
                        message,
                        state: Arc::clone(&self.state),
                        settled_one: Arc::clone(&self.settled_one),
                        came: Arc::clone(&self.came),
                        is_settled: false,
                    }));
                }
                state.waiting.iter().map(|(due, _)| *due).min()
            };
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.came.notified() => {}
            }
        }
    }

    async fn accounts(&self) -> Result<Vec<Account>, bus::Error> {
        Ok(Vec::new())
    }

    async fn dead_letters(&self, _: Option<Queue>, _: usize) -> Result<Vec<DeadLetter>, bus::Error> {
        Ok(Vec::new())
    }

    async fn redrive(&self, _: Option<Queue>, _: Option<uuid::Uuid>) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn sweep(&self) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn expire(&self, _: OffsetDateTime) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn erase(&self, _: &CompanyScope) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn erase_turns(&self, _: &CompanyScope, _: Turns) -> Result<u64, bus::Error> {
        Ok(0)
    }

    async fn check(&self) -> Result<(), bus::Error> {
        Ok(())
    }
}

/// A store and directory in memory. With `error` set, everything fails by it.
#[derive(Default)]
pub(super) struct MemoryStore {
    pub(super) endpoints: Mutex<HashMap<EndpointId, Endpoint>>,
    pub(super) turns: Mutex<Vec<TurnRecord>>,
    pub(super) error: Mutex<Option<fn() -> Error>>,
    pub(super) is_removed: Mutex<bool>,
    /// When it was asked to remove what is due.
    pub(super) expiries: Mutex<Vec<OffsetDateTime>>,
}

impl MemoryStore {
    pub(super) fn with(endpoints: impl IntoIterator<Item = Endpoint>) -> Arc<Self> {
        let store = Self::default();
        store.endpoints.lock().extend(endpoints.into_iter().map(|it| (it.id.clone(), it)));
        Arc::new(store)
    }

    fn works(&self) -> Result<(), Error> {
        self.error.lock().map_or(Ok(()), |make| Err(make()))
    }
}

#[async_trait]
impl ConversationStore for MemoryStore {
    async fn append(
        &self,
        scope: &CompanyScope,
        record: &TurnRecord,
        _: Option<OffsetDateTime>,
    ) -> Result<Appended, Error> {
        self.works()?;
        assert_eq!(scope.company(), &record.company_id);
        let mut turns = self.turns.lock();
        if !turns.iter().any(|it| it.turn_id == record.turn_id) {
            turns.push(record.clone());
        }
        let of_conversation = turns.iter().filter(|it| it.conversation_id == record.conversation_id);
        let sequence = 1 + of_conversation.take_while(|it| it.turn_id != record.turn_id).count() as u64;
        Ok(Appended {
            sequence,
            message_count: 2 * sequence,
            is_first: sequence == 1,
            conversation: Conversation {
                conversation_id: record.conversation_id,
                company_id: record.company_id.clone(),
                session_id: record.session_id.clone(),
                channel: record.channel.clone(),
                status: Status::Active,
                message_count: 2 * sequence,
                last_sequence: sequence,
                summary: record.message.clone(),
                language: record.language,
                intent: None,
                created_at: record.started_at,
                updated_at: record.finished_at,
                ended_at: None,
            },
        })
    }

    async fn stored(&self, _: &CompanyScope, turns: &[TurnId]) -> Result<Vec<TurnId>, Error> {
        self.works()?;
        let stored = self.turns.lock();
        Ok(turns.iter().copied().filter(|id| stored.iter().any(|turn| turn.turn_id == *id)).collect())
    }

    async fn turns(&self, _: &CompanyScope, _: &Page) -> Result<(Vec<StoredTurn>, Option<String>), Error> {
        Ok((Vec::new(), None))
    }

    async fn restore(
        &self,
        _: &CompanyScope,
        _: &Conversation,
        _: &[StoredTurn],
        _: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn turns_after(
        &self,
        _: &CompanyScope,
        _: ConversationId,
        _: u64,
        _: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        Ok(Vec::new())
    }

    async fn end(&self, _: &CompanyScope, _: ConversationId, _: OffsetDateTime) -> Result<Option<Conversation>, Error> {
        Ok(None)
    }

    async fn remove(&self, _: &CompanyScope, _: ConversationId, _: OffsetDateTime) -> Result<Erased, Error> {
        Ok(Erased::default())
    }

    async fn removed(&self, _: &CompanyScope, _: &[ConversationId]) -> Result<Vec<Removed>, Error> {
        Ok(Vec::new())
    }

    async fn expire(&self, now: OffsetDateTime) -> Result<Erased, Error> {
        self.expiries.lock().push(now);
        self.works()?;
        Ok(Erased::default())
    }

    async fn history(&self, _: &CompanyScope, _: ConversationId, _: usize) -> Result<Vec<StoredTurn>, Error> {
        Ok(Vec::new())
    }

    async fn conversations(
        &self,
        _: &CompanyScope,
        _: &Filter,
        _: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error> {
        Ok((Vec::new(), None))
    }

    async fn conversation(&self, _: &CompanyScope, _: ConversationId) -> Result<Option<Conversation>, Error> {
        Ok(None)
    }

    async fn turn(&self, _: &CompanyScope, _: TurnId) -> Result<Option<StoredTurn>, Error> {
        Ok(None)
    }

    async fn turn_by_idempotency_key(&self, _: &CompanyScope, _: &str) -> Result<Option<StoredTurn>, Error> {
        Ok(None)
    }

    async fn erase(&self, _: &CompanyScope) -> Result<Erased, Error> {
        Ok(Erased::default())
    }

    async fn check(&self) -> Result<(), Error> {
        self.works()
    }
}

#[async_trait]
impl Directory for MemoryStore {
    async fn companies(&self) -> Result<Vec<Company>, Error> {
        Ok(Vec::new())
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, Error> {
        self.works()?;
        Ok((!*self.is_removed.lock()).then(|| Company::new(id.clone(), OffsetDateTime::UNIX_EPOCH)))
    }

    async fn put_company(&self, _: &Company) -> Result<bool, Error> {
        Ok(false)
    }

    async fn add_company(&self, _: &Company) -> Result<bool, Error> {
        Ok(false)
    }

    async fn change_company(&self, _: &CompanyScope, _: &Company, _: &Company) -> Result<bool, Error> {
        Ok(false)
    }

    async fn remove_company(&self, _: &CompanyScope) -> Result<(u64, u64), Error> {
        Ok((0, 0))
    }

    async fn add_key(&self, _: &ApiKey) -> Result<(), Error> {
        Ok(())
    }

    async fn key(&self, _: &str) -> Result<Option<ApiKey>, Error> {
        Ok(None)
    }

    async fn keys(&self, _: &CompanyScope) -> Result<Vec<ApiKey>, Error> {
        Ok(Vec::new())
    }

    async fn put_key(&self, _: &CompanyScope, _: &ApiKey) -> Result<bool, Error> {
        Ok(false)
    }

    async fn remove_key(&self, _: &CompanyScope, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn touch_key(&self, _: &CompanyScope, _: &str, _: OffsetDateTime) -> Result<(), Error> {
        Ok(())
    }

    async fn change_endpoint(&self, _: &CompanyScope, _: &Endpoint, _: &Endpoint) -> Result<bool, Error> {
        Ok(false)
    }

    async fn remove_endpoint(&self, _: &CompanyScope, _: &EndpointId) -> Result<bool, Error> {
        Ok(false)
    }

    async fn add_endpoint(&self, _: &CompanyScope, endpoint: &Endpoint) -> Result<(), Error> {
        self.endpoints.lock().insert(endpoint.id.clone(), endpoint.clone());
        Ok(())
    }

    async fn endpoints(&self, scope: &CompanyScope) -> Result<Vec<Endpoint>, Error> {
        self.works()?;
        Ok(self.endpoints.lock().values().filter(|it| &it.company_id == scope.company()).cloned().collect())
    }

    async fn endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<Option<Endpoint>, Error> {
        self.works()?;
        Ok(self.endpoints.lock().get(id).filter(|it| &it.company_id == scope.company()).cloned())
    }

    async fn disable_endpoint(&self, _: &CompanyScope, id: &EndpointId, disabled: &Disabled) -> Result<bool, Error> {
        self.works()?;
        let mut endpoints = self.endpoints.lock();
        let Some(endpoint) = endpoints.get_mut(id).filter(|it| it.disabled.is_none()) else { return Ok(false) };
        endpoint.disabled = Some(disabled.clone());
        Ok(true)
    }
}
