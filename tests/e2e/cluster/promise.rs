//! What a customer was promised: a turn as it was read, and everything that was read in a run.

use std::time::{Duration, Instant};

use crate::support::client::Turn;

/// How a turn looked to its customer.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// The customer's session.
    pub(super) session: String,
    /// What was asked.
    pub(super) message: String,
    /// The turn.
    pub(super) turn_id: String,
    /// What was read of the answer.
    pub(super) text: String,
    /// How it ended.
    pub(super) end: End,
    /// The phase of the run in which it began.
    pub(super) phase: usize,
    /// Until the first piece of the answer.
    pub(super) first: Option<Duration>,
    /// Between its pieces.
    pub(super) gaps: Vec<Duration>,
    /// Parts that a fallback stood in for.
    pub(super) degraded: Vec<String>,
    /// Whether each event came once, in order.
    pub(super) is_in_order: bool,
}

/// How a turn ended for its customer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// `done`, with its finish reason.
    Done(String),
    /// `error`, with its code.
    Error(String),
    /// The stream broke off.
    Cut,
}

/// Everything that the customers saw.
#[derive(Default, Debug)]
pub(super) struct Seen {
    /// Turns that began.
    pub(super) promises: Vec<Promise>,
    /// Requests that were cut before their `start`, by a kill.
    pub(super) cut_early: usize,
    /// What nobody's death excuses: refused requests and broken streams.
    pub(super) failures: Vec<String>,
    /// Repeated requests that were given a turn of their own.
    pub(super) given_another: Vec<String>,
    /// Streams that were taken up on another gateway to their end.
    pub(super) resumed: usize,
    /// Requests that were repeated on another gateway and gave the same turn.
    pub(super) repeated: usize,
}

impl Seen {
    /// Adds what another customer saw.
    pub(super) fn add(&mut self, other: Self) {
        self.promises.extend(other.promises);
        self.cut_early += other.cut_early;
        self.failures.extend(other.failures);
        self.given_another.extend(other.given_another);
        self.resumed += other.resumed;
        self.repeated += other.repeated;
    }

    /// Turns that began in a phase and were read to their `done`.
    pub(super) fn done_in(&self, phase: usize) -> usize {
        self.promises.iter().filter(|it| it.phase == phase && matches!(it.end, End::Done(_))).count()
    }
}

/// A stream that is being read.
pub(super) struct Reading {
    pub(super) turn: Turn,
    pub(super) phase: usize,
    pub(super) began: Instant,
    pub(super) first: Option<Duration>,
    pub(super) last: Instant,
    pub(super) gaps: Vec<Duration>,
    pub(super) has_ended: bool,
    pub(super) is_cut: bool,
    /// Whether it was taken up elsewhere: how long that took is no first token and no gap of the answer.
    pub(super) went_on: bool,
}

impl Reading {
    /// Begins to read.
    pub(super) fn of(turn: Turn, phase: usize, began: Instant) -> Self {
        Self {
            turn,
            phase,
            began,
            first: None,
            last: began,
            gaps: Vec::new(),
            has_ended: false,
            is_cut: false,
            went_on: false,
        }
    }

    /// The number of the last event.
    pub(super) fn last_id(&self) -> usize {
        self.turn.seen.last().map_or(0, |seen| seen.id)
    }

    /// Goes on with another stream of the same turn.
    pub(super) fn goes_on(&mut self, turn: Turn) {
        let before = std::mem::replace(&mut self.turn, turn);
        self.turn.seen = before.seen;
        self.is_cut = false;
        self.went_on = true;
        self.last = Instant::now();
    }

    /// What is known of the turn; none before its `start`.
    pub(super) fn ended(&self, session: &str, message: &str) -> Option<Promise> {
        self.turn.find("start")?;
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let end = match (self.turn.find("done"), self.turn.find("error")) {
            (Some(done), _) => End::Done(word(&done["finish_reason"])),
            (None, Some(error)) => End::Error(word(&error["code"])),
            (None, None) => End::Cut,
        };
        let degraded = self.turn.find("done").and_then(|done| done["degraded"].as_array().cloned());
        Some(Promise {
            session: session.to_owned(),
            message: message.to_owned(),
            turn_id: self.turn.turn_id(),
            text: self.turn.text(),
            end,
            phase: self.phase,
            first: self.first,
            gaps: self.gaps.clone(),
            degraded: degraded.unwrap_or_default().iter().map(word).collect(),
            // From the store an answer begins again, and says so: there the numbers of its pieces are forgotten.
            is_in_order: self.turn.seen.windows(2).all(|pair| {
                pair[1].id == pair[0].id + 1 || (pair[1].kind() == "reset" && pair[1].data["reason"] == "resumed")
            }),
        })
    }
}
