//! From a provider's events to the pieces of an answer. What providers share is here: when an answer is over, what an
//! early end means, and that nothing is left running when the reader goes away.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Response;
use serde::Deserialize;
use tokio::time::{Instant, Sleep};

use super::super::http::root_cause;
use super::Parser;
use crate::ports::model::{Chunk, ChunkStream, Error, FinishReason, Usage};

/// How long to wait, once the model has stopped, for the tokens counted.
const USAGE_WAIT: Duration = Duration::from_secs(1);

/// How long to wait, after the last event, for the end of the HTTP body. Only a body read to its end leaves its
/// connection to the next turn; it mostly comes within microseconds.
const END_WAIT: Duration = Duration::from_millis(25);

/// What one event says.
#[derive(Debug, Default, PartialEq)]
pub(in crate::adapters::model) struct Frame {
    /// Text of the answer.
    pub(in crate::adapters::model) content: Option<String>,
    /// The model is thinking.
    pub(in crate::adapters::model) reasoning: bool,
    /// Tokens so far; the last count stands.
    pub(in crate::adapters::model) usage: Option<Usage>,
    /// The model has stopped.
    pub(in crate::adapters::model) finish: Option<FinishReason>,
    /// No event follows.
    pub(in crate::adapters::model) last: bool,
}

/// Text within an event: borrowed from the event unless it holds escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::adapters::model) struct Text<'a>(#[serde(borrow)] pub(in crate::adapters::model) Cow<'a, str>);

/// Reads an answer; `read` turns one event's data into a frame. The stream ends with `Finish` or an error, and dropping it
/// ends the request.
pub(in crate::adapters::model) fn chunks(response: Response, read: fn(&[u8]) -> Result<Frame, Error>) -> ChunkStream {
    Box::pin(Chunks {
        body: Some(response.bytes_stream().boxed()),
        parser: Parser::default(),
        read,
        usage: None,
        finish: None,
        is_last: false,
        deadline: None,
    })
}

struct Chunks {
    /// The provider's answer; gone as soon as nothing more is wanted of it, which ends the request.
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    parser: Parser,
    read: fn(&[u8]) -> Result<Frame, Error>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    /// The provider has said that no event follows.
    is_last: bool,
    /// When to stop waiting for what comes after the answer's text.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Chunks {
    /// The text or the sign of life of an event, if it has one. The rest is kept for the end.
    fn take_event(&mut self, data: &[u8]) -> Result<Option<Chunk>, Error> {
        let frame = (self.read)(data)?;
        self.usage = frame.usage.or(self.usage);
        // Some providers repeat the reason, or send a plain stop after the real one.
        self.finish = self.finish.or(frame.finish);
        if frame.last {
            self.is_last = true;
            self.wait_at_most(END_WAIT);
        } else if frame.finish.is_some() && self.deadline.is_none() {
            self.wait_at_most(USAGE_WAIT);
        }
        Ok(match frame.content.filter(|text| !text.is_empty()) {
            Some(text) => Some(Chunk::Content(text)),
            None => frame.reasoning.then_some(Chunk::Reasoning),
        })
    }

    fn wait_at_most(&mut self, wait: Duration) {
        self.deadline = Some(Box::pin(tokio::time::sleep_until(Instant::now() + wait)));
    }

    /// The next chunk of the events that have come, without asking the network.
    fn take_arrived(&mut self) -> Result<Option<Chunk>, Error> {
        while !self.is_last {
            let event = self.parser.next().map_err(|error| Error::Protocol(error.to_string()))?;
            let Some(data) = event else { break };
            // Some gateways send empty events to keep the connection open.
            if data.is_empty() {
                continue;
            }
            match self.take_event(&data) {
                Ok(None) => {}
                Err(error) if self.finish.is_none() => return Err(error),
                // The answer is whole: what goes wrong after it takes nothing from it.
                Err(_) => self.is_last = true,
                chunk => return chunk,
            }
        }
        if self.is_last {
            self.parser = Parser::default();
        }
        Ok(None)
    }

    /// The body is over: what is left in the parser may be an event without its blank line, or half of one.
    fn take_rest(&mut self) -> Option<Chunk> {
        let data = self.parser.finish()?;
        if self.is_last || data.is_empty() { None } else { self.take_event(&data).ok().flatten() }
    }

    /// What closes the answer: the tokens, if they are known, and then the reason it stopped.
    fn take_closing(&mut self) -> Option<Chunk> {
        match self.usage.take() {
            Some(usage) => Some(Chunk::Usage(usage)),
            None => self.finish.take().map(Chunk::Finish),
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Error>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(self.take_closing().map(Ok)) };
            let polled = body.poll_next_unpin(cx);
            let over = match polled {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.parser.push(bytes);
                    match self.take_arrived() {
                        Ok(None) => continue,
                        Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                        Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
                    }
                }
                Poll::Ready(None) => "it ended in the middle".to_owned(),
                Poll::Ready(Some(Err(error))) => root_cause(&error),
                Poll::Pending => {
                    let Some(deadline) = &mut self.deadline else { return Poll::Pending };
                    ready!(deadline.as_mut().poll(cx));
                    "the rest did not come".to_owned()
                }
            };
            self.body = None;
            let rest = self.take_rest();
            if self.finish.is_none() {
                if !self.is_last {
                    // Text that came in half an event is not delivered: the answer starts anew elsewhere.
                    return Poll::Ready(Some(Err(self.fail(Error::Interrupted(over)))));
                }
                // A provider that says that no event follows, but not why, has come to its end.
                self.finish = Some(FinishReason::Stop);
            }
            if let Some(chunk) = rest {
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
    }

    /// Ends the request: after an error nothing follows.
    fn fail(&mut self, error: Error) -> Error {
        self.body = None;
        self.usage = None;
        self.finish = None;
        error
    }
}

impl Stream for Chunks {
    type Item = Result<Chunk, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.body.is_some() {
            // Several events may have come at once.
            match self.take_arrived() {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
        }
        self.poll_chunk(cx)
    }
}
