//! Webhooks: deliveries of one worker, its queue, its log and its signatures included, against a bare loop of the HTTP
//! client; and what hundred endpoints that hang cost nine hundred others.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use turnpike::adapters::bus::embedded::EmbeddedBus;
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::event::{Origin, WORKER};
use turnpike::domain::webhook::{Endpoint, Secret};
use turnpike::domain::{CompanyId, CompanyScope, ConversationId, EndpointId, Event, EventType, TurnId};
use turnpike::ports::bus::{Bus, Message};
use turnpike::ports::directory::Directory;

use crate::Effort;
use crate::proc::{cpu_ms, quiet};
use crate::provider::Provider;
use crate::sites::{COMPANY, plain};
use crate::support::client::Client;
use crate::support::process::Site;
use crate::table::{Sample, Table, ms, ratio, reach};

/// What the bench is told when it is to be the bare loop: the URL, how many requests, how many at a time.
pub(crate) const BARE: &str = "TURNPIKE_BENCH_BARE";
/// Requests at a time to one endpoint, as the worker's settings have it.
const AT_A_TIME: usize = 16;
/// Deliveries a second that one worker has to reach.
const TARGET: f64 = 2000.0;
/// Deliveries after which a round is warm.
const WARM: usize = 200;
const ENDPOINTS: usize = 1000;
const HUNG: usize = 100;
/// How much the hung ones may raise the others' p99.
const FAIR: f64 = 1.1;
/// Between two turns: a thousand deliveries four times a second, and not as many as there can be.
const PAUSE: Duration = Duration::from_millis(125);
/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one way has delivered so far.
#[derive(Default)]
struct Made {
    seconds: f64,
    deliveries: usize,
    cpu_ms: f64,
    connections: usize,
}

impl Made {
    fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    fn cpu_us(&self) -> f64 {
        self.cpu_ms * 1000.0 / self.deliveries as f64
    }
}

pub(crate) async fn measure(effort: Effort) {
    throughput(effort).await;
    fairness(effort).await;
}

async fn throughput(effort: Effort) {
    let (rounds, count) = (effort.pick(4, 1), effort.pick(10_000, 1_000));
    let (mut bare, mut one, mut many) = (Made::default(), Made::default(), Made::default());
    for _ in 0..rounds {
        let sink = Sink::start(0).await;
        let mut child = bare_loop(&sink.url(0), count);
        follow(&sink, child.id(), count, &mut bare).await;
        child.kill().unwrap();
        child.wait().unwrap();
        worker(1, count, &mut one).await;
        worker(100, count, &mut many).await;
    }
    let title = format!("Webhooks delivered to a receiver on loopback, {count} a round ({rounds} rounds of each)");
    let mut table = Table::new(title, &["", "a second", "ratio", "CPU each", "ratio", "connections"]);
    let row = |made: &Made| {
        [
            format!("{:.0}", made.per_second()),
            ratio(made.per_second(), bare.per_second()),
            format!("{:.0} us", made.cpu_us()),
            ratio(made.cpu_us(), bare.cpu_us()),
            (made.connections / rounds).to_string(),
        ]
    };
    let target = |made: &Made| reach(">= 2,000 a second", made.per_second() >= TARGET);
    table.row(format!("bare loop of the HTTP client, {AT_A_TIME} at a time"), &row(&bare), "");
    table.row("one worker, one endpoint", &row(&one), target(&one));
    table.row("one worker, 100 endpoints", &row(&many), target(&many));
    table.print();
}

/// Lets a worker find its queue full and work it off.
async fn worker(endpoints: usize, count: usize, made: &mut Made) {
    let site = Site::new("");
    site.company(COMPANY);
    let sink = Sink::start(0).await;
    add_endpoints(&site, &sink, endpoints).await;
    fill(&site, count / endpoints).await;
    let server = site.serve();
    follow(&sink, server.pid(), count, made).await;
}

/// Counts what a process delivers, from when it is warm to the last.
async fn follow(sink: &Sink, pid: u32, count: usize, made: &mut Made) {
    sink.wait_for(WARM.min(count / 2)).await;
    let (begun, before, cpu) = (Instant::now(), sink.came(), cpu_ms(pid));
    sink.wait_for(count).await;
    made.seconds += begun.elapsed().as_secs_f64();
    made.deliveries += count - before;
    // What was delivered is still to be written down.
    quiet(pid).await;
    made.cpu_ms += cpu_ms(pid) - cpu;
    made.connections += sink.connections.load(Ordering::Relaxed);
}

