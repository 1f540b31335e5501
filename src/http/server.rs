//! Accepts connections: bounded in number, with time limits for slow heads and for clients that do not read, TCP_NODELAY
//! on, and a shutdown that lets open streams end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::io::WriteTimeout;
use crate::config::Server;
use crate::runtime::tasks;

/// How long accepting pauses when the process has no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A connection's read buffer at most, in bytes. Heads are small; bodies are read through it.
const BUFFER_BYTES: usize = 64 * 1024;

/// Who a request came from, as far as the connection tells: where a proxy stands before the service, the proxy.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// A connection's place in the server. What a connection becomes by an upgrade holds it for as long as it lives: so it
/// goes on to count, and the server waits for it when it goes down.
#[derive(Clone)]
pub(super) struct Link {
    _held: Arc<Held>,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

struct Held {
    _permit: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Link {
    /// Resolves when the server goes down: what is open may end in order.
    pub(super) async fn goes_down(&self) {
        self.shutdown.cancelled().await;
    }

    /// Resolves when the time for that is over.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }
}

/// Serves until `shutdown`; then accepts nothing more and waits for open requests, up to `grace`.
pub async fn run(listener: TcpListener, router: Router, settings: Server, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = shutdown.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => (stream, Peer(address.ip())),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        // Without it, what is written after the first frame waits for the client's acknowledgement: 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let held = Arc::new(Held { _permit: permit, _token: connections.token() });
        let link = Link { _held: held, shutdown: shutdown.clone(), cut: cut.clone() };
        tasks::spawn("connection", connection(stream, peer, router.clone(), settings.clone(), link));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.shutdown_grace, connections.wait()).await.is_err() {
        tracing::warn!(grace_s = settings.shutdown_grace.as_secs(), "streams that are still open are cut off");
        cut.cancel();
        connections.wait().await;
    }
}

async fn connection(stream: TcpStream, peer: Peer, router: Router, settings: Server, link: Link) {
    let io = TokioIo::new(WriteTimeout::new(stream, settings.write_timeout));
    let routes = TowerToHyperService::new(router);
    let own = link.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(own.clone());
        }
        routes.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = link.goes_down() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving => ended,
                () = link.is_cut() => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients come and go; none of this is the service's trouble.
        tracing::debug!(%error, "a connection ended early");
    }
}
