//! From a request to a company: by key, by the operator's token, or in open mode by the name alone. The only place of the
//! HTTP face that grants a [`CompanyScope`].

mod caller;
mod known;
mod origin;
mod remembered;
mod session;

pub use caller::{Access, Caller, Verified};
pub use known::{Known, Row};
pub(super) use origin::is_of_this_machine;
pub(super) use session::{LASTS, Session, Visitor};

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use moka::future::Cache;
use time::OffsetDateTime;
use tokio::sync::Notify;

use origin::is_own_site;
use remembered::Remembered;
use session::Sessions;

use super::problem::Problem;
use super::token::{self, Token};
use crate::config::{AuthMode, Secret, Settings};
use crate::domain::{ApiKey, Company, CompanyId, CompanyScope, KeyScope};
use crate::ports::directory::Directory;
use crate::ports::store::Error;
use crate::runtime::tasks;

/// Between two notes of a key's use.
const TOUCH: Duration = Duration::from_secs(60);
/// How long such a note may take; the next one is as good.
const TOUCH_PATIENCE: Duration = Duration::from_secs(10);

/// Keys whose limits and use are remembered.
const CAPACITY: u64 = 100_000;

/// Checks who asks.
pub struct Gate {
    directory: Arc<dyn Directory>,
    mode: AuthMode,
    admin_token: Option<Secret>,
    /// Origins besides this machine's whose pages are none of someone else's.
    origins: Vec<String>,
    keys: Remembered<ApiKey>,
    companies: Remembered<Company>,
    /// Told when either of them has something new.
    news: Arc<Notify>,
    limiter: DefaultKeyedRateLimiter<CompanyId>,
    /// Limits of keys that have one of their own, by their hash and the limit.
    key_limiters: Cache<(String, NonZeroU32), Arc<DefaultDirectRateLimiter>>,
    publishable_per_minute: u32,
    /// The keys whose use was noted a short time ago.
    touched: Cache<String, ()>,
    sessions: Sessions,
}

