//! A log of deliveries in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::{Attempt, Delivery, Filter, Health, Parcel, Place, Replay, ReplayState, Standing, State};
use crate::domain::{CompanyScope, ConversationId, EndpointId};
use crate::ports::deliveries::{Ahead, Deliveries, Lease, Leased, Leases};
use crate::ports::store::{Error, Page};

/// Holds what one company's job writes; scopes and filters are the adapters' business.
#[derive(Default)]
pub(in crate::jobs) struct MemoryLog {
    pub(in crate::jobs) parcels: Mutex<Vec<Parcel>>,
    pub(in crate::jobs) attempts: Mutex<Vec<(Uuid, Attempt)>>,
    pub(in crate::jobs) failing_since: Mutex<HashMap<EndpointId, OffsetDateTime>>,
    pub(in crate::jobs) replays: Mutex<Vec<Replay>>,
    pub(in crate::jobs) leases: Mutex<HashMap<Uuid, Lease>>,
    pub(in crate::jobs) error: Mutex<Option<fn() -> Error>>,
}

impl MemoryLog {
    fn works(&self) -> Result<(), Error> {
        self.error.lock().map_or(Ok(()), |error| Err(error()))
    }

    pub(in crate::jobs) fn states(&self) -> Vec<State> {
        self.parcels.lock().iter().map(|parcel| parcel.delivery.standing.state).collect()
    }
}

#[async_trait]
impl Deliveries for MemoryLog {
    async fn open(&self, _: &CompanyScope, parcels: &[Parcel], _: OffsetDateTime) -> Result<(), Error> {
        self.works()?;
        let mut known = self.parcels.lock();
        for parcel in parcels {
            if !known.iter().any(|it| it.delivery.id == parcel.delivery.id) {
                known.push(parcel.clone());
            }
        }
        Ok(())
    }

    async fn note(
        &self,
        _: &CompanyScope,
        id: Uuid,
        standing: &Standing,
        attempt: Option<&Attempt>,
    ) -> Result<(), Error> {
        self.works()?;
        if let Some(parcel) = self.parcels.lock().iter_mut().find(|it| it.delivery.id == id) {
            if parcel.delivery.standing.state != State::Delivered || standing.state == State::Delivered {
                parcel.delivery.standing = standing.clone();
            }
            self.attempts.lock().extend(attempt.map(|attempt| (id, attempt.clone())));
        }
        if attempt.is_some() {
            self.leases.lock().remove(&id);
        }
        Ok(())
    }

    async fn delivery(&self, _: &CompanyScope, id: Uuid) -> Result<Option<Parcel>, Error> {
        Ok(self.parcels.lock().iter().find(|it| it.delivery.id == id).cloned())
    }

    async fn attempts(&self, _: &CompanyScope, _: Uuid) -> Result<Vec<Attempt>, Error> {
        unimplemented!("jobs do not ask for it")
    }

    async fn deliveries(
        &self,
        _: &CompanyScope,
        _: &Filter,
        _: &Page,
    ) -> Result<(Vec<Delivery>, Option<String>), Error> {
        unimplemented!("jobs do not ask for it")
    }

    async fn parcels(
        &self,
        _: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Parcel>, Option<String>), Error> {
        let begin: usize = page.after.as_ref().map_or(0, |after| after.parse().unwrap());
        let known = self.parcels.lock();
        let wanted = |it: &&Parcel| filter.states.is_empty() || filter.states.contains(&it.delivery.standing.state);
        let found: Vec<_> = known.iter().skip(begin).take(page.limit).filter(wanted).cloned().collect();
        let end = begin + page.limit;
        Ok((found, (end < known.len()).then(|| end.to_string())))
    }

    async fn ahead(
        &self,
        _: &CompanyScope,
        endpoint: &EndpointId,
        place: Place,
        _: OffsetDateTime,
    ) -> Result<Ahead, Error> {
        self.works()?;
        let known = self.parcels.lock();
        let same = known
            .iter()
            .map(|it| &it.delivery)
            .filter(|it| it.endpoint_id == *endpoint && it.conversation_id == Some(place.conversation_id));
        let mut before: Vec<&Delivery> = same.filter(|it| it.place().unwrap().position() < place.position()).collect();
        before.sort_by_key(|it| std::cmp::Reverse(it.place().unwrap().position()));
        let sequences: Vec<u64> = before.iter().filter_map(|it| it.sequence).collect();
        let first = before.iter().rfind(|it| it.standing.state == State::Pending);
        Ok(first.map_or(Ahead::free(place, &sequences), |first| Ahead {
            pending: first.standing.next_attempt_at,
            behind: place.sequence - first.sequence.unwrap_or_default(),
            ..Ahead::default()
        }))
    }

