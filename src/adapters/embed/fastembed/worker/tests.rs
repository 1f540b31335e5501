//! The threads with an encoder that writes down what it was given and waits for leave to go on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::task::Poll;

use super::*;

/// Tells the batch that it was given, then waits for one permission. A text's vector is its length.
struct Scripted {
    batches: Sender<Vec<String>>,
    permissions: Receiver<()>,
}

impl Encode for Scripted {
    fn encode(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        self.batches.send(texts.iter().map(|text| (*text).to_owned()).collect()).unwrap();
        self.permissions.recv().unwrap();
        if texts.contains(&"bad") {
            return Err(Error::Encode("a bad text".into()));
        }
        Ok(texts.iter().map(|text| vec![f32::from(u16::try_from(text.len()).unwrap())]).collect())
    }
}

fn passages(batch_size: usize) -> (Passages, Receiver<Vec<String>>, Sender<()>) {
    let (batches, seen) = channel();
    let (permit, permissions) = channel();
    let mut encoder = Some(Scripted { batches, permissions });
    let load = move || encoder.take().ok_or(Error::Stopped);
    (Passages::start(load, String::new(), batch_size).unwrap(), seen, permit)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// Lets a request reach the queue.
async fn send<F: Future>(mut request: Pin<&mut F>) {
    poll_fn(|context| match request.as_mut().poll(context) {
        Poll::Pending => Poll::Ready(()),
        Poll::Ready(_) => panic!("answered before it was worked on"),
    })
    .await;
}

#[tokio::test]
async fn batches_hold_texts_of_like_length_and_the_answer_keeps_the_order() {
    let (passages, seen, permit) = passages(2);
    (0..3).for_each(|_| permit.send(()).unwrap());
    let vectors = passages.embed(texts(&["ccc", "a", "eeeee", "bb", "dddd"])).await.unwrap();
    assert_eq!(vectors, [[3.0], [1.0], [5.0], [2.0], [4.0]]);
    let batches: Vec<_> = seen.try_iter().collect();
    assert_eq!(batches, [texts(&["dddd", "eeeee"]), texts(&["bb", "ccc"]), texts(&["a"])]);
}

#[tokio::test]
async fn long_texts_share_no_batch() {
    let (passages, seen, permit) = passages(8);
    (0..3).for_each(|_| permit.send(()).unwrap());
    let (half, more) = ("h".repeat(BATCH_BYTES / 2), "m".repeat(BATCH_BYTES / 2 + 1));
    passages.embed(texts(&["a", &half, "bb", &more, &half])).await.unwrap();
    let sizes: Vec<_> = seen.try_iter().map(|batch| batch.len()).collect();
    assert_eq!(sizes, [1, 2, 2]);
}

#[tokio::test]
async fn a_short_request_does_not_wait_for_the_end_of_a_long_one() {
    let (passages, seen, permit) = passages(1);
    let mut long = Box::pin(passages.embed(texts(&["a", "aa", "aaa", "aaaa"])));
    send(long.as_mut()).await;
    assert_eq!(seen.recv().unwrap(), ["aaaa"]);
    let mut short = Box::pin(passages.embed(texts(&["b"])));
    send(short.as_mut()).await;
    (0..5).for_each(|_| permit.send(()).unwrap());
    assert_eq!(short.await.unwrap(), [[1.0]]);
    assert_eq!(long.await.unwrap().len(), 4);
    let order: Vec<_> = seen.try_iter().flatten().collect();
    assert_eq!(order, ["b", "aaa", "aa", "a"]);
}

#[tokio::test]
async fn a_request_nobody_waits_for_is_dropped_before_its_next_batch() {
    let (passages, seen, permit) = passages(1);
    let mut left = Box::pin(passages.embed(texts(&["a", "aa"])));
    send(left.as_mut()).await;
    assert_eq!(seen.recv().unwrap(), ["aa"]);
    drop(left);
    (0..2).for_each(|_| permit.send(()).unwrap());
    passages.embed(texts(&["b"])).await.unwrap();
    assert_eq!(seen.try_iter().flatten().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn dropping_waits_for_the_batch_at_hand_and_for_no_more() {
    let (passages, seen, permit) = passages(1);
    let mut left = Box::pin(passages.embed(texts(&["a", "aa", "aaa"])));
    send(left.as_mut()).await;
    assert_eq!(seen.recv().unwrap(), ["aaa"]);
    drop(left);
    permit.send(()).unwrap();
    drop(passages);
    // Disconnected, not empty: the thread has ended and taken its encoder along.
    assert_eq!(seen.try_recv(), Err(TryRecvError::Disconnected));
}

#[tokio::test]
async fn a_failing_request_leaves_the_next_one_alone() {
    let (passages, _seen, permit) = passages(1);
    (0..2).for_each(|_| permit.send(()).unwrap());
    assert!(matches!(passages.embed(texts(&["bad"])).await, Err(Error::Encode(_))));
    assert_eq!(passages.embed(texts(&["fine"])).await.unwrap(), [[4.0]]);
}

#[tokio::test]
async fn a_model_that_does_not_load_is_tried_again_with_the_next_request() {
    let (batches, _seen) = channel();
    let (permit, permissions) = channel();
    permit.send(()).unwrap();
    let mut attempts = vec![Ok(Scripted { batches, permissions }), Err(Error::BadModel("torn".into()))];
    let passages = Passages::start(move || attempts.pop().unwrap(), "passage: ".to_owned(), 8).unwrap();
    assert!(matches!(passages.embed(texts(&["a"])).await, Err(Error::BadModel(_))));
    assert_eq!(passages.embed(texts(&["a"])).await.unwrap(), [[10.0]]);
}

#[tokio::test]
async fn no_passages_are_no_work() {
    let (passages, seen, _permit) = passages(4);
    assert!(passages.embed(Vec::new()).await.unwrap().is_empty());
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn questions_run_one_at_a_time_with_their_prefix() {
    let (batches, seen) = channel();
    let (permit, permissions) = channel();
    let queries = Queries::start(Scripted { batches, permissions }, "query: ".to_owned()).unwrap();
    (0..2).for_each(|_| permit.send(()).unwrap());
    let (one, two) = tokio::join!(queries.embed("a"), queries.embed("bb"));
    assert_eq!((one.unwrap(), two.unwrap()), (vec![8.0], vec![9.0]));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [["query: a"], ["query: bb"]]);
}