impl Gate {
    /// A gate with the settings' mode, token and limits.
    pub fn new(directory: Arc<dyn Directory>, settings: &Settings) -> Self {
        let per_minute = NonZeroU32::new(settings.limits.requests_per_minute).unwrap_or(NonZeroU32::MIN);
        let news = Arc::new(Notify::new());
        Self {
            directory,
            mode: settings.auth.mode,
            admin_token: settings.auth.admin_token.clone(),
            origins: settings.server.cors_origins.clone(),
            keys: Remembered::new(Arc::clone(&news)),
            companies: Remembered::new(Arc::clone(&news)),
            news,
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)),
            key_limiters: Cache::builder().max_capacity(CAPACITY).time_to_idle(Duration::from_secs(3600)).build(),
            publishable_per_minute: settings.limits.publishable_requests_per_minute,
            touched: Cache::builder().max_capacity(CAPACITY).time_to_live(TOUCH).build(),
            sessions: Sessions::new(),
        }
    }

    /// Whether requests need a key.
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// All companies.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn companies(&self) -> Result<Vec<Company>, Error> {
        self.directory.companies().await
    }

    /// Who asks, given the company that the request names and what a key must open for it. With a key, both must agree.
    ///
    /// # Errors
    /// 401 without a valid key, 403 when the key opens another company than the one named or not so much of it, when a
    /// page of another origin than the key's asks, or in open mode a foreign page; 404 for a company that does not exist,
    /// 429 over the limit, 503 when nobody can tell.
    pub async fn admit(&self, headers: &HeaderMap, named: Option<&str>, needed: KeyScope) -> Result<Caller, Problem> {
        self.admit_by(headers, bearer(headers), named, needed).await
    }

    /// As [`Gate::admit`] for turns that a browser asks for by ways that carry no headers of the page's choice
    /// (`EventSource`, `WebSocket`): those may name a publishable key in their query. Others stay secret, and so out of
    /// addresses, which are written into logs and histories.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub async fn admit_page(
        &self,
        headers: &HeaderMap,
        key: Option<&str>,
        named: Option<&str>,
    ) -> Result<Caller, Problem> {
        let Some(key) = key.filter(|_| bearer(headers).is_none() && self.mode == AuthMode::Keys) else {
            return self.admit(headers, named, KeyScope::Publishable).await;
        };
        let caller = self.admit_by(headers, Some(key), named, KeyScope::Publishable).await?;
        if !caller.is_public() {
            return Err(forbidden(
                "key_in_query",
                "only a publishable key may stand in an address; this one is for headers",
            ));
        }
        Ok(caller)
    }

    /// Checks a request that touches no company's data: with keys, any of them will do, and the operator's token.
    ///
    /// # Errors
    /// As [`Gate::admit_page`].
    pub async fn admit_anyone(&self, headers: &HeaderMap, key: Option<&str>) -> Result<(), Problem> {
        if self.admit_operator(headers).is_ok() {
            return Ok(());
        }
        self.admit_page(headers, key, None).await.map(drop)
    }

    /// Checks that the operator asks.
    ///
    /// # Errors
    /// 401 or 403.
    pub fn admit_operator(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.refuse_foreign_pages(headers)?;
        if self.mode == AuthMode::Open {
            return Ok(());
        }
        match bearer(headers) {
            Some(secret) if self.is_operator(secret) => Ok(()),
            Some(_) => Err(forbidden("operator_only", "this is for the operator, with TURNPIKE_ADMIN_TOKEN")),
            None => Err(unauthorized("send the operator's token as `Authorization: Bearer TOKEN`")),
        }
    }

    /// The operator's right to the data of a company, whether there is one of that name or not.
    ///
    /// # Errors
    /// As [`Gate::admit_operator`].
    pub fn grant_operator(&self, headers: &HeaderMap, id: &CompanyId) -> Result<CompanyScope, Problem> {
        self.admit_operator(headers)?;
        Ok(CompanyScope::granted(id.clone()))
    }

    /// A company that a visitor of the console may see, with the right to its data.
    ///
    /// # Errors
    /// 404 for a company that does not exist or is not the visitor's, 403 when the visitor's key does not open so much, 429
    /// over the company's limit, 503 when nobody can tell.
    pub(super) async fn visited(
        &self,
        visitor: &Visitor,
        id: &CompanyId,
        needed: KeyScope,
    ) -> Result<(Arc<Company>, CompanyScope), Problem> {
        let missing = || Problem::not_found("company");
        match visitor {
            Visitor::Operator => {}
            Visitor::Company(key) if key.company_id == *id => {
                opens(key.scope, needed)?;
                // As its requests over the API are.
                self.limiter.check_key(id).map_err(|denied| rate_limited(&denied))?;
            }
            Visitor::Company(_) => return Err(missing()),
        }
        let found = self.companies.get(id.as_str(), async { self.directory.company(id).await }).await?;
        let company = found.ok_or_else(missing)?;
        let scope = CompanyScope::granted(company.id.clone());
        Ok((company, scope))
    }

    /// The companies that a visitor of the console may see all at once.
    ///
    /// # Errors
    /// 503 when nobody can tell.
    pub(super) async fn visited_together(&self, visitor: &Visitor) -> Result<Vec<CompanyScope>, Problem> {
        match visitor {
            Visitor::Operator => {
                let companies = self.directory.companies().await?;
                Ok(companies.into_iter().map(|company| CompanyScope::granted(company.id)).collect())
            }
            Visitor::Company(key) => Ok(vec![CompanyScope::granted(key.company_id.clone())]),
        }
    }

    /// The keys of a company that begin like the one a session was opened with.
    async fn keys_of_session(&self, company: &CompanyId, prefix: &str) -> Result<Vec<ApiKey>, Problem> {
        let mut keys = self.directory.keys(&CompanyScope::granted(company.clone())).await?;
        keys.retain(|key| key.prefix == prefix);
        Ok(keys)
    }

    async fn admit_by(
        &self,
        headers: &HeaderMap,
        secret: Option<&str>,
        named: Option<&str>,
        needed: KeyScope,
    ) -> Result<Caller, Problem> {
        self.refuse_foreign_pages(headers)?;
        let secret = match self.mode {
            AuthMode::Open => None,
            AuthMode::Keys => {
                Some(secret.ok_or_else(|| unauthorized("send the company's key as `Authorization: Bearer KEY`"))?)
            }
        };
        let token = secret.filter(|secret| token::is_packed(secret)).map(unpacked).transpose()?;
        let secret = token.as_ref().map(|token| token.key.as_str()).or(secret);
        let named: Option<CompanyId> = named
            .map(str::parse)
            .transpose()
            .map_err(|error| Problem::bad_request("invalid_company_id", format!("{error}")))?;
        let (id, access) = match (secret, named) {
            (None, Some(named)) => (named, Access::Open),
            (None, None) => (self.only_company().await?, Access::Open),
            (Some(secret), named) if self.is_operator(secret) => {
                let missing = || Problem::bad_request("company_missing", "name the company in `company_id`");
                (named.ok_or_else(missing)?, Access::Operator)
            }
            (Some(secret), named) => {
                let key = self.key(secret, named.as_ref()).await?;
                check(&key, headers, needed)?;
                self.count_key(&key).await?;
                self.touch(&key).await;
                (key.company_id.clone(), Access::Key(key))
            }
        };
        let company =
            self.companies.get(id.as_str(), async { self.directory.company(&id).await }).await?.ok_or_else(|| {
                Problem::new(StatusCode::NOT_FOUND, "unknown_company", format!("there is no company {id}"))
            })?;
        self.limiter.check_key(&id).map_err(|denied| rate_limited(&denied))?;
        Ok(Caller { scope: CompanyScope::granted(company.id.clone()), company, access })
    }

    /// Whether a secret is the operator's token, in a time that does not tell how much of it is right.
    fn is_operator(&self, secret: &str) -> bool {
        // Of hashes that differ, the place where they do says nothing of the token.
        self.admin_token.as_ref().is_some_and(|token| ApiKey::hash_of(token.reveal()) == ApiKey::hash_of(secret))
    }

    /// In open mode, refuses what a page of another site made a browser send: nobody needs a key there, so the browser of
    /// someone on this machine would do as well as they.
    ///
    /// # Errors
    /// 403.
    pub fn refuse_foreign_pages(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.mode == AuthMode::Keys || is_own_site(headers, &self.origins) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "without keys (`auth.mode` is \"open\") only localhost is served, and no page of another site",
        ))
    }

    /// Checks a compressed token, or a key as it is, that a request brings as what it is about.
    ///
    /// # Errors
    /// 401 for one that does not work, with the reason; 429 over the limit, 503 when nobody can tell.
    pub async fn verify(&self, headers: &HeaderMap, presented: &str) -> Result<Verified, Problem> {
        self.refuse_foreign_pages(headers)?;
        let token = token::is_packed(presented).then(|| unpacked(presented)).transpose()?;
        let key = self.key(token.as_ref().map_or(presented, |token| &token.key), None).await?;
        self.count_key(&key).await?;
        self.limiter.check_key(&key.company_id).map_err(|denied| rate_limited(&denied))?;
        let ends = [token.and_then(|token| token.expires_at), key.expires_at];
        let expires_at = ends.into_iter().flatten().min();
        Ok(Verified { scope: CompanyScope::granted(key.company_id.clone()), key, expires_at })
    }

    async fn key(&self, secret: &str, named: Option<&CompanyId>) -> Result<Arc<ApiKey>, Problem> {
        let hash = ApiKey::hash_of(secret);
        let ask = async {
            let found = self.directory.key(&hash).await?;
            // Its use is no news of it.
            Ok(found.map(|key| ApiKey { last_used_at: None, ..key }))
        };
        let key = self.keys.get(&hash, ask).await?;
        let key = key.ok_or_else(|| unauthorized("the key is not known"))?;
        if !key.is_valid_at(OffsetDateTime::now_utc()) {
            return Err(unauthorized("the key has expired"));
        }
        match named {
            Some(named) if *named != key.company_id => {
                Err(forbidden("company_mismatch", "the key does not open the company that the request names"))
            }
            _ => Ok(key),
        }
    }

    /// Forgets what is known of a key, because it was changed or removed: the next request asks the directory.
    pub async fn forget_key(&self, hash: &str) {
        self.keys.forget(hash).await;
    }

    /// Forgets what is known of a company, because it was changed or removed.
    pub async fn forget_company(&self, id: &CompanyId) {
        self.companies.forget(id.as_str()).await;
    }

    /// Has it noted that a key was used, at most once a minute, while the request goes on.
    async fn touch(&self, key: &ApiKey) {
        if !self.touched.entry_by_ref(&key.hash).or_insert(()).await.is_fresh() {
            return;
        }
        let (directory, hash) = (Arc::clone(&self.directory), key.hash.clone());
        let scope = CompanyScope::granted(key.company_id.clone());
        tasks::spawn("touch key", async move {
            let noted = directory.touch_key(&scope, &hash, OffsetDateTime::now_utc());
            match tokio::time::timeout(TOUCH_PATIENCE, noted).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the use of a key was not noted"),
                Err(_) => tracing::debug!("the use of a key was not noted in time"),
            }
        });
    }

    async fn only_company(&self) -> Result<CompanyId, Problem> {
        let companies = self.directory.companies().await?;
        match companies.as_slice() {
            [only] => Ok(only.id.clone()),
            _ => Err(Problem::bad_request("company_missing", "name the company in `company_id`")),
        }
    }

    /// Counts a request against the key's own limit, if it has one.
    async fn count_key(&self, key: &ApiKey) -> Result<(), Problem> {
        let usual = (key.scope == KeyScope::Publishable).then_some(self.publishable_per_minute);
        let Some(limit) = key.requests_per_minute.or(usual).and_then(NonZeroU32::new) else { return Ok(()) };
        let make = async { Arc::new(RateLimiter::direct(Quota::per_minute(limit))) };
        let limiter = self.key_limiters.get_with((key.hash.clone(), limit), make).await;
        limiter.check().map_err(|denied| rate_limited(&denied))
    }
}