async fn add_endpoints(site: &Site, sink: &Sink, count: usize) {
    let store = SqliteStore::open(&site.data_dir().join("store.db")).unwrap();
    let company: CompanyId = COMPANY.parse().unwrap();
    let scope = CompanyScope::granted(company.clone());
    for n in 0..count {
        let (id, secret) = (EndpointId::generate(), Secret::shared([1; 32]));
        let events = vec![EventType::ConversationUpdated];
        let endpoint = Endpoint::new(id, company.clone(), sink.url(n), secret, events, OffsetDateTime::now_utc());
        store.add_endpoint(&scope, &endpoint).await.unwrap();
    }
}

/// Puts events of finished turns into a site's queue.
async fn fill(site: &Site, events: usize) {
    let bus = EmbeddedBus::open(&site.data_dir().join("bus.db")).unwrap();
    let messages: Vec<Message> = (0..events).map(|_| Message::of_event(&event()).unwrap()).collect();
    for batch in messages.chunks(256) {
        bus.publish(batch).await.unwrap();
    }
}

/// What the persist job says of a stored turn, as long as they usually are.
fn event() -> Event {
    let (company, turn): (CompanyId, TurnId) = (COMPANY.parse().unwrap(), TurnId::generate());
    let conversation_id = ConversationId::of_session(&company, &turn.to_string().parse().unwrap());
    let origin =
        Origin { source: WORKER, subject: turn.to_string(), company_id: company, conversation_id, traceparent: None };
    let data = json!({
        "company_id": COMPANY, "conversation_id": conversation_id, "session_id": turn.to_string(), "channel": "web",
        "status": "ACTIVE", "message_count": 2, "sequence": 1, "turn_id": turn, "language": "vi", "intent": "information",
        "finish_reason": "stop", "ended_at": null, "summary": "Lãi suất vay mua nhà hai mươi năm là bao nhiêu?",
        "messages": [
            {"role": "user", "content": "Lãi suất vay mua nhà hai mươi năm là bao nhiêu?"},
            {"role": "assistant", "content": "Lãi suất năm đầu là 7,5 %. ".repeat(20)},
        ],
    });
    Event::new(EventType::ConversationUpdated, &origin, "", &data).unwrap()
}

