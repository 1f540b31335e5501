//! One gate for each endpoint: how many requests it gets at a time, and none for a while when it keeps failing.
//!
//! The room an endpoint has grows with each success and halves with each failure, so an endpoint that is new or in
//! trouble holds few of the job's permits. Who finds no room waits a moment where room is about to come, and otherwise
//! goes back to the bus. Times to come back are spread at the rate the endpoint works, so that ten thousand messages
//! for a dead endpoint don't all come back every second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::events::BreakerOpened;
use super::super::retry::Policy;
use crate::domain::EndpointId;

/// Requests at a time to an endpoint that nothing is known of.
const FIRST_WINDOW: usize = 4;
/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// Longest time that the breaker stays open, unless the endpoint asked for more.
pub(super) const LONGEST_BREAK: Duration = Duration::from_secs(60);
/// How long the breaker stays open, by how often it opened without a success between.
const PAUSE: Policy = Policy { initial: Duration::from_secs(5), max: LONGEST_BREAK, give_up_after: None };
/// How long a request to an endpoint that answers keeps others waiting.
pub(super) const PROMPT: Duration = Duration::from_millis(250);
/// How long a request to an endpoint does of which nothing good is known.
const BRIEF: Duration = Duration::from_millis(20);
/// How long a message may wait in its handler for room.
const PATIENCE: Duration = Duration::from_millis(200);
/// An endpoint that has requests and finished none for so long, and for twice what it usually takes, gets no more of them.
const STUCK: Duration = Duration::from_secs(1);
/// Messages that come back in the time that an endpoint has hung, one after the other.
const STUCK_PIECES: u32 = 16;
/// Messages that found no room come back over so much time at most.
const FULL_SPREAD: Duration = Duration::from_secs(30);
/// Messages that found the breaker open come back over so much time at most after it closes.
const OPEN_SPREAD: Duration = Duration::from_secs(240);
/// A message comes back no sooner than this.
const SOONEST: Duration = Duration::from_millis(20);
/// Longest time between two messages that come back.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// How long a request takes, as long as nothing is known.
const FIRST_SERVICE: Duration = Duration::from_millis(50);
/// Endpoints remembered; beyond it those not used for longest are forgotten.
const MOST_GATES: usize = 10_000;

/// The gates of all endpoints.
pub(super) struct Gates {
    gates: Mutex<HashMap<EndpointId, Gate>>,
    waiting: AtomicUsize,
    most_waiting: usize,
    limit: usize,
    longest_pause: Duration,
}

/// Whether a message may go to its endpoint now.
pub(super) enum Entry<'a> {
    /// It may.
    Go(Pass<'a>),
    /// There is no room; come back so much later.
    Full(Duration),
    /// The endpoint is left alone; come back so much later.
    Open {
        /// When.
        after: Duration,
        /// Why it is left alone.
        reason: String,
    },
}

/// What came of a request, for the gate.
pub(super) enum Report {
    /// The endpoint works.
    Success,
    /// It does not.
    Failure {
        /// Why.
        reason: String,
    },
    /// It asks to be left alone.
    Busy {
        /// How long.
        pause: Duration,
        /// What it said.
        reason: String,
    },
    /// No request was made.
    Untried,
}

impl Report {
    /// Why the endpoint did not take what was sent, if it did not.
    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            Self::Success | Self::Untried => None,
            Self::Failure { reason } | Self::Busy { reason, .. } => Some(reason),
        }
    }
}

/// The right to one request. Dropped without a report it only gives the room back.
pub(super) struct Pass<'a> {
    gates: &'a Gates,
    endpoint: EndpointId,
    begun: Instant,
    is_probe: bool,
    patience: Duration,
    report: Report,
}

struct Gate {
    in_flight: usize,
    window: usize,
    waiting: usize,
    /// Whether its last request succeeded.
    is_proven: bool,
    failures: u32,
    trips: u32,
    open_until: Option<Instant>,
    is_probing: bool,
    reason: String,
    service: Duration,
    next_slot: Instant,
    last_done: Instant,
    last_used: Instant,
    room: Arc<Notify>,
}

