//! What is counted of turns: a row for each, added up when somebody asks.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Row, Rows, named_params, params};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotOne, StrDeserializer};
use time::OffsetDateTime;

use super::SqliteStore;
use crate::adapters::sqlite::{self, nanos_of, signed, time_of, unsigned};
use crate::domain::analytics::{Cell, Fact, Grain, UsageCell};
use crate::domain::{CompanyId, CompanyScope, FinishReason};
use crate::ports::analytics::Analytics;
use crate::ports::store::Error;

#[async_trait]
impl Analytics for SqliteStore {
    async fn record(&self, scope: &CompanyScope, fact: &Fact, keep_until: OffsetDateTime) -> Result<(), Error> {
        let (company, fact, keep_until) = (scope.company().clone(), fact.clone(), nanos_of(keep_until)?);
        Ok(self.database.write(move |connection| record(connection, &company, &fact, keep_until)).await?)
    }

    async fn cells(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error> {
        let company = scope.company().clone();
        let (from, to) = (nanos_of(from)?, nanos_of(to)?);
        // Nobody closes the semaphore, so this only waits. Reports stand in a line of their own: made one at a time,
        // they leave the other readers to whoever answers a customer. The permit goes along with the work, which does
        // not end when whoever asked for it goes away.
        let permit = Arc::clone(&self.reports).acquire_owned().await;
        let cells = self
            .database
            .read(move |connection| {
                let cells = cells(connection, &company, from, to, grain);
                drop(permit);
                cells
            })
            .await;
        Ok(cells?)
    }

    async fn cells_of_several(
        &self,
        scopes: &[CompanyScope],
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error> {
        let companies: Vec<&str> = scopes.iter().map(|scope| scope.company().as_str()).collect();
        let companies = serde_json::to_string(&companies).map_err(|error| Error::Invalid(error.to_string()))?;
        let (from, to) = (nanos_of(from)?, nanos_of(to)?);
        // In one line with the other reports.
        let permit = Arc::clone(&self.reports).acquire_owned().await;
        let cells = self
            .database
            .read(move |connection| {
                let cells = cells_of_several(connection, &companies, from, to, grain);
                drop(permit);
                cells
            })
            .await;
        Ok(cells?)
    }

    async fn usage(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<UsageCell>, Error> {
        let company = scope.company().clone();
        let (from, until) = (nanos_of(from)?, nanos_of(until)?);
        // In one line with the other reports.
        let permit = Arc::clone(&self.reports).acquire_owned().await;
        let cells = self
            .database
            .read(move |connection| {
                let cells = usage(connection, &company, from, until);
                drop(permit);
                cells
            })
            .await;
        Ok(cells?)
    }

    async fn erase_analytics(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let company = scope.company().clone();
        let erased = self
            .database
            .write(move |connection| {
                Ok(connection.execute("DELETE FROM facts WHERE company_id = ?", [company.as_str()])? as u64)
            })
            .await?;
        self.database.scrub().await?;
        Ok(erased)
    }
}

fn record(connection: &Connection, company: &CompanyId, fact: &Fact, keep_until: i64) -> Result<(), sqlite::Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO facts (company_id, turn_id, ended_at, keep_until, intent, language, finish_reason, is_degraded, \
         first_token_class, model, input_tokens, output_tokens, is_estimated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (company_id, turn_id) DO NOTHING",
    )?;
    statement.execute(params![
        company.as_str(),
        fact.turn_id.to_string(),
        nanos_of(fact.at)?,
        keep_until,
        fact.intent,
        fact.language,
        fact.finish_reason.as_str(),
        fact.is_degraded,
        fact.first_token_class,
        fact.model,
        signed(fact.input_tokens)?,
        signed(fact.output_tokens)?,
        fact.is_estimated,
    ])?;
    Ok(())
}

fn cells(
    connection: &Connection,
    company: &CompanyId,
    from: i64,
    to: i64,
    grain: Grain,
) -> Result<Vec<Cell>, sqlite::Error> {
    let mut statement = connection.prepare_cached(&adding_up(grain))?;
    // What is due but not removed yet is not counted either.
    let now = nanos_of(OffsetDateTime::now_utc())?;
    let rows = statement.query(named_params! {
        ":company": company.as_str(),
        ":from": from,
        ":first": from - from % nanos(grain),
        ":to": to,
        ":now": now,
    })?;
    all(rows)
}

fn cells_of_several(
    connection: &Connection,
    companies: &str,
    from: i64,
    to: i64,
    grain: Grain,
) -> Result<Vec<Cell>, sqlite::Error> {
    let mut statement = connection.prepare_cached(&adding_up_several(grain))?;
    let now = nanos_of(OffsetDateTime::now_utc())?;
    let rows = statement.query(named_params! {
        ":companies": companies,
        ":from": from,
        ":first": from - from % nanos(grain),
        ":to": to,
        ":now": now,
    })?;
    all(rows)
}

fn all(mut rows: Rows<'_>) -> Result<Vec<Cell>, sqlite::Error> {
    let mut cells = Vec::new();
    while let Some(row) = rows.next()? {
        cells.push(cell(row)?);
    }
    Ok(cells)
}

/// The sums of days that an index holds in its order.
const USAGE: &str = "SELECT ended_at - ended_at % 86400000000000, model, is_estimated, count(*), \
     coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM facts \
     WHERE company_id = :company AND ended_at - ended_at % 86400000000000 >= :from \
     AND ended_at - ended_at % 86400000000000 < :until AND keep_until > :now \
     GROUP BY ended_at - ended_at % 86400000000000, model, is_estimated";

fn usage(connection: &Connection, company: &CompanyId, from: i64, until: i64) -> Result<Vec<UsageCell>, sqlite::Error> {
    let mut statement = connection.prepare_cached(USAGE)?;
    let now = nanos_of(OffsetDateTime::now_utc())?;
    let mut rows = statement.query(named_params! {
        ":company": company.as_str(), ":from": from, ":until": until, ":now": now,
    })?;
    let mut cells = Vec::new();
    while let Some(row) = rows.next()? {
        cells.push(UsageCell {
            day: time_of(row.get(0)?)?,
            model: row.get(1)?,
            is_estimated: row.get::<_, Option<bool>>(2)?.unwrap_or_default(),
            turns: unsigned(row.get(3)?)?,
            input_tokens: unsigned(row.get(4)?)?,
            output_tokens: unsigned(row.get(5)?)?,
        });
    }
    Ok(cells)
}

/// The period is written as in the grain's index: only so does SQLite see that it is the same.
fn adding_up(grain: Grain) -> String {
    let period = format!("ended_at - ended_at % {}", nanos(grain));
    format!(
        "SELECT {period}, intent, language, finish_reason, is_degraded, first_token_class, count(*) FROM facts \
         WHERE company_id = :company AND {period} >= :first AND {period} < :to \
         AND ended_at >= :from AND ended_at < :to AND keep_until > :now \
         GROUP BY {period}, intent, language, finish_reason, is_degraded, first_token_class"
    )
}

/// As `adding_up` for a list of companies, of which each is one such walk: the order of the two is not left to SQLite.
fn adding_up_several(grain: Grain) -> String {
    let period = format!("ended_at - ended_at % {}", nanos(grain));
    format!(
        "SELECT {period}, intent, language, finish_reason, is_degraded, first_token_class, count(*) \
         FROM json_each(:companies) AS wanted CROSS JOIN facts \
         WHERE company_id = wanted.value AND {period} >= :first AND {period} < :to \
         AND ended_at >= :from AND ended_at < :to AND keep_until > :now \
         GROUP BY {period}, intent, language, finish_reason, is_degraded, first_token_class"
    )
}

fn nanos(grain: Grain) -> i64 {
    grain.length().whole_seconds().saturating_mul(1_000_000_000)
}

fn cell(row: &Row<'_>) -> Result<Cell, sqlite::Error> {
    Ok(Cell {
        period: time_of(row.get(0)?)?,
        intent: row.get(1)?,
        language: row.get(2)?,
        finish_reason: finish_reason(&row.get::<_, String>(3)?)?,
        is_degraded: row.get(4)?,
        first_token_class: row.get(5)?,
        turns: unsigned(row.get(6)?)?,
    })
}

fn finish_reason(name: &str) -> Result<FinishReason, sqlite::Error> {
    let name: StrDeserializer<'_, NotOne> = name.into_deserializer();
    FinishReason::deserialize(name).map_err(|error| sqlite::Error::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Null;

    #[test]
    fn adding_up_is_one_walk_through_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::migrations().to_latest(&mut connection).unwrap();
        for (grain, index) in [(Grain::Minute, "facts_by_minute"), (Grain::Day, "facts_by_day")] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", adding_up(grain))).unwrap();
            let plan: Vec<String> =
                statement.query_map([Null; 5], |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(plan.len(), 1, "{plan:?}");
            assert!(plan[0].starts_with(&format!("SEARCH facts USING COVERING INDEX {index} ")), "{plan:?}");
        }
        for (grain, index) in [(Grain::Minute, "facts_by_minute"), (Grain::Day, "facts_by_day")] {
            let mut statement =
                connection.prepare(&format!("EXPLAIN QUERY PLAN {}", adding_up_several(grain))).unwrap();
            let plan: Vec<String> =
                statement.query_map([Null; 5], |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap();
            assert!(plan[0].starts_with("SCAN wanted"), "{plan:?}");
            assert!(plan[1].starts_with(&format!("SEARCH facts USING COVERING INDEX {index} ")), "{plan:?}");
        }
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {USAGE}")).unwrap();
        let plan: Vec<String> =
            statement.query_map([Null; 4], |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert!(plan[0].starts_with("SEARCH facts USING COVERING INDEX facts_by_model "), "{plan:?}");
    }
}
