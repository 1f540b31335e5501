//! A connection that is kept up: made, watched, and made anew for ever, whatever ends it.
//!
//! The library's own recovery is left alone: it does not bring back channels that the server closed, nor consumers that
//! it cancelled. Here everything hangs on a session; when one ends, all begins again on the next.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::error::Broker;
use super::events::{Blocked, ConnectFailed, Connected, ConnectionLost};
use crate::config::Secret;
use crate::ports::bus::Error;
use crate::runtime::tasks;

/// First and longest wait between two tries to connect; a part of it is left to chance.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Longest wait for a connection to be made, with all that the protocol says first.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for a connection to say goodbye.
const CLOSE: Duration = Duration::from_secs(2);
/// How often a connection is looked at that tells nothing.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds between heartbeats, unless the URL says otherwise: a dead peer is noticed after two of them.
const HEARTBEAT: u16 = 10;
/// A connection that held so long was a good one: the next try comes soon.
const GOOD: Duration = Duration::from_secs(30);

/// Reads a URL: `amqp://` or `amqps://`, with user, password and virtual host. A path of `/` alone means the virtual host
/// `/`, as nobody has one without a name.
///
/// # Errors
/// When it is no such URL. The URL is not in the error: it holds a password.
pub(super) fn address(url: &Secret) -> Result<AMQPUri, Error> {
    let mut uri: AMQPUri = url
        .reveal()
        .parse()
        .map_err(|_| Error::Invalid("the URL of RabbitMQ is not amqp://USER:PASSWORD@HOST:PORT/VHOST".to_owned()))?;
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT));
    Ok(uri)
}

/// Connects once.
///
/// # Errors
/// When there is no connection within ten seconds.
pub(super) async fn connect(uri: &AMQPUri, name: &str) -> Result<Session, Broker> {
    let properties = ConnectionProperties::default().with_connection_name(format!("turnpike {name}").into());
    let connecting = Connection::connect_uri(uri.clone(), properties);
    let connection = timeout(CONNECT, connecting).await.map_err(|_| Broker::Silent(CONNECT))??;
    Ok(Session { connection, broken: CancellationToken::new(), blocked: watch::Sender::new(None) })
}

/// A connection for as long as it lasts.
pub(super) struct Session {
    connection: Connection,
    broken: CancellationToken,
    /// Why the server takes nothing at the moment.
    blocked: watch::Sender<Option<String>>,
}

impl Session {
    /// A new channel.
    ///
    /// # Errors
    /// When the connection is gone or does not answer.
    pub(super) async fn channel(&self) -> Result<Channel, Broker> {
        self.ask(self.connection.create_channel()).await
    }

    /// Waits for an answer. A server that does not give one, though it does not block, is believed dead.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Broker> {
        if let Ok(answer) = timeout(ANSWER, question).await {
            return Ok(answer?);
        }
        self.doubt();
        Err(Broker::Silent(ANSWER))
    }

    /// Ends a session that did not answer in time. While the server blocks publishers that is no sign of anything.
    pub(super) fn doubt(&self) {
        if !self.connection.status().blocked() {
            self.broken.cancel();
        }
    }

    /// Whether it can be used.
    pub(super) fn is_up(&self) -> bool {
        self.connection.status().connected() && !self.broken.is_cancelled()
    }

    /// Waits until the server takes messages.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub(super) async fn unblocked(&self, patience: Duration) -> Result<(), Error> {
        let mut blocked = self.blocked.subscribe();
        let waiting = blocked.wait_for(Option::is_none);
        if timeout(patience, waiting).await.is_ok() {
            return Ok(());
        }
        let reason = self.blocked.borrow().clone().unwrap_or_default();
        Err(Error::Unavailable(format!("RabbitMQ takes no messages at the moment: {reason}")))
    }

    /// Says goodbye, which gives back to their queues what is not acknowledged.
    pub(super) async fn close(&self) {
        // A connection that is broken cannot be closed; the server notices by itself.
        let _ = timeout(CLOSE, self.connection.close(200, "OK".into())).await;
    }
}

/// A connection that is kept up.
pub(super) struct Line {
    name: &'static str,
    uri: AMQPUri,
    session: watch::Sender<Option<Arc<Session>>>,
    /// Why there is no session.
    reason: Mutex<String>,
}