impl Gates {
    /// Gates for a job with `concurrency` permits, of which one endpoint may have `limit`. An endpoint that asks to be
    /// left alone is, for `longest_pause` at most.
    pub(super) fn new(concurrency: usize, limit: usize, longest_pause: Duration) -> Self {
        Self {
            gates: Mutex::new(HashMap::new()),
            waiting: AtomicUsize::new(0),
            most_waiting: concurrency / 2,
            limit: limit.max(1),
            longest_pause,
        }
    }

    /// Asks to send one request to an endpoint.
    pub(super) async fn enter(&self, endpoint: &EndpointId) -> Entry<'_> {
        let patience = Instant::now() + PATIENCE;
        loop {
            let (wait, room) = {
                let mut gates = self.gates.lock();
                forget_some(&mut gates, endpoint);
                let now = Instant::now();
                let gate = gates.entry(endpoint.clone()).or_insert_with(|| Gate::new(self.limit, now));
                gate.last_used = now;
                if let Some(until) = gate.open_until {
                    if now < until || gate.is_probing {
                        let after = gate.spread(now, until.saturating_duration_since(now), OPEN_SPREAD);
                        return Entry::Open { after, reason: gate.reason.clone() };
                    }
                    gate.is_probing = true;
                    return Entry::Go(self.pass(gate, endpoint, now, true));
                }
                if gate.is_stuck(now) {
                    return Entry::Full(gate.spread(now, STUCK, FULL_SPREAD));
                }
                if gate.in_flight < gate.window {
                    return Entry::Go(self.pass(gate, endpoint, now, false));
                }
                let may_wait = now < patience
                    && gate.failures == 0
                    && gate.waiting < 2 * self.limit
                    && self.waiting.load(Ordering::Relaxed) < self.most_waiting;
                if !may_wait {
                    return Entry::Full(gate.spread(now, Duration::ZERO, FULL_SPREAD));
                }
                // Registered while the lock is held, so no room that comes from now on is missed.
                let mut room = Box::pin(Arc::clone(&gate.room).notified_owned());
                room.as_mut().enable();
                (self.wait(gate, endpoint), room)
            };
            // Whether it was in time shows when asking again.
            tokio::time::timeout_at(patience, room).await.unwrap_or_default();
            drop(wait);
        }
    }

    /// How much longer an endpoint is left alone, if it is.
    pub(super) fn open_for(&self, endpoint: &EndpointId) -> Option<Duration> {
        let until = self.gates.lock().get(endpoint)?.open_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn pass(&self, gate: &mut Gate, endpoint: &EndpointId, now: Instant, is_probe: bool) -> Pass<'_> {
        if gate.in_flight == 0 {
            gate.last_done = now;
        }
        gate.in_flight += 1;
        let patience = if gate.is_proven { PROMPT } else { BRIEF };
        Pass { gates: self, endpoint: endpoint.clone(), begun: now, is_probe, patience, report: Report::Untried }
    }

    fn wait(&self, gate: &mut Gate, endpoint: &EndpointId) -> Wait<'_> {
        gate.waiting += 1;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Wait { gates: self, endpoint: endpoint.clone() }
    }
}

/// Makes room for the gate of one more endpoint, if it takes room.
fn forget_some(gates: &mut HashMap<EndpointId, Gate>, newcomer: &EndpointId) {
    if gates.len() < MOST_GATES || gates.contains_key(newcomer) {
        return;
    }
    let mut idle: Vec<(Instant, EndpointId)> = gates
        .iter()
        .filter(|(_, gate)| gate.in_flight == 0 && gate.waiting == 0)
        .map(|(endpoint, gate)| (gate.last_used, endpoint.clone()))
        .collect();
    idle.sort();
    // A tenth at a time, so that a flood of endpoints doesn't sort them all for each one.
    for (_, endpoint) in idle.into_iter().take(MOST_GATES / 10) {
        gates.remove(&endpoint);
    }
}

