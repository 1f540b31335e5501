//! Follows turns to their end. What the bus has confirmed may still be lost behind it, when a queue is deleted or the
//! broker's disk is: so a turn's record stays here until the store is seen to hold it, and is published again when that
//! takes too long. Many turns are followed side by side, as one may take long to come to its end; the log is let go of up
//! to the first that has not. Nothing on a stream's path waits for it.

mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use self::window::{Passed, Window};
use super::forward::{Reader, wait};
use super::{Spool, segment};
use crate::ports::bus::{Bus, Message};
use crate::ports::outbox::{End, Ends, Sent};

/// Between two looks at a turn that has not come to its end, at first and at the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Between two times that the log is read on: turns that the bus has just confirmed are most likely stored by then, and
/// are looked for together.
const GATHER: Duration = Duration::from_millis(500);
/// The longest time between two publications of the same turn.
const RESEND_MAX: Duration = Duration::from_secs(3600);
/// How long what has come to its end may stay in the current segment, which only goes as a whole: so that soon after a
/// company was removed nothing of it is left here.
const ROLL: Duration = Duration::from_secs(15);

/// Follows what the bus has confirmed, until `shutdown`. A turn that is not seen to have ended after `resend_after` is
/// published again; then after twice that time, and so on.
pub async fn run(
    spool: Spool,
    ends: Arc<dyn Ends>,
    bus: Arc<dyn Bus>,
    resend_after: Duration,
    shutdown: CancellationToken,
) {
    let state = &spool.shared.state;
    let mut reader = Reader::new(spool.shared.dir.clone(), *state.released.borrow());
    let mut forwarded = state.forwarded.subscribe();
    let mut rolling = tokio::time::interval(ROLL);
    rolling.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut window = Window::new(resend_after);
    // Of the log, all of which has ended; what ended behind that is not written down.
    let mut turns_passed = state.turns_ended.load(Ordering::Relaxed);
    let mut ended = None;
    loop {
        let upto = *forwarded.borrow_and_update();
        let has_all = match tokio::task::block_in_place(|| window.fill(&mut reader, upto)) {
            Ok(has_all) => has_all,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                if wait(&shutdown, LOOK.1).await {
                    return;
                }
                false
            }
        };
        let was_erased = tokio::select! {
            was_erased = look(&spool, &mut window, ends.as_ref(), bus.as_ref()) => was_erased,
            () = shutdown.cancelled() => return,
        };
        let passed = window.pass();
        if let Some(passed) = &passed {
            turns_passed += passed.turns;
            tokio::task::block_in_place(|| keep(&spool, passed, turns_passed));
            ended = Some(passed.sequence);
        }
        if was_erased || rolling.tick().now_or_never().is_some() {
            roll(&spool, &mut ended).await;
        }
        if passed.is_some() && !has_all {
            continue;
        }
        let next_look = window.next_look(Instant::now() + GATHER);
        tokio::select! {
            changed = forwarded.changed(), if window.is_empty() => {
                if changed.is_err() || wait(&shutdown, GATHER).await {
                    return;
                }
            }
            () = sleep_until(next_look), if !window.is_empty() => {}
            _ = rolling.tick() => roll(&spool, &mut ended).await,
            () = shutdown.cancelled() => return,
        }
    }
}

/// Looks for the turns that are due, and publishes those again that are not seen for long. Says whether one of them was of a
/// company or conversation that was removed.
async fn look(spool: &Spool, window: &mut Window, ends: &dyn Ends, bus: &dyn Bus) -> bool {
    let state = &spool.shared.state;
    let (places, sent): (Vec<usize>, Vec<Sent>) = window.due(Instant::now()).into_iter().unzip();
    if places.is_empty() {
        return false;
    }
    // The store being away is no news here: the jobs say so.
    let found = ends.ended(&sent).await;
    let found = found.inspect_err(|error| tracing::debug!(%error, "whether turns are stored cannot be told"));
    let found = found.unwrap_or_default().into_iter().chain(std::iter::repeat(End::Open));
    let mut was_erased = false;
    let lost = window.told(places.into_iter().zip(found), |end| {
        was_erased |= end == End::Erased;
        state.turns_ended.fetch_add(1, Ordering::Relaxed);
    });
    resend(&lost, bus).await;
    let let_go = window.let_go(state.held_bytes.load(Ordering::Relaxed).saturating_sub(spool.shared.limit));
    if let_go > 0 {
        state.turns_ended.fetch_add(let_go, Ordering::Relaxed);
        metrics::counter!("turnpike_spool_unfollowed_total").increment(let_go);
        tracing::error!(
            turns = let_go,
            "more turns wait to be stored than the spool can keep; the bus alone answers for these"
        );
    }
    was_erased
}

/// Lets go of what has come to its end, and writes down how far that is.
fn keep(spool: &Spool, passed: &Passed, turns: u64) {
    if let Err(error) = segment::write_ended(&spool.shared.dir, segment::Ended { sequence: passed.sequence, turns }) {
        tracing::warn!(%error, "how far turns were followed cannot be written down");
    }
    let release = |held: u64| Some(held.saturating_sub(passed.bytes));
    // The closure always gives a value, so this cannot fail.
    let _ = spool.shared.state.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, release);
    spool.release(passed.sequence);
}

/// Removes what has come to its end from the current segment too.
async fn roll(spool: &Spool, ended: &mut Option<u64>) {
    if let Some(last) = ended.take() {
        spool.roll().await;
        spool.release(last);
    }
}

/// Publishes turns again.
async fn resend(messages: &[Message], bus: &dyn Bus) {
    if messages.is_empty() {
        return;
    }
    match bus.publish(messages).await {
        Ok(()) => {
            metrics::counter!("turnpike_spool_resent_total").increment(messages.len() as u64);
            tracing::warn!(turns = messages.len(), "turns were not stored in time; they were published again");
        }
        Err(error) => tracing::warn!(%error, "turns that were not stored in time cannot be published again yet"),
    }
}

#[cfg(test)]
mod tests;
