//! Numbers about turns, by company.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::store::Error;
use crate::domain::CompanyScope;
use crate::domain::analytics::{Cell, Fact, Grain, UsageCell};

/// Facts about turns, and what they add up to.
#[async_trait]
pub trait Analytics: Send + Sync {
    /// Counts a turn, once, however often it is asked to. Durable when it returns. After `keep_until` it is not
    /// counted any more.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn record(&self, scope: &CompanyScope, fact: &Fact, keep_until: OffsetDateTime) -> Result<(), Error>;

    /// The turns that ended from `from` on and before `to`, added up.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn cells(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error>;

    /// As [`Analytics::cells`] for several companies together, whose turns are added up as if they were one's.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn cells_of_several(
        &self,
        scopes: &[CompanyScope],
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error>;

    /// The tokens of the turns that ended from `from` on and before `until`, which are beginnings of days in UTC, added up by
    /// day and model.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn usage(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<UsageCell>, Error>;

    /// Removes everything of the company. Says how many turns were counted.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn erase_analytics(&self, scope: &CompanyScope) -> Result<u64, Error>;
}
