//! A TCP proxy before any server, which does to its connections what networks do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bytes that one read takes.
const PIECE: usize = 16 * 1024;
/// Pieces on their way in one direction; beyond them the sender waits.
const PIECES_UNDER_WAY: usize = 256;

/// The proxy. It and its connections are gone when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    counts: Arc<Counts>,
    _task: JoinSet<()>,
}

/// How the line is at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    traffic: Traffic,
    /// What each piece takes on its way, in each direction.
    latency: Duration,
    /// Bytes in a second, in each direction of each connection.
    bandwidth: Option<u64>,
    /// Connections of earlier generations are cut.
    generation: u64,
    /// On so many of the first connections nothing is heard any more.
    deaf: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Traffic {
    #[default]
    Flows,
    /// Nothing goes through, and nobody is told.
    Vanishes,
    /// New connections are reset at once.
    Refused,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    bytes: AtomicU64,
}

impl Proxy {
    /// A proxy on a free port of loopback before the server at `upstream`, such as `127.0.0.1:5672`.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, _) = watch::channel(Line::default());
        let counts = Arc::new(Counts::default());
        let mut task = JoinSet::new();
        task.spawn(accept(listener, upstream.to_owned(), line.subscribe(), Arc::clone(&counts)));
        Self { address, line, counts, _task: task }
    }

    /// A proxy before the server that a URL names.
    pub async fn before(url: &str) -> Self {
        Self::start(&authority(url)).await
    }

    /// `host:port` of the proxy.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A URL of the server with the proxy's address in the place of the server's.
    pub fn url(&self, url: &str) -> String {
        url.replacen(&authority(url), &self.address(), 1)
    }

    /// Cuts all connections; new ones go through.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.generation += 1);
    }

    /// Cuts all connections and resets new ones.
    pub fn refuse(&self) {
        self.line.send_modify(|line| {
            line.traffic = Traffic::Refused;
            line.generation += 1;
        });
    }

    /// Lets bytes vanish in both directions: connections are accepted and stay, and nothing is heard on them.
    pub fn blackhole(&self) {
        self.line.send_modify(|line| line.traffic = Traffic::Vanishes);
    }

    /// On the connections that there are nothing is heard any more, whatever becomes of the line; new ones work.
    pub fn forget(&self) {
        let accepted = self.accepted();
        self.line.send_modify(|line| line.deaf = accepted);
    }

    /// Makes each piece take so long in each direction.
    pub fn slow(&self, latency: Duration) {
        self.line.send_modify(|line| line.latency = latency);
    }

    /// Lets so many bytes through in a second, in each direction of each connection.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.line.send_modify(|line| line.bandwidth = Some(bytes_per_second.max(1)));
    }

    /// A line without faults. What was held back arrives now, as after a partition that heals; connections that were
    /// cut stay cut.
    pub fn restore(&self) {
        self.line.send_modify(|line| *line = Line { generation: line.generation, deaf: line.deaf, ..Line::default() });
    }

    /// Connections that were made so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Bytes that went through so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

