//! From a request to a company: by key, or in open mode by the name alone. The only place of the HTTP face that grants
//! a [`CompanyScope`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use time::OffsetDateTime;

use super::problem::Problem;
use crate::config::AuthMode;
use crate::domain::{ApiKey, Company, CompanyId, CompanyScope};
use crate::ports::directory::Directory;
use crate::ports::store::Error;

/// How long a company or key is believed before the directory is asked again.
const FRESH: Duration = Duration::from_secs(5);
/// How long it is believed when the directory does not answer.
const STALE: Duration = Duration::from_secs(3600);
/// How long a request waits for the directory.
const PATIENCE: Duration = Duration::from_millis(500);
/// Companies and keys remembered.
const CAPACITY: u64 = 100_000;

/// Who asks: a company, and the right to its data.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The company.
    pub company: Arc<Company>,
    /// The right to its data.
    pub scope: CompanyScope,
}

/// Checks who asks.
pub struct Gate {
    directory: Arc<dyn Directory>,
    mode: AuthMode,
    keys: Remembered<ApiKey>,
    companies: Remembered<Company>,
    limiter: DefaultKeyedRateLimiter<CompanyId>,
}

impl Gate {
    /// A gate that lets `per_minute` requests of one company through.
    pub fn new(directory: Arc<dyn Directory>, mode: AuthMode, per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            directory,
            mode,
            keys: Remembered::new(),
            companies: Remembered::new(),
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)),
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

    /// Who asks, given the company that the request names. With a key, both must agree.
    ///
    /// # Errors
    /// 401 without a valid key, 403 when the key opens another company than the one named, 404 for a company that does
    /// not exist, 429 over the limit, 503 when nobody can tell.
    pub async fn admit(&self, headers: &HeaderMap, named: Option<&str>) -> Result<Caller, Problem> {
        let named: Option<CompanyId> = named
            .map(str::parse)
            .transpose()
            .map_err(|error| Problem::bad_request("invalid_company_id", format!("{error}")))?;
        let id = match self.mode {
            AuthMode::Keys => self.key_owner(headers, named.as_ref()).await?,
            AuthMode::Open => match named {
                Some(id) => id,
                None => self.only_company().await?,
            },
        };
        let company =
            self.companies.get(id.as_str(), async { self.directory.company(&id).await }).await?.ok_or_else(|| {
                Problem::new(StatusCode::NOT_FOUND, "unknown_company", format!("there is no company {id}"))
            })?;
        self.count(&id)?;
        Ok(Caller { scope: CompanyScope::granted(company.id.clone()), company })
    }

    async fn key_owner(&self, headers: &HeaderMap, named: Option<&CompanyId>) -> Result<CompanyId, Problem> {
        let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let secret = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .ok_or_else(|| unauthorized("send the company's key as `Authorization: Bearer KEY`"))?;
        let hash = ApiKey::hash_of(secret);
        let key = self.keys.get(&hash, async { self.directory.key(&hash).await }).await?;
        let key = key.ok_or_else(|| unauthorized("the key is not known"))?;
        if !key.is_valid_at(OffsetDateTime::now_utc()) {
            return Err(unauthorized("the key has expired"));
        }
        match named {
            Some(named) if *named != key.company_id => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "company_mismatch",
                "the key does not open the company that the request names",
            )),
            _ => Ok(key.company_id.clone()),
        }
    }

    async fn only_company(&self) -> Result<CompanyId, Problem> {
        let companies = self.directory.companies().await?;
        match companies.as_slice() {
            [only] => Ok(only.id.clone()),
            _ => Err(Problem::bad_request("company_missing", "name the company in `company_id`")),
        }
    }

    fn count(&self, id: &CompanyId) -> Result<(), Problem> {
        self.limiter.check_key(id).map_err(|denied| {
            let wait = denied.wait_time_from(DefaultClock::default().now());
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests in a minute")
                .retry_after(Duration::from_secs_f64(wait.as_secs_f64().ceil()))
        })
    }
}

/// Rows of the directory, believed for a while, and longer when the directory is away: a stalled database must not stop
/// streams.
struct Remembered<T> {
    fresh: Cache<String, Option<Arc<T>>>,
    stale: Cache<String, Arc<T>>,
}

impl<T: Send + Sync + 'static> Remembered<T> {
    fn new() -> Self {
        let builder = || Cache::builder().max_capacity(CAPACITY);
        Self {
            fresh: Cache::builder().max_capacity(CAPACITY).time_to_live(FRESH).build(),
            stale: builder().time_to_live(STALE).build(),
        }
    }

    async fn get(
        &self,
        key: &str,
        ask: impl Future<Output = Result<Option<T>, Error>> + Send,
    ) -> Result<Option<Arc<T>>, Problem> {
        if let Some(known) = self.fresh.get(key).await {
            return Ok(known);
        }
        let reason = match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(found)) => {
                let found = found.map(Arc::new);
                self.fresh.insert(key.to_owned(), found.clone()).await;
                match &found {
                    Some(found) => self.stale.insert(key.to_owned(), Arc::clone(found)).await,
                    None => self.stale.invalidate(key).await,
                }
                return Ok(found);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        tracing::warn!(reason, "the directory did not answer");
        match self.stale.get(key).await {
            Some(known) => {
                // Asked again after the usual while, not by every request.
                self.fresh.insert(key.to_owned(), Some(Arc::clone(&known))).await;
                Ok(Some(known))
            }
            None => {
                Err(Problem::unavailable("directory_unavailable", "companies and keys cannot be looked up right now"))
            }
        }
    }
}
