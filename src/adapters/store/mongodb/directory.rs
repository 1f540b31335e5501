//! The directory: companies, keys and endpoints.

use ::mongodb::bson::{Bson, Document, doc};
use async_trait::async_trait;
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::MongoStore;
use super::call::is_duplicate;
use super::codec::{from_document, key, nanos_of, to_document};
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{ApiKey, Company, CompanyId, CompanyScope, EndpointId};
use crate::ports::directory::Directory;
use crate::ports::store::Error;

const COMPANIES: &str = "companies";
const API_KEYS: &str = "api_keys";
const ENDPOINTS: &str = "endpoints";

#[async_trait]
impl Directory for MongoStore {
    async fn companies(&self) -> Result<Vec<Company>, Error> {
        self.all("companies", COMPANIES, Document::new(), doc! { "_id": 1 }, "company").await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, Error> {
        self.one("company", COMPANIES, doc! { "_id": id.as_str() }, "company").await
    }

    async fn put_company(&self, company: &Company) -> Result<bool, Error> {
        let update = doc! { "$set": { "company": to_document(company)? } };
        let written = self.call("put_company", async {
            let companies = self.collection(COMPANIES).await?;
            Ok(companies.update_one(doc! { "_id": company.id.as_str() }, update).upsert(true).await?)
        });
        Ok(written.await?.upserted_id.is_some())
    }

    async fn add_company(&self, company: &Company) -> Result<bool, Error> {
        let document = doc! { "_id": company.id.as_str(), "company": to_document(company)? };
        self.call("add_company", async {
            match self.collection(COMPANIES).await?.insert_one(document).await {
                Err(error) if is_duplicate(&error) => Ok(false),
                inserted => Ok(inserted.map(|_| true)?),
            }
        })
        .await
    }

    async fn change_company(&self, scope: &CompanyScope, known: &Company, changed: &Company) -> Result<bool, Error> {
        let id = scope.company().as_str();
        let update = doc! { "$set": { "company": to_document(changed)? } };
        self.call("change_company", async {
            let companies = self.collection(COMPANIES).await?;
            let Some(stored) = companies.find_one(doc! { "_id": id }).await? else { return Ok(false) };
            // Compared as what it means, and changed if it is still the same to the letter.
            let fields = stored.get("company").cloned();
            if read::<Company>(stored, "company")? != *known {
                return Ok(false);
            }
            let updated = companies.update_one(doc! { "_id": id, "company": fields }, update).await?;
            Ok(updated.matched_count > 0)
        })
        .await
    }

    async fn remove_company(&self, scope: &CompanyScope) -> Result<(u64, u64), Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        self.call("remove_company", async {
            // The company goes last, so that one that is removed by half can be removed again.
            let keys = self.collection(API_KEYS).await?.delete_many(filter.clone()).await?.deleted_count;
            let endpoints = self.collection(ENDPOINTS).await?.delete_many(filter).await?.deleted_count;
            self.collection(COMPANIES).await?.delete_one(doc! { "_id": scope.company().as_str() }).await?;
            Ok((keys, endpoints))
        })
        .await
    }

    async fn add_key(&self, key: &ApiKey) -> Result<(), Error> {
        // A key is looked up before it is known whose it is, so its hash alone is its id.
        let document = doc! {
            "_id": &key.hash, "company_id": key.company_id.as_str(), "created_ns": nanos_of(key.created_at)?,
            "api_key": to_document(key)?,
        };
        self.insert_new("add_key", API_KEYS, document, || format!("there is already a key {}", key.prefix)).await
    }

    async fn key(&self, hash: &str) -> Result<Option<ApiKey>, Error> {
        self.one("key", API_KEYS, doc! { "_id": hash }, "api_key").await
    }