impl Line {
    /// Begins to connect, and goes on until `stop`.
    pub(super) fn start(name: &'static str, uri: AMQPUri, stop: CancellationToken) -> Arc<Self> {
        let reason = Mutex::new("still connecting".to_owned());
        let line = Arc::new(Self { name, uri, session: watch::Sender::new(None), reason });
        tasks::spawn("rabbitmq-connection", Arc::clone(&line).keep(stop));
        line
    }

    /// The session that is, or the next one.
    ///
    /// # Errors
    /// When there is none within `patience`.
    pub(super) async fn session(&self, patience: Duration) -> Result<Arc<Session>, Error> {
        match timeout(patience, self.next()).await {
            Ok(session) => Ok(session),
            Err(_) => Err(Error::Unavailable(format!("no connection to RabbitMQ: {}", self.reason.lock()))),
        }
    }

    /// The session that is, or the next one, however long that takes.
    pub(super) async fn next(&self) -> Arc<Session> {
        let mut sessions = self.session.subscribe();
        loop {
            let session = sessions.borrow_and_update().clone();
            if let Some(session) = session.filter(|session| session.is_up()) {
                return session;
            }
            // The line owns the sender, so this waits; the pause is for a session whose end is not noticed yet.
            let _ = timeout(LOOK, sessions.changed()).await;
        }
    }

    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let connected = tokio::select! {
                connected = connect(&self.uri, self.name) => connected,
                () = stop.cancelled() => return,
            };
            match connected {
                Ok(session) => {
                    Connected { line: self.name }.emit();
                    let reason = self.hold(Arc::new(session), &stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    ConnectionLost { line: self.name, reason: &reason }.emit();
                    *self.reason.lock() = reason;
                    failures = if begun.elapsed() > GOOD { 0 } else { failures + 1 };
                }
                Err(error) => {
                    failures += 1;
                    ConnectFailed { line: self.name, failures, error: &error }.emit();
                    *self.reason.lock() = error.to_string();
                }
            }
            let _ = timeout(pause(failures), stop.cancelled()).await;
        }
    }

    /// Lends a session out until it ends. Says why it did.
    async fn hold(&self, session: Arc<Session>, stop: &CancellationToken) -> String {
        let events = session.connection.events_listener();
        self.session.send_replace(Some(Arc::clone(&session)));
        let reason = watch_over(self.name, &session, events, stop).await;
        self.session.send_replace(None);
        session.broken.cancel();
        session.blocked.send_replace(None);
        session.close().await;
        reason
    }
}

/// Waits for the end of a session. Says why it ended.
async fn watch_over(
    line: &'static str,
    session: &Session,
    events: impl Stream<Item = Event>,
    stop: &CancellationToken,
) -> String {
    let mut events = std::pin::pin!(events);
    let mut last = "the connection is closed".to_owned();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep(LOOK) => None,
            () = session.broken.cancelled() => return "no answer in time".to_owned(),
            () = stop.cancelled() => return "stopped".to_owned(),
        };
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                Blocked { line, reason: Some(&reason) }.emit();
                session.blocked.send_replace(Some(reason));
            }
            Some(Event::ConnectionUnblocked) => {
                Blocked { line, reason: None }.emit();
                session.blocked.send_replace(None);
            }
            // Errors of channels are told here too, and are the business of whoever has the channel.
            Some(Event::Error(error)) => last = error.to_string(),
            _ => {}
        }
        if !session.connection.status().connected() {
            return last;
        }
    }
}

/// How long to wait after so many failures: doubled each time, and between half and all of that.
fn pause(failures: u32) -> Duration {
    let longest = RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1);
    let part = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
    longest.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_user_host_and_virtual_host() {
        let uri = address(&Secret::new("amqps://me:p%40ss@rabbit.example:5671/turn%2fpike?heartbeat=3")).unwrap();
        assert_eq!((&*uri.authority.userinfo.password, &*uri.vhost), ("p@ss", "turn/pike"));
        assert_eq!(uri.query.heartbeat, Some(3));
        for slash in ["", "/", "/%2f"] {
            let uri = address(&Secret::new(format!("amqp://localhost{slash}"))).unwrap();
            assert_eq!((&*uri.vhost, uri.authority.port, uri.query.heartbeat), ("/", 5672, Some(HEARTBEAT)));
        }
    }

    #[test]
    fn a_wrong_url_keeps_its_password() {
        let error = address(&Secret::new("http://me:secret@rabbit")).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert!(pause(0) <= RETRY.0);
        assert!(pause(40) <= RETRY.1 && pause(40) >= RETRY.1 / 2);
    }
}