/// This program again, as the bare loop.
fn bare_loop(url: &str, count: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(BARE, format!("{url} {count} {AT_A_TIME}")).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Posts as often as it is told, and then waits to be ended.
pub(crate) async fn bare(order: &str) {
    let mut words = order.split_whitespace();
    let url = words.next().unwrap().to_owned();
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (count, at_a_time) = (number(), number());
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.pool_max_idle_per_host(at_a_time).build().unwrap();
    let body = bytes::Bytes::from(event().data.get().to_owned());
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = JoinSet::new();
    for _ in 0..at_a_time {
        let (client, url, body, left) = (client.clone(), url.clone(), body.clone(), Arc::clone(&left));
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let request = client.post(&url).body(body.clone()).header("content-type", "application/json");
                let request = request.header("user-agent", "Turnpike").header("webhook-id", "msg_0123456789");
                let request = request.header("webhook-timestamp", "1795184000").header("webhook-signature", "v1,none");
                request.send().await.unwrap().bytes().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    std::future::pending::<()>().await;
}

/// Asks two sites in turns, of which one has endpoints that hang, and compares when the others hear of it.
async fn fairness(effort: Effort) {
    let turns = effort.pick(40, 3);
    let provider = Provider::start();
    let mut waits = [Waits::default(), Waits::default()];
    let mut crowds = Vec::new();
    for hung in [0, HUNG] {
        crowds.push(Crowd::start(&provider, hung).await);
    }
    for turn in 0..turns {
        for (crowd, waits) in crowds.iter().zip(&mut waits) {
            waits.add(crowd.ask(turn).await);
            tokio::time::sleep(PAUSE).await;
        }
    }
    let good = ENDPOINTS - HUNG;
    let title = format!("From a turn's end to {good} endpoints of {ENDPOINTS}, {turns} turns");
    let mut table = Table::new(title, &["", "p50", "p99", "p99 of the middle turn", "ratio"]);
    let [quiet, crowded] = waits;
    let middle = |waits: &Waits| waits.p99_of_turns.p50();
    let row = |waits: &Waits| {
        let ratio = ratio(middle(waits), middle(&quiet));
        [ms(waits.all.p50()), ms(waits.all.p99()), ms(middle(waits)), ratio]
    };
    table.row("all answer", &row(&quiet), "");
    let is_fair = middle(&crowded) <= middle(&quiet) * FAIR;
    table.row(format!("the other {HUNG} hang"), &row(&crowded), reach("<= 1.10x", is_fair));
    table.print();
}

/// How long endpoints waited. The machine's own hiccups fall into single turns, so those are kept apart too.
#[derive(Default)]
struct Waits {
    all: Sample,
    p99_of_turns: Sample,
}

impl Waits {
    fn add(&mut self, turn: Vec<f64>) {
        let mut one = Sample::default();
        one.extend(turn.iter().copied());
        self.p99_of_turns.push(one.p99());
        self.all.extend(turn);
    }
}

/// A site with a thousand endpoints, some of which hang.
struct Crowd {
    sink: Sink,
    client: Client,
    _server: crate::support::process::Server,
    _site: Site,
}

impl Crowd {
    async fn start(provider: &Provider, hung: usize) -> Self {
        let (site, key) = plain(provider);
        let sink = Sink::start(hung).await;
        add_endpoints(&site, &sink, ENDPOINTS).await;
        let server = site.serve();
        Self { client: Client::new(&server, COMPANY, &key), sink, _server: server, _site: site }
    }

    /// How long each of the endpoints that answer in both sites waits for a turn, in milliseconds.
    async fn ask(&self, turn: usize) -> Vec<f64> {
        self.sink.forget();
        self.client.ask("Lãi suất vay là bao nhiêu?", &format!("s{turn}")).await.rest().await;
        let ended = Instant::now();
        let begun = Instant::now();
        loop {
            let came = self.sink.first_arrivals();
            let waits: Vec<f64> = came
                .iter()
                .filter(|(number, _)| **number >= HUNG)
                .map(|(_, at)| at.saturating_duration_since(ended).as_secs_f64() * 1000.0)
                .collect();
            if waits.len() == ENDPOINTS - HUNG {
                return waits;
            }
            assert!(begun.elapsed() < PATIENCE, "{} endpoints of {ENDPOINTS} heard of the turn", waits.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A receiver that takes note and answers 204, but for the first endpoints, which it lets hang.
struct Sink {
    port: u16,
    state: Arc<State>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

struct State {
    hung: usize,
    count: AtomicUsize,
    arrivals: Mutex<Vec<(usize, Instant)>>,
}

impl Sink {
    async fn start(hung: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { hung, count: AtomicUsize::new(0), arrivals: Mutex::default() });
        let connections = Arc::new(AtomicUsize::new(0));
        let (kept, counted) = (Arc::clone(&state), Arc::clone(&connections));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&kept);
                open.spawn(async move { serve(stream, &state).await.unwrap_or_default() });
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, state, connections, _tasks: tasks }
    }

    fn url(&self, endpoint: usize) -> String {
        format!("http://127.0.0.1:{}/{endpoint}", self.port)
    }

    fn came(&self) -> usize {
        self.state.count.load(Ordering::Relaxed)
    }

    async fn wait_for(&self, count: usize) {
        let begun = Instant::now();
        while self.came() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} webhooks came", self.came());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn forget(&self) {
        self.state.arrivals.lock().unwrap().clear();
    }

    fn first_arrivals(&self) -> HashMap<usize, Instant> {
        let mut first = HashMap::new();
        for (endpoint, at) in &*self.state.arrivals.lock().unwrap() {
            first.entry(*endpoint).or_insert(*at);
        }
        first
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(length) = request_length(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..length.min(64)]).into_owned();
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let endpoint: usize = path.trim_start_matches('/').parse().unwrap_or_default();
        buffer.drain(..length);
        if endpoint < state.hung {
            std::future::pending::<()>().await;
        }
        state.arrivals.lock().unwrap().push((endpoint, Instant::now()));
        state.count.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}

/// How long the first request in a buffer is, once it is whole.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let whole = head + length.trim().parse::<usize>().ok()?;
    (buffer.len() >= whole).then_some(whole)
}
