//! Several processes that write at once, and writers that are cut off: readers see one index, never a mix of two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use tonic::Code;
use turnpike::domain::knowledge::EncodedPassage;
use turnpike::ports::index::{Encoder, Error, KnowledgeIndex, Query};

use super::Remote;
use crate::index::{EAST, NORTH, both, company, document, encoder, hybrid, ids, keywords, passage, placed};
use crate::support::qdrant::QdrantServer;
use crate::support::wait_for;

fn version(n: usize) -> Vec<EncodedPassage> {
    (0..20).map(|place| placed("d", place, &format!("version {n}"), NORTH)).collect()
}

fn other_model() -> Encoder {
    encoder(Some("other"))
}

#[tokio::test]
async fn values_with_spaces_are_compared_whole() {
    let remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("spaces"));
    let name = "bảng giá 2026.pdf";
    for other in [name, "bảng giá", "giá 2026.pdf"] {
        index.replace(&a, vec![(document(other), vec![placed(other, 0, "giá", NORTH)])]).await.unwrap();
    }
    index.replace(&a, vec![(document(name), vec![placed(name, 0, "mới", NORTH)])]).await.unwrap();
    assert_eq!(index.contents(&a).await.unwrap().passages, 3);
    index.remove(&a, &[document("bảng giá")]).await.unwrap();
    assert_eq!(ids(&index.search(&a, &keywords("giá")).await.unwrap()), ["giá 2026.pdf#0"]);
}

#[tokio::test]
async fn a_rebuilding_that_is_cut_off_changes_nothing_and_the_next_one_tidies_up() {
    let remote = Remote::new().await;
    let (old, new, a) = (remote.index(hybrid()), remote.index(other_model()), company("cut"));
    old.replace(&a, vec![(document("d"), version(1))]).await.unwrap();
    let before = old.search(&a, &both("version 1", NORTH)).await.unwrap();
    let passages: Vec<_> = (0..40).map(|n| placed("d", n, "khác", EAST)).collect();
    // Each time it gets a little further: 40 passages are six writes, then come the count and the marker.
    let mut was_cut = 0;
    for allowed in 0..8 {
        remote.server.fail_after(allowed, Code::Unavailable);
        if new.rebuild(&a, passages.clone()).await.is_ok() {
            break;
        }
        remote.server.recover();
        was_cut += 1;
        assert_eq!(old.search(&a, &both("version 1", NORTH)).await.unwrap(), before, "cut after {allowed} calls");
        assert_eq!(old.contents(&a).await.unwrap().passages, 20);
        let error = new.search(&a, &both("khác", EAST)).await.unwrap_err();
        assert!(matches!(error, Error::EncoderMismatch { .. }), "{error}");
    }
    assert!(was_cut > 6, "it was cut {was_cut} times");
    remote.server.recover();
    new.rebuild(&a, passages).await.unwrap();
    assert_eq!(new.contents(&a).await.unwrap().encoder, Some(other_model()));
    assert_eq!(new.search(&a, &both("khác", EAST)).await.unwrap().len(), 10);
    assert_eq!(new.erase(&a).await.unwrap(), 40, "something of the old generations is left");
}

#[tokio::test]
async fn a_replacement_that_is_cut_off_is_mended_by_doing_it_again() {
    let remote = Remote::new().await;
    let (index, a) = (remote.index(hybrid()), company("again"));
    // A look at the marker, three writes, a deletion, and another look.
    for allowed in 0..6 {
        index.replace(&a, vec![(document("d"), version(1))]).await.unwrap();
        let new: Vec<_> = version(2 + allowed).into_iter().take(15).collect();
        remote.server.fail_after(allowed, Code::Unavailable);
        index.replace(&a, vec![(document("d"), new.clone())]).await.unwrap_err();
        remote.server.recover();
        // Whatever a reader finds meanwhile is of one version or the other, place by place, and there is no gap.
        let places: Vec<usize> = index.passages(&a).await.unwrap().iter().map(|passage| passage.ordinal).collect();
        assert!(places.len() >= new.len() && places.iter().copied().eq(0..places.len()), "{places:?}");
        index.replace(&a, vec![(document("d"), new.clone())]).await.unwrap();
        assert_eq!(index.encoded(&a).await.unwrap(), new);
    }
}

