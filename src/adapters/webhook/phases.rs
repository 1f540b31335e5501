//! When the phases of one request began and ended.
//!
//! The client's pool opens connections in the task of the request that needs one, and hands them to its own tasks when
//! that request finds another connection first. So the phases are written down for the task in which they happen, and
//! a connection that is taken out of its request's task is no longer that request's.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::http::Extensions;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::ports::webhook::Timing;

tokio::task_local! {
    static CURRENT: Arc<Phases>;
}

/// The phases of one request.
pub(super) struct Phases {
    began: Instant,
    marks: Mutex<Marks>,
}

#[derive(Clone, Copy, Default)]
struct Marks {
    dns: Option<Span>,
    connect: Option<Span>,
    first_byte: Option<Instant>,
    remote_address: Option<SocketAddr>,
}

#[derive(Clone, Copy)]
struct Span {
    began: Instant,
    ended: Option<Instant>,
}

impl Span {
    fn begin() -> Self {
        Self { began: Instant::now(), ended: None }
    }

    /// How long it took; one that did not end took until `now`.
    fn length(self, now: Instant) -> Duration {
        self.ended.unwrap_or(now) - self.began
    }
}

impl Phases {
    /// Begins to measure.
    pub(super) fn begin() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), marks: Mutex::default() })
    }

    /// Runs a request whose phases these are.
    pub(super) async fn during<F: Future>(self: &Arc<Self>, request: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), request).await
    }

    /// The answer's headers are there, from `address`.
    pub(super) fn first_byte(&self, address: Option<SocketAddr>) {
        let mut marks = self.marks.lock();
        marks.first_byte = Some(Instant::now());
        marks.remote_address = address.or(marks.remote_address);
    }

    /// What is known of the time, and of the address.
    pub(super) fn end(&self) -> (Timing, Option<SocketAddr>) {
        let (now, marks) = (Instant::now(), *self.marks.lock());
        let connect = marks.connect.map(|connect| {
            // The connector looks the name up first, so that lies within its span.
            let dns = marks.dns.map_or(Duration::ZERO, |dns| dns.length(now));
            (connect.length(now).saturating_sub(dns), marks.dns.is_none_or(|dns| dns.ended.is_some()))
        });
        let timing = Timing {
            dns: marks.dns.map(|dns| dns.length(now)),
            connect: connect.and_then(|(length, has_begun)| has_begun.then_some(length)),
            first_byte: marks.first_byte.map(|at| at - self.began),
            total: now - self.began,
        };
        (timing, marks.remote_address)
    }

    /// The connection that was being opened serves somebody else now.
    fn give_up_connection(&self) {
        let mut marks = self.marks.lock();
        (marks.dns, marks.connect) = (None, None);
    }
}

/// The phases of the request in whose task this is called.
fn current() -> Option<Arc<Phases>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Measures a look-up. After one that failed there is no connection.
pub(super) async fn looking_up<T, E>(lookup: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    if let Some(phases) = current() {
        phases.marks.lock().dns = Some(Span::begin());
    }
    let found = lookup.await;
    if let Some(phases) = current() {
        let mut marks = phases.marks.lock();
        if let Some(dns) = &mut marks.dns {
            dns.ended = Some(Instant::now());
        }
        if found.is_err() {
            marks.connect = None;
        }
    }
    found
}

/// Measures the client's connector.
#[derive(Clone, Copy)]
pub(super) struct Measured;

impl<S> Layer<S> for Measured {
    type Service = MeasuredConnector<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MeasuredConnector(inner)
    }
}

/// A connector that is measured.
#[derive(Clone)]
pub(super) struct MeasuredConnector<S>(S);

impl<S, Target> Service<Target> for MeasuredConnector<S>
where
    S: Service<Target>,
    S::Response: Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let connecting = self.0.call(target);
        let Some(phases) = current() else { return Box::pin(connecting) };
        {
            let mut marks = phases.marks.lock();
            // There may have been a connection before, which died before anything could be sent.
            (marks.dns, marks.connect) = (None, Some(Span::begin()));
        }
        Box::pin(Connecting { connecting: Box::pin(connecting), phases: Some(phases) })
    }
}

/// A connection that is being opened for a request.
struct Connecting<F> {
    connecting: Pin<Box<F>>,
    phases: Option<Arc<Phases>>,
}

impl<F, C, E> Future for Connecting<F>
where
    F: Future<Output = Result<C, E>>,
    C: Connection,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(phases) = &self.phases {
            let is_ours = CURRENT.try_with(|current| Arc::ptr_eq(current, phases)).unwrap_or(false);
            if !is_ours {
                phases.give_up_connection();
                self.phases = None;
            }
        }
        let polled = self.connecting.as_mut().poll(context);
        if let (Poll::Ready(result), Some(phases)) = (&polled, &self.phases) {
            let mut marks = phases.marks.lock();
            if let Some(connect) = &mut marks.connect {
                connect.ended = Some(Instant::now());
            }
            if let Ok(connection) = result {
                marks.remote_address = address(connection);
            }
        }
        polled
    }
}

/// Whom a connection leads to.
fn address(connection: &impl Connection) -> Option<SocketAddr> {
    let mut extras = Extensions::new();
    connection.connected().get_extras(&mut extras);
    extras.get::<HttpInfo>().map(HttpInfo::remote_addr)
}
