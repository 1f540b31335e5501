//! Backends in memory, which can be cut off after a number of steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::Backends;
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::knowledge::{Document, EncodedPassage, Passage};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{
    ApiKey, Company, CompanyId, CompanyScope, ConversationId, DocumentId, EndpointId, TurnId, TurnRecord,
};
use crate::ports::directory::Directory;
use crate::ports::index::{self, Contents, Encoder, Hit, KnowledgeIndex, Query};
use crate::ports::store::{Appended, ConversationStore, DocumentRegister, Erased, Error, Filter, Page, Removed};

/// What happens while something else is under way.
type Meanwhile = Box<dyn FnOnce(&mut State) + Send>;

/// Everything that is kept, of all companies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) companies: BTreeMap<CompanyId, Company>,
    pub(super) keys: Vec<ApiKey>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) heads: BTreeMap<ConversationId, Conversation>,
    pub(super) turns: BTreeMap<(ConversationId, u64), (StoredTurn, Option<OffsetDateTime>)>,
    pub(super) documents: BTreeMap<DocumentId, Document>,
    pub(super) passages: BTreeMap<DocumentId, Vec<EncodedPassage>>,
    pub(super) made_by: Option<Encoder>,
}

/// A backend in memory. Its index is written by one encoder.
pub(super) struct Memory {
    pub(super) state: Mutex<State>,
    pub(super) encoder: Encoder,
    steps: AtomicI64,
    /// What is done once, after the next page of turns was given.
    pub(super) meanwhile: Mutex<Option<Meanwhile>>,
    /// Turns in one page at most.
    pub(super) page: usize,
}

impl Memory {
    pub(super) fn new(encoder: Encoder) -> Arc<Self> {
        let (state, meanwhile) = (Mutex::default(), Mutex::new(None));
        Arc::new(Self { state, encoder, steps: AtomicI64::new(i64::MAX), meanwhile, page: 3 })
    }

    pub(super) fn backends(self: &Arc<Self>) -> Backends {
        let (directory, conversations) = (self.clone(), self.clone());
        Backends { directory, conversations, documents: self.clone(), index: self.clone() }
    }

    /// Fails after so many steps. A write takes two: it fails before it or after it.
    pub(super) fn cut_after(&self, steps: i64) {
        self.steps.store(steps, Ordering::SeqCst);
    }

    fn step(&self) -> Result<(), Error> {
        let left = self.steps.fetch_sub(1, Ordering::SeqCst);
        if left > 0 { Ok(()) } else { Err(Error::Unavailable("cut off".into())) }
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, Error> {
        self.step()?;
        Ok(read(&self.state.lock()))
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        self.step()?;
        let done = write(&mut self.state.lock());
        self.step()?;
        Ok(done)
    }
}

fn index_error(error: Error) -> index::Error {
    index::Error::Unavailable(error.to_string())
}

#[async_trait]
impl Directory for Memory {
    async fn companies(&self) -> Result<Vec<Company>, Error> {
        self.read(|state| state.companies.values().cloned().collect())
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, Error> {
        self.read(|state| state.companies.get(id).cloned())
    }

    async fn put_company(&self, company: &Company) -> Result<bool, Error> {
        self.write(|state| state.companies.insert(company.id.clone(), company.clone()).is_none())
    }

    async fn add_company(&self, _: &Company) -> Result<bool, Error> {
        unreachable!()
    }

    async fn change_company(&self, _: &CompanyScope, _: &Company, _: &Company) -> Result<bool, Error> {
        unreachable!()
    }

    async fn remove_company(&self, _: &CompanyScope) -> Result<(u64, u64), Error> {
        unreachable!()
    }

    async fn add_key(&self, key: &ApiKey) -> Result<(), Error> {
        self.write(|state| {
            if state.keys.iter().any(|known| known.hash == key.hash) {
                return Err(Error::Invalid("the key is there already".into()));
            }
            state.keys.push(key.clone());
            Ok(())
        })?
    }

    async fn key(&self, hash: &str) -> Result<Option<ApiKey>, Error> {
        self.read(|state| state.keys.iter().find(|key| key.hash == hash).cloned())
    }

    async fn keys(&self, _: &CompanyScope) -> Result<Vec<ApiKey>, Error> {
        self.read(|state| state.keys.clone())
    }

    async fn put_key(&self, _: &CompanyScope, _: &ApiKey) -> Result<bool, Error> {
        unreachable!()
    }

    async fn remove_key(&self, _: &CompanyScope, _: &str) -> Result<bool, Error> {
        unreachable!()
    }

    async fn touch_key(&self, _: &CompanyScope, _: &str, _: OffsetDateTime) -> Result<(), Error> {
        unreachable!()
    }

    async fn change_endpoint(&self, _: &CompanyScope, _: &Endpoint, _: &Endpoint) -> Result<bool, Error> {
        unreachable!()
    }

    async fn remove_endpoint(&self, _: &CompanyScope, _: &EndpointId) -> Result<bool, Error> {
        unreachable!()
    }

    async fn add_endpoint(&self, _: &CompanyScope, endpoint: &Endpoint) -> Result<(), Error> {
        self.write(|state| {
            if state.endpoints.iter().any(|known| known.id == endpoint.id) {
                return Err(Error::Invalid("the endpoint is there already".into()));
            }
            state.endpoints.push(endpoint.clone());
            Ok(())
        })?
    }

    async fn endpoints(&self, _: &CompanyScope) -> Result<Vec<Endpoint>, Error> {
        self.read(|state| state.endpoints.clone())
    }

    async fn endpoint(&self, _: &CompanyScope, id: &EndpointId) -> Result<Option<Endpoint>, Error> {
        self.read(|state| state.endpoints.iter().find(|endpoint| endpoint.id == *id).cloned())
    }

    async fn disable_endpoint(&self, _: &CompanyScope, id: &EndpointId, disabled: &Disabled) -> Result<bool, Error> {
        self.write(|state| {
            let known = state.endpoints.iter_mut().find(|endpoint| endpoint.id == *id && endpoint.disabled.is_none());
            known.map(|endpoint| endpoint.disabled = Some(disabled.clone())).is_some()
        })
    }
}

#[async_trait]
impl ConversationStore for Memory {
    async fn append(&self, _: &CompanyScope, _: &TurnRecord, _: Option<OffsetDateTime>) -> Result<Appended, Error> {
        unreachable!()
    }

