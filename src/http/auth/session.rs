//! Sessions of the console: who looks, and until when. A session is a text that its holder brings along, signed with a key
//! that is made of the secret which opened it. So every gateway knows it, and it ends when that secret does.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use moka::future::Cache;
use ring::hmac;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Gate, opens};
use crate::config::AuthMode;
use crate::domain::{ApiKey, CompanyId, KeyScope};
use crate::http::problem::Problem;

/// How long a session lasts.
pub(in crate::http) const LASTS: Duration = Duration::from_secs(8 * 3600);
/// Longest text that is looked at.
const TEXT_BYTES: usize = 2048;
/// How long the directory is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions that were ended before their time, and are remembered until it.
const ENDED: u64 = 100_000;

/// Who looks at the console.
#[derive(Clone, Debug)]
pub(in crate::http) enum Visitor {
    /// The operator.
    Operator,
    /// A company, by a key of its own.
    Company(Arc<ApiKey>),
}

/// A session that is open.
#[derive(Clone, Debug)]
pub(in crate::http) struct Session {
    /// Whose it is.
    pub(in crate::http) visitor: Visitor,
    /// What its forms bring along, and no other page knows.
    pub(in crate::http) form_token: String,
    /// Its id; none where nobody logs in.
    id: Option<Uuid>,
}

impl Session {
    /// Whether somebody has logged in for it, and so can log out.
    pub(in crate::http) fn was_opened(&self) -> bool {
        self.id.is_some()
    }
}

/// What a session's text says.
#[derive(Serialize, Deserialize)]
struct Claims {
    id: Uuid,
    /// In seconds of Unix.
    until: i64,
    /// None for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    company: Option<OfCompany>,
}

#[derive(Serialize, Deserialize)]
struct OfCompany {
    id: CompanyId,
    /// Of the key. Its hash is nobody's business.
    prefix: String,
}

/// What sessions need besides the secrets.
pub(super) struct Sessions {
    ended: Cache<Uuid, ()>,
    /// Stands for a secret where none is asked for. Such a service is one process.
    open: hmac::Key,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let seed: Vec<u8> = [Uuid::new_v4(), Uuid::new_v4()].iter().flat_map(|id| id.into_bytes()).collect();
        Self {
            ended: Cache::builder().max_capacity(ENDED).time_to_live(LASTS).build(),
            open: hmac::Key::new(hmac::HMAC_SHA256, &seed),
        }
    }
}

impl Gate {
    /// Opens a session with the operator's token or a company's key; none when the secret opens nothing.
    ///
    /// # Errors
    /// 403 for a key that opens no pages, 503 when nobody can tell.
    pub(in crate::http) async fn open_session(&self, secret: &str) -> Result<Option<String>, Problem> {
        let now = OffsetDateTime::now_utc();
        let company = if self.is_operator(secret) {
            None
        } else {
            let hash = ApiKey::hash_of(secret);
            let key = self.keys.get(&hash, async { self.directory.key(&hash).await }).await?;
            let Some(key) = key.filter(|key| key.is_valid_at(now)) else { return Ok(None) };
            opens(key.scope, KeyScope::Backend)?;
            self.touch(&key).await;
            Some(key)
        };
        let Some(signer) = self.signer(company.as_deref()) else { return Ok(None) };
        let claims = Claims {
            id: Uuid::new_v4(),
            until: (now + LASTS).unix_timestamp(),
            company: company.map(|key| OfCompany { id: key.company_id.clone(), prefix: key.prefix.clone() }),
        };
        let claims = serde_json::to_vec(&claims).map(|claims| BASE64.encode(claims)).unwrap_or_default();
        let tag = BASE64.encode(hmac::sign(&signer, claims.as_bytes()));
        Ok(Some(format!("{claims}.{tag}")))
    }

    /// The session that a text is, as long as it lasts. Where nobody logs in everyone has one, without a text.
    ///
    /// # Errors
    /// 503 when nobody can tell.
    pub(in crate::http) async fn session(&self, text: Option<&str>) -> Result<Option<Session>, Problem> {
        if self.mode == AuthMode::Open {
            let form_token = form_token(&self.sessions.open, "open");
            return Ok(Some(Session { visitor: Visitor::Operator, form_token, id: None }));
        }
        let Some((claims, tag, signed)) = text.and_then(read) else { return Ok(None) };
        let now = OffsetDateTime::now_utc();
        let is_over = now.unix_timestamp() >= claims.until;
        if is_over || self.sessions.ended.contains_key(&claims.id) {
            return Ok(None);
        }
        let (visitor, signer) = match &claims.company {
            None => (Visitor::Operator, self.signer(None).filter(|signer| is_signed(signer, signed, &tag))),
            Some(company) => {
                let asked = tokio::time::timeout(PATIENCE, self.keys_of_session(&company.id, &company.prefix));
                let away = || Problem::unavailable("directory_unavailable", "keys cannot be looked up right now");
                let keys = asked.await.map_err(|_| away())??;
                let found = keys.into_iter().find_map(|key| {
                    let signer = self.signer(Some(&key)).filter(|signer| is_signed(signer, signed, &tag))?;
                    (key.is_valid_at(now) && key.scope.opens(KeyScope::Backend)).then_some((key, signer))
                });
                let Some((key, signer)) = found else { return Ok(None) };
                (Visitor::Company(Arc::new(key)), Some(signer))
            }
        };
        let session = |signer| Session { visitor, form_token: form_token(&signer, signed), id: Some(claims.id) };
        Ok(signer.map(session))
    }

    /// Ends a session before its time. Other gateways believe its text until then, which its holder has thrown away.
    pub(in crate::http) async fn end_session(&self, session: &Session) {
        if let Some(id) = session.id {
            self.sessions.ended.insert(id, ()).await;
        }
    }

    /// What signs sessions: of the operator, made of the token; of a company, made of its key and the token, so that the
    /// directory alone does not tell it. None where there is no token to make it of.
    fn signer(&self, key: Option<&ApiKey>) -> Option<hmac::Key> {
        let token = self.admin_token.as_ref().map(|token| token.reveal().as_bytes());
        let (secret, purpose) = match key {
            None => (token?, "turnpike console: the operator".to_owned()),
            Some(key) => (token.unwrap_or_default(), format!("turnpike console: a company by {}", key.hash)),
        };
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
        Some(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }
}

/// What a text says, the signature that it brings, and what that is of.
fn read(text: &str) -> Option<(Claims, Vec<u8>, &str)> {
    let (signed, tag) = text.split_once('.').filter(|_| text.len() <= TEXT_BYTES)?;
    let claims = serde_json::from_slice(&BASE64.decode(signed).ok()?).ok()?;
    Some((claims, BASE64.decode(tag).ok()?, signed))
}

fn is_signed(signer: &hmac::Key, signed: &str, tag: &[u8]) -> bool {
    hmac::verify(signer, signed.as_bytes(), tag).is_ok()
}

fn form_token(signer: &hmac::Key, signed: &str) -> String {
    BASE64.encode(hmac::sign(signer, format!("form of {signed}").as_bytes()))
}