async fn is_holding(server: &QdrantServer) {
    wait_for("a held call", async || server.is_holding().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_another_process_rebuilds_is_not_lost() {
    let remote = Remote::new().await;
    let (writer, rebuilder, a) = (remote.index(hybrid()), remote.index(hybrid()), company("beside"));
    writer.replace(&a, vec![(document("d"), version(1))]).await.unwrap();
    // The writer has put its passages into the old generation when the new one takes its place.
    remote.server.hold_next("delete");
    let write = writer.replace(&a, vec![(document("e"), vec![placed("e", 0, "phí", EAST)])]);
    let rebuild = async {
        is_holding(&remote.server).await;
        let rebuilt = rebuilder.rebuild(&a, version(2)).await;
        remote.server.recover();
        rebuilt
    };
    let (written, rebuilt) = tokio::join!(write, rebuild);
    written.unwrap();
    rebuilt.unwrap();
    assert_eq!(ids(&rebuilder.search(&a, &keywords("phí")).await.unwrap()), ["e#0"]);
    assert_eq!(rebuilder.contents(&a).await.unwrap().passages, 21);
}

#[tokio::test]
async fn a_reader_follows_when_another_process_rebuilds_or_erases() {
    let remote = Remote::new().await;
    let (reader, writer, a) = (remote.index(hybrid()), remote.index(hybrid()), company("follow"));
    let found = async || reader.search(&a, &both("version", NORTH)).await.unwrap();
    assert!(found().await.is_empty());
    writer.replace(&a, vec![(document("d"), version(1))]).await.unwrap();
    assert_eq!(found().await[0].passage.text, "version 1");
    writer.rebuild(&a, version(2)).await.unwrap();
    assert_eq!(found().await[0].passage.text, "version 2");
    writer.erase(&a).await.unwrap();
    assert!(found().await.is_empty());
    remote.index(other_model()).rebuild(&a, version(3)).await.unwrap();
    let error = reader.search(&a, &both("version", NORTH)).await.unwrap_err();
    assert!(matches!(error, Error::EncoderMismatch { .. }), "{error}");
    writer.rebuild(&a, version(4)).await.unwrap();
    assert_eq!(found().await[0].passage.text, "version 4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_writers_of_two_encoders_do_not_mix() {
    let remote = Remote::new().await;
    for round in 0..10 {
        let (one, two, a) = (remote.index(hybrid()), remote.index(other_model()), company("first"));
        let put = |name: &str| vec![(document(name), vec![placed(name, 0, "lãi", NORTH)])];
        let answers = tokio::join!(one.replace(&a, put("one")), two.replace(&a, put("two")));
        let (winner, loser, name) = match answers {
            (Ok(()), Err(Error::EncoderMismatch { .. })) => (one, two, "one#0"),
            (Err(Error::EncoderMismatch { .. }), Ok(())) => (two, one, "two#0"),
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!(ids(&winner.search(&a, &both("lãi", NORTH)).await.unwrap()), [name]);
        assert_eq!(winner.contents(&a).await.unwrap().passages, 1);
        assert!(loser.search(&a, &both("lãi", NORTH)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_writer_that_comes_late_takes_nothing_away() {
    let remote = Remote::new().await;
    let (late, early, a) = (remote.index(hybrid()), remote.index(hybrid()), company("late"));
    let put = |name: &str| vec![(document(name), vec![placed(name, 0, "lãi", NORTH)])];
    // It has seen that there is no index yet, and is about to say whose it is.
    remote.server.hold_next("upsert");
    let first = async {
        is_holding(&remote.server).await;
        let answer = early.replace(&a, put("early")).await;
        remote.server.recover();
        answer
    };
    let (second, first) = tokio::join!(late.replace(&a, put("late")), first);
    first.unwrap();
    second.unwrap();
    let names: Vec<_> = early.passages(&a).await.unwrap().into_iter().map(|passage| passage.document_id).collect();
    assert_eq!(names, [document("early"), document("late")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_writers_of_one_encoder_lose_nothing() {
    let remote = Remote::new().await;
    for _ in 0..5 {
        let a = company("all");
        let writers: Vec<_> = (0..6).map(|_| remote.index(hybrid())).collect();
        let put = |n: usize| {
            let name = format!("d{n}");
            vec![(document(&name), vec![placed(&name, 0, "lãi", NORTH)])]
        };
        for answer in join_all(writers.iter().enumerate().map(|(n, index)| index.replace(&a, put(n)))).await {
            answer.unwrap();
        }
        assert_eq!(writers[0].contents(&a).await.unwrap().passages, 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_and_writes_go_on_beside_rebuildings() {
    let remote = Remote::new().await;
    let (a, b) = (company("rebuilt"), company("beside"));
    let index = Arc::new(remote.index(hybrid()));
    index.rebuild(&a, version(0)).await.unwrap();
    let is_done = AtomicBool::new(false);
    let rebuild = async {
        let other = remote.index(hybrid());
        for n in 1..30 {
            other.rebuild(&a, version(n)).await.unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
    };
    let search = async {
        let mut searches = 0;
        while !is_done.load(Ordering::SeqCst) || searches < 30 {
            let query = Query { candidates: 100, limit: 100, ..both("version", NORTH) };
            let hits = index.search(&a, &query).await.unwrap();
            let texts: std::collections::BTreeSet<_> = hits.iter().map(|hit| &hit.passage.text).collect();
            assert_eq!((hits.len(), texts.len()), (20, 1), "a mix of {texts:?}");
            searches += 1;
        }
    };
    let write = async {
        for n in 0..30 {
            let name = format!("d{n}");
            index.replace(&b, vec![(document(&name), vec![passage(&name, 0, "phí")])]).await.unwrap();
        }
    };
    tokio::join!(rebuild, search, write);
    assert_eq!(index.contents(&b).await.unwrap().passages, 30);
    assert_eq!(index.erase(&a).await.unwrap(), 20);
}