    async fn keys(&self, scope: &CompanyScope) -> Result<Vec<ApiKey>, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        self.all("keys", API_KEYS, filter, doc! { "created_ns": 1, "_id": 1 }, "api_key").await
    }

    async fn put_key(&self, scope: &CompanyScope, key: &ApiKey) -> Result<bool, Error> {
        if key.company_id != *scope.company() {
            return Err(Error::Invalid(format!("key {} is not of company {}", key.prefix, scope.company())));
        }
        let update = doc! { "$set": { "api_key": to_document(key)? } };
        let written = self.call("put_key", async {
            Ok(self.collection(API_KEYS).await?.update_one(key_of(scope, &key.hash), update).await?)
        });
        Ok(written.await?.matched_count > 0)
    }

    async fn remove_key(&self, scope: &CompanyScope, hash: &str) -> Result<bool, Error> {
        let removed = self
            .call("remove_key", async { Ok(self.collection(API_KEYS).await?.delete_one(key_of(scope, hash)).await?) });
        Ok(removed.await?.deleted_count > 0)
    }

    async fn touch_key(&self, scope: &CompanyScope, hash: &str, used_at: OffsetDateTime) -> Result<(), Error> {
        // To the second and in UTC, so that the texts sort as their times do.
        let used_at = used_at.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(used_at);
        let used_at = used_at.format(&Rfc3339).map_err(|error| Error::Invalid(error.to_string()))?;
        let update = doc! { "$max": { "api_key.last_used_at": used_at } };
        let updated = self.call("touch_key", async {
            Ok(self.collection(API_KEYS).await?.update_one(key_of(scope, hash), update).await?)
        });
        updated.await.map(|_| ())
    }

    async fn add_endpoint(&self, scope: &CompanyScope, endpoint: &Endpoint) -> Result<(), Error> {
        if endpoint.company_id != *scope.company() {
            return Err(Error::Invalid(format!("endpoint {} is not of company {}", endpoint.id, scope.company())));
        }
        let mut document = key(scope.company(), endpoint.id.as_str());
        document.insert("endpoint_id", endpoint.id.as_str());
        document.insert("created_ns", nanos_of(endpoint.created_at)?);
        document.insert("endpoint", to_document(endpoint)?);
        let present = || format!("there is already an endpoint {}", endpoint.id);
        self.insert_new("add_endpoint", ENDPOINTS, document, present).await
    }

    async fn endpoints(&self, scope: &CompanyScope) -> Result<Vec<Endpoint>, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        self.all("endpoints", ENDPOINTS, filter, doc! { "created_ns": 1, "endpoint_id": 1 }, "endpoint").await
    }

    async fn endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<Option<Endpoint>, Error> {
        self.one("endpoint", ENDPOINTS, key(scope.company(), id.as_str()), "endpoint").await
    }

    async fn change_endpoint(&self, scope: &CompanyScope, known: &Endpoint, changed: &Endpoint) -> Result<bool, Error> {
        if changed.company_id != *scope.company() || changed.id != known.id {
            return Err(Error::Invalid(format!("endpoint {} is not of company {}", changed.id, scope.company())));
        }
        let mut filter = key(scope.company(), known.id.as_str());
        let update = doc! { "$set": { "endpoint": to_document(changed)? } };
        self.call("change_endpoint", async {
            let endpoints = self.collection(ENDPOINTS).await?;
            let Some(stored) = endpoints.find_one(filter.clone()).await? else { return Ok(false) };
            // Compared as what it means, and changed if it is still the same to the letter.
            let fields = stored.get("endpoint").cloned();
            if read::<Endpoint>(stored, "endpoint")? != *known {
                return Ok(false);
            }
            filter.insert("endpoint", fields);
            Ok(endpoints.update_one(filter, update).await?.matched_count > 0)
        })
        .await
    }

    async fn remove_endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<bool, Error> {
        let filter = key(scope.company(), id.as_str());
        let removed =
            self.call("remove_endpoint", async { Ok(self.collection(ENDPOINTS).await?.delete_one(filter).await?) });
        Ok(removed.await?.deleted_count > 0)
    }

    async fn disable_endpoint(
        &self,
        scope: &CompanyScope,
        id: &EndpointId,
        disabled: &Disabled,
    ) -> Result<bool, Error> {
        let mut filter = key(scope.company(), id.as_str());
        // Null is what an endpoint without the field has, too.
        filter.insert("endpoint.disabled", Bson::Null);
        let fields = to_document(disabled)?.into_iter().map(|(name, value)| (format!("endpoint.{name}"), value));
        let update = doc! { "$set": fields.collect::<Document>() };
        let updated = self.call("disable_endpoint", async {
            Ok(self.collection(ENDPOINTS).await?.update_one(filter, update).await?)
        });
        Ok(updated.await?.matched_count > 0)
    }
}

impl MongoStore {
    async fn one<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        collection: &str,
        filter: Document,
        field: &str,
    ) -> Result<Option<T>, Error> {
        let found = self.call(operation, async { Ok(self.collection(collection).await?.find_one(filter).await?) });
        found.await?.map(|document| read(document, field)).transpose()
    }

    async fn all<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        collection: &str,
        filter: Document,
        order: Document,
        field: &str,
    ) -> Result<Vec<T>, Error> {
        let found = self.call(operation, async {
            let found = self.collection(collection).await?.find(filter).sort(order).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        found.await?.into_iter().map(|document| read(document, field)).collect()
    }

    async fn insert_new(
        &self,
        operation: &'static str,
        collection: &str,
        document: Document,
        present: impl FnOnce() -> String + Send,
    ) -> Result<(), Error> {
        self.call(operation, async {
            match self.collection(collection).await?.insert_one(document).await {
                Err(error) if is_duplicate(&error) => Err(Error::Invalid(present())),
                inserted => Ok(inserted.map(|_| ())?),
            }
        })
        .await
    }
}

fn key_of(scope: &CompanyScope, hash: &str) -> Document {
    doc! { "_id": hash, "company_id": scope.company().as_str() }
}

fn read<T: DeserializeOwned>(mut document: Document, field: &str) -> Result<T, Error> {
    match document.remove(field) {
        Some(Bson::Document(fields)) => from_document(fields),
        _ => Err(Error::Invalid(format!("a document of the database has no {field}"))),
    }
}
