//! The log of deliveries: one document each, with its tries inside.

mod documents;
mod leases;

use ::mongodb::bson::{Bson, DateTime, Document, doc};
use ::mongodb::options::ReturnDocument;
use async_trait::async_trait;
use futures::TryStreamExt;
use time::OffsetDateTime;
use uuid::Uuid;

use self::documents::{HEALTH, cursor_of, delivery, health_times, next_in, parcel, replay, want};
use super::MongoStore;
use super::call::{LONG, is_duplicate};
use super::codec::{at_most, count_in, date_of, key, nanos_of, nanos_to_time, not_over, signed, to_document};
use crate::domain::delivery::{Attempt, Delivery, Filter, Health, Parcel, Place, Replay, ReplayState, Standing, State};
use crate::domain::{CompanyScope, ConversationId, EndpointId};
use crate::ports::deliveries::{Ahead, Cursor, Deliveries, MOST_SIBLINGS, latencies};
use crate::ports::store::{Error, Page};

/// The collection.
const DELIVERIES: &str = "deliveries";
/// The collection of replays.
const REPLAYS: &str = "replays";
/// How many of the last deliveries tell how an endpoint does.
const RECENT: usize = 1_000;
/// What a standing that does not tell it leaves as it is.
const KEPT: &[&str] = &["status", "last_attempt_at"];
/// What lists and pages do without.
const WITHOUT_BODIES: &[&str] = &["payload", "tries"];

#[async_trait]
impl Deliveries for MongoStore {
    async fn open(&self, scope: &CompanyScope, parcels: &[Parcel], keep_until: OffsetDateTime) -> Result<(), Error> {
        let expires_at = date_of(keep_until)?;
        let statements = parcels.iter().map(|parcel| {
            let it = &parcel.delivery;
            if it.company_id != *scope.company() {
                return Err(Error::Invalid(format!("delivery {} is not of company {}", it.id, scope.company())));
            }
            let fields = documents::of_parcel(parcel, expires_at)?;
            Ok(doc! { "q": key(scope.company(), &it.id.to_string()), "u": { "$setOnInsert": fields }, "upsert": true })
        });
        let statements = statements.collect::<Result<Vec<_>, Error>>()?;
        self.call("open_deliveries", self.update(DELIVERIES, &statements)).await
    }

    async fn note(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        standing: &Standing,
        attempt: Option<&Attempt>,
    ) -> Result<(), Error> {
        let mut set = doc! { "next_attempt_ns": next_in(standing)? };
        for (field, value) in to_document(standing)? {
            let is_kept = value == Bson::Null && KEPT.contains(&field.as_str());
            if !is_kept {
                set.insert(format!("standing.{field}"), value);
            }
        }
        let tried = attempt.map(|attempt| {
            let mut tried = doc! { "took_ms": attempt.timing.total_ms };
            tried.insert(documents::slot_of(attempt)?, to_document(attempt)?);
            Ok::<_, Error>(tried)
        });
        let (it, tried) = (key(scope.company(), &id.to_string()), tried.transpose()?);
        let statements = match (standing.state, tried) {
            (State::Delivered, tried) => {
                set.extend(tried.unwrap_or_default());
                vec![doc! { "q": it, "u": { "$set": set, "$unset": { "lease": "" } } }]
            }
            (_, tried) => {
                let mut still_open = it.clone();
                still_open.insert("standing.state", doc! { "$ne": State::Delivered.as_str() });
                let stands = doc! { "q": still_open, "u": { "$set": set } };
                let tried = tried.map(|tried| doc! { "q": it, "u": { "$set": tried, "$unset": { "lease": "" } } });
                [stands].into_iter().chain(tried).collect()
            }
        };
        self.call("note_delivery", self.update(DELIVERIES, &statements)).await
    }