impl Gate {
    fn new(limit: usize, now: Instant) -> Self {
        Self {
            in_flight: 0,
            window: FIRST_WINDOW.min(limit),
            waiting: 0,
            is_proven: false,
            failures: 0,
            trips: 0,
            open_until: None,
            is_probing: false,
            reason: String::new(),
            service: FIRST_SERVICE,
            next_slot: now,
            last_done: now,
            last_used: now,
            room: Arc::new(Notify::new()),
        }
    }

    /// Whether it seems to hang.
    fn is_stuck(&self, now: Instant) -> bool {
        // What failures took says nothing of how long a success takes.
        let usual = if self.failures == 0 { self.service * 2 } else { STUCK };
        self.in_flight > 0 && now - self.last_done >= usual.max(STUCK)
    }

    /// When to come back: after `base`, then one after the other. When `longest` is full it begins again from the front.
    fn spread(&mut self, now: Instant, base: Duration, longest: Duration) -> Duration {
        let front = now + base;
        let parallel = if self.open_until.is_some() { 1 } else { self.window };
        let gap = if self.is_stuck(now) {
            // The longer it hangs, the seldomer its messages come back to see whether it still does.
            ((now - self.last_done) / STUCK_PIECES).min(LONGEST_GAP)
        } else {
            self.service.min(LONGEST_GAP) / u32::try_from(parallel).unwrap_or(u32::MAX)
        };
        self.next_slot = self.next_slot.max(front) + gap;
        if self.next_slot > front + longest {
            self.next_slot = front + gap;
        }
        (self.next_slot - now).max(SOONEST)
    }

    fn settle(&mut self, report: Report, is_probe: bool, took: Duration, gates: &Gates) -> Option<Duration> {
        let now = Instant::now();
        let was_stuck = self.is_stuck(now);
        self.in_flight -= 1;
        if is_probe {
            self.is_probing = false;
        }
        if !matches!(report, Report::Untried) {
            self.last_done = now;
            self.service = (self.service * 3 + took) / 4;
        }
        match report {
            Report::Success => {
                if self.open_until.take().is_some() || was_stuck {
                    self.next_slot = now;
                }
                (self.is_proven, self.failures, self.trips) = (true, 0, 0);
                self.window = (self.window + 1).min(gates.limit);
                None
            }
            Report::Failure { reason } => {
                self.is_proven = false;
                self.failures = self.failures.saturating_add(1);
                self.window = (self.window / 2).max(1);
                self.reason = reason;
                // Requests that were under way when it opened say nothing new.
                let opens = if self.open_until.is_some() { is_probe } else { self.failures >= FAILURES };
                opens.then(|| {
                    let pause = PAUSE.delay(self.trips);
                    self.trips = self.trips.saturating_add(1);
                    self.open_until = Some(now + pause);
                    pause
                })
            }
            Report::Busy { pause, reason } => {
                self.window = (self.window / 2).max(1);
                self.reason = reason;
                let until = now + pause.min(gates.longest_pause);
                self.open_until = Some(self.open_until.map_or(until, |already| already.max(until)));
                None
            }
            Report::Untried => None,
        }
    }
}

impl Pass<'_> {
    /// How long the request may keep others waiting.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Says what came of the request, and gives the room back.
    pub(super) fn report(mut pass: Self, report: Report) {
        pass.report = report;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let report = std::mem::replace(&mut self.report, Report::Untried);
        let reason = match &report {
            Report::Failure { reason } => reason.clone(),
            _ => String::new(),
        };
        let opened = {
            let mut gates = self.gates.gates.lock();
            let Some(gate) = gates.get_mut(&self.endpoint) else { return };
            let opened = gate.settle(report, self.is_probe, self.begun.elapsed(), self.gates);
            // As many as there is room for: a success makes room for two.
            for _ in 0..gate.window.saturating_sub(gate.in_flight).min(gate.waiting) {
                gate.room.notify_one();
            }
            opened
        };
        if let Some(pause) = opened {
            BreakerOpened { endpoint: self.endpoint.as_str(), pause, reason: &reason }.emit();
        }
    }
}

/// Counts a message that waits for room, for as long as it does.
struct Wait<'a> {
    gates: &'a Gates,
    endpoint: EndpointId,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.gates.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(gate) = self.gates.gates.lock().get_mut(&self.endpoint) {
            gate.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
