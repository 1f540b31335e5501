//! A load that remembers what it was promised: which turns were begun, what was read of each, and how it ended.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::promise::{End, Promise, Reading, Seen};
use super::site::{COMPANY, Cluster, Node, blocking};
use crate::support::client::Client;

/// Customers who ask at the same time.
pub(super) const CUSTOMERS: usize = 5;
/// Turns of a session before its customer begins another one.
const SESSION_TURNS: usize = 20;
/// How long a customer looks at an answer.
const READING: Duration = Duration::from_millis(40);
/// How long a stream is tried to be taken up on another gateway.
const RESUMING: Duration = Duration::from_secs(10);

/// Numbers that are the same in each run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(0x2545_f491_4f6c_dd1d ^ (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`.
    pub(super) fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What of the promises goes beyond asking and reading. A database that is away cannot say whose a key is.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// Streams are taken up on another gateway.
    pub(super) resumes: bool,
    /// Requests are repeated on another gateway.
    pub(super) repeats: bool,
}

/// Counts that the faults are timed by.
#[derive(Default)]
pub(super) struct Pulse {
    /// Events that the customers read.
    events: AtomicU64,
    phase: AtomicUsize,
    done: AtomicUsize,
    beat: Notify,
}

impl Pulse {
    /// Begins the next phase.
    pub(super) fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many more events were read.
    pub(super) async fn events(&self, more: u64) {
        let until = self.events.load(Ordering::SeqCst) + more;
        self.until(|| self.events.load(Ordering::SeqCst) >= until).await;
    }

    /// Waits until so many more turns were read to their `done`.
    pub(super) async fn turns(&self, more: usize) {
        let until = self.done.load(Ordering::SeqCst) + more;
        self.until(|| self.done.load(Ordering::SeqCst) >= until).await;
    }

    async fn until(&self, is_reached: impl Fn() -> bool) {
        let all = async {
            loop {
                let beat = self.beat.notified();
                if is_reached() {
                    return;
                }
                beat.await;
            }
        };
        tokio::time::timeout(crate::support::PATIENCE, all).await.expect("no customer gets anything any more");
    }
}

/// Runs `faults` while customers ask; gives what they saw, once the faults are over and the last answer is read. The
/// customers have a thread of their own, so that waiting for a server to start holds up none of them.
pub(super) async fn under_load(cluster: &Cluster, habits: Habits, faults: impl AsyncFnOnce(&Pulse)) -> Seen {
    let (pulse, stop) = (Pulse::default(), CancellationToken::new());
    let (nodes, key) = (cluster.gateways.as_slice(), cluster.key.as_str());
    // However the faults end, the customers go home.
    let (go_home, watched) = (stop.clone().drop_guard(), &pulse);
    let seen = blocking(|| {
        std::thread::scope(|threads| {
            let customers = threads.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let base = nodes[0].base().expect("the load begins with all gateways up");
                    let client = Client::of(&base, COMPANY, key);
                    let customers = (0..CUSTOMERS).map(|number| {
                        let customer = Customer { number, nodes, client: client.clone(), pulse: watched, habits };
                        customer.ask_until(&stop)
                    });
                    futures::future::join_all(customers).await
                })
            });
            tokio::runtime::Handle::current().block_on(faults(watched));
            drop(go_home);
            customers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    });
    seen.into_iter().fold(Seen::default(), |mut all, seen| {
        all.add(seen);
        all
    })
}

struct Customer<'a> {
    number: usize,
    nodes: &'a [Node],
    client: Client,
    pulse: &'a Pulse,
    habits: Habits,
}

/// A gateway as it was when a request was sent to it.
struct Asked<'a> {
    node: &'a Node,
    index: usize,
    life: u64,
    client: Client,
}

impl Asked<'_> {
    /// Whether it was killed since.
    fn was_killed(&self) -> bool {
        self.node.life() != self.life
    }
}