    async fn delivery(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Parcel>, Error> {
        let found = self.call("delivery", async {
            let deliveries = self.collection(DELIVERIES).await?;
            let found = deliveries.find_one(key(scope.company(), &id.to_string()));
            Ok(found.projection(doc! { "tries": 0 }).await?)
        });
        found.await?.map(parcel).transpose()
    }

    async fn attempts(&self, scope: &CompanyScope, id: Uuid) -> Result<Vec<Attempt>, Error> {
        let found = self.call("delivery_attempts", async {
            let deliveries = self.collection(DELIVERIES).await?;
            let found = deliveries.find_one(key(scope.company(), &id.to_string()));
            Ok(found.projection(doc! { "tries": 1 }).await?)
        });
        found.await?.map_or(Ok(Vec::new()), documents::attempts)
    }

    async fn deliveries(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Delivery>, Option<String>), Error> {
        let (found, next) = self.page(scope, filter, page, -1, WITHOUT_BODIES).await?;
        Ok((found.into_iter().map(delivery).collect::<Result<_, _>>()?, next))
    }

    async fn parcels(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Parcel>, Option<String>), Error> {
        let (found, next) = self.page(scope, filter, page, 1, &["tries"]).await?;
        Ok((found.into_iter().map(parcel).collect::<Result<_, _>>()?, next))
    }

    async fn ahead(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        place: Place,
        since: OffsetDateTime,
    ) -> Result<Ahead, Error> {
        let same = doc! {
            "company_id": scope.company().as_str(), "conversation_id": place.conversation_id.to_string(),
            "endpoint_id": endpoint.as_str(),
        };
        let before = doc! { "$lt": signed(place.position())? };
        let (mut pending, mut last) = (same.clone(), same);
        pending.extend(doc! { "standing.state": State::Pending.as_str(), "position": before.clone() });
        last.insert("position", before);
        let since = nanos_of(since)?;
        let found = self.call("deliveries_ahead", async {
            let deliveries = self.collection(DELIVERIES).await?;
            // What is known first: a delivery that is written down between the two questions is then found on its way, and
            // not taken for one that has come to its end.
            let last = deliveries.find(last).sort(doc! { "position": -1 }).limit(at_most(MOST_SIBLINGS));
            let last: Vec<Document> = last.projection(doc! { "sequence": 1 }).await?.try_collect().await?;
            let fields = doc! { "next_attempt_ns": 1, "sequence": 1 };
            let mut pending = deliveries.find(pending).sort(doc! { "position": 1 }).projection(fields).await?;
            while let Some(first) = pending.try_next().await? {
                if first.get_i64("next_attempt_ns").is_ok_and(|due| due >= since) {
                    return Ok((Some(first), last));
                }
            }
            Ok((None, last))
        });
        let (first, last) = found.await?;
        let Some(first) = first else {
            let sequences: Vec<u64> = last.iter().map(|last| count_in(last, "sequence")).collect::<Result<_, _>>()?;
            return Ok(Ahead::free(place, &sequences));
        };
        let due = first.get_i64("next_attempt_ns").unwrap_or_default();
        let behind = place.sequence.saturating_sub(count_in(&first, "sequence")?);
        Ok(Ahead { pending: Some(nanos_to_time(due.into())?), behind, ..Ahead::default() })
    }

    async fn reopen(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        round: u32,
        replay: Uuid,
        at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let mut filter = key(scope.company(), &id.to_string());
        let (pending, round) = (State::Pending.as_str(), i64::from(round));
        filter.extend(doc! {
            "payload": { "$exists": true },
            "$or": [
                { "standing.state": { "$ne": pending }, "round": round - 1 },
                { "standing.state": pending, "round": round, "replay_id": replay.to_string() },
            ],
        });
        let change = doc! { "$set": {
            "standing.state": pending, "standing.attempts": 0_i64, "round": round, "replay_id": replay.to_string(),
            "standing.next_attempt_at": documents::text_of(at)?, "next_attempt_ns": nanos_of(at)?,
        } };
        let changed = self.call("reopen_delivery", async {
            Ok(self.collection(DELIVERIES).await?.update_one(filter, change).await?)
        });
        Ok(changed.await?.matched_count > 0)
    }

    async fn health(&self, scope: &CompanyScope, endpoint: &EndpointId) -> Result<Health, Error> {
        let of_it = doc! { "company_id": scope.company().as_str(), "endpoint_id": endpoint.as_str() };
        let groups = vec![
            doc! { "$match": of_it.clone() },
            doc! { "$group": {
                "_id": "$standing.state", "count": { "$sum": 1_i64 }, "next": { "$min": "$next_attempt_ns" },
            } },
        ];
        let mut tried = of_it;
        tried.insert("took_ms", doc! { "$exists": true });
        let found = self.call("endpoint_health", async {
            let deliveries = self.collection(DELIVERIES).await?;
            let counts: Vec<Document> = deliveries.aggregate(groups).await?.try_collect().await?;
            let recent = deliveries.find(tried).sort(doc! { "happened_ns": -1, "id": -1 }).limit(at_most(RECENT));
            let recent = recent.projection(doc! { "standing.state": 1, "took_ms": 1 }).await?;
            let recent: Vec<Document> = recent.try_collect().await?;
            let health = self.collection(HEALTH).await?;
            Ok((counts, recent, health.find_one(key(scope.company(), endpoint.as_str())).await?))
        });
        let (counts, recent, times) = found.await?;
        let mut health = Health::default();
        for group in &counts {
            let count = count_in(group, "count")?;
            match group.get_str("_id").unwrap_or_default().parse().map_err(Error::Invalid)? {
                State::Pending => {
                    health.pending = count;
                    let next = group.get_i64("next").ok();
                    health.next_attempt_at = next.map(|next| nanos_to_time(next.into())).transpose()?;
                }
                State::Delivered => health.delivered = count,
                State::Dead => health.dead = count,
                State::Discarded => health.discarded = count,
            }
        }
        let mut took = Vec::new();
        for delivery in &recent {
            health.recent += 1;
            let state = delivery.get_document("standing").and_then(|standing| standing.get_str("state"));
            if state.is_ok_and(|state| state == State::Delivered.as_str()) {
                health.recent_delivered += 1;
                took.extend(delivery.get_f64("took_ms").ok());
            }
        }
        latencies(&mut health, took);
        health_times(&mut health, times.as_ref())?;
        Ok(health)
    }

    async fn failed(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        at: OffsetDateTime,
        reason: &str,
        open_until: Option<OffsetDateTime>,
    ) -> Result<OffsetDateTime, Error> {
        let at = nanos_of(at)?;
        let mut set = doc! { "last_failure_ns": at, "last_failure": reason };
        if let Some(until) = open_until {
            set.insert("open_until_ns", nanos_of(until)?);
        }
        let change = doc! { "$min": { "failing_since_ns": at }, "$set": set };
        let key = key(scope.company(), endpoint.as_str());
        let health = self.call("endpoint_failed", async {
            let health = self.collection(HEALTH).await?;
            let write = || {
                let written = health.find_one_and_update(key.clone(), change.clone()).upsert(true);
                written.return_document(ReturnDocument::After)
            };
            match write().await {
                // Another one has made it at the same moment.
                Err(error) if is_duplicate(&error) => Ok(write().await?),
                written => Ok(written?),
            }
        });
        let since = health.await?.and_then(|health| health.get_i64("failing_since_ns").ok()).unwrap_or(at);
        nanos_to_time(since.into())
    }

    async fn succeeded(&self, scope: &CompanyScope, endpoint: &EndpointId, at: OffsetDateTime) -> Result<(), Error> {
        let statement = doc! {
            "q": key(scope.company(), endpoint.as_str()),
            "u": {
                "$set": { "last_success_ns": nanos_of(at)? },
                "$unset": { "failing_since_ns": "", "open_until_ns": "" },
            },
            "upsert": true,
        };
        self.call("endpoint_succeeded", self.update(HEALTH, &[statement])).await
    }

    async fn add_replay(&self, scope: &CompanyScope, replay: &Replay, keep_until: OffsetDateTime) -> Result<(), Error> {
        let mut fields = to_document(replay)?;
        fields.remove("company_id");
        fields.extend(doc! { "created_ns": nanos_of(replay.created_at)?, "expires_at": date_of(keep_until)? });
        let key = key(scope.company(), &replay.id.to_string());
        let statement = doc! { "q": key, "u": { "$setOnInsert": fields }, "upsert": true };
        self.call("add_replay", self.update(REPLAYS, &[statement])).await
    }

    async fn put_replay(&self, scope: &CompanyScope, replay: &Replay) -> Result<(), Error> {
        let key = key(scope.company(), &replay.id.to_string());
        let mut running = key.clone();
        running.insert("state", doc! { "$ne": documents::state_name(ReplayState::Cancelled)? });
        let counts = doc! {
            "replayed": signed(replay.replayed)?, "skipped": signed(replay.skipped)?,
            "updated_at": documents::text_of(replay.updated_at)?,
        };
        let state = doc! { "state": documents::state_name(replay.state)? };
        let statements = [doc! { "q": key, "u": { "$set": counts } }, doc! { "q": running, "u": { "$set": state } }];
        self.call("put_replay", self.update(REPLAYS, &statements)).await
    }

    async fn cancel_replay(&self, scope: &CompanyScope, id: Uuid, at: OffsetDateTime) -> Result<bool, Error> {
        let mut running = key(scope.company(), &id.to_string());
        running.insert("state", documents::state_name(ReplayState::Running)?);
        let state = documents::state_name(ReplayState::Cancelled)?;
        let change = doc! { "$set": { "state": state, "updated_at": documents::text_of(at)? } };
        let changed = self
            .call("cancel_replay", async { Ok(self.collection(REPLAYS).await?.update_one(running, change).await?) });
        Ok(changed.await?.matched_count > 0)
    }

    async fn replay(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Replay>, Error> {
        let found = self.call("replay", async {
            Ok(self.collection(REPLAYS).await?.find_one(key(scope.company(), &id.to_string())).await?)
        });
        found.await?.map(replay).transpose()
    }

    async fn replays(&self, scope: &CompanyScope, limit: usize) -> Result<Vec<Replay>, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        let found = self.call("replays", async {
            let replays = self.collection(REPLAYS).await?;
            let found = replays.find(filter).sort(doc! { "created_ns": -1, "id": 1 });
            Ok(found.limit(at_most(limit)).await?.try_collect::<Vec<Document>>().await?)
        });
        found.await?.into_iter().map(replay).collect()
    }

    async fn expire_deliveries(&self, _now: OffsetDateTime) -> Result<u64, Error> {
        // The database does it by itself.
        Ok(0)
    }

    async fn erase_deliveries(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        let deleted = self.call_within(LONG, "erase_deliveries", async {
            let deleted = self.collection(DELIVERIES).await?.delete_many(filter.clone()).await?;
            self.collection(HEALTH).await?.delete_many(filter.clone()).await?;
            self.collection(REPLAYS).await?.delete_many(filter).await?;
            Ok(deleted)
        });
        Ok(deleted.await?.deleted_count)
    }

    async fn erase_conversation(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        until: OffsetDateTime,
    ) -> Result<u64, Error> {
        let filter = doc! {
            "company_id": scope.company().as_str(), "conversation_id": conversation.to_string(),
            "began_ns": { "$lte": nanos_of(until)? },
        };
        let deleted = self.call_within(LONG, "erase_conversation_deliveries", async {
            Ok(self.collection(DELIVERIES).await?.delete_many(filter).await?)
        });
        Ok(deleted.await?.deleted_count)
    }
}

impl MongoStore {
    /// A page of deliveries without some of their fields, in ascending or descending order of their time.
    async fn page(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
        order: i32,
        without: &[&str],
    ) -> Result<(Vec<Document>, Option<String>), Error> {
        let after = page.after.as_deref().map(str::parse::<Cursor>).transpose()?;
        let mut query = want(scope, filter)?;
        query.insert("expires_at", not_over(DateTime::now()));
        if let Some(end) = after {
            let beyond = if order > 0 { "$gt" } else { "$lt" };
            let (same, other) = (doc! { beyond: end.id.to_string() }, doc! { beyond: end.happened_ns });
            let later = vec![doc! { "happened_ns": other }, doc! { "happened_ns": end.happened_ns, "id": same }];
            query.insert("$or", later);
        }
        let without: Document = without.iter().map(|&field| (field.to_owned(), 0.into())).collect();
        let found = self.call("deliveries", async {
            let deliveries = self.collection(DELIVERIES).await?;
            let found = deliveries.find(query).sort(doc! { "happened_ns": order, "id": order }).projection(without);
            // One more than asked for tells whether there is a next page.
            let found = found.limit(at_most(page.limit.saturating_add(1))).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let mut found = found.await?;
        if found.len() <= page.limit {
            return Ok((found, None));
        }
        found.truncate(page.limit);
        let next = found.last().map(cursor_of).transpose()?;
        Ok((found, next.map(|next| next.to_string())))
    }
}