    async fn reopen(
        &self,
        _: &CompanyScope,
        id: Uuid,
        round: u32,
        replay: Uuid,
        at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let mut known = self.parcels.lock();
        let it = &mut known.iter_mut().find(|it| it.delivery.id == id).unwrap().delivery;
        let was = it.standing.state == State::Pending && it.round == round && it.replay_id == Some(replay);
        if !was && (it.standing.state == State::Pending || it.round + 1 != round) {
            return Ok(false);
        }
        (it.round, it.replay_id, it.standing) = (round, Some(replay), Standing::new(at));
        Ok(true)
    }

    async fn health(&self, _: &CompanyScope, _: &EndpointId) -> Result<Health, Error> {
        unimplemented!("jobs do not ask for it")
    }

    async fn failed(
        &self,
        _: &CompanyScope,
        endpoint: &EndpointId,
        at: OffsetDateTime,
        _: &str,
        _: Option<OffsetDateTime>,
    ) -> Result<OffsetDateTime, Error> {
        self.works()?;
        Ok(*self.failing_since.lock().entry(endpoint.clone()).or_insert(at))
    }

    async fn succeeded(&self, _: &CompanyScope, endpoint: &EndpointId, _: OffsetDateTime) -> Result<(), Error> {
        self.works()?;
        self.failing_since.lock().remove(endpoint);
        Ok(())
    }

    async fn add_replay(&self, _: &CompanyScope, replay: &Replay, _: OffsetDateTime) -> Result<(), Error> {
        self.replays.lock().push(replay.clone());
        Ok(())
    }

    async fn put_replay(&self, _: &CompanyScope, replay: &Replay) -> Result<(), Error> {
        for known in self.replays.lock().iter_mut().filter(|known| known.id == replay.id) {
            *known = replay.clone();
        }
        Ok(())
    }

    async fn cancel_replay(&self, _: &CompanyScope, id: Uuid, _: OffsetDateTime) -> Result<bool, Error> {
        for known in self.replays.lock().iter_mut().filter(|known| known.id == id) {
            known.state = ReplayState::Cancelled;
        }
        Ok(true)
    }

    async fn replay(&self, _: &CompanyScope, id: Uuid) -> Result<Option<Replay>, Error> {
        Ok(self.replays.lock().iter().find(|known| known.id == id).cloned())
    }

    async fn replays(&self, _: &CompanyScope, _: usize) -> Result<Vec<Replay>, Error> {
        unimplemented!("jobs do not ask for it")
    }

    async fn expire_deliveries(&self, _: OffsetDateTime) -> Result<u64, Error> {
        self.works()?;
        Ok(0)
    }

    async fn erase_deliveries(&self, _: &CompanyScope) -> Result<u64, Error> {
        unimplemented!("jobs do not ask for it")
    }

    async fn erase_conversation(&self, _: &CompanyScope, _: ConversationId, _: OffsetDateTime) -> Result<u64, Error> {
        unimplemented!("jobs do not ask for it")
    }
}

#[async_trait]
impl Leases for MemoryLog {
    async fn lease(&self, _: &CompanyScope, id: Uuid, lease: &Lease) -> Result<Leased, Error> {
        self.works()?;
        let standing =
            self.parcels.lock().iter().find(|it| it.delivery.id == id).map(|it| it.delivery.standing.clone());
        match standing {
            Some(standing) if standing.state == State::Delivered => return Ok(Leased::Delivered),
            Some(standing) if standing.state == State::Pending && standing.attempts > lease.attempts => {
                return Ok(Leased::Tried(standing));
            }
            _ => {}
        }
        let mut leases = self.leases.lock();
        match leases.get(&id) {
            Some(other) if other.holder != lease.holder && other.until > lease.at => {
                Ok(Leased::Held { until: other.until })
            }
            _ => {
                leases.insert(id, *lease);
                Ok(Leased::Granted)
            }
        }
    }
}
