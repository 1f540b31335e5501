//! Bringing conversations: in pieces, several at once, and only those that are not there.

use std::collections::HashSet;

use futures::{TryStreamExt, stream};
use time::OffsetDateTime;

use super::PURPOSE;
use crate::domain::conversation::{Conversation, StoredTurn};
use crate::domain::{Company, CompanyScope, TurnId};
use crate::transfer::archive::Conversations;
use crate::transfer::walk::is_kept;
use crate::transfer::{Archive, Backends, Error, Kind, Progress};

/// Turns that are looked up and written together.
const BATCH: usize = 200;
/// Conversations that are written at once.
const AT_ONCE: usize = 8;

type Piece = (Conversation, Vec<StoredTurn>);

/// Brings conversations with their turns. Says how many turns were left out because of their age.
pub(super) async fn import(
    archive: &Archive,
    to: &Backends,
    scope: &CompanyScope,
    company: &Company,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let mut conversations = archive.conversations(scope.company())?;
    let now = OffsetDateTime::now_utc();
    let (mut done, mut expired) = (0, 0);
    loop {
        let mut pieces = batch(&mut conversations)?;
        if pieces.is_empty() {
            return Ok(expired);
        }
        for (_, turns) in &mut pieces {
            done += turns.len() as u64;
            let all = turns.len();
            turns.retain(|turn| is_kept(company, &turn.record, now));
            expired += (all - turns.len()) as u64;
        }
        pieces.retain(|(_, turns)| !turns.is_empty());
        let ids: Vec<TurnId> = pieces.iter().flat_map(|(_, turns)| turns).map(|turn| turn.record.turn_id).collect();
        let there: HashSet<TurnId> = to.conversations.stored(scope, &ids).await?.into_iter().collect();
        stream::iter(pieces.into_iter().map(Ok::<Piece, Error>))
            .try_for_each_concurrent(AT_ONCE, |piece| restore(to, scope, company, piece, &there))
            .await?;
        progress.at(scope.company(), PURPOSE, Kind::Turns, done);
    }
}

/// Pieces of different conversations, with so many turns together that the work is worth it.
fn batch(conversations: &mut Conversations) -> Result<Vec<Piece>, Error> {
    let (mut pieces, mut turns): (Vec<Piece>, usize) = (Vec::new(), 0);
    while turns < BATCH {
        let Some(piece) = conversations.next(BATCH)? else { break };
        turns += piece.1.len();
        // Only a full piece is gone on with, and a full piece ends the batch: no conversation is in it twice.
        pieces.push(piece);
    }
    Ok(pieces)
}

async fn restore(
    to: &Backends,
    scope: &CompanyScope,
    company: &Company,
    (head, turns): Piece,
    there: &HashSet<TurnId>,
) -> Result<(), Error> {
    let is_there = turns.iter().all(|turn| there.contains(&turn.record.turn_id));
    // A store may have written the turns and not come to the head.
    if is_there && to.conversations.conversation(scope, head.conversation_id).await?.as_ref() == Some(&head) {
        return Ok(());
    }
    if company.retention_days.is_none() {
        return Ok(to.conversations.restore(scope, &head, &turns, None).await?);
    }
    // Each turn goes when its own time has come.
    for turn in turns {
        let keep_until = company.keep_until(turn.record.finished_at);
        to.conversations.restore(scope, &head, &[turn], keep_until).await?;
    }
    Ok(())
}
