//! Whether turns have come to their end: what a gateway asks before it forgets a turn that it promised to keep.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Company, CompanyId, CompanyScope, Event, EventType, TurnId};
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
}

#[async_trait]
impl Ends for TurnEnds {
    async fn ended(&self, turns: &[Sent]) -> Result<Vec<End>, Error> {
        let mut by_company: HashMap<&CompanyId, Vec<TurnId>> = HashMap::new();
        for turn in turns {
            by_company.entry(&turn.company_id).or_default().push(turn.turn_id);
        }
        let (mut stored, mut removed) = (HashSet::new(), HashSet::new());
        let mut companies: HashMap<&CompanyId, Company> = HashMap::new();
        for (company, ids) in by_company {
            let found = self.store.stored(&CompanyScope::granted(company.clone()), &ids).await?;
            stored.extend(found);
            match self.directory.company(company).await? {
                Some(known) => drop(companies.insert(company, known)),
                None => drop(removed.insert(company)),
            }
        }
        // A turn that is stored has not ended before its webhooks are in the books: whoever stored it may have died in
        // between, and then doing it again makes the same webhooks.
        let told: Vec<Uuid> = turns.iter().map(told).collect();
        let given_up: Vec<Uuid> = turns.iter().map(|turn| turn.event_id).collect();
        let told = self.ledger.standings(Queue::Deliver, &told).await?;
        let given_up = self.ledger.standings(Queue::Persist, &given_up).await?;
        let known = told.into_iter().zip(given_up);
        let now = OffsetDateTime::now_utc();
        let is_over = |turn: &Sent| {
            let until = companies.get(&turn.company_id).and_then(|company| company.keep_until(turn.ended_at));
            until.is_some_and(|until| until <= now)
        };
        Ok(turns
            .iter()
            .zip(known)
            .map(|(turn, (told, given_up))| match (stored.contains(&turn.turn_id), told, given_up) {
                _ if removed.contains(&turn.company_id) => End::Erased,
                (_, _, Standing::Dead | Standing::Done) => End::Kept,
                // It was kept for as long as its company wants.
                _ if is_over(turn) => End::Kept,
                (true, told, _) if told != Standing::Unknown => End::Kept,
                _ => End::Open,
            })
            .collect())
    }
}

/// The event by which webhooks are told of a turn.
fn told(turn: &Sent) -> Uuid {
    Event::id_of(&turn.turn_id.to_string(), EventType::ConversationUpdated, "")
}
