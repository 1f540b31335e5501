//! Whether turns have come to their end: what a gateway asks before it forgets a turn that it promised to keep.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Company, CompanyId, CompanyScope, ConversationId, Event, EventType, TurnId};
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
        let mut by_company: HashMap<&CompanyId, (Vec<TurnId>, Vec<ConversationId>)> = HashMap::new();
        for turn in turns {
            let (ids, conversations) = by_company.entry(&turn.company_id).or_default();
            ids.push(turn.turn_id);
            conversations.push(turn.conversation_id);
        }
        let mut gone = HashMap::new();
        let (mut stored, mut removed) = (HashSet::new(), HashSet::new());
        let mut companies: HashMap<&CompanyId, Company> = HashMap::new();
        for (company, (ids, conversations)) in by_company {
            let scope = CompanyScope::granted(company.clone());
            stored.extend(self.store.stored(&scope, &ids).await?);
            let found = self.store.removed(&scope, &conversations).await?;
            gone.extend(found.into_iter().map(|removed| ((company, removed.conversation), removed.until)));
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
        let is_gone = |turn: &Sent| {
            let until = gone.get(&(&turn.company_id, turn.conversation_id));
            until.is_some_and(|until| turn.turn_id.began().is_some_and(|began| OffsetDateTime::from(began) <= *until))
        };
        Ok(turns
            .iter()
            .zip(known)
            .map(|(turn, (told, given_up))| match (stored.contains(&turn.turn_id), told, given_up) {
                _ if removed.contains(&turn.company_id) || is_gone(turn) => End::Erased,
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
