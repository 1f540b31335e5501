//! A cluster of real processes: two gateways, two workers, and the servers between them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::{Server, Site};
use crate::support::proxy::Proxy;
use crate::support::qdrant::QdrantServer;
use crate::support::receiver::{Act, Received, Receiver};
use crate::support::say;
use crate::support::services::OwnServer;

/// Whether the receiver took a webhook.
pub(super) fn is_taken(request: &Received) -> bool {
    request.number % REFUSED != 3
}

/// Gateways, and workers.
pub(super) const EACH: usize = 2;
/// The company of the load.
pub(super) const COMPANY: &str = "acme";
/// Where webhooks are posted of which each conversation's come in order.
pub(super) const ORDERED: &str = "/ordered";
/// Webhooks that one worker sends at a time.
pub(super) const SENDING: usize = 8;
/// One webhook in so many is refused, so that there are always some which wait for another try.
const REFUSED: usize = 7;

/// Everything that a run needs. Dropped, all of it is ended.
pub(super) struct Cluster {
    pub(super) rabbit: OwnServer,
    pub(super) mongo: OwnServer,
    _qdrant: QdrantServer,
    /// The lines from the processes to the broker, the database and the index.
    pub(super) lines: Lines,
    _provider: Provider,
    pub(super) receiver: Receiver,
    pub(super) gateways: Vec<Node>,
    pub(super) workers: Vec<Node>,
    /// Speaks for the company; `Client::at` gives one for a gateway.
    pub(super) client: Client,
    /// The company's key.
    pub(super) key: String,
    /// What is wrong with the signatures of webhooks, looked at as they come: later they are too old.
    pub(super) unsigned: Arc<Mutex<Vec<String>>>,
    /// A place to run commands from.
    pub(super) desk: Site,
    /// Whether an endpoint wants each conversation in order.
    pub(super) is_ordered: bool,
    name: &'static str,
}

/// The proxies before the servers.
pub(super) struct Lines {
    pub(super) broker: Proxy,
    pub(super) database: Proxy,
    pub(super) index: Proxy,
}

impl Lines {
    /// All of them.
    pub(super) fn all(&self) -> [&Proxy; 3] {
        [&self.broker, &self.database, &self.index]
    }
}

impl Cluster {
    /// Adds an endpoint that wants each conversation in order.
    pub(super) fn wants_order(&mut self) {
        let ordered = self.receiver.url(ORDERED);
        let add = ["webhook", "add", "--company", COMPANY, "--url", &ordered, "--order", "ordered"];
        blocking(|| self.desk.ok(&add));
        self.is_ordered = true;
    }

    /// Starts one, or says what is missing. `config` is put over the settings of all processes.
    pub(super) async fn start(name: &'static str, config: &str) -> Option<Self> {
        let mongo = OwnServer::mongodb()?;
        let rabbit = OwnServer::rabbitmq()?;
        let qdrant = QdrantServer::start();
        let lines = Lines {
            broker: Proxy::before(rabbit.url()).await,
            database: Proxy::before(mongo.url()).await,
            index: Proxy::before(&qdrant.url()).await,
        };
        let provider = Provider::start().await;
        let (secret, unsigned) = (Arc::new(OnceLock::<String>::new()), Arc::new(Mutex::new(Vec::new())));
        let (signed_with, faults) = (Arc::clone(&secret), Arc::clone(&unsigned));
        let receiver = Receiver::start(move |request| {
            if request.path != ORDERED {
                let known = signed_with.get().expect("it is made before there are turns");
                faults.lock().unwrap().extend(request.verify(known).err());
            }
            Act::status(if is_taken(request) { 204 } else { 500 })
        })
        .await;
        let settings = settings(&[
            &format!(
                "[bus]\nbackend = \"rabbitmq\"\nurl = {:?}\n[store]\nbackend = \"mongodb\"\nuri = {:?}\n[index]\nbackend = \"qdrant\"\nurl = {:?}\n",
                lines.broker.url(rabbit.url()),
                lines.database.url(mongo.url()),
                lines.index.url(&qdrant.url()),
            ),
            &provider.config("mock", &["echo"]),
            DEFAULTS,
            &format!("[webhooks]\nconcurrency = {SENDING}\n"),
            config,
        ]);
        let desk = Site::new(&settings);
        blocking(|| desk.ok(&["migrate"]));
        let key = blocking(|| desk.company(COMPANY));
        secret.set(blocking(|| desk.endpoint(COMPANY, &receiver.url("/hook")))).expect("it is set once");
        blocking(|| {
            desk.knowledge(
                COMPANY,
                &[("vay.md", "# Lãi suất vay\n\nLãi suất vay mua nhà là 7,9% một năm.\n"), ("card.md", CARDS)],
            );
        });
        let start = |role| (0..EACH).map(|_| Node::start(role, &settings)).collect::<Vec<_>>();
        let (gateways, workers) = blocking(|| (start("gateway"), start("worker")));
        let client = Client::of(&gateways[0].base().expect("it was just started"), COMPANY, &key);
        Some(Self {
            rabbit,
            mongo,
            _qdrant: qdrant,
            lines,
            _provider: provider,
            receiver,
            gateways,
            workers,
            client,
            key,
            unsigned,
            desk,
            is_ordered: false,
            name,
        })
    }

