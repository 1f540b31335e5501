//! The headers by which a receiver knows who sent a webhook (<https://www.standardwebhooks.com>), and those that the endpoint
//! wants besides.

use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};
use time::OffsetDateTime;

use super::USER_AGENT;
use super::attempt::Attempt;
use crate::domain::webhook::{Endpoint, InvalidSecret};

/// All headers of a try that begins `now`. While a secret is being replaced there are two signatures, the new one first.
///
/// # Errors
/// When a secret is not one.
pub(super) fn headers(
    endpoint: &Endpoint,
    attempt: &Attempt,
    now: OffsetDateTime,
) -> Result<Vec<(String, String)>, InvalidSecret> {
    let (timestamp, body) = (now.unix_timestamp(), attempt.payload.get().as_bytes());
    let sign = |secret: &crate::domain::webhook::Secret| secret.sign(&attempt.webhook_id, timestamp, body);
    let signatures = endpoint.secrets(now).map(sign).collect::<Result<Vec<String>, _>>()?.join(" ");
    let ours = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        (HEADER_WEBHOOK_ID, attempt.webhook_id.clone()),
        (HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string()),
        (HEADER_WEBHOOK_SIGNATURE, signatures),
    ];
    let own = endpoint.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(ours.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(own).collect())
}
