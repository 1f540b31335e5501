//! The two threads that embed, one for questions and one for passages, and the bounded queues before them.
//!
//! Invariants:
//! - Questions run one at a time. Padding changes the last bits of a vector, so a batch would let one
//!   company's question show in the scores of another's.
//! - For the same reason a batch of passages never mixes requests. Requests take turns batch by batch, so a
//!   long ingestion does not hold up a short one.
//! - A request whose caller has gone away is dropped before its next batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Error;
use super::encoder::Encode;

/// Questions that may wait. At some three milliseconds each this is a wait of half a second.
const WAITING_QUERIES: usize = 128;
/// Passage requests that may wait or take turns.
const WAITING_PASSAGES: usize = 16;
/// Bytes of text in a batch, padding included; a longer text runs alone. Batches only pay while texts are short: on
/// 240 paragraphs of some 800 bytes, batches of 32 took half as much processor time again as pairs, and 815 MB
/// instead of 345.
const BATCH_BYTES: usize = 2_048;
/// The passages' session, as large as the model, is given back after so long without work.
const IDLE: Duration = Duration::from_secs(60);

/// The thread that embeds questions.
pub(super) struct Queries {
    queue: Queue<String, Vec<f32>>,
    prefix: String,
}

impl Queries {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Stopped` if the system gives no thread.
    pub(super) fn start(mut encoder: impl Encode + 'static, prefix: String) -> Result<Self, Error> {
        let queue = Queue::start("embed-queries", WAITING_QUERIES, move |requests: Receiver<Request<String, _>>| {
            while let Ok(request) = requests.recv() {
                if !request.is_abandoned() {
                    let vectors = encoder.encode(&[request.work.as_str()]);
                    request.answer(vectors.and_then(|mut vectors| vectors.pop().ok_or(Error::Stopped)));
                }
            }
        })?;
        Ok(Self { queue, prefix })
    }

    /// The unit vector of a question.
    pub(super) async fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        self.queue.ask(format!("{}{text}", self.prefix)).await
    }
}

/// The thread that embeds passages.
pub(super) struct Passages {
    queue: Queue<Vec<String>, Vec<Vec<f32>>>,
    prefix: String,
}

impl Passages {
    /// Starts the thread. `load` is called when there is work and no encoder.
    ///
    /// # Errors
    /// `Stopped` if the system gives no thread.
    pub(super) fn start<E: Encode>(
        load: impl FnMut() -> Result<E, Error> + Send + 'static,
        prefix: String,
        batch_size: usize,
    ) -> Result<Self, Error> {
        let queue = Queue::start("embed-passages", WAITING_PASSAGES, move |requests| {
            take_turns(&requests, load, batch_size.max(1));
        })?;
        Ok(Self { queue, prefix })
    }

    /// The unit vectors of passages, in their order.
    pub(super) async fn embed(&self, mut texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        if !self.prefix.is_empty() {
            for text in &mut texts {
                text.insert_str(0, &self.prefix);
            }
        }
        self.queue.ask(texts).await
    }
}

/// Work for a thread, with the way back to who asked.
struct Request<W, A> {
    work: W,
    reply: oneshot::Sender<Result<A, Error>>,
    /// A place in the queue, free again when the request is done with.
    _place: OwnedSemaphorePermit,
}

impl<W, A> Request<W, A> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn answer(self, answer: Result<A, Error>) {
        // Whoever no longer listens does not need the answer.
        self.reply.send(answer).ok();
    }
}

/// A thread behind a bounded queue. Dropping the queue waits for the batch at hand and the thread's end: a process
/// that exits in the middle of a batch pulls ONNX Runtime's statics from under it.
///
/// The semaphore is the bound; the channel can then be the standard library's, on which a thread can wait
/// with a deadline.
struct Queue<W, A> {
    /// Taken when the queue is dropped.
    sender: Option<Sender<Request<W, A>>>,
    thread: Option<JoinHandle<()>>,
    places: Arc<Semaphore>,
}

impl<W, A> Drop for Queue<W, A> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told its callers by going away.
            thread.join().ok();
        }
    }
}

impl<W: Send + 'static, A: Send + 'static> Queue<W, A> {
    fn start(
        name: &str,
        places: usize,
        run: impl FnOnce(Receiver<Request<W, A>>) + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel();
        let thread =
            thread::Builder::new().name(name.to_owned()).spawn(move || run(receiver)).map_err(|_| Error::Stopped)?;
        Ok(Self { sender: Some(sender), thread: Some(thread), places: Arc::new(Semaphore::new(places)) })
    }

    async fn ask(&self, work: W) -> Result<A, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { work, reply, _place: place };
        let sender = self.sender.as_ref().ok_or(Error::Stopped)?;
        sender.send(request).map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

/// A request for passages, partly done.
struct Job {
    request: Request<Vec<String>, Vec<Vec<f32>>>,
    /// Indexes of the texts that are left, the longest last: texts of like length share a batch with little padding.
    left: Vec<usize>,
    vectors: Vec<Vec<f32>>,
}

impl Job {
    fn new(request: Request<Vec<String>, Vec<Vec<f32>>>) -> Self {
        let texts = &request.work;
        let mut left: Vec<usize> = (0..texts.len()).collect();
        left.sort_by_key(|&index| texts.get(index).map_or(0, String::len));
        let vectors = vec![Vec::new(); texts.len()];
        Self { request, left, vectors }
    }

    /// Embeds the next batch; true when nothing is left.
    fn advance(&mut self, encoder: &mut impl Encode, batch_size: usize) -> Result<bool, Error> {
        let longest = self.left.last().and_then(|&index| self.request.work.get(index)).map_or(0, String::len);
        let fitting = BATCH_BYTES.checked_div(longest).unwrap_or(batch_size).clamp(1, batch_size);
        let batch = self.left.split_off(self.left.len().saturating_sub(fitting));
        let texts: Vec<&str> =
            batch.iter().filter_map(|&index| self.request.work.get(index)).map(String::as_str).collect();
        for (index, vector) in batch.into_iter().zip(encoder.encode(&texts)?) {
            if let Some(place) = self.vectors.get_mut(index) {
                *place = vector;
            }
        }
        Ok(self.left.is_empty())
    }
}

/// The passages' thread: one batch of one request at a time, round and round.
fn take_turns<E: Encode>(
    requests: &Receiver<Request<Vec<String>, Vec<Vec<f32>>>>,
    mut load: impl FnMut() -> Result<E, Error>,
    batch_size: usize,
) {
    let mut encoder: Option<E> = None;
    let mut jobs: VecDeque<Job> = VecDeque::new();
    loop {
        if jobs.is_empty() {
            match next(requests, encoder.is_some()) {
                Some(request) => jobs.push_back(Job::new(request)),
                None if encoder.is_some() => encoder = None,
                None => return,
            }
        }
        let Some(mut job) = jobs.pop_front() else {
            continue;
        };
        if job.request.is_abandoned() {
            continue;
        }
        let advanced = match &mut encoder {
            Some(encoder) => job.advance(encoder, batch_size),
            None => load().and_then(|loaded| job.advance(encoder.insert(loaded), batch_size)),
        };
        match advanced {
            Ok(false) => {
                // Who has just come goes before who has had a turn.
                jobs.extend(requests.try_iter().map(Job::new));
                jobs.push_back(job);
            }
            Ok(true) => job.request.answer(Ok(job.vectors)),
            Err(error) => job.request.answer(Err(error)),
        }
    }
}

/// The next request. `None` when the queue is closed, or has been idle for long and `briefly` is set.
fn next<R>(requests: &Receiver<R>, briefly: bool) -> Option<R> {
    if !briefly {
        return requests.recv().ok();
    }
    requests.recv_timeout(IDLE).ok()
}

#[cfg(test)]
mod tests;
