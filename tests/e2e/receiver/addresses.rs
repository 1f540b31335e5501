//! No packet leaves for where webhooks may not go: neither by an address that is written out, nor by a name, nor by a
//! name that changes its mind, nor by a redirect.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use turnpike::adapters::webhook::{HttpSender, Lookup};
use turnpike::config::Webhooks;
use turnpike::ports::webhook::{Error, Sender};

use super::{request, sender, settings};
use crate::support::receiver::{Act, Receiver};

/// One or more of each block that is not the internet's: the first address, the last, and some that are well known.
const SPECIAL: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.0.0.2",
    "127.0.1.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.0",
    "192.88.99.255",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "224.0.0.251",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.254",
    "255.255.255.255",
    // Nothing, oneself, and IPv4 in the form of before 2006.
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::a00:1",
    // Mapped.
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.168.0.1",
    "::ffff:255.255.255.255",
    // Translated (SIIT), NAT64, and NAT64 of one's own.
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::808:808",
    // Discarded, and dummies.
    "100::",
    "100::1",
    "100:0:0:1::1",
    // Protocols: Teredo, benchmarks, ORCHID, AS112 and others.
    "2001::",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::",
    "2001:db8:ffff::1",
    "3fff::1",
    "3fff:fff::1",
    // 6to4.
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::",
    "2002::1",
    // Segment routing, unique local, link-local, site-local, multicast.
    "5f00::1",
    "fc00::",
    "fd00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "fe80::",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    // Beyond what is given out.
    "4000::1",
    "8000::1",
    "e000::1",
];

/// Listens on one port of all of this machine's addresses, and counts who comes.
struct Traps {
    port: u16,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Traps {
    async fn set() -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        // Bound to nothing in particular, IPv6's takes IPv4 too, as far as the machine has it.
        let listener = match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let counted = Arc::clone(&connections);
        tasks.spawn(async move {
            loop {
                let connection = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                drop(connection);
            }
        });
        Self { port, connections, _tasks: tasks }
    }

    /// Who came before the one that is let in now to see that the traps work.
    async fn sprung(&self) -> usize {
        let before = self.connections.load(Ordering::SeqCst);
        for address in ["127.0.0.1", "127.0.0.2"] {
            tokio::net::TcpStream::connect((address, self.port)).await.unwrap();
        }
        crate::support::wait_for("the trap to be sprung", || async {
            (self.connections.load(Ordering::SeqCst) >= before + 2).then_some(())
        })
        .await;
        self.connections.load(Ordering::SeqCst) - 2
    }
}

/// Names whose addresses are what they were last told, one answer after the other; the last one stays.
#[derive(Default)]
struct Rebinding {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Rebinding {
    fn to(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |addresses: &&[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock();
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

fn looking_up(lookup: &Arc<Rebinding>, settings: &Webhooks) -> HttpSender {
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    HttpSender::with_lookup(settings, Arc::clone(lookup) as Arc<dyn Lookup>).unwrap()
}

fn allowing(blocks: &[&str]) -> Webhooks {
    Webhooks { allow_addresses: blocks.iter().map(|text| text.parse().unwrap()).collect(), ..settings(false) }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_special_address_is_connected_to() {
    let traps = Traps::set().await;
    for scheme in ["http", "https"] {
        for address in SPECIAL {
            let address: IpAddr = address.parse().unwrap();
            let written = SocketAddr::new(address, traps.port);
            let named = Rebinding::to(&[&[&address.to_string()]]);
            for (url, sender) in [
                (format!("{scheme}://{written}/"), sender(false)),
                (format!("{scheme}://hooks.example.com:{}/", traps.port), looking_up(&named, &settings(false))),
            ] {
                let checked = sender.check(&url).await;
                assert!(matches!(checked, Err(Error::Address(_))), "{url} to {address} was registered: {checked:?}");
                let posted = sender.post(request(url.clone())).await;
                assert!(matches!(posted.result, Err(Error::Address(_))), "{url} to {address}: {posted:?}");
                assert_eq!((posted.timing.connect, posted.remote_address), (None, None), "{url} to {address}");
            }
        }
    }
    assert_eq!(traps.sprung().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_address_after_the_check_is_not_connected_to() {
    let traps = Traps::set().await;
    let url = format!("http://hooks.example.com:{}/", traps.port);
    for home in [&["127.0.0.1"][..], &["::1"], &["127.0.0.2", "::ffff:127.0.0.1"], &["10.0.0.1"]] {
        let name = Rebinding::to(&[&["93.184.216.34"], home]);
        let sender = looking_up(&name, &settings(false));
        assert!(sender.check(&url).await.is_ok());
        for _ in 0..3 {
            let posted = sender.post(request(url.clone())).await;
            assert_eq!(posted.result, Err(Error::Address("hooks.example.com".to_owned())), "{home:?}");
        }
        assert_eq!(name.asked.load(Ordering::SeqCst), 4, "each connection asks, and each asks once");
    }
    assert_eq!(traps.sprung().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_addresses_only_those_that_are_allowed_are_connected_to() {
    let receiver = Receiver::start(|_| Act::with_header(200, "connection", "close")).await;
    // The same port of another loopback address.
    let forbidden = TcpListener::bind(("127.0.0.2", receiver.address().port())).await.unwrap();
    let url = format!("http://hooks.example.com:{}/", receiver.address().port());
    let name = Rebinding::to(&[&["127.0.0.2", "127.0.0.1"], &["127.0.0.2", "127.0.0.1", "10.0.0.1"], &["127.0.0.2"]]);
    let sender = looking_up(&name, &allowing(&["127.0.0.1/32"]));
    for _ in 0..2 {
        let posted = sender.post(request(url.clone())).await;
        assert_eq!(posted.result.unwrap().status, 200);
        assert_eq!(posted.remote_address, Some(receiver.address()));
    }
    let posted = sender.post(request(url)).await;
    assert_eq!(posted.result, Err(Error::Address("hooks.example.com".to_owned())));
    assert_eq!(receiver.received().len(), 2);
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(200), forbidden.accept()).await;
    assert!(nobody.is_err(), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere() {
    let traps = Traps::set().await;
    let name = Rebinding::to(&[&["127.0.0.1"]]);
    for target in ["http://127.0.0.2:PORT/", "http://[::1]:PORT/", "//127.0.0.2:PORT/", "https://localhost:PORT/"] {
        let target = target.replace("PORT", &traps.port.to_string());
        let receiver = Receiver::start(move |_| Act::with_header(307, "location", target.clone())).await;
        let sender = looking_up(&name, &allowing(&["127.0.0.1"]));
        let posted = sender.post(request(format!("http://hooks.example.com:{}/", receiver.address().port()))).await;
        assert_eq!(posted.result.unwrap().status, 307);
        assert_eq!(receiver.connections(), 1);
    }
    assert_eq!(traps.sprung().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_block_opens_its_own_addresses_alone() {
    let receiver = Receiver::healthy().await;
    let sender = super::sender_with(allowing(&["127.0.0.1"]));
    for url in [receiver.url("/"), receiver.url("/").replace("127.0.0.1", "localhost")] {
        assert!(sender.check(&url).await.is_ok());
        assert_eq!(sender.post(request(url)).await.result.unwrap().status, 204);
    }
    for other in ["127.0.0.2", "[::1]", "10.0.0.1", "[64:ff9b::7f00:1]"] {
        let url = receiver.url("/").replace("127.0.0.1", other);
        let error = sender.post(request(url)).await.result.unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{other}: {error:?}");
    }
}
