//! A server that fails, is slow, goes away and comes back: every question ends in time, with an error that says which.

use std::time::{Duration, Instant};

use tonic::Code;
use turnpike::adapters::index::qdrant::{QdrantIndex, Settings};
use turnpike::config::Secret;
use turnpike::ports::index::{Error, KnowledgeIndex};

use super::Remote;
use crate::index::{NORTH, both, company, document, hybrid, ids, placed};
use crate::support::qdrant::QdrantServer;

/// Longest wait that these tests set.
const SHORT: Duration = Duration::from_millis(400);
/// What it may take with the machine's other work.
const BOUND: Duration = Duration::from_secs(10);

fn impatient(server: &QdrantServer) -> QdrantIndex {
    let settings = Settings { timeout: SHORT, write_timeout: SHORT, ..Settings::new(server.url()) };
    QdrantIndex::open(&settings, hybrid()).unwrap()
}

fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, Error>, word: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains(word)), "{error}");
}

#[tokio::test]
async fn errors_of_the_server_are_told_apart() {
    let remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("codes"));
    let put = || vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])];
    index.replace(&a, put()).await.unwrap();
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Cancelled] {
        remote.server.fail_next(100, code);
        is_unavailable(index.search(&a, &both("lãi", NORTH)).await, "injected");
        is_unavailable(index.contents(&a).await, "injected");
        is_unavailable(index.check().await, "injected");
        is_unavailable(index.replace(&a, put()).await, "injected");
        is_unavailable(index.remove(&a, &[document("d")]).await, "injected");
        is_unavailable(index.rebuild(&a, vec![]).await, "injected");
        is_unavailable(index.erase(&a).await, "injected");
    }
    for code in [Code::Internal, Code::InvalidArgument, Code::DataLoss] {
        remote.server.fail_next(100, code);
        let error = index.search(&a, &both("lãi", NORTH)).await.unwrap_err();
        assert!(matches!(&error, Error::Failed(reason) if reason.contains("injected")), "{error}");
    }
    remote.server.recover();
    assert_eq!(index.search(&a, &both("lãi", NORTH)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for() {
    let remote = Remote::new().await;
    let (index, a) = (impatient(&remote.server), company("slow"));
    index.check().await.unwrap();
    remote.server.delay(Duration::from_secs(60));
    for _ in 0..3 {
        let begun = Instant::now();
        is_unavailable(index.search(&a, &both("lãi", NORTH)).await, "did not answer");
        let put = vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])];
        is_unavailable(index.replace(&a, put).await, "did not answer");
        is_unavailable(index.check().await, "did not answer");
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    }
    remote.server.recover();
    index.check().await.unwrap();
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let index = QdrantIndex::open(&Settings { timeout: SHORT, ..Settings::new(url) }, hybrid()).unwrap();
    let begun = Instant::now();
    is_unavailable(index.search(&company("silent"), &both("lãi", NORTH)).await, "did not answer");
    is_unavailable(index.check().await, "did not answer");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again_with_what_it_had() {
    let mut remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("away"));
    index.replace(&a, vec![(document("d"), vec![placed("d", 0, "lãi", NORTH)])]).await.unwrap();
    let before = index.search(&a, &both("lãi", NORTH)).await.unwrap();
    for _ in 0..3 {
        remote.server.stop();
        is_unavailable(index.search(&a, &both("lãi", NORTH)).await, "no connection");
        is_unavailable(index.check().await, "no connection");
        remote.server.resume();
        assert_eq!(index.search(&a, &both("lãi", NORTH)).await.unwrap(), before);
        // Connections that were cut while nobody used them are no reason to fail either.
        remote.server.cut_connections();
        index.replace(&a, vec![(document("e"), vec![])]).await.unwrap();
        remote.server.cut_connections();
        assert_eq!(index.search(&a, &both("lãi", NORTH)).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_key_is_sent_and_a_wrong_one_is_named_but_not_repeated() {
    let remote = Remote::new().await;
    remote.server.require_key("right");
    let with = |key: &str| {
        let settings = Settings { api_key: Some(Secret::new(key)), ..remote.settings() };
        QdrantIndex::open(&settings, hybrid()).unwrap()
    };
    with("right").check().await.unwrap();
    let error = with("wr0ng").check().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(reason) if reason.contains("QDRANT_API_KEY")), "{error}");
    assert!(!format!("{error:?} {:?}", with("wr0ng")).contains("wr0ng"));
    is_unavailable(remote.index(hybrid()).check().await, "QDRANT_API_KEY");
}

#[tokio::test]
async fn a_question_is_one_call() {
    let remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("calls"));
    // Of different lengths, so that no two have the same score.
    let passages = (0..30u8).map(|n| {
        let (angle, text) = (f32::from(n) / 30.0, format!("lãi {n} {}", "và ".repeat(usize::from(n))));
        placed("d", usize::from(n), &text, [angle.cos(), angle.sin(), 0.0, 0.0])
    });
    index.replace(&a, vec![(document("d"), passages.collect())]).await.unwrap();
    index.search(&a, &both("lãi 3", NORTH)).await.unwrap();
    let before = remote.server.all_calls();
    for n in 0..20 {
        let hits = index.search(&a, &both(&format!("lãi {n}"), NORTH)).await.unwrap();
        assert!(ids(&hits).contains(&format!("d#{n}")));
    }
    assert_eq!(remote.server.all_calls() - before, 20);
}

#[tokio::test]
async fn every_request_says_whose_points_it_is_for() {
    let remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("scope"));
    let put = || vec![placed("d", 0, "lãi", NORTH)];
    index.replace(&a, vec![(document("d"), put())]).await.unwrap();
    index.replace(&a, vec![(document("d"), put())]).await.unwrap();
    index.search(&a, &both("lãi", NORTH)).await.unwrap();
    index.contents(&a).await.unwrap();
    index.passages(&a).await.unwrap();
    index.encoded(&a).await.unwrap();
    index.remove(&a, &[document("d")]).await.unwrap();
    index.rebuild(&a, put()).await.unwrap();
    index.optimize(&a).await.unwrap();
    index.erase(&a).await.unwrap();
    assert_eq!(remote.server.unscoped(), [""; 0]);
    let raw = qdrant_client::Qdrant::from_url(&remote.server.url()).skip_compatibility_check().build().unwrap();
    raw.scroll(qdrant_client::qdrant::ScrollPointsBuilder::new("turnpike")).await.unwrap();
    assert_eq!(remote.server.unscoped().len(), 1, "the server would not have noticed");
}
