//! What a gate knows of the directory, as its successor takes it over.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Gate;
use crate::domain::{ApiKey, Company, CompanyId};

/// A row of the directory, and when it was last there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row<T> {
    /// What the directory said.
    pub value: T,
    /// When it said so last.
    #[serde(with = "time::serde::rfc3339")]
    pub confirmed_at: OffsetDateTime,
}

/// Companies and keys that were seen within a day. Of keys there are hashes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// Companies.
    pub companies: Vec<Row<Arc<Company>>>,
    /// Keys, without when they were used.
    pub keys: Vec<Row<Arc<ApiKey>>>,
}

impl Gate {
    /// What would be believed if the directory were away.
    pub fn known(&self) -> Known {
        Known { companies: self.companies.all(), keys: self.keys.all() }
    }

    /// Believes what an earlier process knew, for as long as the directory does not answer, and no longer than that
    /// process would have.
    pub async fn recall(&self, known: Known) {
        for row in known.companies {
            self.companies.recall(row.value.id.to_string(), row).await;
        }
        for row in known.keys {
            self.keys.recall(row.value.hash.clone(), row).await;
        }
    }

    /// Resolves when more or less is known than when this resolved last.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Forgets the companies that are not among these, and their keys.
    pub async fn forget_others(&self, companies: &HashSet<CompanyId>) {
        self.companies.forget_all(|company| !companies.contains(&company.id)).await;
        self.keys.forget_all(|key| !companies.contains(&key.company_id)).await;
    }
}