    async fn stored(&self, _: &CompanyScope, ids: &[TurnId]) -> Result<Vec<TurnId>, Error> {
        self.read(|state| {
            let all = state.turns.values().map(|(turn, _)| turn.record.turn_id);
            all.filter(|id| ids.contains(id)).collect()
        })
    }

    async fn history(&self, _: &CompanyScope, id: ConversationId, limit: usize) -> Result<Vec<StoredTurn>, Error> {
        self.read(|state| {
            let turns = state.turns.iter().filter(|((conversation, _), _)| *conversation == id);
            let mut turns: Vec<StoredTurn> = turns.rev().take(limit).map(|(_, (turn, _))| turn.clone()).collect();
            turns.reverse();
            turns
        })
    }

    async fn conversations(
        &self,
        _: &CompanyScope,
        _: &Filter,
        _: &Page,
    ) -> Result<(Vec<Conversation>, Option<String>), Error> {
        unreachable!()
    }

    async fn conversation(&self, _: &CompanyScope, id: ConversationId) -> Result<Option<Conversation>, Error> {
        self.read(|state| state.heads.get(&id).cloned())
    }

    async fn turn(&self, _: &CompanyScope, _: TurnId) -> Result<Option<StoredTurn>, Error> {
        unreachable!()
    }

    async fn turn_by_idempotency_key(&self, _: &CompanyScope, _: &str) -> Result<Option<StoredTurn>, Error> {
        unreachable!()
    }

    async fn turns(&self, _: &CompanyScope, page: &Page) -> Result<(Vec<StoredTurn>, Option<String>), Error> {
        let after: Option<(ConversationId, u64)> =
            page.after.as_ref().map(|cursor| serde_json::from_str(cursor).unwrap());
        let limit = page.limit.min(self.page);
        let given = self.read(|state| {
            let mut rest = state.turns.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
            let some: Vec<_> = rest.by_ref().take(limit).map(|(key, (turn, _))| (*key, turn.clone())).collect();
            let next = rest.next().and(some.last()).map(|(key, _)| serde_json::to_string(key).unwrap());
            (some.into_iter().map(|(_, turn)| turn).collect(), next)
        });
        if let Some(meanwhile) = self.meanwhile.lock().take() {
            meanwhile(&mut self.state.lock());
        }
        given
    }

