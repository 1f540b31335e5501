//! A webhook receiver that misbehaves on demand: a bare TCP server, because no proper HTTP server would do these things.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Reads the request and says nothing, for ever.
    Hang,
    /// Answers 200 and sends a byte of an endless body every 100 ms.
    Drip,
    /// Answers 200 with a body of so many bytes, as fast as they are read.
    Huge(u64),
    /// Closes the connection without a word.
    Close,
    /// Sends something that is not HTTP.
    Garbage,
}

impl Act {
    /// An answer without headers and body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// An answer with one header.
    pub(crate) fn with_header(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Answer { status, headers: vec![(name, value.into())], body: String::new() }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// How many came before it.
    pub(crate) number: usize,
    /// When it was read.
    pub(crate) at: Instant,
    /// `POST`.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks the signature by the reference implementation, as a consumer does.
    pub(crate) fn verify(&self, secret: &str) -> Result<(), String> {
        let webhook = standardwebhooks::Webhook::new(secret).map_err(|error| error.to_string())?;
        webhook.verify(&self.body, &self.headers).map_err(|error| error.to_string())
    }
}

/// The receiver. It is gone when it is dropped.
pub(crate) struct Receiver {
    port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    script: Box<dyn Fn(&Received) -> Act + Send + Sync>,
    requests: std::sync::Mutex<Vec<Received>>,
    count: AtomicUsize,
    connections: AtomicUsize,
    written: AtomicU64,
    came: Notify,
}

impl Receiver {
    /// A receiver that does for each request what `script` says.
    pub(crate) async fn start(script: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            script: Box::new(script),
            requests: std::sync::Mutex::default(),
            count: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            came: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, _tasks: tasks }
    }

    /// A receiver that takes everything.
    pub(crate) async fn healthy() -> Self {
        Self::start(|_| Act::status(204)).await
    }

    /// Its URL, with a path that begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The requests that came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Connections that were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that somebody read so far, give or take what lies in the sockets.
    pub(crate) fn written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Waits until so many requests came, at most so long.
    pub(crate) async fn wait_for(&self, count: usize, patience: Duration) -> Vec<Received> {
        let all = async {
            loop {
                let came = self.state.came.notified();
                if self.state.count.load(Ordering::Acquire) >= count {
                    return;
                }
                came.await;
            }
        };
        let came = tokio::time::timeout(patience, all).await;
        let received = self.received();
        assert!(came.is_ok(), "{} of {count} webhooks came in {patience:?}", received.len());
        received
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        // A client that goes away is what many tests are about.
        connections.spawn(async move { serve(stream, &state).await.unwrap_or_default() });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read(&mut stream).await? {
        request.number = state.requests.lock().unwrap().len();
        let act = (state.script)(&request);
        state.requests.lock().unwrap().push(request);
        state.count.fetch_add(1, Ordering::Release);
        state.came.notify_waiters();
        match act {
            Act::Answer { status, headers, body } => {
                let mut text = format!("HTTP/1.1 {status} Told\r\n");
                for (name, value) in headers {
                    write!(text, "{name}: {value}\r\n").unwrap();
                }
                if status == 204 {
                    text.push_str("\r\n");
                } else {
                    write!(text, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
                }
                stream.write_all(text.as_bytes()).await?;
            }
            Act::Hang => std::future::pending().await,
            Act::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
                loop {
                    stream.write_all(b".").await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Act::Huge(bytes) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let piece = vec![b'x'; 16 * 1024];
                while state.written.load(Ordering::Relaxed) < bytes {
                    stream.write_all(&piece).await?;
                    state.written.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            }
            Act::Close => return Ok(()),
            Act::Garbage => {
                stream.write_all(b"220 mail.example.com ESMTP ready\r\n\r\n").await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads one request; `None` when the client is done.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value.trim()).unwrap());
    }
    let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Received { number: 0, at: Instant::now(), method, path, headers, body }))
}
