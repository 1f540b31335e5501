//! Sessions that the service names, known at every gateway and after every restart without being kept anywhere.
//!
//! Such an id is a UUID (version 8, RFC 9562) that holds when it was made, random bits, and a mark that follows from these
//! and from the company. A session is known when its mark is right; it has expired when neither its making nor its last
//! turn is recent. The mark keeps clients from making up sessions by mistake. It is no secret and lets nobody in: whoever
//! holds a key of the company may name any session at the native surface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

use super::App;
use super::asking;
use super::auth::Caller;
use super::problem::Problem;
use crate::domain::{Company, ConversationId, SessionId};

/// Bytes of an id before its mark.
const MARKED: usize = 11;
/// How long the store may take to say whether it has a session.
const PATIENCE: Duration = Duration::from_secs(2);

/// A new session of a company.
pub(super) fn begin(company: &Company) -> Uuid {
    let mut random = [0; MARKED];
    // The random half of a UUID comes from the system's generator.
    random.copy_from_slice(Uuid::new_v4().as_bytes().get(..MARKED).unwrap_or(&[0; MARKED]));
    made_at(company, SystemTime::now(), random)
}

fn made_at(company: &Company, now: SystemTime, random: [u8; MARKED]) -> Uuid {
    let ms = u64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or_default();
    let time = ms.to_be_bytes();
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(time.iter().skip(2).chain(random.iter().skip(6))) {
        *place = *byte;
    }
    let shaped = Builder::from_custom_bytes(bytes).into_uuid().into_bytes();
    for (place, byte) in bytes.iter_mut().zip(shaped.iter().take(MARKED).copied().chain(mark(company, &shaped))) {
        *place = byte;
    }
    Uuid::from_bytes(bytes)
}

/// When a session was made, if the service made it for this company.
fn made(company: &Company, id: Uuid) -> Option<SystemTime> {
    let bytes = id.as_bytes();
    let is_marked = bytes.iter().skip(MARKED).copied().eq(mark(company, bytes));
    let ms = bytes.iter().take(6).fold(0, |ms: u64, byte| ms << 8 | u64::from(*byte));
    (is_marked && id.get_version_num() == 8).then(|| UNIX_EPOCH + Duration::from_millis(ms))
}

/// What stands at the end of an id: it follows from what stands before and from what all gateways know of the company.
fn mark(company: &Company, bytes: &[u8; 16]) -> impl Iterator<Item = u8> {
    let mut hash = Sha256::new_with_prefix(b"turnpike session 1\0");
    hash.update(company.id.as_str());
    hash.update(company.created_at.unix_timestamp().to_be_bytes());
    hash.update(bytes.get(..MARKED).unwrap_or_default());
    hash.finalize().into_iter().take(16 - MARKED)
}

/// The session that a caller names, if it is known and has not expired.
///
/// # Errors
/// 404 for one that is not known or has expired, 503 when only the store could tell and does not.
pub(super) async fn known(app: &App, caller: &Caller, name: &str) -> Result<SessionId, Problem> {
    let name = asking::own_name(name);
    // What is no name of a session at all is not one of ours either.
    let session = asking::session(caller, name).map_err(|_| unknown())?;
    let idle = app.settings.sessions.idle;
    let made = Uuid::try_parse(name).ok().and_then(|id| made(&caller.company, id));
    if made.is_some_and(|made| made.elapsed().unwrap_or_default() < idle) {
        return Ok(session);
    }
    let conversation = ConversationId::of_session(&caller.company.id, &session);
    let last = app.engine.history().last_turn(conversation).and_then(|turn| turn.age());
    if last.is_some_and(|age| age < idle) {
        return Ok(session);
    }
    let asked = tokio::time::timeout(PATIENCE, app.store.conversation(&caller.scope, conversation)).await;
    let stored =
        asked.map_err(|_| Problem::unavailable("store_unavailable", "the store does not answer right now"))??;
    match stored {
        Some(stored) if OffsetDateTime::now_utc() - stored.updated_at < idle => Ok(session),
        None if made.is_none() => Err(unknown()),
        _ => Err(missing("session_expired", "the session has expired; POST /session begins a new one")),
    }
}

fn unknown() -> Problem {
    missing("unknown_session", "there is no such session; POST /session begins one")
}

fn missing(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(id: &str) -> Company {
        Company::new(id.parse().unwrap(), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_session_says_when_and_for_whom_it_was_made() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_204_800_123);
        let (a, b) = (company("a"), company("b"));
        let id = made_at(&a, now, [7; MARKED]);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(made(&a, id), Some(now));
        assert_eq!(made(&b, id), None, "another company's");
        let (one, other) = (begin(&a), begin(&a));
        assert_ne!(one, other);
        assert!(made(&a, one).is_some_and(|made| made.elapsed().unwrap() < Duration::from_secs(60)));
    }

    #[test]
    fn what_is_changed_or_made_up_is_not_known() {
        let company = company("a");
        let id = begin(&company);
        for place in 0..128 {
            let changed = Uuid::from_u128(id.as_u128() ^ 1 << place);
            assert_eq!(made(&company, changed), None, "bit {place}");
        }
        for _ in 0..100 {
            assert_eq!(made(&company, Uuid::new_v4()), None);
        }
    }
}
