//! The sender and TLS: HTTP/2, certificates, and ports that speak something else.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use turnpike::adapters::webhook::HttpSender;
use turnpike::ports::webhook::{Error, Posted, Sender};

use super::{LIMIT, request, sender_with, settings};
use crate::support::receiver::{Act, Receiver};
use crate::support::tls::{Authority, TlsReceiver};

/// A sender that trusts an authority of its own, and waits a second.
fn trusting(authority: &Authority) -> HttpSender {
    sender_with(turnpike::config::Webhooks { ca_file: Some(authority.file()), ..settings(true) })
}

fn refused(posted: Posted) -> String {
    match posted.result {
        Err(Error::Tls(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_receiver_share_a_connection_of_http_2() {
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority.issue("localhost", -1..1), &["h2", "http/1.1"]).await;
    let sender = trusting(&authority);
    let first = sender.post(request(receiver.url("localhost", "/"))).await;
    assert_eq!(first.remote_address, Some(receiver.address));
    assert!(first.timing.dns.is_some() && first.timing.connect.is_some(), "{first:?}");
    let answer = first.result.unwrap();
    assert_eq!((answer.status, answer.http_version), (204, "HTTP/2.0"));

    let many = (0..100).map(|_| sender.post(request(receiver.url("localhost", "/"))));
    for posted in futures::future::join_all(many).await {
        assert_eq!((posted.timing.dns, posted.timing.connect), (None, None));
        assert_eq!(posted.result.unwrap().status, 204);
    }
    assert_eq!((receiver.requests(), receiver.connections()), (101, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_http_2_is_spoken_to_over_a_kept_connection() {
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority.issue("127.0.0.1", -1..1), &["http/1.1"]).await;
    let sender = trusting(&authority);
    for _ in 0..20 {
        let answer = sender.post(request(receiver.url("127.0.0.1", "/"))).await.result.unwrap();
        assert_eq!((answer.status, answer.http_version), (204, "HTTP/1.1"));
    }
    assert_eq!(receiver.requests(), 20);
    // A request that is made before the last one's connection is back at its place opens another.
    assert!(receiver.connections() <= 5, "{} connections", receiver.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_endless_body_little_is_read_and_the_connection_goes_on() {
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority.issue("localhost", -1..1), &["h2"]).await;
    let sender = trusting(&authority);
    for _ in 0..10 {
        let answer = sender.post(request(receiver.url("localhost", "/endless"))).await.result.unwrap();
        assert_eq!((answer.status, answer.body_start.len()), (200, LIMIT));
        sender.post(request(receiver.url("localhost", "/"))).await.result.unwrap();
    }
    assert_eq!(receiver.connections(), 1);
    // What lies in the buffers of both sides.
    assert!(receiver.written() < 32 << 20, "{} bytes", receiver.written());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_in_silence_is_given_up() {
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority.issue("localhost", -1..1), &["h2"]).await;
    let sender = trusting(&authority);
    sender.post(request(receiver.url("localhost", "/"))).await.result.unwrap();
    receiver.fall_silent();
    let begun = Instant::now();
    while sender.post(request(receiver.url("localhost", "/"))).await.result.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "webhooks go on into a dead connection");
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_good_is_named() {
    let authority = Authority::new();
    let sender = trusting(&authority);
    for (host, days, said) in [
        ("localhost", -9..-1, "expired"),
        ("localhost", 1..9, "not valid yet"),
        ("example.com", -1..1, "not valid for name"),
        ("127.0.0.2", -1..1, "not valid for name"),
    ] {
        let receiver = TlsReceiver::start(&authority.issue(host, days), &["h2", "http/1.1"]).await;
        let refused = refused(sender.post(request(receiver.url("localhost", "/"))).await);
        assert!(refused.contains(said), "{host}: {refused}");
        assert_eq!(receiver.requests(), 0, "{host}: something was sent");
    }
    // An authority that nobody told us to trust.
    let stranger = Authority::new();
    let receiver = TlsReceiver::start(&stranger.issue("localhost", -1..1), &["http/1.1"]).await;
    refused(sender.post(request(receiver.url("localhost", "/"))).await);
    assert_eq!(receiver.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_plain_http_do_not_understand_each_other() {
    let authority = Authority::new();
    let sender = trusting(&authority);
    let encrypted = TlsReceiver::start(&authority.issue("localhost", -1..1), &["http/1.1"]).await;
    let url = encrypted.url("localhost", "/").replace("https://", "http://");
    let error = sender.post(request(url)).await.result.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert_eq!(encrypted.requests(), 0);

    for act in [Act::status(204), Act::Garbage] {
        let plain = Receiver::start(move |_| act.clone()).await;
        let url = plain.url("/").replace("http://", "https://");
        let begun = Instant::now();
        let error = sender.post(request(url)).await.result.unwrap_err();
        assert!(matches!(error, Error::Tls(_) | Error::Connect(_) | Error::Timeout(_)), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{error:?}");
        assert!(plain.received().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_ends_with_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let silent = trusting(&Authority::new());
    let (posted, accepted) = tokio::join!(silent.post(request(url)), listener.accept());
    drop(accepted);
    assert_eq!(posted.result, Err(Error::Timeout(Duration::from_secs(1))));
    // That it hung in the connection is seen: nothing was looked up, and no answer began.
    assert!(posted.timing.connect.unwrap() > Duration::from_millis(900), "{:?}", posted.timing);
    assert_eq!((posted.timing.dns, posted.timing.first_byte), (None, None));
}
