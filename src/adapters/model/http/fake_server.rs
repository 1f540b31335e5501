//! A server on 127.0.0.1 that answers with prepared bytes, so that tests speak the real protocol, broken ones included.

#![expect(
    clippy::disallowed_methods,
    reason = "the tasks end with the test's runtime, and the client sees a panic in one as a closed connection"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

/// One prepared answer.
pub(in crate::adapters::model) struct Reply {
    steps: Vec<Step>,
    keep_open: bool,
}

enum Step {
    Write(Vec<u8>),
    Pause(Duration),
    /// Waits until the client has gone.
    Stall,
}

impl Reply {
    /// These bytes, then the connection is closed.
    pub(in crate::adapters::model) fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self { steps: vec![Step::Write(bytes.into())], keep_open: false }
    }

    /// An event stream in HTTP chunks, one per part, with its proper end.
    pub(in crate::adapters::model) fn events<P: AsRef<[u8]>>(parts: &[P]) -> Self {
        let mut reply = Self::open_events(parts);
        reply.steps.push(Step::Write(b"0\r\n\r\n".to_vec()));
        reply
    }

    /// An event stream in HTTP chunks, one per part, that is not ended.
    pub(in crate::adapters::model) fn open_events<P: AsRef<[u8]>>(parts: &[P]) -> Self {
        let mut reply = Self::text(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for part in parts {
            let part = part.as_ref();
            let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
            chunk.extend_from_slice(part);
            chunk.extend_from_slice(b"\r\n");
            reply.steps.push(Step::Write(chunk));
        }
        reply
    }

    /// An answer with a body of known length.
    pub(in crate::adapters::model) fn status(status: &str, headers: &str, body: &str) -> Self {
        Self::text(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// The connection stays open for the next request.
    pub(in crate::adapters::model) fn keep_open(mut self) -> Self {
        self.keep_open = true;
        self
    }

    /// The answer stops here, until the client has gone.
    pub(in crate::adapters::model) fn stall(mut self) -> Self {
        self.steps.push(Step::Stall);
        self
    }

    /// Every byte is written alone.
    pub(in crate::adapters::model) fn byte_by_byte(mut self) -> Self {
        self.steps = self
            .steps
            .into_iter()
            .flat_map(|step| match step {
                Step::Write(bytes) => bytes
                    .into_iter()
                    .flat_map(|byte| [Step::Write(vec![byte]), Step::Pause(Duration::from_micros(20))])
                    .collect(),
                other => vec![other],
            })
            .collect();
        self
    }

    /// A pause before the last write.
    pub(in crate::adapters::model) fn pause_before_end(mut self, pause: Duration) -> Self {
        let end = self.steps.len().saturating_sub(1);
        self.steps.insert(end, Step::Pause(pause));
        self
    }
}

/// The server. It answers requests in the order of the replies, over any number of connections.
pub(in crate::adapters::model) struct FakeServer {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: Mutex<mpsc::UnboundedReceiver<String>>,
    gone: Mutex<mpsc::UnboundedReceiver<()>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl FakeServer {
    /// Starts on a port of the system's choice.
    pub(in crate::adapters::model) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let replies = Arc::new(Mutex::new(replies.into_iter()));
        let (request_sender, requests) = mpsc::unbounded_channel();
        let (gone_sender, gone) = mpsc::unbounded_channel();
        let counter = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, replies.clone(), request_sender.clone(), gone_sender.clone()));
            }
        });
        Self { url, connections, requests: Mutex::new(requests), gone: Mutex::new(gone), accepting }
    }

    /// Where it listens.
    pub(in crate::adapters::model) fn url(&self) -> String {
        self.url.clone()
    }

    /// Connections accepted so far.
    pub(in crate::adapters::model) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request, head and body.
    pub(in crate::adapters::model) async fn request(&self) -> String {
        within(self.requests.lock().await.recv()).await.unwrap()
    }

    /// Waits until a client has closed a stalled connection.
    pub(in crate::adapters::model) async fn client_gone(&self) {
        within(self.gone.lock().await.recv()).await.unwrap();
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Fails a test that would otherwise wait for ever.
pub(in crate::adapters::model) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened within 20 s")
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<Mutex<std::vec::IntoIter<Reply>>>,
    requests: mpsc::UnboundedSender<String>,
    gone: mpsc::UnboundedSender<()>,
) {
    while let Some(request) = read_request(&mut stream).await {
        requests.send(request).ok();
        let Some(reply) = replies.lock().await.next() else { return };
        for step in reply.steps {
            match step {
                Step::Write(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Stall => {
                    let mut buffer = [0; 64];
                    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
                    gone.send(()).ok();
                    return;
                }
            }
        }
        if !reply.keep_open {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0_usize);
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}
