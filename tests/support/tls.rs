//! Receivers behind TLS, and an authority whose certificates say what a test wants.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The OID of ed25519, as a key's kind and as a signature's.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
const SEQUENCE: u8 = 0x30;

/// Who signs certificates.
pub struct Authority {
    key: Ed25519KeyPair,
    certificate: Vec<u8>,
    dir: tempfile::TempDir,
}

/// A certificate with its key.
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let (key, _) = key_pair();
        let day = time::Duration::DAY;
        let now = OffsetDateTime::now_utc();
        let is_authority = extension(BASIC_CONSTRAINTS, &der(SEQUENCE, &[&[0x01, 0x01, 0xff]]));
        let certificate =
            certificate(&key, "Test Authority", key.public_key().as_ref(), (now - day, now + day), &is_authority);
        Self { key, certificate, dir: tempfile::tempdir().unwrap() }
    }

    /// A file for `webhooks.ca_file`.
    pub fn file(&self) -> PathBuf {
        let path = self.dir.path().join("authority.pem");
        let text = BASE64_STANDARD.encode(&self.certificate);
        std::fs::write(&path, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")).unwrap();
        path
    }

    /// A certificate for a name or an address that is good from so many days from now until so many.
    pub fn issue(&self, host: &str, days: std::ops::Range<i64>) -> Identity {
        let (key, document) = key_pair();
        let name = match host.parse() {
            Ok(IpAddr::V4(address)) => der(0x87, &[&address.octets()]),
            Ok(IpAddr::V6(address)) => der(0x87, &[&address.octets()]),
            Err(_) => der(0x82, &[host.as_bytes()]),
        };
        let names = extension(SUBJECT_ALT_NAME, &der(SEQUENCE, &[&name]));
        let at = |days| OffsetDateTime::now_utc() + time::Duration::days(days);
        let validity = (at(days.start), at(days.end));
        let certificate = certificate(&self.key, "receiver", key.public_key().as_ref(), validity, &names);
        Identity { certificate, key: document }
    }
}

impl Identity {
    fn config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn key_pair() -> (Ed25519KeyPair, Vec<u8>) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    (Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap(), document.as_ref().to_vec())
}

/// A certificate of X.509, version 3, by the test authority.
fn certificate(
    issuer: &Ed25519KeyPair,
    subject: &str,
    key: &[u8],
    (from, until): (OffsetDateTime, OffsetDateTime),
    extensions: &[u8],
) -> Vec<u8> {
    let algorithm = der(SEQUENCE, &[ED25519]);
    let name = |text: &str| {
        let attribute = der(SEQUENCE, &[COMMON_NAME, &der(0x0c, &[text.as_bytes()])]);
        der(SEQUENCE, &[&der(0x31, &[&attribute])])
    };
    let time = |at: OffsetDateTime| {
        let format = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
        der(0x17, &[at.format(&format).unwrap().as_bytes()])
    };
    let serial: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, subject.len().try_into().unwrap()];
    let body = der(
        SEQUENCE,
        &[
            &der(0xa0, &[&[0x02, 0x01, 0x02]]),
            &der(0x02, &[&serial]),
            &algorithm,
            &name("Test Authority"),
            &der(SEQUENCE, &[&time(from), &time(until)]),
            &name(subject),
            &der(SEQUENCE, &[&algorithm, &der(0x03, &[&[0], key])]),
            &der(0xa3, &[&der(SEQUENCE, &[extensions])]),
        ],
    );
    let signature = issuer.sign(&body);
    der(SEQUENCE, &[&body, &algorithm, &der(0x03, &[&[0], signature.as_ref()])])
}

/// A critical extension.
fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[oid, &[0x01, 0x01, 0xff], &der(0x04, &[value])])
}

/// A value of DER: its tag, its length, its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => value.push(short),
        Ok(long) => value.extend([0x81, long]),
        Err(_) => {
            value.push(0x82);
            value.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    value.extend(content);
    value
}

/// A receiver behind TLS. It is gone when it is dropped.
pub struct TlsReceiver {
    pub address: SocketAddr,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Bytes of endless bodies that were handed to the connection.
    written: AtomicUsize,
    /// Connections up to this one go silent after their first request.
    silent: AtomicUsize,
}

