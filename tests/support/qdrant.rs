//! A server that speaks Qdrant's protocol over `qdrant-edge`, and fails when it is told to. Its data is in this
//! process, and survives that the server is stopped and started again at the same port.

mod collection;
mod rarity;
mod services;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::QdrantServer as HealthServer;
use qdrant_client::qdrant::{Condition, Filter};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status};

use self::collection::Collection;
use self::services::Services;

/// The largest request, as a real server has it by default.
const LARGEST: usize = 32 * 1024 * 1024;

/// A server that runs while this is held.
pub struct QdrantServer {
    state: Arc<State>,
    address: SocketAddr,
    /// All that serves: dropping it cuts every connection.
    runtime: Option<Runtime>,
}

/// What the services share.
struct State {
    collections: Mutex<HashMap<String, Arc<Collection>>>,
    version: Mutex<String>,
    api_key: Mutex<Option<String>>,
    faults: Mutex<Faults>,
    changed: Notify,
    calls: Mutex<HashMap<&'static str, usize>>,
    /// Filters that came in and do not say whose points they are for.
    unscoped: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Faults {
    delay: Duration,
    /// Calls that are let in before the next ones fail, how many fail then, and how.
    failing: Option<(usize, usize, Code)>,
    /// The kind of the next call to hold.
    hold: Option<&'static str>,
    /// Whether the call that came then still waits.
    is_holding: bool,
}

impl QdrantServer {
    /// A server of a version that can all, at a port of its own.
    pub fn start() -> Self {
        let state = Arc::new(State {
            collections: Mutex::default(),
            version: Mutex::new("1.20.0".to_owned()),
            api_key: Mutex::default(),
            faults: Mutex::default(),
            changed: Notify::new(),
            calls: Mutex::default(),
            unscoped: Mutex::default(),
        });
        let mut server = Self { state, address: ([127, 0, 0, 1], 0).into(), runtime: None };
        server.resume();
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections and takes no new ones. What was stored stays.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Serves again at the same port.
    pub fn resume(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let listener = loop {
            let bound = std::net::TcpListener::bind(self.address);
            match bound {
                Ok(listener) => break listener,
                // The last one may not have let go of the port yet.
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", self.address),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let services = Services(Arc::clone(&self.state));
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap()).with_nodelay(Some(true));
            tonic::transport::Server::builder()
                .add_service(HealthServer::new(services.clone()))
                .add_service(CollectionsServer::new(services.clone()))
                .add_service(PointsServer::new(services).max_decoding_message_size(LARGEST))
                .serve_with_incoming(incoming)
                .await
        });
        self.runtime = Some(runtime);
    }

    /// Cuts all connections; new ones are taken at once.
    pub fn cut_connections(&mut self) {
        self.stop();
        self.resume();
    }

    /// Plays another version: what it does not know yet, it passes over or refuses as that one would.
    pub fn play_version(&self, version: &str) {
        *self.state.version.lock() = version.to_owned();
    }

    /// From now on refuses calls without this key.
    pub fn require_key(&self, key: &str) {
        *self.state.api_key.lock() = Some(key.to_owned());
    }

    /// The next calls fail, with a code as UNAVAILABLE or DEADLINE_EXCEEDED. Clients may try a call twice.
    pub fn fail_next(&self, calls: usize, code: Code) {
        self.state.faults.lock().failing = Some((0, calls, code));
    }

    /// So many calls go well, and all after them fail.
    pub fn fail_after(&self, calls: usize, code: Code) {
        self.state.faults.lock().failing = Some((calls, usize::MAX, code));
    }

    /// The next call of a kind comes in and waits until the server recovers. Others pass it by.
    pub fn hold_next(&self, name: &'static str) {
        self.state.faults.lock().hold = Some(name);
    }

    /// Whether a call came that is held.
    pub fn is_holding(&self) -> bool {
        self.state.faults.lock().is_holding
    }

    /// No call fails any more, and none is slow or held.
    pub fn recover(&self) {
        *self.state.faults.lock() = Faults::default();
        self.state.changed.notify_waiters();
    }

    /// From now on answers so much later.
    pub fn delay(&self, delay: Duration) {
        self.state.faults.lock().delay = delay;
    }

    /// Calls of a kind that came in, as "query_batch".
    pub fn calls(&self, name: &str) -> usize {
        self.state.calls.lock().get(name).copied().unwrap_or(0)
    }

    /// All calls that came in.
    pub fn all_calls(&self) -> usize {
        self.state.calls.lock().values().sum()
    }

    /// Filters that came in and do not say whose points they are for.
    pub fn unscoped(&self) -> Vec<String> {
        self.state.unscoped.lock().clone()
    }

    /// Builds the graphs of all collections, which a real server does by itself.
    pub fn optimize(&self) {
        let collections: Vec<_> = self.state.collections.lock().values().cloned().collect();
        collections.iter().for_each(|collection| collection.optimize());
    }
}

impl Drop for QdrantServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// Counts a call, and lets it in unless it is to fail.
    async fn admit<T>(&self, name: &'static str, request: &Request<T>) -> Result<(), Status> {
        *self.calls.lock().entry(name).or_default() += 1;
        let (delay, failure) = {
            let mut faults = self.faults.lock();
            let failure = match &mut faults.failing {
                Some((allowed, ..)) if *allowed > 0 => {
                    *allowed -= 1;
                    None
                }
                Some((_, left, code)) if *left > 0 => {
                    *left -= 1;
                    Some(*code)
                }
                _ => None,
            };
            (faults.delay, failure)
        };
        self.wait_while_held(name).await;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(code) = failure {
            return Err(Status::new(code, "injected"));
        }
        let key = self.api_key.lock().clone();
        let given = request.metadata().get("api-key").and_then(|given| given.to_str().ok());
        if key.is_some() && key.as_deref() != given {
            return Err(Status::unauthenticated("Invalid API key or JWT"));
        }
        Ok(())
    }

    /// Notes a filter that would reach more than the points of one company, or those that are named.
    fn note_scope(&self, filter: Option<&Filter>) {
        let is_scope = |condition: &Condition| match &condition.condition_one_of {
            Some(ConditionOneOf::Field(field)) => field.key == "company_id",
            Some(ConditionOneOf::HasId(_)) => true,
            _ => false,
        };
        if !filter.is_some_and(|filter| filter.must.iter().any(is_scope)) {
            self.unscoped.lock().push(format!("{filter:?}"));
        }
    }

    async fn wait_while_held(&self, name: &'static str) {
        {
            let mut faults = self.faults.lock();
            if faults.hold != Some(name) {
                return;
            }
            (faults.hold, faults.is_holding) = (None, true);
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            if !self.faults.lock().is_holding {
                return;
            }
            changed.await;
        }
    }

    fn collection(&self, name: &str) -> Result<Arc<Collection>, Status> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.lock().get(name).cloned().ok_or_else(missing)
    }

    fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let version = self.version.lock();
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
        (parts.next().unwrap(), parts.next().unwrap()) >= (major, minor)
    }
}