/// Whether a key opens what is asked for, and the page that asks may use it.
fn check(key: &ApiKey, headers: &HeaderMap, needed: KeyScope) -> Result<(), Problem> {
    opens(key.scope, needed)?;
    if key.scope == KeyScope::Publishable {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        if !origin.is_some_and(|origin| key.allows_origin(origin)) {
            return Err(forbidden("origin_not_allowed", "this key is for pages of other origins"));
        }
    }
    Ok(())
}

fn opens(scope: KeyScope, needed: KeyScope) -> Result<(), Problem> {
    if scope.opens(needed) {
        return Ok(());
    }
    Err(forbidden("scope_too_small", format!("this needs a key of scope {needed}; this one is {scope}")))
}

/// The key in a compressed token.
fn unpacked(text: &str) -> Result<Token, Problem> {
    Token::unpack(text, OffsetDateTime::now_utc()).map_err(|error| unauthorized(&error.to_string()))
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn forbidden(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

fn rate_limited(denied: &NotUntil<<DefaultClock as Clock>::Instant>) -> Problem {
    let wait = denied.wait_time_from(DefaultClock::default().now());
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests in a minute")
        .retry_after(Duration::from_secs_f64(wait.as_secs_f64().ceil()))
}

/// The secret after `Bearer`, in whatever case that is written (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for (value, secret) in [
            ("Bearer k", Some("k")),
            ("bearer k", Some("k")),
            ("BEARER  k ", Some("k")),
            ("Basic k", None),
            ("Bearerk", None),
            ("k", None),
        ] {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, value)])), secret, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
