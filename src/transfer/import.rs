//! Bringing an exported company into other backends. Every write may be done again, and what is there already is passed
//! over, so that a run that was cut short is simply started once more.

mod conversations;
mod knowledge;

use super::{Archive, Backends, Comparison, Encode, Error, Kind, Progress, compare};
use crate::domain::CompanyScope;
use crate::domain::webhook::Endpoint;
use crate::domain::{ApiKey, CompanyId};
use crate::ports::index::Encoder;

const PURPOSE: &str = "importing";

/// What an import came to.
#[derive(Debug)]
pub struct Imported {
    /// The company.
    pub company: CompanyId,
    /// What had made the exported vectors, when it is not the encoder in use and the passages were encoded anew.
    pub encoded_anew_from: Option<Encoder>,
    /// Turns that were older than the company keeps them, and were left out.
    pub expired: u64,
    /// What was exported and what the target gives back, file by file.
    pub comparisons: Vec<Comparison>,
}

/// Brings one company, whose files have been checked, and reads it back.
///
/// Its keys come last: nobody can ask about knowledge, or go on with a conversation, that is not there yet.
///
/// # Errors
/// `OtherCompany`, and when a file or a backend fails: what was brought until then stays, and the same call goes on.
pub async fn import(
    archive: &Archive,
    to: &Backends,
    scope: &CompanyScope,
    encode: &dyn Encode,
    progress: &dyn Progress,
) -> Result<Imported, Error> {
    let company = archive.company(scope.company())?;
    if let Some(there) = to.directory.company(&company.id).await?
        && there.created_at != company.created_at
    {
        return Err(Error::OtherCompany(company.id));
    }
    to.directory.put_company(&company).await?;
    let encoded_anew_from = knowledge::import(archive, to, scope, encode, progress).await?;
    let expired = conversations::import(archive, to, scope, &company, progress).await?;
    endpoints(to, scope, archive.all(&company.id, Kind::Endpoints)?).await?;
    keys(to, archive.all(&company.id, Kind::Keys)?).await?;
    let anew = encoded_anew_from.is_some().then(|| encode.encoder());
    let comparisons = compare::compare(archive, to, scope, anew, progress).await?;
    Ok(Imported { company: company.id, encoded_anew_from, expired, comparisons })
}

async fn endpoints(to: &Backends, scope: &CompanyScope, endpoints: Vec<Endpoint>) -> Result<(), Error> {
    for endpoint in endpoints {
        match to.directory.endpoint(scope, &endpoint.id).await? {
            None => to.directory.add_endpoint(scope, &endpoint).await?,
            Some(there) => {
                // It was switched off between two exports.
                if let (Some(disabled), None) = (&endpoint.disabled, there.disabled) {
                    to.directory.disable_endpoint(scope, &endpoint.id, disabled).await?;
                }
            }
        }
    }
    Ok(())
}

async fn keys(to: &Backends, keys: Vec<ApiKey>) -> Result<(), Error> {
    for key in keys {
        if to.directory.key(&key.hash).await?.is_none() {
            to.directory.add_key(&key).await?;
        }
    }
    Ok(())
}