    /// All processes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.gateways.iter().chain(&self.workers)
    }

    /// The ledger as an operator sees it; none while it cannot be read.
    pub(super) fn ledger(&self) -> Option<serde_json::Value> {
        let output = blocking(|| self.desk.run(&["queue", "ledger", "--json"]));
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Cluster {
    /// What the processes said is kept when the test failed.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster").join(self.name);
        let _ = std::fs::create_dir_all(&folder);
        for (number, node) in self.nodes().enumerate() {
            let _ = std::fs::write(folder.join(format!("{}-{number}.log", node.role)), node.said());
        }
        say(&format!("{}: the processes' logs are in {}", self.name, folder.display()));
    }
}

const CARDS: &str = "# Credit cards\n\nThe yearly fee of a credit card is 300,000 dong, waived in the first year.\n";

/// Short waits, so that what is retried is retried within the test.
const DEFAULTS: &str = "
[telemetry]
log_level = \"info,turnpike::pipeline::neighbours=debug\"
[limits]
requests_per_minute = 100000
[bus]
redeliver_after_s = 10
[spool]
resend_after_s = 6
[turn]
disconnect_grace_s = 5
[jobs]
initial_delay_ms = 200
max_delay_s = 2
[webhooks]
initial_delay_s = 0.4
max_delay_s = 3
";

/// Settings put over each other, key by key.
fn settings(layers: &[&str]) -> String {
    let mut all = toml::Table::new();
    for layer in layers {
        for (section, value) in layer.parse::<toml::Table>().unwrap() {
            match (all.get_mut(&section), value) {
                (Some(toml::Value::Table(all)), toml::Value::Table(own)) => all.extend(own),
                (_, value) => drop(all.insert(section, value)),
            }
        }
    }
    toml::to_string(&all).unwrap()
}

/// One process with a data directory of its own, through all its lives.
pub(super) struct Node {
    role: &'static str,
    site: Site,
    server: Mutex<Option<Server>>,
    base: Mutex<Option<String>>,
    life: AtomicU64,
    before: Mutex<String>,
    kills: AtomicUsize,
}

impl Node {
    fn start(role: &'static str, settings: &str) -> Self {
        let node = Self {
            role,
            site: Site::new(settings),
            server: Mutex::default(),
            base: Mutex::default(),
            life: AtomicU64::new(0),
            before: Mutex::default(),
            kills: AtomicUsize::new(0),
        };
        node.revive();
        node
    }

    /// Where it listens, unless it is down.
    pub(super) fn base(&self) -> Option<String> {
        self.base.lock().unwrap().clone()
    }

    /// Counts its lives. A request that was cut while this changed was cut by the test.
    pub(super) fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    /// How often it was killed.
    pub(super) fn kills(&self) -> usize {
        self.kills.load(Ordering::SeqCst)
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.base.lock().unwrap().take();
        if let Some(mut server) = self.server.lock().unwrap().take() {
            server.kill();
            self.before.lock().unwrap().push_str(&format!("{}\n---- killed ----\n", server.log()));
        }
    }

    /// Starts it again on its data directory.
    #[track_caller]
    pub(super) fn revive(&self) {
        let server = Server::start(self.site.command(&["serve", "--roles", self.role]));
        *self.base.lock().unwrap() = Some(server.base.clone());
        *self.server.lock().unwrap() = Some(server);
    }

    /// Whether the process has ended by itself.
    pub(super) fn is_gone(&self) -> bool {
        let pid = self.server.lock().unwrap().as_ref().map(Server::pid);
        pid.is_some_and(|pid| {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
        })
    }

    /// Puts something into what is kept of it when the test fails.
    pub(super) fn note(&self, text: &str) {
        self.before.lock().unwrap().push_str(&format!("{text}\n"));
    }

    /// What it logged, in all its lives.
    pub(super) fn said(&self) -> String {
        let last = self.server.lock().unwrap().as_ref().map(Server::log).unwrap_or_default();
        format!("{}{last}", self.before.lock().unwrap())
    }
}

/// Runs what waits for other processes without holding up the tasks of this thread.
pub(super) fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(wait)
}
