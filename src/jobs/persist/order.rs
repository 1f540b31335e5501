//! Which turns wait for the one before them. Each turn names the turn that its gateway knew to come before it, and is
//! stored after that one, so that sequences follow conversations whichever worker stores what and however often tries
//! fail. A turn whose predecessor does not come is stored all the same after a while.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::TurnId;

/// The longest that a turn waits for the one before it, counted from when that was first missed here.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two looks, at first and at the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(900));

/// The turns that wait.
#[derive(Default)]
pub(super) struct Order(Mutex<HashMap<TurnId, Instant>>);

impl Order {
    /// A turn's predecessor is not stored. Says when to look again, or that it is to be stored all the same.
    pub(super) fn wait(&self, turn: TurnId) -> Option<Duration> {
        let now = Instant::now();
        let mut waiting = self.0.lock();
        // What went to another worker meanwhile is not asked for again here.
        waiting.retain(|_, since| now < *since + 2 * LONGEST);
        let waited = now - *waiting.entry(turn).or_insert(now);
        if waited >= LONGEST {
            waiting.remove(&turn);
            return None;
        }
        Some((waited / 2).clamp(LOOK.0, LOOK.1))
    }

    /// A turn waits no longer.
    pub(super) fn go(&self, turn: TurnId) {
        self.0.lock().remove(&turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_whose_predecessor_never_comes_is_stored_in_the_end() {
        let order = Order::default();
        let turn = TurnId::generate();
        let begun = Instant::now();
        while let Some(after) = order.wait(turn) {
            assert!(after >= LOOK.0 && after <= LOOK.1);
            tokio::time::advance(after).await;
        }
        assert!(begun.elapsed() >= LONGEST && begun.elapsed() < LONGEST + LOOK.1);
        assert!(order.0.lock().is_empty());
    }
}
