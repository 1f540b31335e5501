//! Tells a client that is slow from one that nothing is heard on any more.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many operations in a row without an answer in time, and the client is given up,
const MISSES: u32 = 3;
/// if they were without one for so long, and for twice the time of one. A server that is slow answers something by then.
const SILENCE: Duration = Duration::from_secs(10);

/// What was heard of a client.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    silence: Mutex<Option<Silence>>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    misses: u32,
}

impl Pulse {
    /// An operation ended in time, well or not.
    pub(super) fn heard(&self) {
        *self.silence.lock() = None;
    }

    /// An operation ran out of its time. Says whether another client is to take the place of this one.
    pub(super) fn missed(&self, time: Duration) -> bool {
        let now = Instant::now();
        let mut silence = self.silence.lock();
        // The operation has been waiting since its beginning.
        let known = silence.get_or_insert(Silence { since: now.checked_sub(time).unwrap_or(now), misses: 0 });
        known.misses += 1;
        let is_over = known.misses >= MISSES && now.duration_since(known.since) >= SILENCE.max(2 * time);
        if is_over {
            // The new client gets the same time to be heard.
            *silence = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_is_given_up_after_a_silence_and_not_because_many_wait_at_once() {
        let pulse = Pulse::default();
        let long_ago = || {
            let since = Instant::now().checked_sub(SILENCE).unwrap();
            *pulse.silence.lock() = Some(Silence { since, misses: MISSES });
        };
        assert!((0..100).all(|_| !pulse.missed(TIME)), "a hundred at once are one short silence");
        long_ago();
        assert!(pulse.missed(TIME));
        assert!(!pulse.missed(TIME), "the new one has its time");
        long_ago();
        pulse.heard();
        assert!(!pulse.missed(TIME), "one answer is enough");
    }
}
