//! The directory: companies, keys and endpoints, each as JSON under its key.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, params};
use serde::de::DeserializeOwned;
use time::{OffsetDateTime, UtcOffset};

use super::SqliteStore;
use crate::adapters::sqlite::{self, from_json, nanos_of, to_json};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{ApiKey, Company, CompanyId, CompanyScope, EndpointId};
use crate::ports::directory::Directory;
use crate::ports::store::Error;

#[async_trait]
impl Directory for SqliteStore {
    async fn companies(&self) -> Result<Vec<Company>, Error> {
        let found = self
            .database
            .read(|connection| all(connection, "SELECT company FROM companies ORDER BY company_id", []))
            .await;
        Ok(found?)
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, Error> {
        let id = id.clone();
        let sql = "SELECT company FROM companies WHERE company_id = ?";
        Ok(self.database.read(move |connection| one(connection, sql, [id.as_str()])).await?)
    }

    async fn put_company(&self, company: &Company) -> Result<bool, Error> {
        let (id, json) = (company.id.clone(), to_json(company)?);
        let written = self.database.write(move |connection| {
            let changed = connection
                .prepare_cached("UPDATE companies SET company = ? WHERE company_id = ?")?
                .execute([json.as_str(), id.as_str()])?;
            if changed == 0 {
                connection
                    .prepare_cached("INSERT INTO companies (company_id, company) VALUES (?, ?)")?
                    .execute([id.as_str(), json.as_str()])?;
            }
            Ok(changed == 0)
        });
        Ok(written.await?)
    }

    async fn add_company(&self, company: &Company) -> Result<bool, Error> {
        let (id, json) = (company.id.clone(), to_json(company)?);
        let written = self.database.write(move |connection| {
            let sql = "INSERT INTO companies (company_id, company) VALUES (?, ?) ON CONFLICT DO NOTHING";
            Ok(connection.prepare_cached(sql)?.execute([id.as_str(), json.as_str()])? > 0)
        });
        Ok(written.await?)
    }

    async fn change_company(&self, scope: &CompanyScope, known: &Company, changed: &Company) -> Result<bool, Error> {
        let (id, known, json) = (scope.company().clone(), known.clone(), to_json(changed)?);
        let written = self.database.write(move |connection| {
            let sql = "SELECT company FROM companies WHERE company_id = ?";
            if one::<Company>(connection, sql, [id.as_str()])?.is_none_or(|stored| stored != known) {
                return Ok(false);
            }
            connection
                .prepare_cached("UPDATE companies SET company = ? WHERE company_id = ?")?
                .execute([json.as_str(), id.as_str()])?;
            Ok(true)
        });
        Ok(written.await?)
    }

    async fn remove_company(&self, scope: &CompanyScope) -> Result<(u64, u64), Error> {
        let company = scope.company().clone();
        let removed = self
            .database
            .write(move |connection| {
                let keys = connection.execute("DELETE FROM api_keys WHERE company_id = ?", [company.as_str()])?;
                let endpoints = connection.execute("DELETE FROM endpoints WHERE company_id = ?", [company.as_str()])?;
                connection.execute("DELETE FROM companies WHERE company_id = ?", [company.as_str()])?;
                Ok((keys as u64, endpoints as u64))
            })
            .await?;
        self.database.scrub().await?;
        Ok(removed)
    }

    async fn add_key(&self, key: &ApiKey) -> Result<(), Error> {
        let (hash, company, json) = (key.hash.clone(), key.company_id.clone(), to_json(key)?);
        let prefix = key.prefix.clone();
        let written = self.database.write(move |connection| {
            connection
                .prepare_cached("INSERT INTO api_keys (hash, company_id, api_key) VALUES (?, ?, ?)")?
                .execute([hash.as_str(), company.as_str(), json.as_str()])
                .map_err(|error| present_already(error.into(), "key", &prefix))?;
            Ok(())
        });
        Ok(written.await?)
    }

    async fn key(&self, hash: &str) -> Result<Option<ApiKey>, Error> {
        let hash = hash.to_owned();
        let sql = "SELECT api_key FROM api_keys WHERE hash = ?";
        Ok(self.database.read(move |connection| one(connection, sql, [hash.as_str()])).await?)
    }

    async fn keys(&self, scope: &CompanyScope) -> Result<Vec<ApiKey>, Error> {
        let company = scope.company().clone();
        let sql = "SELECT api_key FROM api_keys WHERE company_id = ? ORDER BY hash";
        let mut keys: Vec<ApiKey> =
            self.database.read(move |connection| all(connection, sql, [company.as_str()])).await?;
        keys.sort_by_key(|key| key.created_at);
        Ok(keys)
    }

    async fn put_key(&self, scope: &CompanyScope, key: &ApiKey) -> Result<bool, Error> {
        if key.company_id != *scope.company() {
            return Err(Error::Invalid(format!("key {} is not of company {}", key.prefix, scope.company())));
        }
        let (hash, company, json) = (key.hash.clone(), key.company_id.clone(), to_json(key)?);
        let written = self.database.write(move |connection| {
            let changed = connection
                .prepare_cached("UPDATE api_keys SET api_key = ? WHERE hash = ? AND company_id = ?")?
                .execute([json.as_str(), hash.as_str(), company.as_str()])?;
            Ok(changed > 0)
        });
        Ok(written.await?)
    }

    async fn remove_key(&self, scope: &CompanyScope, hash: &str) -> Result<bool, Error> {
        let (company, hash) = (scope.company().clone(), hash.to_owned());
        let written = self.database.write(move |connection| {
            let removed = connection
                .prepare_cached("DELETE FROM api_keys WHERE hash = ? AND company_id = ?")?
                .execute([hash.as_str(), company.as_str()])?;
            Ok(removed > 0)
        });
        Ok(written.await?)
    }

    async fn touch_key(&self, scope: &CompanyScope, hash: &str, used_at: OffsetDateTime) -> Result<(), Error> {
        let (company, hash) = (scope.company().clone(), hash.to_owned());
        let used_at = to_the_second(used_at);
        let written = self.database.write(move |connection| {
            let sql = "SELECT api_key FROM api_keys WHERE hash = ? AND company_id = ?";
            let known: Option<ApiKey> = one(connection, sql, [hash.as_str(), company.as_str()])?;
            let Some(mut key) = known.filter(|key| key.last_used_at.is_none_or(|last| last < used_at)) else {
                return Ok(());
            };
            key.last_used_at = Some(used_at);
            connection
                .prepare_cached("UPDATE api_keys SET api_key = ? WHERE hash = ?")?
                .execute([to_json(&key)?.as_str(), hash.as_str()])?;
            Ok(())
        });
        Ok(written.await?)
    }

    async fn add_endpoint(&self, scope: &CompanyScope, endpoint: &Endpoint) -> Result<(), Error> {
        if endpoint.company_id != *scope.company() {
            return Err(Error::Invalid(format!("endpoint {} is not of company {}", endpoint.id, scope.company())));
        }
        let (company, id) = (endpoint.company_id.clone(), endpoint.id.clone());
        let (created_at, json) = (nanos_of(endpoint.created_at)?, to_json(endpoint)?);
        let written = self.database.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO endpoints (company_id, endpoint_id, created_at, endpoint) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![company.as_str(), id.as_str(), created_at, json])
                .map_err(|error| present_already(error.into(), "endpoint", id.as_str()))?;
            Ok(())
        });
        Ok(written.await?)
    }

    async fn endpoints(&self, scope: &CompanyScope) -> Result<Vec<Endpoint>, Error> {
        let company = scope.company().clone();
        let sql = "SELECT endpoint FROM endpoints WHERE company_id = ? ORDER BY created_at, endpoint_id";
        Ok(self.database.read(move |connection| all(connection, sql, [company.as_str()])).await?)
    }

    async fn endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<Option<Endpoint>, Error> {
        let (company, id) = (scope.company().clone(), id.clone());
        Ok(self.database.read(move |connection| endpoint(connection, &company, &id)).await?)
    }

    async fn change_endpoint(&self, scope: &CompanyScope, known: &Endpoint, changed: &Endpoint) -> Result<bool, Error> {
        if changed.company_id != *scope.company() || changed.id != known.id {
            return Err(Error::Invalid(format!("endpoint {} is not of company {}", changed.id, scope.company())));
        }
        let (company, known, json) = (scope.company().clone(), known.clone(), to_json(changed)?);
        let written = self.database.write(move |connection| {
            if endpoint(connection, &company, &known.id)?.is_none_or(|stored| stored != known) {
                return Ok(false);
            }
            put_endpoint(connection, &company, &known.id, &json)?;
            Ok(true)
        });
        Ok(written.await?)
    }

    async fn remove_endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<bool, Error> {
        let (company, id) = (scope.company().clone(), id.clone());
        let written = self.database.write(move |connection| {
            let removed = connection
                .prepare_cached("DELETE FROM endpoints WHERE company_id = ? AND endpoint_id = ?")?
                .execute([company.as_str(), id.as_str()])?;
            Ok(removed > 0)
        });
        Ok(written.await?)
    }

    async fn disable_endpoint(
        &self,
        scope: &CompanyScope,
        id: &EndpointId,
        disabled: &Disabled,
    ) -> Result<bool, Error> {
        let (company, id, disabled) = (scope.company().clone(), id.clone(), disabled.clone());
        let written = self.database.write(move |connection| {
            let known = endpoint(connection, &company, &id)?.filter(|known| known.disabled.is_none());
            let Some(mut endpoint) = known else { return Ok(false) };
            endpoint.disabled = Some(disabled);
            put_endpoint(connection, &company, &id, &to_json(&endpoint)?)?;
            Ok(true)
        });
        Ok(written.await?)
    }
}