impl<'a> Customer<'a> {
    async fn ask_until(self, stop: &CancellationToken) -> Seen {
        let mut dice = Dice::new(self.number as u64);
        let mut seen = Seen::default();
        let mut number = 0;
        while !stop.is_cancelled() {
            let session = format!("khách-{}-{}", self.number, number / SESSION_TURNS);
            let message = format!("Câu hỏi {number} của khách {}: lãi suất vay là bao nhiêu?", self.number);
            match dice.throw(8) {
                0 if self.habits.resumes => self.resumed(&session, &message, &mut dice, &mut seen).await,
                1 if self.habits.repeats => self.repeated(&session, &message, &mut dice, &mut seen).await,
                _ => drop(self.asked(&session, &message, None, &mut dice, &mut seen).await),
            }
            number += 1;
            tokio::time::sleep(READING).await;
        }
        seen
    }

    /// A gateway that is up, any but the one excepted if there is another.
    async fn gateway(&self, dice: &mut Dice, except: Option<usize>) -> Asked<'a> {
        let first = dice.throw(self.nodes.len() as u64) as usize;
        loop {
            let up = (0..self.nodes.len()).map(|n| (first + n) % self.nodes.len()).filter_map(|index| {
                // The life first: a kill between the two is then seen as one.
                let (node, life) = (&self.nodes[index], self.nodes[index].life());
                Some(Asked { node, index, life, client: self.client.at(&node.base()?) })
            });
            let mut up: Vec<Asked<'a>> = up.collect();
            if let Some(other) = up.iter().position(|it| Some(it.index) != except) {
                return up.swap_remove(other);
            }
            if let Some(only) = up.pop() {
                return only;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks and reads to the end. Gives the gateway as it was before, and what was read if that is the whole answer.
    async fn asked(
        &self,
        session: &str,
        message: &str,
        key: Option<&str>,
        dice: &mut Dice,
        seen: &mut Seen,
    ) -> Option<(Asked<'a>, Promise)> {
        let asked = self.gateway(dice, None).await;
        let mut reading = self.begin(&asked, session, message, key, seen).await?;
        while self.next(&mut reading).await {}
        let promise = reading.ended(session, message);
        let what = format!("{message} at gateway {}", asked.index);
        self.keep(promise.clone(), asked.was_killed(), &what, seen).then_some((asked, promise?))
    }

    /// Asks, goes away in the middle, and reads the rest at another gateway.
    async fn resumed(&self, session: &str, message: &str, dice: &mut Dice, seen: &mut Seen) {
        let asked = self.gateway(dice, None).await;
        let Some(mut reading) = self.begin(&asked, session, message, None, seen).await else { return };
        let leaves_after = 2 + dice.throw(20);
        for _ in 0..leaves_after {
            if !self.next(&mut reading).await {
                break;
            }
        }
        let what = format!("{message} at gateway {}", asked.index);
        if reading.has_ended || reading.is_cut {
            self.keep(reading.ended(session, message), asked.was_killed(), &what, seen);
            return;
        }
        let (turn_id, after) = (reading.turn.turn_id(), reading.turn.seen.last().map_or(0, |seen| seen.id));
        let began = Instant::now();
        let mut last_answer = String::new();
        let mut is_excused = false;
        while began.elapsed() < RESUMING && !reading.has_ended {
            let other = self.gateway(dice, Some(asked.index)).await;
            match other.client.try_resume(&turn_id, after.max(reading.last_id())).await {
                Ok(turn) => {
                    reading.goes_on(turn);
                    while self.next(&mut reading).await {}
                }
                Err(answer) => last_answer = answer,
            }
            // Its gateway died with it: what is stored then is what came so far, and there is nothing to wait for.
            is_excused |= asked.was_killed() || other.was_killed();
            if reading.has_ended || is_excused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        reading.is_cut = !reading.has_ended;
        let what = format!("{message} begun at gateway {} and taken up at another ({last_answer})", asked.index);
        let has_ended = reading.has_ended;
        self.keep(reading.ended(session, message), is_excused, &what, seen);
        seen.resumed += usize::from(has_ended);
    }

    /// Asks, and sends the same request to another gateway, as a client does that did not hear the answer.
    async fn repeated(&self, session: &str, message: &str, dice: &mut Dice, seen: &mut Seen) {
        let key = format!("{session}/{message}");
        let key: String = key.chars().filter(char::is_ascii).collect();
        let Some((owner, first)) = self.asked(session, message, Some(&key), dice, seen).await else { return };
        let other = self.gateway(dice, Some(owner.index)).await;
        let mut again = Seen::default();
        let second = self.begin(&other, session, message, Some(&key), &mut again).await;
        let is_excused = other.was_killed() || owner.was_killed();
        let Some(mut second) = second else {
            if !is_excused {
                seen.failures.extend(again.failures);
            }
            return;
        };
        while self.next(&mut second).await {}
        let is_excused = other.was_killed() || owner.was_killed();
        match second.ended(session, message) {
            Some(second) if second.turn_id != first.turn_id => {
                let (one, two) = (&first.turn_id, &second.turn_id);
                seen.given_another.push(format!("{message}: turns {one} and {two}"));
                seen.promises.push(second);
            }
            Some(second) if second.text == first.text && second.end == first.end => seen.repeated += 1,
            second if !is_excused => seen.failures.push(format!("{message}: read {first:?}, and again {second:?}")),
            _ => {}
        }
    }

    async fn begin(
        &self,
        asked: &Asked<'_>,
        session: &str,
        message: &str,
        key: Option<&str>,
        seen: &mut Seen,
    ) -> Option<Reading> {
        let phase = self.pulse.phase.load(Ordering::SeqCst);
        let began = Instant::now();
        match asked.client.try_ask_with(message, session, key).await {
            Ok(turn) => Some(Reading::of(turn, phase, began)),
            Err(_) if asked.was_killed() => {
                seen.cut_early += 1;
                None
            }
            Err(answer) => {
                seen.failures.push(format!("{message} at gateway {} was refused: {answer}", asked.index));
                None
            }
        }
    }

    /// Reads an event. Says whether there may be another.
    async fn next(&self, reading: &mut Reading) -> bool {
        let Some(event) = reading.turn.next().await else {
            reading.is_cut = !reading.has_ended;
            return false;
        };
        let now = Instant::now();
        match event.kind() {
            "content" if reading.first.is_none() && !reading.went_on => reading.first = Some(now - reading.began),
            "content" if !reading.went_on => reading.gaps.push(now - reading.last),
            "done" => {
                reading.has_ended = true;
                self.pulse.done.fetch_add(1, Ordering::SeqCst);
            }
            "error" => reading.has_ended = true,
            _ => {}
        }
        reading.last = now;
        self.pulse.events.fetch_add(1, Ordering::SeqCst);
        self.pulse.beat.notify_waiters();
        true
    }

    /// Writes down what became of a request. Says whether it was read to its end.
    fn keep(&self, promise: Option<Promise>, is_excused: bool, what: &str, seen: &mut Seen) -> bool {
        let Some(promise) = promise else {
            match is_excused {
                true => seen.cut_early += 1,
                false => seen.failures.push(format!("{what} broke off before its start")),
            }
            return false;
        };
        match &promise.end {
            End::Cut if !is_excused => seen.failures.push(format!("{what} broke off: turn {}", promise.turn_id)),
            End::Error(code) => seen.failures.push(format!("{what} ended with the error {code}")),
            End::Cut | End::Done(_) => {}
        }
        if !promise.is_in_order {
            seen.failures.push(format!("{what}: events came twice or not at all: {promise:?}"));
        }
        let is_whole = promise.end != End::Cut;
        seen.promises.push(promise);
        is_whole
    }
}