async fn accept(listener: TcpListener, upstream: String, line: watch::Receiver<Line>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let now = *line.borrow();
        if now.traffic == Traffic::Refused {
            let _ = client.set_zero_linger();
            continue;
        }
        let number = counts.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let (upstream, mut line, counts) = (upstream.clone(), line.clone(), Arc::clone(&counts));
        connections.spawn(async move {
            let mut cut = line.clone();
            tokio::select! {
                // Dropped, both sides are closed at once, whatever was under way.
                _ = cut.wait_for(|line| line.generation > now.generation) => {}
                () = connection(client, &upstream, number, &mut line, &counts) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, upstream: &str, number: u64, line: &mut watch::Receiver<Line>, counts: &Counts) {
    if flowing(number, line).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(from_client, to_server, number, line.clone(), counts),
        pump(from_server, to_client, number, line.clone(), counts)
    );
}

/// Waits until bytes go through a connection; none when the proxy is gone.
async fn flowing(number: u64, line: &mut watch::Receiver<Line>) -> Option<()> {
    line.wait_for(|line| line.traffic != Traffic::Vanishes && number > line.deaf).await.ok().map(drop)
}

/// Carries one direction. Pieces are read as they come and written when their time on the line is over, so that latency
/// does not become a limit of throughput.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    line: watch::Receiver<Line>,
    counts: &Counts,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_UNDER_WAY);
    let mut at_arrival = line.clone();
    let read = async move {
        loop {
            let mut piece = vec![0; PIECE];
            match from.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => piece.truncate(length),
            }
            let due = Instant::now() + at_arrival.borrow_and_update().latency;
            if sender.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        let mut line = line;
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if flowing(number, &mut line).await.is_none() || to.write_all(&piece).await.is_err() {
                return;
            }
            counts.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let bandwidth = line.borrow().bandwidth;
            if let Some(bandwidth) = bandwidth {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / bandwidth as f64)).await;
            }
        }
        let _ = to.shutdown().await;
    };
    // When one end writes no more, the other direction goes on; when it can't be written to, reading is of no use.
    tokio::pin!(read);
    tokio::pin!(write);
    tokio::select! {
        () = &mut write => {}
        () = &mut read => write.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.map(drop).unwrap_or_default();
                });
            }
        });
        (address, tasks)
    }

    /// Whether a word comes back. One that does not has nothing to come for: the line is cut or vanishes.
    async fn says(stream: &mut TcpStream, word: &[u8]) -> bool {
        let mut heard = vec![0; word.len()];
        let echoed = async {
            stream.write_all(word).await?;
            stream.read_exact(&mut heard).await
        };
        matches!(tokio::time::timeout(crate::support::PATIENCE, echoed).await, Ok(Ok(_))) && heard == word
    }

    /// Sends a word that nobody is to hear.
    async fn vanishes(stream: &mut TcpStream, word: &[u8]) -> bool {
        stream.write_all(word).await.unwrap();
        let mut heard = [0; 1];
        tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut heard)).await.is_err()
    }

    #[tokio::test]
    async fn the_proxy_does_what_it_is_told() {
        let (server, _server) = echo().await;
        let proxy = Proxy::start(&server).await;
        let mut first = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says(&mut first, b"hello").await);
        assert_eq!(proxy.bytes(), 10);

        proxy.blackhole();
        assert!(vanishes(&mut first, b"vanished").await);
        let mut second = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(vanishes(&mut second, b"a").await);
        proxy.restore();
        let mut late = [0; 8];
        first.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"vanished", "a partition that heals delivers what was sent");

        proxy.cut();
        assert!(!says(&mut first, b"cut").await);
        let mut third = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says(&mut third, b"again").await);

        proxy.refuse();
        assert!(!says(&mut third, b"cut").await);
        // The reset may come before the connection is seen to be made, or after.
        if let Ok(mut fourth) = TcpStream::connect(proxy.address()).await {
            assert!(!says(&mut fourth, b"refused").await);
        }
        proxy.restore();

        proxy.slow(Duration::from_millis(60));
        let mut fifth = TcpStream::connect(proxy.address()).await.unwrap();
        let began = Instant::now();
        assert!(says(&mut fifth, b"slow").await);
        assert!(began.elapsed() >= Duration::from_millis(120), "there and back");
        proxy.restore();

        proxy.throttle(100);
        let began = Instant::now();
        assert!(says(&mut fifth, b"ten bytes!").await && says(&mut fifth, b"ten bytes!").await);
        assert!(began.elapsed() >= Duration::from_millis(90), "the second ten waited for the first");
    }

    #[test]
    fn only_the_address_of_a_url_is_replaced() {
        assert_eq!(authority("amqp://guest:guest@127.0.0.1:5672/%2f"), "127.0.0.1:5672");
        assert_eq!(authority("mongodb://127.0.0.1:27017/?directConnection=true"), "127.0.0.1:27017");
        assert_eq!(authority("http://[::1]:6334"), "[::1]:6334");
    }
}