fn put_endpoint(
    connection: &Connection,
    company: &CompanyId,
    id: &EndpointId,
    json: &str,
) -> Result<(), sqlite::Error> {
    connection
        .prepare_cached("UPDATE endpoints SET endpoint = ? WHERE company_id = ? AND endpoint_id = ?")?
        .execute([json, company.as_str(), id.as_str()])?;
    Ok(())
}

fn endpoint(connection: &Connection, company: &CompanyId, id: &EndpointId) -> Result<Option<Endpoint>, sqlite::Error> {
    let sql = "SELECT endpoint FROM endpoints WHERE company_id = ? AND endpoint_id = ?";
    one(connection, sql, [company.as_str(), id.as_str()])
}

fn one<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<T>, sqlite::Error> {
    let json = connection.prepare_cached(sql)?.query_row(parameters, |row| row.get::<_, String>(0)).optional()?;
    json.map(|json| from_json(&json)).transpose()
}

fn all<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<T>, sqlite::Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, |row| row.get::<_, String>(0))?;
    rows.map(|json| from_json(&json?)).collect()
}

fn to_the_second(time: OffsetDateTime) -> OffsetDateTime {
    time.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time)
}

fn present_already(error: sqlite::Error, what: &str, name: &str) -> sqlite::Error {
    if error.is_constraint() { sqlite::Error::Content(format!("there is already a {what} {name}")) } else { error }
}
