//! Keeps to the rate that an endpoint can bear.
//!
//! Each endpoint with a limit has a bucket that holds what may be sent in a second and fills as time goes by. Who finds it
//! empty takes what comes next: it waits here when that is soon and few others do, and comes back by way of the bus
//! otherwise, one after the other. Several workers share a limit in equal parts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::EndpointId;
use crate::domain::webhook::RateLimit;

/// Longest wait in a handler.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages come back over so much time at most; a longer line begins again from the front.
const LONGEST_LINE: Duration = Duration::from_secs(900);
/// Buckets remembered. Full ones are forgotten first: a new one is full too.
const MOST_BUCKETS: usize = 10_000;

/// How many workers deliver, as far as is known.
#[derive(Clone, Debug)]
pub struct Share(Arc<AtomicU32>);

impl Share {
    /// Everything is this worker's.
    pub fn whole() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }

    /// There are so many workers.
    pub fn among(&self, workers: usize) {
        self.0.store(u32::try_from(workers.max(1)).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    fn workers(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a delivery may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// After so long, which may be no time at all. The room is taken.
    After(Duration),
    /// It is to come back so much later.
    Back(Duration),
}

pub(super) struct Paces {
    buckets: Mutex<HashMap<EndpointId, Bucket>>,
    share: Share,
    /// Most deliveries of one endpoint that wait in handlers.
    most_waiting: f64,
}

struct Bucket {
    /// Sends that may go at once; below zero are those that wait.
    tokens: f64,
    filled_at: Instant,
    /// When the last one that was sent back comes.
    line: Instant,
}

impl Paces {
    /// For a job that gives one endpoint so many permits at a time.
    pub(super) fn new(share: Share, permits: usize) -> Self {
        let most_waiting = f64::from(u32::try_from(permits).unwrap_or(u32::MAX));
        Self { buckets: Mutex::default(), share, most_waiting }
    }

    /// Asks to send to an endpoint with a limit.
    pub(super) fn ask(&self, endpoint: &EndpointId, limit: RateLimit) -> Turn {
        let rate = f64::from(limit.per_second()) / f64::from(self.share.workers());
        let full = rate.max(1.0);
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        if buckets.len() >= MOST_BUCKETS && !buckets.contains_key(endpoint) {
            buckets.retain(|_, bucket| now < bucket.filled_at + PATIENCE || now < bucket.line);
        }
        let fresh = || Bucket { tokens: full, filled_at: now, line: now };
        let bucket = buckets.entry(endpoint.clone()).or_insert_with(fresh);
        let filled = bucket.tokens + rate * (now - bucket.filled_at).as_secs_f64();
        (bucket.tokens, bucket.filled_at) = (filled.min(full), now);
        let left = bucket.tokens - 1.0;
        let wait = Duration::try_from_secs_f64(-left.min(0.0) / rate).unwrap_or(PATIENCE);
        if wait <= PATIENCE && -left <= self.most_waiting {
            bucket.tokens = left;
            return Turn::After(wait);
        }
        let gap = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(PATIENCE);
        let front = now + wait;
        bucket.line = bucket.line.max(front) + gap;
        if bucket.line > front + LONGEST_LINE {
            bucket.line = front + gap;
        }
        Turn::Back(bucket.line - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many as may go until `end`, each asker coming back when it is told to; says when each went, in seconds.
    async fn run(paces: &Paces, limit: u32, askers: usize, end: Duration) -> Vec<f64> {
        let (begun, limit) = (Instant::now(), RateLimit::try_from(limit).unwrap());
        let endpoint: EndpointId = "ep_1".parse().unwrap();
        let mut due: Vec<Instant> = vec![begun; askers];
        let mut sent = Vec::new();
        while let Some((at, next)) = due.iter().copied().enumerate().min_by_key(|(_, due)| *due) {
            if next > begun + end {
                break;
            }
            tokio::time::sleep_until(next).await;
            match paces.ask(&endpoint, limit) {
                Turn::After(wait) => {
                    sent.push((Instant::now() + wait - begun).as_secs_f64());
                    due.swap_remove(at);
                }
                Turn::Back(after) => due[at] = Instant::now() + after,
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_sent_than_a_second_may_hold_and_what_waits_is_sent_as_soon_as_it_may() {
        let paces = Paces::new(Share::whole(), 4);
        let sent = run(&paces, 10, 500, Duration::from_secs(20)).await;
        let within = |from: f64, to: f64| sent.iter().filter(|&&at| (from..to).contains(&at)).count();
        assert!(within(0.0, 1.0) <= 20, "a full bucket and what comes in: {}", within(0.0, 1.0));
        for second in 1..19 {
            let second = f64::from(second);
            let count = within(second, second + 1.0);
            assert!((9..=11).contains(&count), "{count} in second {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn workers_share_a_limit() {
        let share = Share::whole();
        share.among(4);
        let paces = Paces::new(share, 4);
        let sent = run(&paces, 10, 500, Duration::from_secs(40)).await;
        let count = sent.iter().filter(|&&at| (10.0..40.0).contains(&at)).count();
        assert!((70..=80).contains(&count), "{count} in 30 s at a quarter of 10 per second");
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_do_not_use_up_each_others_rate() {
        let paces = Paces::new(Share::whole(), 4);
        let limit = RateLimit::try_from(1).unwrap();
        for n in 0..50 {
            assert_eq!(paces.ask(&format!("ep_{n}").parse().unwrap(), limit), Turn::After(Duration::ZERO));
        }
    }
}
