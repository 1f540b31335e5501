//! How long to wait before the next try: exponential, with jitter. The only module that knows the crate `backoff`,
//! which nobody maintains any more; another one, or twenty lines, can take its place here.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// A delay lies so far around its step, as a part of it, so that what failed together is not tried again together.
const JITTER: f64 = 0.2;
/// Each delay is so many times the one before.
const MULTIPLIER: f64 = 2.0;
/// Doubling this often takes a nanosecond past any limit.
const MOST_STEPS: u32 = 64;

/// When to try again, and when no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Before the first retry, give or take the jitter.
    pub initial: Duration,
    /// Longest delay; no jitter goes beyond it.
    pub max: Duration,
    /// Tries end so long after the first; `None` is never.
    pub give_up_after: Option<Duration>,
}

impl Policy {
    /// A policy that never gives up.
    pub fn forever(initial: Duration, max: Duration) -> Self {
        Self { initial, max, give_up_after: None }
    }

    /// How long to wait after `attempts` tries that failed before the last one did: 0 gives the first delay.
    pub fn delay(&self, attempts: u32) -> Duration {
        // The crate adds its jitter on top of its own limit, so it gets a lower one.
        let limit = self.max.div_f64(1.0 + JITTER);
        let initial = self.initial.min(limit);
        let mut steps = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            randomization_factor: JITTER,
            multiplier: MULTIPLIER,
            max_interval: limit,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        for _ in 0..attempts.min(MOST_STEPS) {
            steps.next_backoff();
        }
        // Without a longest time in all there is always a next delay.
        steps.next_backoff().map_or(self.max, |delay| delay.min(self.max))
    }

    /// Whether a message that has been tried for `age` is given up.
    pub fn gives_up(&self, age: Duration) -> bool {
        self.give_up_after.is_some_and(|limit| age >= limit)
    }

    /// `delay`, cut so that a last try is made when the time is up and not long after it.
    pub fn within(&self, delay: Duration, age: Duration) -> Duration {
        self.give_up_after.map_or(delay, |limit| delay.min(limit.saturating_sub(age)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks() -> Policy {
        Policy {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(12 * 3600),
            give_up_after: Some(Duration::from_secs(72 * 3600)),
        }
    }

    #[test]
    fn each_delay_is_twice_the_one_before_within_its_jitter() {
        for attempts in 0..13 {
            let step = 5.0 * 2f64.powi(attempts);
            for _ in 0..200 {
                let delay = webhooks().delay(attempts as u32).as_secs_f64();
                assert!(delay >= step * 0.8 - 0.001 && delay <= step * 1.2 + 0.001, "attempt {attempts}: {delay} s");
            }
        }
    }

    #[test]
    fn no_delay_is_longer_than_the_longest() {
        for attempts in [13, 14, 20, 64, 1000, u32::MAX] {
            for _ in 0..50 {
                let delay = webhooks().delay(attempts);
                assert!(delay <= webhooks().max, "attempt {attempts}: {delay:?}");
                assert!(delay >= webhooks().max.mul_f64(0.6), "attempt {attempts}: {delay:?}");
            }
        }
    }

    #[test]
    fn delays_differ() {
        let first = webhooks().delay(3);
        assert!((0..50).any(|_| webhooks().delay(3) != first));
    }

    #[test]
    fn a_first_delay_beyond_the_longest_is_cut() {
        let policy = Policy::forever(Duration::from_secs(10), Duration::from_secs(1));
        assert!(policy.delay(0) <= policy.max && policy.delay(0) >= Duration::from_millis(600));
    }

    #[test]
    fn tries_end_when_the_time_is_up() {
        let policy = webhooks();
        let hour = Duration::from_secs(3600);
        assert!(!policy.gives_up(hour * 71) && policy.gives_up(hour * 72));
        assert_eq!(policy.within(hour * 12, hour * 70), hour * 2);
        assert_eq!(policy.within(hour, hour * 70), hour);
        let forever = Policy::forever(hour, hour);
        assert!(!forever.gives_up(hour * 1000));
        assert_eq!(forever.within(hour, hour * 1000), hour);
    }
}
