//! Takes a provider out for a while after it failed several times in a row, and lets one request through to see
//! whether it is back.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(super) struct Breaker {
    failures_to_open: u32,
    cooldown: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(failures_to_open: u32, cooldown: Duration) -> Self {
        Self { failures_to_open, cooldown, state: Mutex::default() }
    }

    /// Whether a request may go out. When the cooldown is over one may, and the next one only after another cooldown
    /// or a success.
    pub(super) fn allows(&self) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.open_until = Some(Instant::now() + self.cooldown);
                true
            }
            None => true,
        }
    }

    /// Whether the provider is out.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().open_until.is_some()
    }

    pub(super) fn succeeded(&self) {
        *self.state.lock() = State::default();
    }

    pub(super) fn failed(&self) {
        let mut state = self.state.lock();
        state.failures += 1;
        if state.failures >= self.failures_to_open {
            state.open_until = Some(Instant::now() + self.cooldown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_probes_once_a_cooldown() {
        let breaker = Breaker::new(2, Duration::from_secs(10));
        breaker.failed();
        breaker.succeeded();
        breaker.failed();
        assert!(breaker.allows());
        breaker.failed();
        assert!(!breaker.allows());
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(breaker.allows());
        assert!(!breaker.allows());
        breaker.succeeded();
        assert!(breaker.allows() && breaker.allows());
    }
}
