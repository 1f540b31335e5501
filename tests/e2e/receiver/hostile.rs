//! Receivers that break every rule of HTTP. Each ends in a typed error or a clean answer, in time, and the sender goes on.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use turnpike::ports::webhook::{Answer, Error, Posted, Sender};

use super::{DEADLINE, LIMIT, request, sender};
use crate::support::receiver::{Act, Receiver};

/// What a receiver does with a connection whose request's head has been read.
type Behaviour = dyn Fn(TcpStream) -> BoxFuture<'static, std::io::Result<()>> + Send + Sync;

/// A receiver that misbehaves. It is gone when it is dropped.
struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Hostile {
    async fn start<F>(behave: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let behave: Arc<Behaviour> = Arc::new(move |stream| Box::pin(behave(stream)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let behave = Arc::clone(&behave);
                open.spawn(async move {
                    let mut head = [0; 4096];
                    if stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                        // That the sender goes away in the middle is what most of this is about.
                        behave(stream).await.unwrap_or_default();
                    }
                });
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    /// Sends some bytes and closes the connection.
    async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                stream.write_all(&bytes).await?;
                stream.shutdown().await
            }
        })
        .await
    }

    /// Sends some bytes, then others again and again.
    async fn repeating(first: &'static [u8], then: &'static [u8], pause: Duration) -> Self {
        Self::start(move |mut stream| async move {
            stream.write_all(first).await?;
            loop {
                stream.write_all(then).await?;
                tokio::time::sleep(pause).await;
            }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    async fn post(&self) -> Posted {
        sender(true).post(request(self.url())).await
    }
}

fn status(posted: Posted) -> Answer {
    posted.result.unwrap_or_else(|error| panic!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_a_protocol_error() {
    let mb = "x".repeat(1 << 20);
    let headers: String = (0..10_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for (what, said) in [
        ("nothing", String::new()),
        ("another protocol", "220 mail.example.com ESMTP ready\r\n\r\n".to_owned()),
        ("noise", "\u{1}\u{2}\u{3}\u{ff}\u{0}\r\n".repeat(1000)),
        ("an unknown version", "HTTP/9.9 200 OK\r\n\r\n".to_owned()),
        ("no status", "HTTP/1.1 banana\r\n\r\n".to_owned()),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n".to_owned()),
        ("half a head", "HTTP/1.1 200 OK\r\nserver: x".to_owned()),
        ("a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n".to_owned()),
        ("a NUL in a header", "HTTP/1.1 200 OK\r\nx: a\u{0}b\r\n\r\n".to_owned()),
        ("10,000 headers", format!("HTTP/1.1 200 OK\r\n{headers}\r\n")),
        ("a header of 1 MB", format!("HTTP/1.1 200 OK\r\nx: {mb}\r\n\r\n")),
        ("a status line of 1 MB", format!("HTTP/1.1 200 {mb}\r\n\r\n")),
        ("less than promised", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.".to_owned()),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned()),
        ("a length below nothing", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned()),
        ("a length beyond numbers", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n".to_owned()),
        ("a chunk without a size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n".to_owned()),
        (
            "a chunk beyond numbers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n".to_owned(),
        ),
        (
            "a chunk longer than it says",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        ("chunks without an end", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n".to_owned()),
        (
            "a chunk with 1 MB of extension",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{mb}\r\na\r\n0\r\n\r\n"),
        ),
        ("1 MB of trailers", format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {mb}\r\n\r\n")),
    ] {
        let receiver = Hostile::saying(said).await;
        let posted = receiver.post().await;
        assert!(matches!(posted.result, Err(Error::Protocol(_))), "{what}: {posted:?}");
        assert!(posted.timing.total < DEADLINE, "{what}: {posted:?}");
        assert_eq!(receiver.connections.load(Ordering::Relaxed), 1, "{what}: it was sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_but_http_is_an_answer() {
    let many_1xx = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000);
    for (what, said, expected, body) in [
        ("no reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n".to_owned(), 200, ""),
        ("an old version", "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(), 200, "until the end"),
        ("an unknown status", "HTTP/1.1 799 What\r\ncontent-length: 0\r\n\r\n".to_owned(), 799, ""),
        ("a thousand times 1xx", format!("{many_1xx}HTTP/1.1 204 No\r\n\r\n"), 204, ""),
        (
            "another protocol offered",
            "HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
            101,
            "",
        ),
        (
            "more than promised",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n".to_owned(),
            200,
            "ok",
        ),
        ("a body where there is none", "HTTP/1.1 204 No\r\n\r\nbut here it is".to_owned(), 204, ""),
    ] {
        let receiver = Hostile::saying(said).await;
        let sender = sender(true);
        // What one answer leaves on the wire is not the next one's.
        for _ in 0..3 {
            let answer = status(sender.post(request(receiver.url())).await);
            assert_eq!((answer.status, &*answer.body_start), (expected, body.as_bytes()), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_ends_what_does_not_end() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const PAUSE: Duration = Duration::from_millis(100);
    for (what, receiver) in [
        ("silence", Hostile::repeating(b"", b"", PAUSE).await),
        ("a head that drips", Hostile::repeating(OK, b"x", PAUSE).await),
        ("headers that drip", Hostile::repeating(OK, b"x: y\r\n", PAUSE).await),
        ("a body that drips", Hostile::repeating(b"HTTP/1.1 200 OK\r\n\r\n", b".", PAUSE).await),
        (
            "chunks that drip",
            Hostile::repeating(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n", PAUSE).await,
        ),
        ("1xx without end", Hostile::repeating(b"", b"HTTP/1.1 102 Wait\r\n\r\n", PAUSE).await),
        (
            "a flood of 1xx",
            Hostile::repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO)
                .await,
        ),
    ] {
        let posted = receiver.post().await;
        assert_eq!(posted.result, Err(Error::Timeout(DEADLINE)), "{what}");
        assert!(posted.timing.total < DEADLINE * 4, "{what}: {posted:?}");
        assert_eq!(posted.timing.first_byte.is_some(), what.contains("body") || what.contains("chunks"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_cut_off() {
    let receiver = Hostile::repeating(b"HTTP/1.1 200 OK\r\n", b"x-more: and more and more\r\n", Duration::ZERO).await;
    let posted = receiver.post().await;
    assert!(matches!(posted.result, Err(Error::Protocol(_) | Error::Timeout(_))), "{posted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stops_reading_ends_with_the_deadline() {
    let receiver = Hostile::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
        Ok(())
    })
    .await;
    // More than the sockets of both sides hold.
    let mut request = request(receiver.url());
    request.body = vec![b' '; 32 << 20].into();
    assert_eq!(sender(true).post(request).await.result, Err(Error::Timeout(DEADLINE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_request_is_read_counts() {
    let receiver = Hostile::saying("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let mut request = request(receiver.url());
    request.body = vec![b' '; 8 << 20].into();
    let posted = sender(true).post(request).await;
    // The receiver's close may overtake its answer; it is one or the other, and never a success.
    assert!(matches!(posted.result, Ok(Answer { status: 413, .. }) | Err(Error::Protocol(_))), "{posted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_is_a_protocol_error() {
    for said in
        ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes."]
    {
        let receiver = Hostile::start(move |mut stream| async move {
            stream.write_all(said.as_bytes()).await?;
            // So that the reset does not overtake what was said.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger()?;
            Ok(())
        })
        .await;
        let posted = receiver.post().await;
        assert!(matches!(posted.result, Err(Error::Protocol(_))), "{said:?}: {posted:?}");
        assert_eq!(receiver.connections.load(Ordering::Relaxed), 1, "{said:?}: it was sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed() {
    let target = Receiver::healthy().await;
    for status in [300, 301, 302, 303, 304, 305, 307, 308] {
        for location in [target.url("/"), format!("//127.0.0.1:{}/", target.address().port()), "/elsewhere".to_owned()]
        {
            let receiver = Receiver::start(move |_| Act::with_header(status, "location", location.clone())).await;
            let answer = self::status(sender(true).post(request(receiver.url("/hook"))).await);
            assert_eq!(answer.status, status);
            assert_eq!((receiver.received().len(), receiver.connections()), (1, 1), "{status}");
        }
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_not_unpacked() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..100 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", bomb.len());
        let receiver = Hostile::saying([head.as_bytes(), &bomb].concat()).await;
        let answer = status(receiver.post().await);
        assert_eq!(answer.body_start, bomb[..LIMIT.min(bomb.len())], "{coding}");
    }
    // And none is asked for.
    let receiver = Receiver::healthy().await;
    status(sender(true).post(request(receiver.url("/"))).await);
    assert_eq!(receiver.received()[0].header("accept-encoding"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_receivers_cost_the_sender_nothing_that_stays() {
    let bad: [Hostile; 4] = [
        Hostile::repeating(b"HTTP/1.1 200 OK\r\n", b"x-more: and more and more\r\n", Duration::ZERO).await,
        Hostile::repeating(b"HTTP/1.1 200 OK\r\n\r\n", b"0123456789abcdef", Duration::ZERO).await,
        Hostile::repeating(b"", b"", Duration::from_millis(100)).await,
        Hostile::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await,
    ];
    let good = Receiver::healthy().await;
    let sender = sender(true);
    let begun = Instant::now();
    let posts = bad.iter().cycle().take(200).map(|receiver| sender.post(request(receiver.url())));
    let posts: Vec<Posted> = futures::future::join_all(posts).await;
    assert!(begun.elapsed() < DEADLINE * 10, "{:?}", begun.elapsed());
    assert!(posts.iter().all(|posted| posted.result.as_ref().map_or(true, |answer| answer.body_start.len() <= LIMIT)));
    assert_eq!(status(sender.post(request(good.url("/"))).await).status, 204);
}
