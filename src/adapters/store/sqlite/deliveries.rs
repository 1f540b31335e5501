//! The log of deliveries.

mod rows;

use async_trait::async_trait;
use rusqlite::{Connection, named_params, params};
use time::OffsetDateTime;
use uuid::Uuid;

use self::rows::{Found, Wanted};
use super::SqliteStore;
use super::turns::one;
use crate::adapters::sqlite::{self, from_json, nanos_of, time_of, to_json};
use crate::domain::delivery::{Attempt, Delivery, Filter, Health, Parcel, Place, Replay, ReplayState, Standing, State};
use crate::domain::{CompanyScope, ConversationId, EndpointId};
use crate::ports::deliveries::{Ahead, Deliveries, MOST_SIBLINGS};
use crate::ports::store::{Error, Page};

/// Deliveries removed in one go at most: what is being written waits no longer than that takes.
const BATCH: i64 = 500;

#[async_trait]
impl Deliveries for SqliteStore {
    async fn open(&self, scope: &CompanyScope, parcels: &[Parcel], keep_until: OffsetDateTime) -> Result<(), Error> {
        if let Some(foreign) = parcels.iter().find(|it| it.delivery.company_id != *scope.company()) {
            let id = foreign.delivery.id;
            return Err(Error::Invalid(format!("delivery {id} is not of company {}", scope.company())));
        }
        let (parcels, keep_until) = (parcels.to_vec(), nanos_of(keep_until)?);
        let write = move |connection: &Connection| {
            parcels.iter().try_for_each(|parcel| rows::insert(connection, parcel, keep_until))
        };
        Ok(self.database.write(write).await?)
    }

    async fn note(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        standing: &Standing,
        attempt: Option<&Attempt>,
    ) -> Result<(), Error> {
        let (company, standing) = (scope.company().clone(), standing.clone());
        let slot = attempt.map(|it| Ok::<_, Error>((rows::slot_of(it)?, to_json(it)?))).transpose()?;
        let write = move |connection: &Connection| {
            let sql = "SELECT number FROM deliveries WHERE company_id = ? AND delivery_id = ?";
            let number: Option<i64> =
                one(connection, sql, params![company.as_str(), id.to_string()], |row| Ok(row.get(0)?))?;
            let Some(number) = number else { return Ok(()) };
            let sql = "UPDATE deliveries SET state = ?1, attempts = ?2, status = coalesce(?3, status), reason = ?4, \
                       last_attempt_at = coalesce(?5, last_attempt_at), next_attempt_at = ?6 \
                       WHERE number = ?7 AND (state <> ?8 OR ?1 = ?8)";
            connection.prepare_cached(sql)?.execute(params![
                standing.state.as_str(),
                standing.attempts,
                standing.status,
                standing.reason,
                standing.last_attempt_at.map(nanos_of).transpose()?,
                standing.next_attempt_at.map(nanos_of).transpose()?,
                number,
                State::Delivered.as_str(),
            ])?;
            if let Some((slot, attempt)) = slot {
                let sql = "INSERT INTO delivery_attempts (delivery, slot, attempt) VALUES (?, ?, ?) \
                           ON CONFLICT (delivery, slot) DO UPDATE SET attempt = excluded.attempt";
                connection.prepare_cached(sql)?.execute(params![number, slot, attempt])?;
            }
            Ok(())
        };
        Ok(self.database.write(write).await?)
    }

