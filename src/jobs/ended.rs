//! Whether turns have come to their end: what a gateway asks before it forgets a turn that it promised to keep.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{CompanyId, CompanyScope, TurnId};
use crate::ports::bus::Queue;
use crate::ports::directory::Directory;
use crate::ports::ledger::{Ledger, Standing};
use crate::ports::outbox::{End, Ends, Sent};
use crate::ports::store::{ConversationStore, Error};

/// Looks for turns in the store, and for those that are not there among the dead letters and the removed companies.
pub struct TurnEnds {
    store: Arc<dyn ConversationStore>,
    directory: Arc<dyn Directory>,
    ledger: Arc<dyn Ledger>,
}

impl TurnEnds {
    /// Looks there.
    pub fn new(store: Arc<dyn ConversationStore>, directory: Arc<dyn Directory>, ledger: Arc<dyn Ledger>) -> Self {
        Self { store, directory, ledger }
    }

    async fn of_one_not_stored(&self, turn: &Sent, removed: &HashSet<&CompanyId>) -> Result<End, Error> {
        if removed.contains(&turn.company_id) {
            return Ok(End::Erased);
        }
        Ok(match self.ledger.standing(Queue::Persist, turn.event_id).await? {
            Standing::Dead | Standing::Done => End::Kept,
            Standing::Pending { .. } | Standing::Unknown => End::Open,
        })
    }
}

#[async_trait]
impl Ends for TurnEnds {
    async fn ended(&self, turns: &[Sent]) -> Result<Vec<End>, Error> {
        let mut by_company: HashMap<&CompanyId, Vec<TurnId>> = HashMap::new();
        for turn in turns {
            by_company.entry(&turn.company_id).or_default().push(turn.turn_id);
        }
        let (mut stored, mut removed) = (HashSet::new(), HashSet::new());
        for (company, ids) in by_company {
            let found = self.store.stored(&CompanyScope::granted(company.clone()), &ids).await?;
            let is_all = found.len() == ids.len();
            stored.extend(found);
            if !is_all && self.directory.company(company).await?.is_none() {
                removed.insert(company);
            }
        }
        let mut ends = Vec::with_capacity(turns.len());
        for turn in turns {
            ends.push(match stored.contains(&turn.turn_id) {
                true => End::Kept,
                false => self.of_one_not_stored(turn, &removed).await?,
            });
        }
        Ok(ends)
    }
}
