//! Companies, and the scope without which nothing of theirs can be read.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::id::CompanyId;
use super::language::Language;

/// A company with a chatbot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Company {
    /// Its id, chosen by whoever adds it.
    pub id: CompanyId,
    /// What its customers call it.
    pub name: String,
    /// Its industry, which chooses the pipeline unless `pipeline` names one.
    pub industry: Option<String>,
    /// The languages its customers write in: an allow-list for language detection. Empty means any.
    pub languages: Vec<Language>,
    /// A pipeline by name, instead of its industry's.
    pub pipeline: Option<String>,
    /// One or two sentences about it that go into every prompt.
    pub description: Option<String>,
    /// Days after which its turns are removed. None keeps them until the company is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Company {
    /// A company of which nothing is known but its id.
    pub fn new(id: CompanyId, created_at: OffsetDateTime) -> Self {
        Self {
            name: id.to_string(),
            id,
            industry: None,
            languages: Vec::new(),
            pipeline: None,
            description: None,
            retention_days: None,
            created_at,
        }
    }

    /// Until when a turn that ended at `end` is kept.
    pub fn keep_until(&self, end: OffsetDateTime) -> Option<OffsetDateTime> {
        end.checked_add(time::Duration::days(i64::from(self.retention_days?)))
    }
}

/// The right to touch one company's data. Stores and indexes ask for it, so a query without a company does not compile.
/// Only authentication, the command line and jobs (for the company of the event they hold) make one; a test reads the
/// sources to keep it so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompanyScope(CompanyId);

impl CompanyScope {
    /// The scope of a company whose key was checked, whom the operator named, or whose event is being handled.
    pub fn granted(company: CompanyId) -> Self {
        Self(company)
    }

    /// The company whose data may be touched.
    pub fn company(&self) -> &CompanyId {
        &self.0
    }
}