    async fn delivery(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Parcel>, Error> {
        let wanted = Wanted::of(scope, &Filter { id: Some(id), ..Filter::default() })?;
        let found = self.database.read(move |connection| rows::parcels(connection, &wanted, 1, None)).await?;
        Ok(found.page.into_iter().next())
    }

    async fn attempts(&self, scope: &CompanyScope, id: Uuid) -> Result<Vec<Attempt>, Error> {
        let company = scope.company().clone();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT attempt FROM delivery_attempts JOIN deliveries ON number = delivery \
                 WHERE company_id = ? AND delivery_id = ? ORDER BY slot",
            )?;
            let mut rows = statement.query(params![company.as_str(), id.to_string()])?;
            let mut attempts = Vec::new();
            while let Some(row) = rows.next()? {
                attempts.push(from_json(&row.get::<_, String>(0)?)?);
            }
            Ok(attempts)
        };
        Ok(self.database.read(read).await?)
    }

    async fn deliveries(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Delivery>, Option<String>), Error> {
        let after = page.after.as_deref().map(str::parse).transpose()?;
        let (wanted, limit) = (Wanted::of(scope, filter)?, page.limit);
        let read = move |connection: &Connection| rows::deliveries(connection, &wanted, limit, after);
        let Found { page, next } = self.database.read(read).await?;
        Ok((page, next.map(|next| next.to_string())))
    }

    async fn parcels(
        &self,
        scope: &CompanyScope,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Parcel>, Option<String>), Error> {
        let after = page.after.as_deref().map(str::parse).transpose()?;
        let (wanted, limit) = (Wanted::of(scope, filter)?, page.limit);
        let read = move |connection: &Connection| rows::parcels(connection, &wanted, limit, after);
        let Found { page, next } = self.database.read(read).await?;
        Ok((page, next.map(|next| next.to_string())))
    }

    async fn ahead(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        place: Place,
        since: OffsetDateTime,
    ) -> Result<Ahead, Error> {
        let (company, endpoint) = (scope.company().clone(), endpoint.clone());
        let (sequence, rank, since) = (sqlite::signed(place.sequence)?, place.rank, nanos_of(since)?);
        let read = move |connection: &Connection| {
            let conversation = place.conversation_id.to_string();
            let pending: Option<(i64, i64)> = one(
                connection,
                "SELECT next_attempt_at, sequence FROM deliveries WHERE company_id = ? AND conversation_id = ? AND endpoint_id = ? \
                 AND (sequence, rank) < (?, ?) AND state = 'pending' AND next_attempt_at >= ? \
                 ORDER BY sequence, rank LIMIT 1",
                params![company.as_str(), conversation, endpoint.as_str(), sequence, rank, since],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if let Some((due, first)) = pending {
                let behind = sequence.abs_diff(first);
                return Ok(Ahead { pending: Some(time_of(due)?), behind, ..Ahead::default() });
            }
            let mut last = connection.prepare_cached(
                "SELECT sequence FROM deliveries WHERE company_id = ? AND conversation_id = ? AND endpoint_id = ? \
                 AND (sequence, rank) < (?, ?) ORDER BY sequence DESC, rank DESC LIMIT ?",
            )?;
            let limit = MOST_SIBLINGS as i64;
            let of = params![company.as_str(), conversation, endpoint.as_str(), sequence, rank, limit];
            let mut found = last.query(of)?;
            let mut sequences = Vec::new();
            while let Some(row) = found.next()? {
                sequences.push(sqlite::unsigned(row.get(0)?)?);
            }
            Ok(Ahead::free(place, &sequences))
        };
        Ok(self.database.read(read).await?)
    }

    async fn reopen(
        &self,
        scope: &CompanyScope,
        id: Uuid,
        round: u32,
        replay: Uuid,
        at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let (company, at) = (scope.company().clone(), nanos_of(at)?);
        let write = move |connection: &Connection| {
            let sql = "UPDATE deliveries SET state = 'pending', attempts = 0, round = :round, replay_id = :replay, \
                       next_attempt_at = :at WHERE company_id = :company AND delivery_id = :id AND payload IS NOT NULL \
                       AND ((state <> 'pending' AND round = :round - 1) \
                            OR (state = 'pending' AND round = :round AND replay_id = :replay))";
            let changed = connection.prepare_cached(sql)?.execute(named_params! {
                ":round": round, ":replay": replay.to_string(), ":at": at, ":company": company.as_str(),
                ":id": id.to_string(),
            })?;
            Ok(changed > 0)
        };
        Ok(self.database.write(write).await?)
    }

    async fn health(&self, scope: &CompanyScope, endpoint: &EndpointId) -> Result<Health, Error> {
        let (company, endpoint) = (scope.company().clone(), endpoint.clone());
        Ok(self.database.read(move |connection| rows::health(connection, &company, &endpoint)).await?)
    }

    async fn failed(
        &self,
        scope: &CompanyScope,
        endpoint: &EndpointId,
        at: OffsetDateTime,
        reason: &str,
        open_until: Option<OffsetDateTime>,
    ) -> Result<OffsetDateTime, Error> {
        let (company, endpoint, reason) = (scope.company().clone(), endpoint.clone(), reason.to_owned());
        let (at, open_until) = (nanos_of(at)?, open_until.map(nanos_of).transpose()?);
        let write = move |connection: &Connection| {
            let sql = "INSERT INTO endpoint_health \
                       (company_id, endpoint_id, failing_since, last_failure_at, last_failure, open_until) \
                       VALUES (:company, :endpoint, :at, :at, :reason, :open) \
                       ON CONFLICT (company_id, endpoint_id) DO UPDATE SET \
                       failing_since = min(coalesce(failing_since, excluded.failing_since), excluded.failing_since), \
                       last_failure_at = excluded.last_failure_at, last_failure = excluded.last_failure, \
                       open_until = coalesce(excluded.open_until, open_until) RETURNING failing_since";
            let since = one(
                connection,
                sql,
                named_params! {
                    ":company": company.as_str(), ":endpoint": endpoint.as_str(), ":at": at, ":reason": reason,
                    ":open": open_until,
                },
                |row| time_of(row.get(0)?),
            )?;
            since.ok_or_else(|| sqlite::Error::Content("the health of an endpoint was not written".to_owned()))
        };
        Ok(self.database.write(write).await?)
    }

    async fn succeeded(&self, scope: &CompanyScope, endpoint: &EndpointId, at: OffsetDateTime) -> Result<(), Error> {
        let (company, endpoint, at) = (scope.company().clone(), endpoint.clone(), nanos_of(at)?);
        let write = move |connection: &Connection| {
            let sql = "INSERT INTO endpoint_health (company_id, endpoint_id, last_success_at) VALUES (?, ?, ?) \
                       ON CONFLICT (company_id, endpoint_id) DO UPDATE SET failing_since = NULL, open_until = NULL, \
                       last_success_at = excluded.last_success_at";
            connection.prepare_cached(sql)?.execute(params![company.as_str(), endpoint.as_str(), at])?;
            Ok(())
        };
        Ok(self.database.write(write).await?)
    }

    async fn add_replay(&self, scope: &CompanyScope, replay: &Replay, keep_until: OffsetDateTime) -> Result<(), Error> {
        let (company, id, json) = (scope.company().clone(), replay.id, to_json(replay)?);
        let (created_at, keep_until) = (nanos_of(replay.created_at)?, nanos_of(keep_until)?);
        let write = move |connection: &Connection| {
            let sql = "INSERT INTO replays (company_id, replay_id, created_at, keep_until, replay) \
                       VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
            let row = params![company.as_str(), id.to_string(), created_at, keep_until, json];
            connection.prepare_cached(sql)?.execute(row)?;
            Ok(())
        };
        Ok(self.database.write(write).await?)
    }

    async fn put_replay(&self, scope: &CompanyScope, replay: &Replay) -> Result<(), Error> {
        let (company, replay) = (scope.company().clone(), replay.clone());
        let write = move |connection: &Connection| {
            let Some(known) = rows::replay(connection, &company, replay.id)? else { return Ok(()) };
            let state = if known.state == ReplayState::Cancelled { known.state } else { replay.state };
            rows::put_replay(connection, &company, &Replay { state, ..replay })
        };
        Ok(self.database.write(write).await?)
    }

    async fn cancel_replay(&self, scope: &CompanyScope, id: Uuid, at: OffsetDateTime) -> Result<bool, Error> {
        let company = scope.company().clone();
        let write = move |connection: &Connection| {
            let known = rows::replay(connection, &company, id)?;
            let Some(known) = known.filter(|it| it.state == ReplayState::Running) else { return Ok(false) };
            let cancelled = Replay { state: ReplayState::Cancelled, updated_at: at, ..known };
            rows::put_replay(connection, &company, &cancelled)?;
            Ok(true)
        };
        Ok(self.database.write(write).await?)
    }

    async fn replay(&self, scope: &CompanyScope, id: Uuid) -> Result<Option<Replay>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| rows::replay(connection, &company, id)).await?)
    }

    async fn replays(&self, scope: &CompanyScope, limit: usize) -> Result<Vec<Replay>, Error> {
        let company = scope.company().clone();
        Ok(self.database.read(move |connection| rows::replays(connection, &company, limit)).await?)
    }

    async fn expire_deliveries(&self, now: OffsetDateTime) -> Result<u64, Error> {
        let now = nanos_of(now)?;
        let mut expired = 0;
        loop {
            let write = move |connection: &Connection| {
                let sql = "DELETE FROM deliveries WHERE number IN \
                           (SELECT number FROM deliveries WHERE keep_until <= ? LIMIT ?)";
                let removed = connection.prepare_cached(sql)?.execute(params![now, BATCH])? as u64;
                connection.prepare_cached("DELETE FROM replays WHERE keep_until <= ?")?.execute([now])?;
                Ok(removed)
            };
            // Each go is a write of its own, so that others get in between.
            let removed = self.database.write(write).await?;
            expired += removed;
            if removed < BATCH.unsigned_abs() {
                return Ok(expired);
            }
        }
    }

    async fn erase_deliveries(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let company = scope.company().clone();
        let write = move |connection: &Connection| {
            let removed = connection.execute("DELETE FROM deliveries WHERE company_id = ?", [company.as_str()])?;
            connection.execute("DELETE FROM endpoint_health WHERE company_id = ?", [company.as_str()])?;
            connection.execute("DELETE FROM replays WHERE company_id = ?", [company.as_str()])?;
            Ok(removed as u64)
        };
        let removed = self.database.write(write).await?;
        self.database.scrub().await?;
        Ok(removed)
    }

    async fn erase_conversation(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        until: OffsetDateTime,
    ) -> Result<u64, Error> {
        let (company, until) = (scope.company().clone(), nanos_of(until)?);
        let write = move |connection: &Connection| {
            let sql = "DELETE FROM deliveries WHERE company_id = ? AND conversation_id = ? AND began_at <= ?";
            Ok(connection.execute(sql, params![company.as_str(), conversation.to_string(), until])? as u64)
        };
        let removed = self.database.write(write).await?;
        self.database.scrub().await?;
        Ok(removed)
    }
}