    async fn restore(
        &self,
        _: &CompanyScope,
        conversation: &Conversation,
        turns: &[StoredTurn],
        keep_until: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        self.write(|state| {
            for turn in turns {
                let key = (turn.record.conversation_id, turn.sequence);
                let there = state.turns.entry(key).or_insert((turn.clone(), keep_until));
                if there.0.record.turn_id != turn.record.turn_id {
                    return Err(Error::Invalid(format!("sequence {} is taken", turn.sequence)));
                }
            }
            Ok(())
        })??;
        // Not at once with the turns, so that a cut falls in between.
        self.write(|state| {
            let id = conversation.conversation_id;
            let known = state.heads.get(&id).map_or(0, |head| head.last_sequence);
            if known < conversation.last_sequence {
                state.heads.insert(id, conversation.clone());
            }
        })
    }

    async fn turns_after(
        &self,
        _: &CompanyScope,
        _: ConversationId,
        _: u64,
        _: usize,
    ) -> Result<Vec<StoredTurn>, Error> {
        unreachable!()
    }

    async fn end(&self, _: &CompanyScope, _: ConversationId, _: OffsetDateTime) -> Result<Option<Conversation>, Error> {
        unreachable!()
    }

    async fn remove(&self, _: &CompanyScope, _: ConversationId, _: OffsetDateTime) -> Result<Erased, Error> {
        unreachable!()
    }

    async fn removed(&self, _: &CompanyScope, _: &[ConversationId]) -> Result<Vec<Removed>, Error> {
        unreachable!()
    }

    async fn expire(&self, _: OffsetDateTime) -> Result<Erased, Error> {
        unreachable!()
    }

    async fn erase(&self, _: &CompanyScope) -> Result<Erased, Error> {
        unreachable!()
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl DocumentRegister for Memory {
    async fn document(&self, _: &CompanyScope, _: &DocumentId) -> Result<Option<Document>, Error> {
        unreachable!()
    }

    async fn documents(&self, _: &CompanyScope) -> Result<Vec<Document>, Error> {
        self.read(|state| state.documents.values().cloned().collect())
    }

    async fn register(&self, _: &CompanyScope, documents: &[Document]) -> Result<(), Error> {
        self.write(|state| state.documents.extend(documents.iter().map(|one| (one.id.clone(), one.clone()))))
    }

    async fn forget(&self, _: &CompanyScope, _: &[DocumentId]) -> Result<(), Error> {
        unreachable!()
    }
}

#[async_trait]
impl KnowledgeIndex for Memory {
    async fn replace(
        &self,
        _: &CompanyScope,
        documents: Vec<(DocumentId, Vec<EncodedPassage>)>,
    ) -> Result<(), index::Error> {
        let write = self.write(|state| {
            state.made_by = Some(self.encoder.clone());
            state.passages.extend(documents);
        });
        write.map_err(index_error)
    }

    async fn remove(&self, _: &CompanyScope, _: &[DocumentId]) -> Result<(), index::Error> {
        unreachable!()
    }

    async fn search(&self, _: &CompanyScope, _: &Query) -> Result<Vec<Hit>, index::Error> {
        unreachable!()
    }

    async fn contents(&self, _: &CompanyScope) -> Result<Contents, index::Error> {
        let read = self.read(|state| {
            let passages = state.passages.values().map(Vec::len).sum();
            Contents { encoder: state.made_by.clone().filter(|_| passages > 0), passages }
        });
        read.map_err(index_error)
    }

    async fn passages(&self, _: &CompanyScope) -> Result<Vec<Passage>, index::Error> {
        unreachable!()
    }

    async fn encoded(&self, _: &CompanyScope) -> Result<Vec<EncodedPassage>, index::Error> {
        self.read(|state| state.passages.values().flatten().cloned().collect()).map_err(index_error)
    }

    async fn optimize(&self, _: &CompanyScope) -> Result<(), index::Error> {
        self.write(|_| ()).map_err(index_error)
    }

    async fn rebuild(&self, _: &CompanyScope, _: Vec<EncodedPassage>) -> Result<(), index::Error> {
        unreachable!()
    }

    async fn erase(&self, _: &CompanyScope) -> Result<usize, index::Error> {
        unreachable!()
    }

    async fn is_isolated(&self) -> Result<bool, index::Error> {
        Ok(true)
    }

    async fn check(&self) -> Result<(), index::Error> {
        Ok(())
    }
}