impl TlsReceiver {
    /// A receiver that speaks one of these protocols, answers 204, and under `/endless` with a body that has no end.
    pub async fn start(identity: &Identity, alpn: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, config) = (listener.local_addr().unwrap(), identity.config(alpn));
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let counted = Arc::clone(&counts);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (wire, _) = listener.accept().await.unwrap();
                let number = counted.connections.fetch_add(1, Ordering::Relaxed) + 1;
                let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
                connections.spawn(async move { serve(wire, config, &counted, number).await.unwrap_or_default() });
            }
        });
        Self { address, counts, _tasks: tasks }
    }

    pub fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.address.port())
    }

    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Bytes of endless bodies that somebody took, give or take what lies in buffers.
    pub fn written(&self) -> usize {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// From now on nothing more is read from and written to the connections that there are; new ones work.
    pub fn fall_silent(&self) {
        self.counts.silent.store(self.connections(), Ordering::Relaxed);
    }
}

async fn serve(
    mut wire: TcpStream,
    config: Arc<ServerConfig>,
    counts: &Arc<Counts>,
    number: usize,
) -> std::io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut early = Vec::new();
    while tls.is_handshaking() {
        flush(&mut tls, &mut wire).await?;
        if !tls.is_handshaking() {
            break;
        }
        read(&mut tls, &mut wire, &mut early).await?;
    }
    flush(&mut tls, &mut wire).await?;
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let service = {
        let counts = Arc::clone(counts);
        service_fn(move |request: Request<Incoming>| answer(request, Arc::clone(&counts)))
    };
    let http = async {
        let io = TokioIo::new(theirs);
        if is_http2 {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(io, service).await.unwrap_or_default();
        } else {
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.unwrap_or_default();
        }
    };
    let is_silent = || counts.silent.load(Ordering::Relaxed) >= number;
    let (_, pumped) = tokio::join!(http, pump(tls, wire, ours, early, is_silent));
    pumped
}

/// Hands on what comes through TLS in the clear, and back.
async fn pump(
    mut tls: ServerConnection,
    mut wire: TcpStream,
    mut plain: DuplexStream,
    early: Vec<u8>,
    is_silent: impl Fn() -> bool,
) -> std::io::Result<()> {
    plain.write_all(&early).await?;
    let mut from_plain = vec![0; 16 * 1024];
    loop {
        if is_silent() {
            std::future::pending::<()>().await;
        }
        flush(&mut tls, &mut wire).await?;
        let mut clear = Vec::new();
        tokio::select! {
            came = read(&mut tls, &mut wire, &mut clear) => {
                came?;
                if is_silent() {
                    continue;
                }
                plain.write_all(&clear).await?;
            }
            went = plain.read(&mut from_plain) => {
                let went = went?;
                if went == 0 {
                    tls.send_close_notify();
                    return flush(&mut tls, &mut wire).await;
                }
                std::io::Write::write_all(&mut tls.writer(), &from_plain[..went])?;
            }
        }
    }
}

async fn flush(tls: &mut ServerConnection, wire: &mut TcpStream) -> std::io::Result<()> {
    while tls.wants_write() {
        let mut out = Vec::new();
        tls.write_tls(&mut out)?;
        wire.write_all(&out).await?;
    }
    Ok(())
}

/// Reads once from the wire. What TLS has against it is told to the other side.
async fn read(tls: &mut ServerConnection, wire: &mut TcpStream, clear: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let length = wire.read(&mut buffer).await?;
    if length == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        tls.read_tls(&mut rest)?;
        match tls.process_new_packets() {
            Ok(state) => {
                let start = clear.len();
                clear.resize(start + state.plaintext_bytes_to_read(), 0);
                std::io::Read::read_exact(&mut tls.reader(), &mut clear[start..])?;
            }
            Err(error) => {
                flush(tls, wire).await?;
                return Err(std::io::Error::other(error));
            }
        }
    }
    Ok(())
}

async fn answer(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Response<Body>, Infallible> {
    counts.requests.fetch_add(1, Ordering::Relaxed);
    if request.uri().path() != "/endless" {
        return Ok(Response::builder().status(204).body(Body::empty()).unwrap());
    }
    let piece = bytes::Bytes::from_static(&[b'x'; 16 * 1024]);
    let pieces = futures::stream::repeat_with(move || {
        counts.written.fetch_add(piece.len(), Ordering::Relaxed);
        Ok::<_, Infallible>(piece.clone())
    });
    Ok(Response::new(Body::from_stream(pieces)))
}
