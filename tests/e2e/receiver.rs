//! The webhook sender against receivers that do everything wrong.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod addresses;
mod hostile;
mod tls;

use std::time::Duration;

use turnpike::adapters::webhook::HttpSender;
use turnpike::config::Webhooks;
use turnpike::domain::webhook::Secret;
use turnpike::ports::webhook::{Answer, Error, Request, Sender};

use crate::support::receiver::{Act, Receiver};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const LIMIT: usize = 64 * 1024;
/// How long the senders of these tests wait.
const DEADLINE: Duration = Duration::from_secs(1);

fn settings(allow_private: bool) -> Webhooks {
    Webhooks {
        deadline: DEADLINE,
        initial_delay: Duration::from_secs(5),
        max_delay: Duration::from_secs(60),
        give_up_after: Duration::from_secs(600),
        concurrency: 16,
        concurrency_per_endpoint: 4,
        response_bytes: LIMIT,
        allow_private,
        allow_addresses: Vec::new(),
        ca_file: None,
        disable_after: None,
        keep_deliveries: Duration::from_secs(3600),
        endpoints_per_company: 50,
    }
}

fn sender_with(settings: Webhooks) -> HttpSender {
    // Another test of this process may have installed it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    HttpSender::new(&settings).unwrap()
}

fn sender(allow_private: bool) -> HttpSender {
    sender_with(settings(allow_private))
}

fn request(url: String) -> Request {
    Request {
        url,
        headers: vec![("x-test".to_owned(), "yes".to_owned())],
        body: bytes::Bytes::from_static(b"{\"a\":1}"),
    }
}

async fn post_to(act: Act) -> (Result<Answer, Error>, Receiver) {
    let receiver = Receiver::start(move |_| act.clone()).await;
    let posted = sender(true).post(request(receiver.url("/hook?x=1"))).await;
    (posted.result, receiver)
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_the_answer_comes_back() {
    let act = Act::Answer { status: 429, headers: vec![("retry-after", "7".to_owned())], body: "slowly".to_owned() };
    let (answer, receiver) = post_to(act).await;
    let headers =
        [("retry-after", "7"), ("content-length", "6")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected = Answer {
        status: 429,
        http_version: "HTTP/1.1",
        retry_after: Some("7".to_owned()),
        headers: headers.to_vec(),
        body_start: "slowly".into(),
    };
    assert_eq!(answer, Ok(expected));
    let received = receiver.received().remove(0);
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/hook?x=1"));
    assert_eq!((received.header("x-test"), received.body.as_slice()), ("yes", b"{\"a\":1}".as_slice()));
}

#[tokio::test]
async fn an_exchange_is_timed_by_phase() {
    let receiver = Receiver::start(|request| if request.number < 2 { Act::status(204) } else { Act::Hang }).await;
    let sender = sender(true);
    let url = receiver.url("/").replace("127.0.0.1", "localhost");
    let fresh = sender.post(request(url.clone())).await;
    let (dns, connect) = (fresh.timing.dns.unwrap(), fresh.timing.connect.unwrap());
    let first_byte = fresh.timing.first_byte.unwrap();
    assert!(dns + connect <= first_byte && first_byte <= fresh.timing.total, "{fresh:?}");
    assert_eq!(fresh.remote_address, Some(receiver.address()));

    // The connection is kept, so nothing is looked up and connected.
    let kept = sender.post(request(url.clone())).await;
    assert_eq!((kept.timing.dns, kept.timing.connect), (None, None));
    assert_eq!((kept.remote_address, receiver.connections()), (Some(receiver.address()), 1));

    // Of a try without an answer the phases until then are known.
    let silent = sender.post(request(receiver.url("/"))).await;
    assert!(silent.result.is_err() && silent.timing.total >= Duration::from_secs(1), "{silent:?}");
    assert!(silent.timing.connect.unwrap() < Duration::from_secs(1) && silent.timing.first_byte.is_none());
    assert_eq!(silent.remote_address, Some(receiver.address()));
}

#[tokio::test]
async fn what_a_receiver_sends_back_of_the_endpoints_key_is_masked() {
    let key = "key-0123456789";
    let receiver = Receiver::start(|request| Act::Answer {
        status: 200,
        headers: vec![("x-you-sent", request.header("x-api-key").to_owned()), ("set-cookie", "a=b".to_owned())],
        body: format!("{{\"headers\": \"{:?}\"}}", request.headers),
    })
    .await;
    let mut request = request(receiver.url("/"));
    request.headers.push(("x-api-key".to_owned(), key.to_owned()));
    let answer = sender(true).post(request).await.result.unwrap();
    assert_eq!(receiver.received()[0].header("x-api-key"), key);
    assert_eq!(
        answer.headers[..2],
        [("x-you-sent", "***"), ("set-cookie", "***")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    let body = String::from_utf8(answer.body_start.to_vec()).unwrap();
    assert!(body.contains("***") && !body.contains(key), "{body}");
}

#[tokio::test]
async fn a_signature_is_what_the_standards_own_check_expects() {
    let receiver = Receiver::healthy().await;
    let timestamp = time::OffsetDateTime::now_utc().unix_timestamp();
    let mut request = request(receiver.url("/"));
    let (new, old) = (Secret::shared([9; 32]), SECRET.parse::<Secret>().unwrap());
    let signatures = [&new, &old].map(|secret| secret.sign("msg_1", timestamp, &request.body).unwrap());
    request.headers.extend([
        ("webhook-id".to_owned(), "msg_1".to_owned()),
        ("webhook-timestamp".to_owned(), timestamp.to_string()),
        ("webhook-signature".to_owned(), signatures.join(" ")),
    ]);
    sender(true).post(request).await.result.unwrap();
    let received = receiver.received().remove(0);
    assert_eq!(received.verify(SECRET), Ok(()));
    assert_eq!(received.verify(new.reveal()), Ok(()));
    assert!(received.verify("whsec_b3RoZXI=").is_err());
}

#[tokio::test]
async fn of_a_huge_answer_little_is_read() {
    let (answer, receiver) = post_to(Act::Huge(1 << 30)).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body_start.len()), (200, LIMIT));
    // What lies in the sockets of both sides is some megabytes at most.
    assert!(receiver.written() < 64 << 20, "{} bytes", receiver.written());
}

#[tokio::test]
async fn what_is_no_answer_is_named() {
    for act in [Act::Close, Act::Garbage] {
        let (answer, _receiver) = post_to(act.clone()).await;
        assert!(matches!(answer, Err(Error::Protocol(_))), "{act:?}: {answer:?}");
    }
    let receiver = Receiver::healthy().await;
    let url = receiver.url("/");
    drop(receiver);
    let closed = async {
        // The port is closed when the receiver's task has ended.
        loop {
            match sender(true).post(request(url.clone())).await.result {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
    assert!(matches!(error, Error::Connect(_) | Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn connections_are_kept_for_the_next_webhook() {
    let receiver = Receiver::healthy().await;
    let sender = sender(true);
    for _ in 0..20 {
        sender.post(request(receiver.url("/"))).await.result.unwrap();
    }
    let received = receiver.wait_for(20, Duration::from_secs(10)).await;
    assert_eq!((received.len(), receiver.connections()), (20, 1));
}
