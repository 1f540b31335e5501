//! The directory: which companies there are, which keys open them, and where their webhooks go.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::store::Error;
use crate::domain::webhook::{Disabled, Endpoint};
use crate::domain::{ApiKey, Company, CompanyId, CompanyScope, EndpointId};

/// Companies, keys and endpoints.
#[async_trait]
pub trait Directory: Send + Sync {
    /// All companies, by id.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn companies(&self) -> Result<Vec<Company>, Error>;

    /// One company.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, Error>;

    /// Adds a company, or changes the one with its id. Says whether it was new.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn put_company(&self, company: &Company) -> Result<bool, Error>;

    /// Adds a company. Says whether there was none with its id.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn add_company(&self, company: &Company) -> Result<bool, Error>;

    /// Changes a company if it is still as `known`. Says whether it was.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn change_company(&self, scope: &CompanyScope, known: &Company, changed: &Company) -> Result<bool, Error>;

    /// Removes a company with its keys and endpoints. Says how many keys and endpoints that were.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn remove_company(&self, scope: &CompanyScope) -> Result<(u64, u64), Error>;

    /// Adds a key.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn add_key(&self, key: &ApiKey) -> Result<(), Error>;

    /// The key with a hash, valid or not.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn key(&self, hash: &str) -> Result<Option<ApiKey>, Error>;

    /// The company's keys, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn keys(&self, scope: &CompanyScope) -> Result<Vec<ApiKey>, Error>;

    /// Writes a key in place of the one with its hash. Says whether there was one: a key that was removed stays so.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn put_key(&self, scope: &CompanyScope, key: &ApiKey) -> Result<bool, Error>;

    /// Removes a key by its hash. Says whether it was there.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn remove_key(&self, scope: &CompanyScope, hash: &str) -> Result<bool, Error>;

    /// Notes that a key was used, to the second; a later use that is noted already stays.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn touch_key(&self, scope: &CompanyScope, hash: &str, used_at: OffsetDateTime) -> Result<(), Error>;

    /// Adds an endpoint.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn add_endpoint(&self, scope: &CompanyScope, endpoint: &Endpoint) -> Result<(), Error>;

    /// The company's endpoints, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn endpoints(&self, scope: &CompanyScope) -> Result<Vec<Endpoint>, Error>;

    /// One endpoint.
    ///
    /// # Errors
    /// When the directory cannot be read.
    async fn endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<Option<Endpoint>, Error>;

    /// Writes an endpoint in place of the one with its id, if that is still as it is known to be. Says whether it was: one
    /// that was changed or removed meanwhile stays so.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn change_endpoint(&self, scope: &CompanyScope, known: &Endpoint, changed: &Endpoint) -> Result<bool, Error>;

    /// Removes an endpoint. Says whether it was there.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn remove_endpoint(&self, scope: &CompanyScope, id: &EndpointId) -> Result<bool, Error>;

    /// Stops sending to an endpoint. Says whether it is this that stopped it: one that is disabled already, or removed,
    /// stays as it is.
    ///
    /// # Errors
    /// When the directory cannot be written.
    async fn disable_endpoint(&self, scope: &CompanyScope, id: &EndpointId, disabled: &Disabled)
    -> Result<bool, Error>;
}
