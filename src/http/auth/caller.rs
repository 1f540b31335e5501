//! Who was let in, and by what.

use std::sync::Arc;

use time::OffsetDateTime;

use super::opens;
use crate::domain::{ApiKey, Company, CompanyScope, KeyScope};
use crate::http::problem::Problem;

/// Who asks: a company, and the right to its data.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The company.
    pub company: Arc<Company>,
    /// The right to its data.
    pub scope: CompanyScope,
    /// What let them in.
    pub access: Access,
}

impl Caller {
    /// Whether anyone can be behind it who has seen a page with the company's publishable key. They are believed
    /// nothing that one of them could say of another.
    pub fn is_public(&self) -> bool {
        matches!(&self.access, Access::Key(key) if key.scope == KeyScope::Publishable)
    }

    /// Checks that what let the caller in opens something, where only the body of a request says what is needed.
    ///
    /// # Errors
    /// 403.
    pub fn must_open(&self, needed: KeyScope) -> Result<(), Problem> {
        match &self.access {
            Access::Key(key) => opens(key.scope, needed),
            Access::Open | Access::Operator => Ok(()),
        }
    }
}

/// What let a caller in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Nothing is asked for.
    Open,
    /// A key of the company.
    Key(Arc<ApiKey>),
    /// The operator's token.
    Operator,
}

/// A key that was brought as what a request is about.
pub struct Verified {
    /// The key.
    pub key: Arc<ApiKey>,
    /// The right to its company's data.
    pub scope: CompanyScope,
    /// When it stops to work, or the token that it came in does.
    pub expires_at: Option<OffsetDateTime>,
}
