//! Standard Webhooks 1.0 (<https://www.standardwebhooks.com>): the headers by which a receiver knows who sent a webhook.

use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use time::OffsetDateTime;

use super::USER_AGENT;
use super::attempt::Attempt;

/// Why a webhook cannot be signed. The secret is not shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The secret is not `whsec_` and base64.
    #[error("the endpoint's secret is not `whsec_` and base64; rotate it")]
    Secret,
    /// The body is not text.
    #[error("the webhook's body cannot be signed")]
    Body,
}

/// The value of `webhook-signature`: one signature for each secret, the newest first, with a space between them.
///
/// # Errors
/// When a secret is not one.
pub fn signature(secrets: &[&str], id: &str, timestamp: i64, body: &[u8]) -> Result<String, Error> {
    let signatures: Result<Vec<String>, Error> = secrets
        .iter()
        .map(|secret| {
            let webhook = Webhook::new(secret).map_err(|_| Error::Secret)?;
            webhook.sign(id, timestamp, body).map_err(|_| Error::Body)
        })
        .collect();
    signatures.map(|it| it.join(" "))
}

/// All headers of a try that begins `now`.
pub(super) fn headers(
    secrets: &[&str],
    attempt: &Attempt,
    now: OffsetDateTime,
) -> Result<Vec<(&'static str, String)>, Error> {
    let timestamp = now.unix_timestamp();
    let signature = signature(secrets, &attempt.webhook_id, timestamp, attempt.payload.get().as_bytes())?;
    Ok(vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        (HEADER_WEBHOOK_ID, attempt.webhook_id.clone()),
        (HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string()),
        (HEADER_WEBHOOK_SIGNATURE, signature),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    #[test]
    fn signs_as_the_standard_does() {
        assert_eq!(signature(&[SECRET], ID, 1_649_367_553, BODY).unwrap(), SIGNATURE);
    }

    #[test]
    fn two_secrets_give_two_signatures() {
        let both = signature(&["whsec_AAAA", SECRET], ID, 1_649_367_553, BODY).unwrap();
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && first != SIGNATURE);
        assert_eq!(second, SIGNATURE);
    }

    #[test]
    fn a_secret_that_is_none_is_named_but_not_shown() {
        let error = signature(&["whsec_not base64!"], ID, 1, BODY).unwrap_err();
        assert!(!error.to_string().contains("not base64!"), "{error}");
    }
}
