//! Follows turns to their end. What the bus has confirmed may still be lost behind it, when a queue is deleted or the
//! broker's disk is: so a turn's record stays here until the store is seen to hold it, and is published again when that
//! takes too long. In order, batch by batch; nothing on a stream's path waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::forward::{Reader, wait};
use super::segment::{self, HEADER};
use super::{Spool, State};
use crate::domain::{Event, TurnId};
use crate::ports::bus::{Bus, Message};
use crate::ports::outbox::{End, Ends, Sent};

/// Between two looks at turns that have not come to their end, at first and at the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Between the confirmation of a turn and the first look for it: by then it is most likely stored, and others have come
/// that are looked for with it.
const GATHER: Duration = Duration::from_millis(500);
/// The longest time between two publications of the same turn.
const RESEND_MAX: Duration = Duration::from_secs(3600);
/// How long what has come to its end may stay in the current segment, which only goes as a whole: so that soon after a
/// company was removed nothing of it is left here.
const ROLL: Duration = Duration::from_secs(15);

/// A turn's last event and where it is to be looked for.
struct Followed {
    sent: Sent,
    message: Message,
}

/// Follows what the bus has confirmed, until `shutdown`. A turn that is not seen to have ended after `resend_after` is
/// published again; then after twice that time, and so on.
pub async fn run(
    spool: Spool,
    ends: Arc<dyn Ends>,
    bus: Arc<dyn Bus>,
    resend_after: Duration,
    shutdown: CancellationToken,
) {
    let state = Arc::clone(&spool.shared.state);
    let mut reader = Reader::new(spool.shared.dir.clone(), *state.released.borrow());
    let mut forwarded = state.forwarded.subscribe();
    let mut rolling = tokio::time::interval(ROLL);
    rolling.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = None;
    loop {
        let upto = *forwarded.borrow_and_update();
        let batch = match tokio::task::block_in_place(|| reader.next(upto)) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                reader.back();
                if wait(&shutdown, LOOK.1).await {
                    return;
                }
                continue;
            }
        };
        let Some(last) = batch.last().map(|record| record.sequence) else {
            tokio::select! {
                changed = forwarded.changed() => if changed.is_err() || wait(&shutdown, GATHER).await { return },
                _ = rolling.tick() => roll(&spool, &mut ended).await,
                () = shutdown.cancelled() => return,
            }
            continue;
        };
        let turns: Vec<Followed> = batch.iter().filter_map(|record| followed(&record.payload)).collect();
        let count = turns.len() as u64;
        let following = follow(&spool, &state, turns, ends.as_ref(), bus.as_ref(), resend_after);
        let was_erased = tokio::select! {
            was_erased = following => was_erased,
            () = shutdown.cancelled() => return,
        };
        let bytes = batch.iter().map(|record| record.payload.len() as u64 + HEADER).sum();
        tokio::task::block_in_place(|| {
            let turns = state.turns_ended.fetch_add(count, Ordering::Relaxed) + count;
            if let Err(error) = segment::write_ended(&spool.shared.dir, segment::Ended { sequence: last, turns }) {
                tracing::warn!(%error, "how far turns were followed cannot be written down");
            }
            reader.confirm();
            let release = |held: u64| Some(held.saturating_sub(bytes));
            // The closure always gives a value, so this cannot fail.
            let _ = state.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, release);
            spool.release(last);
        });
        ended = Some(last);
        if was_erased || rolling.tick().now_or_never().is_some() {
            roll(&spool, &mut ended).await;
        }
    }
}

/// Removes what has come to its end from the current segment too.
async fn roll(spool: &Spool, ended: &mut Option<u64>) {
    if let Some(last) = ended.take() {
        spool.roll().await;
        spool.release(last);
    }
}

/// Resolves when all of the turns have come to their end. Says whether one of them was of a company that was removed.
async fn follow(
    spool: &Spool,
    state: &State,
    mut turns: Vec<Followed>,
    ends: &dyn Ends,
    bus: &dyn Bus,
    resend_after: Duration,
) -> bool {
    let (mut pause, mut resend_after) = (LOOK.0, resend_after);
    let mut resend_at = Instant::now() + resend_after;
    let mut was_erased = false;
    while !turns.is_empty() {
        let sent: Vec<Sent> = turns.iter().map(|turn| turn.sent.clone()).collect();
        match ends.ended(&sent).await {
            Ok(found) => {
                was_erased |= found.contains(&End::Erased);
                let mut found = found.into_iter();
                turns.retain(|_| matches!(found.next(), None | Some(End::Open)));
            }
            // The store being away is no news here: the jobs say so.
            Err(error) => tracing::debug!(%error, "whether turns are stored cannot be told"),
        }
        if turns.is_empty() {
            break;
        }
        if state.held_bytes.load(Ordering::Relaxed) > spool.shared.limit {
            metrics::counter!("turnpike_spool_unfollowed_total").increment(turns.len() as u64);
            tracing::error!(
                turns = turns.len(),
                "more turns wait to be stored than the spool can keep; the bus alone answers for these"
            );
            break;
        }
        if Instant::now() >= resend_at {
            resend(&turns, bus).await;
            resend_after = (resend_after * 2).min(RESEND_MAX);
            resend_at = Instant::now() + resend_after;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
    was_erased
}

async fn resend(turns: &[Followed], bus: &dyn Bus) {
    let messages: Vec<Message> = turns.iter().map(|turn| turn.message.clone()).collect();
    match bus.publish(&messages).await {
        Ok(()) => {
            metrics::counter!("turnpike_spool_resent_total").increment(messages.len() as u64);
            tracing::warn!(turns = messages.len(), "turns were not stored in time; they were published again");
        }
        Err(error) => tracing::warn!(%error, "turns that were not stored in time cannot be published again yet"),
    }
}

/// The turn whose end an event is; none for the events of its stages, which nobody keeps.
fn followed(payload: &[u8]) -> Option<Followed> {
    let event: Event = serde_json::from_slice(payload).ok()?;
    if !event.ends_turn() {
        return None;
    }
    let turn_id: TurnId = event.subject.parse().ok()?;
    let sent = Sent {
        event_id: event.id,
        company_id: event.companyid.clone(),
        conversation_id: event.conversationid,
        turn_id,
        ended_at: event.time,
    };
    Some(Followed { sent, message: Message::of_event(&event).ok()? })
}

#[cfg(test)]
mod tests;
