//! A thousand endpoints, a hundred of which are hostile: everybody else is served, and memory stays as it is.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use turnpike::adapters::store::sqlite::SqliteStore;
use turnpike::domain::webhook::{Endpoint, Secret};
use turnpike::domain::{CompanyId, CompanyScope, EndpointId, EventType};
use turnpike::ports::directory::Directory;

use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Act, Receiver};
use crate::support::wait_for;

const ENDPOINTS: usize = 1000;
const HOSTILE: usize = 100;
const TURNS: usize = 4;
/// What the process may grow by once it has served everybody once, in KiB.
const MORE_KIB: u64 = 48 * 1024;

/// Puts endpoints straight into the directory: a thousand commands would take longer than the test.
async fn add_endpoints(site: &Site, company: &str, url: impl Fn(usize) -> String) {
    let store = SqliteStore::open(&site.data_dir().join("store.db")).unwrap();
    let company: CompanyId = company.parse().unwrap();
    let scope = CompanyScope::granted(company.clone());
    for n in 0..ENDPOINTS {
        let (id, secret) = (EndpointId::generate(), Secret::shared([1; 32]));
        let events = vec![EventType::ConversationUpdated];
        let endpoint = Endpoint::new(id, company.clone(), url(n), secret, events, OffsetDateTime::now_utc());
        store.add_endpoint(&scope, &endpoint).await.unwrap();
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Watches how much memory a process has at most.
struct Watch {
    most: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn begin(pid: u32) -> Self {
        let (most, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let watch = Self { most: Arc::clone(&most), is_over: Arc::clone(&is_over) };
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(resident_kib(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        watch
    }

    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_hostile_endpoints_of_a_thousand_cost_the_others_nothing() {
    let served = Arc::new(Mutex::new(HashSet::new()));
    let kept = Arc::clone(&served);
    let receiver = Receiver::start(move |request| {
        let number: usize = request.path.rsplit('/').next().unwrap().parse().unwrap();
        if number >= HOSTILE {
            kept.lock().unwrap().insert((number, request.header("webhook-id").to_owned()));
            return Act::status(204);
        }
        match number % 5 {
            0 | 1 => Act::Hang,
            2 => Act::Drip,
            3 => Act::Huge(1 << 30),
            _ => Act::Garbage,
        }
    })
    .await;
    let site = Site::new("[webhooks]\ndeadline_s = 5\n");
    let key = site.company("acme");
    add_endpoints(&site, "acme", |n| receiver.url(&format!("/endpoint/{n}"))).await;
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    let good = ENDPOINTS - HOSTILE;
    let all_served = |turns: usize| {
        let served = Arc::clone(&served);
        async move {
            wait_for(&format!("turn {turns} to reach all {good} good endpoints"), || async {
                (served.lock().unwrap().len() == turns * good).then_some(())
            })
            .await;
        }
    };
    client.ask("Câu hỏi 1", "s1").await.rest().await;
    all_served(1).await;
    let before = resident_kib(server.pid());
    let watch = Watch::begin(server.pid());
    for turn in 2..=TURNS {
        client.ask(&format!("Câu hỏi {turn}"), "s1").await.rest().await;
        all_served(turn).await;
    }
    let most = watch.end();
    let grown = most.saturating_sub(before);
    assert!(grown < MORE_KIB, "the process grew by {grown} KiB, from {before} KiB");
}
