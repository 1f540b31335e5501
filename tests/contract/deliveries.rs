//! The contract of the log of deliveries. `deliveries_contract!` runs all checks on an adapter, each on an empty one of its
//! own.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::value::RawValue;
use time::{Duration, OffsetDateTime};
use turnpike::domain::delivery::{Attempt, Delivery, Filter, Parcel, Replay, ReplayState, Standing, State, Timing};
use turnpike::domain::{CompanyScope, ConversationId, EndpointId, EventType};
use turnpike::ports::deliveries::{Ahead, Deliveries};
use turnpike::ports::store::{ConversationStore, Error, Page};
use uuid::Uuid;

use crate::store::scope;

/// The log, and the store that it lives in.
pub(crate) struct Log {
    pub(crate) deliveries: Arc<dyn Deliveries>,
    pub(crate) conversations: Arc<dyn ConversationStore>,
    /// What must live as long as they do.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Runs every check on the log that an async function makes.
macro_rules! deliveries_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            deliveries_contract! { @each $make;
                keeps_a_delivery_as_it_was_opened opens_a_delivery_once notes_tries_in_their_order
                keeps_delivered_what_was_delivered
                keeps_so_many_tries_and_the_last writes_nothing_of_a_delivery_that_is_not_there lists_by_page_and_filter
                gives_parcels_oldest_first keeps_companies_apart tells_what_is_ahead reopens_once_for_a_replay
                counts_how_an_endpoint_does knows_since_when_an_endpoint_fails keeps_replays_and_their_end
                erases_one_company erases_a_conversation_up_to_a_moment forgets_what_is_due
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            // Where a server is missing there is none.
            if let Some(log) = Option::<super::Log>::from($make().await) {
                super::$check(&log).await;
            }
        }
    )*};
}

deliveries_contract!(on_sqlite, crate::store::sqlite::fresh_log);
deliveries_contract!(on_mongodb, crate::store::mongodb::fresh_log);

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Long after the test.
fn later() -> OffsetDateTime {
    now() + Duration::days(30)
}

fn endpoint(name: &str) -> EndpointId {
    name.parse().unwrap()
}

/// The `n`th delivery of a company: each a second after the one before.
pub(crate) fn parcel(company: &str, n: i64) -> Parcel {
    let happened_at = time::macros::datetime!(2026-11-20 10:00:00.123456789 UTC) + Duration::seconds(n);
    let delivery = Delivery {
        id: Uuid::new_v4(),
        company_id: company.parse().unwrap(),
        endpoint_id: endpoint("ep_1"),
        webhook_id: format!("msg_{n}"),
        event_type: EventType::ConversationUpdated,
        subject: format!("turn-{n}"),
        conversation_id: None,
        sequence: None,
        rank: 0,
        happened_at,
        began_at: happened_at - Duration::seconds(2),
        round: 0,
        replay_id: None,
        standing: Standing::new(now()),
    };
    let payload = format!(r#"{{"type":"conversation.updated","data":{{"n":{n},  "text":"lãi suất \u0000"}}}}"#);
    Parcel { delivery, payload: Some(RawValue::from_string(payload).unwrap()) }
}

/// As the part of a conversation that a turn brings.
pub(crate) fn in_conversation(mut parcel: Parcel, conversation: ConversationId, sequence: u64, rank: u8) -> Parcel {
    parcel.delivery.conversation_id = Some(conversation);
    (parcel.delivery.sequence, parcel.delivery.rank) = (Some(sequence), rank);
    parcel
}

/// A conversation that nothing else is of.
pub(crate) fn conversation() -> ConversationId {
    ConversationId::of_session(&"comp_a".parse().unwrap(), &Uuid::new_v4().to_string().parse().unwrap())
}

fn attempt(number: u32, started_at: OffsetDateTime, outcome: &str, total_ms: f64) -> Attempt {
    Attempt {
        number,
        started_at,
        outcome: outcome.to_owned(),
        error: Some("the endpoint answered 500".to_owned()),
        status: Some(500),
        http_version: Some("HTTP/1.1".to_owned()),
        remote_address: Some("192.0.2.1:443".to_owned()),
        headers: vec![("server".to_owned(), "x.y $z".to_owned()), ("server".to_owned(), "again".to_owned())],
        body_start: "lỗi \u{0}".to_owned(),
        timing: Timing { dns_ms: Some(0.5), connect_ms: None, first_byte_ms: Some(3.25), total_ms },
    }
}

fn standing(state: State, attempts: u32, at: OffsetDateTime, next: Option<OffsetDateTime>) -> Standing {
    let reason = (state != State::Delivered).then(|| "the endpoint answered 500".to_owned());
    Standing { state, attempts, status: Some(500), reason, last_attempt_at: Some(at), next_attempt_at: next }
}

async fn open(log: &Log, parcels: &[Parcel]) {
    let company = scope(parcels[0].delivery.company_id.as_str());
    log.deliveries.open(&company, parcels, later()).await.unwrap();
}

async fn all(log: &Log, company: &CompanyScope, filter: &Filter) -> Vec<Delivery> {
    log.deliveries.deliveries(company, filter, &Page { limit: 100, after: None }).await.unwrap().0
}

async fn keeps_a_delivery_as_it_was_opened(log: &Log) {
    let mut parcel = in_conversation(parcel("comp_a", 1), conversation(), 7, 2);
    parcel.delivery.standing.reason = Some("not yet".to_owned());
    open(log, &[parcel.clone()]).await;
    let kept = log.deliveries.delivery(&scope("comp_a"), parcel.delivery.id).await.unwrap().unwrap();
    assert_eq!(kept.delivery, parcel.delivery);
    assert_eq!(
        kept.payload.unwrap().get(),
        parcel.payload.as_ref().unwrap().get(),
        "what is signed is kept byte by byte"
    );
    assert_eq!(all(log, &scope("comp_a"), &Filter::default()).await, [parcel.delivery]);
    assert!(log.deliveries.delivery(&scope("comp_a"), Uuid::new_v4()).await.unwrap().is_none());
    let foreign = log.deliveries.open(&scope("comp_b"), &[self::parcel("comp_a", 2)], later()).await;
    assert!(matches!(foreign, Err(Error::Invalid(_))));
}

async fn opens_a_delivery_once(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    open(log, std::slice::from_ref(&parcel)).await;
    let done = standing(State::Delivered, 1, now(), None);
    log.deliveries.note(&company, parcel.delivery.id, &done, None).await.unwrap();
    let again: Vec<_> = (0..8).map(|_| open(log, std::slice::from_ref(&parcel))).collect();
    join_all(again).await;
    let kept = all(log, &company, &Filter::default()).await;
    assert_eq!(kept.iter().map(|it| it.standing.state).collect::<Vec<_>>(), [State::Delivered]);
}

async fn notes_tries_in_their_order(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    let id = parcel.delivery.id;
    open(log, &[parcel]).await;
    let began = time::macros::datetime!(2026-11-20 10:00 UTC);
    let tries: Vec<_> =
        (1..=12).map(|n| attempt(n, began + Duration::minutes(n.into()), "status", f64::from(n))).collect();
    for one in &tries {
        let next = one.started_at + Duration::hours(1);
        let standing = standing(State::Pending, one.number, one.started_at, Some(next));
        // Twice, as after an answer that was lost.
        for _ in 0..2 {
            log.deliveries.note(&company, id, &standing, Some(one)).await.unwrap();
        }
        assert_eq!(log.deliveries.delivery(&company, id).await.unwrap().unwrap().delivery.standing, standing);
    }
    assert_eq!(log.deliveries.attempts(&company, id).await.unwrap(), tries);
}

/// Another copy of its message may come to another end, and later.
async fn keeps_delivered_what_was_delivered(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    let id = parcel.delivery.id;
    open(log, &[parcel]).await;
    let began = time::macros::datetime!(2026-11-20 10:00 UTC);
    let tries: Vec<_> = (1..=4).map(|n| attempt(n, began + Duration::seconds(n.into()), "status", 1.0)).collect();
    let next = Some(began + Duration::hours(1));
    let delivered = standing(State::Delivered, 2, tries[1].started_at, None);
    let noted = [
        standing(State::Dead, 1, tries[0].started_at, None),
        delivered.clone(),
        standing(State::Pending, 2, tries[2].started_at, next),
        standing(State::Dead, 2, tries[3].started_at, None),
    ];
    for (standing, one) in noted.iter().zip(&tries) {
        log.deliveries.note(&company, id, standing, Some(one)).await.unwrap();
    }
    log.deliveries.note(&company, id, &standing(State::Discarded, 2, began, None), None).await.unwrap();
    assert_eq!(log.deliveries.delivery(&company, id).await.unwrap().unwrap().delivery.standing, delivered);
    assert_eq!(log.deliveries.attempts(&company, id).await.unwrap(), tries, "what was tried is told all the same");
    let again = standing(State::Delivered, 3, began + Duration::minutes(1), None);
    log.deliveries.note(&company, id, &again, None).await.unwrap();
    assert_eq!(log.deliveries.delivery(&company, id).await.unwrap().unwrap().delivery.standing, again);
}

async fn keeps_so_many_tries_and_the_last(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    let id = parcel.delivery.id;
    open(log, &[parcel]).await;
    let most = turnpike::domain::delivery::MOST_ATTEMPTS;
    let began = time::macros::datetime!(2026-11-20 10:00 UTC);
    for n in most - 1..most + 4 {
        let one = attempt(n, began + Duration::minutes(n.into()), "status", 1.0);
        let standing = standing(State::Pending, n, one.started_at, None);
        log.deliveries.note(&company, id, &standing, Some(&one)).await.unwrap();
    }
    let kept: Vec<u32> = log.deliveries.attempts(&company, id).await.unwrap().iter().map(|it| it.number).collect();
    assert_eq!(kept, [most - 1, most, most + 3]);
}

async fn writes_nothing_of_a_delivery_that_is_not_there(log: &Log) {
    let (company, id) = (scope("comp_a"), Uuid::new_v4());
    let dead = standing(State::Dead, 3, now(), None);
    log.deliveries.note(&company, id, &dead, Some(&attempt(3, now(), "timeout", 1.0))).await.unwrap();
    assert!(log.deliveries.delivery(&company, id).await.unwrap().is_none());
    assert_eq!(log.deliveries.attempts(&company, id).await.unwrap(), []);
}

async fn lists_by_page_and_filter(log: &Log) {
    let company = scope("comp_a");
    let talk = conversation();
    let mut parcels: Vec<_> = (0..10).map(|n| parcel("comp_a", n)).collect();
    parcels[3].delivery.endpoint_id = endpoint("ep_2");
    parcels[4].delivery.event_type = EventType::MessageCreated;
    parcels[5] = in_conversation(parcels[5].clone(), talk, 2, 0);
    parcels[6] = in_conversation(parcels[6].clone(), talk, 3, 0);
    // Two of one moment: the page must end between them without losing one.
    parcels[8].delivery.happened_at = parcels[7].delivery.happened_at;
    open(log, &parcels).await;
    log.deliveries.note(&company, parcels[1].delivery.id, &standing(State::Dead, 3, now(), None), None).await.unwrap();
    for limit in [1, 3, 9, 10, 11] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = Page { limit, after };
            let (page, next) = log.deliveries.deliveries(&company, &Filter::default(), &page).await.unwrap();
            assert!(page.len() <= limit);
            seen.extend(page.iter().map(|it| (it.happened_at, it.id.to_string())));
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut expected: Vec<_> =
            parcels.iter().map(|it| (it.delivery.happened_at, it.delivery.id.to_string())).collect();
        expected.sort();
        expected.reverse();
        assert_eq!(seen, expected, "by {limit}");
    }
    let at = |n: usize| parcels[n].delivery.happened_at;
    let cases = [
        (Filter { endpoint_id: Some(endpoint("ep_2")), ..Filter::default() }, vec![3]),
        (Filter { event_type: Some(EventType::MessageCreated), ..Filter::default() }, vec![4]),
        (Filter { conversation_id: Some(talk), ..Filter::default() }, vec![6, 5]),
        (Filter { conversation_id: Some(talk), from_sequence: Some(3), ..Filter::default() }, vec![6]),
        (Filter { conversation_id: Some(talk), until_sequence: Some(2), ..Filter::default() }, vec![5]),
        (Filter { states: BTreeSet::from([State::Dead]), ..Filter::default() }, vec![1]),
        (Filter { states: BTreeSet::from([State::Dead, State::Delivered]), ..Filter::default() }, vec![1]),
        (Filter { from: Some(at(2)), until: Some(at(4)), ..Filter::default() }, vec![3, 2]),
        (Filter { id: Some(parcels[9].delivery.id), ..Filter::default() }, vec![9]),
    ];
    for (filter, expected) in cases {
        let found: Vec<_> = all(log, &company, &filter).await.into_iter().map(|it| it.id).collect();
        assert_eq!(found, expected.iter().map(|&n| parcels[n].delivery.id).collect::<Vec<_>>(), "{filter:?}");
    }
    let bad = Page { limit: 1, after: Some("nonsense".to_owned()) };
    assert!(matches!(log.deliveries.deliveries(&company, &Filter::default(), &bad).await, Err(Error::Invalid(_))));
}

async fn gives_parcels_oldest_first(log: &Log) {
    let company = scope("comp_a");
    let parcels: Vec<_> = (0..5).map(|n| parcel("comp_a", n)).collect();
    open(log, &parcels).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) =
            log.deliveries.parcels(&company, &Filter::default(), &Page { limit: 2, after }).await.unwrap();
        seen.extend(page.into_iter().map(|it| (it.delivery.id, it.payload.unwrap().get().to_owned())));
        after = next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> =
        parcels.iter().map(|it| (it.delivery.id, it.payload.as_ref().unwrap().get().to_owned())).collect();
    assert_eq!(seen, expected);
}

async fn keeps_companies_apart(log: &Log) {
    let (own, other) = (scope("comp_a"), scope("comp_b"));
    let parcel = parcel("comp_a", 1);
    let id = parcel.delivery.id;
    open(log, &[parcel]).await;
    let dead = standing(State::Dead, 3, now(), None);
    log.deliveries.note(&other, id, &dead, Some(&attempt(1, now(), "status", 1.0))).await.unwrap();
    log.deliveries.failed(&other, &endpoint("ep_1"), now(), "no", None).await.unwrap();
    assert!(log.deliveries.delivery(&other, id).await.unwrap().is_none());
    assert_eq!(all(log, &other, &Filter { id: Some(id), ..Filter::default() }).await, []);
    assert!(!log.deliveries.reopen(&other, id, 1, Uuid::new_v4(), now()).await.unwrap());
    assert_eq!(log.deliveries.erase_deliveries(&other).await.unwrap(), 0);
    assert_eq!(all(log, &own, &Filter::default()).await[0].standing.state, State::Pending);
    assert_eq!(log.deliveries.attempts(&own, id).await.unwrap(), []);
    assert_eq!(log.deliveries.health(&own, &endpoint("ep_1")).await.unwrap().failing_since, None);
}

async fn tells_what_is_ahead(log: &Log) {
    let (company, talk, began) = (scope("comp_a"), conversation(), now());
    let mut parcels: Vec<_> = [(1, 0), (2, 0), (2, 3), (3, 0)]
        .iter()
        .map(|&(n, rank)| in_conversation(parcel("comp_a", 1), talk, n, rank))
        .collect();
    for (n, parcel) in parcels.iter_mut().enumerate() {
        parcel.delivery.standing.next_attempt_at = Some(began + Duration::seconds(n as i64));
    }
    open(log, &parcels).await;
    let foreign = Delivery { endpoint_id: endpoint("ep_2"), ..parcels[3].delivery.clone() };
    let place = |of: &Delivery| (of.endpoint_id.clone(), of.place().unwrap());
    let since = began - Duration::hours(1);
    let ahead = async |of: &Delivery| {
        let (endpoint, place) = place(of);
        log.deliveries.ahead(&company, &endpoint, place, since).await.unwrap()
    };
    let due = |n: i64| Some(began + Duration::seconds(n));
    assert_eq!(ahead(&parcels[0].delivery).await, Ahead::default());
    assert_eq!(ahead(&parcels[2].delivery).await, Ahead { pending: due(0), behind: 1, ..Ahead::default() });
    assert_eq!(ahead(&foreign).await, Ahead::default(), "endpoints wait for themselves alone");
    for (n, state) in [(0, State::Delivered), (1, State::Dead)] {
        log.deliveries.note(&company, parcels[n].delivery.id, &standing(state, 1, now(), None), None).await.unwrap();
    }
    assert_eq!(ahead(&parcels[1].delivery).await, Ahead { last_known: Some(1), ..Ahead::default() });
    let beside = Ahead { last_known: Some(1), siblings: 1, ..Ahead::default() };
    assert_eq!(ahead(&parcels[2].delivery).await, beside, "of its own turn one is known");
    assert_eq!(ahead(&parcels[3].delivery).await, Ahead { pending: due(2), behind: 1, ..Ahead::default() });
    let (last, place) = place(&parcels[3].delivery);
    let given_up = log.deliveries.ahead(&company, &last, place, began + Duration::hours(1)).await.unwrap();
    assert_eq!(given_up.pending, None, "what should have come long ago is not waited for");
}

async fn reopens_once_for_a_replay(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    let id = parcel.delivery.id;
    let (replay, other) = (Uuid::new_v4(), Uuid::new_v4());
    open(log, &[parcel]).await;
    assert!(!log.deliveries.reopen(&company, id, 1, replay, now()).await.unwrap(), "it is on its way");
    log.deliveries.note(&company, id, &standing(State::Dead, 9, now(), None), None).await.unwrap();
    assert!(!log.deliveries.reopen(&company, id, 2, replay, now()).await.unwrap(), "there was no first replay");
    assert!(log.deliveries.reopen(&company, id, 1, replay, now()).await.unwrap());
    assert!(log.deliveries.reopen(&company, id, 1, replay, now()).await.unwrap(), "it asks again after a crash");
    assert!(!log.deliveries.reopen(&company, id, 1, other, now()).await.unwrap(), "two replays, one delivery");
    let kept = log.deliveries.delivery(&company, id).await.unwrap().unwrap().delivery;
    assert_eq!((kept.round, kept.replay_id, kept.standing.state), (1, Some(replay), State::Pending));
    assert_eq!(kept.standing.attempts, 0);
    assert!(kept.standing.next_attempt_at.is_some());
    let mut bare = self::parcel("comp_a", 2);
    (bare.payload, bare.delivery.standing) = (None, Standing::discarded("not wanted"));
    open(log, &[bare.clone()]).await;
    assert!(
        !log.deliveries.reopen(&company, bare.delivery.id, 1, replay, now()).await.unwrap(),
        "there is nothing to send"
    );
}

async fn counts_how_an_endpoint_does(log: &Log) {
    let (company, began) = (scope("comp_a"), now());
    let mut parcels: Vec<_> = (0..8).map(|n| parcel("comp_a", n)).collect();
    parcels[7].delivery.endpoint_id = endpoint("ep_2");
    parcels[6].delivery.standing = Standing::discarded("disabled");
    parcels[5].delivery.standing.next_attempt_at = Some(began + Duration::seconds(30));
    open(log, &parcels).await;
    for (n, state) in [(0, State::Delivered), (1, State::Delivered), (2, State::Delivered), (3, State::Dead)] {
        let one = attempt(1, began, state.as_str(), 10.0 * f64::from(u8::try_from(n).unwrap() + 1));
        log.deliveries
            .note(&company, parcels[n].delivery.id, &standing(state, 1, began, None), Some(&one))
            .await
            .unwrap();
    }
    let next = began + Duration::seconds(5);
    let failed = standing(State::Pending, 1, began, Some(next));
    let one = attempt(1, began, "status", 400.0);
    log.deliveries.note(&company, parcels[4].delivery.id, &failed, Some(&one)).await.unwrap();
    let health = log.deliveries.health(&company, &endpoint("ep_1")).await.unwrap();
    assert_eq!((health.pending, health.delivered, health.dead, health.discarded), (2, 3, 1, 1));
    assert_eq!((health.recent, health.recent_delivered), (5, 3));
    assert_eq!((health.p50_ms, health.p95_ms, health.p99_ms), (Some(20.0), Some(30.0), Some(30.0)));
    assert_eq!(health.next_attempt_at, Some(next));
    let unknown = log.deliveries.health(&company, &endpoint("ep_9")).await.unwrap();
    assert_eq!((unknown.pending, unknown.recent, unknown.p50_ms), (0, 0, None));
}

async fn knows_since_when_an_endpoint_fails(log: &Log) {
    let (company, at) = (scope("comp_a"), now());
    let ep = endpoint("ep_1");
    let failed = async |n: i64, reason: &str, open: Option<i64>| {
        let until = open.map(|open| at + Duration::seconds(open));
        log.deliveries.failed(&company, &ep, at + Duration::seconds(n), reason, until).await.unwrap()
    };
    assert_eq!(failed(10, "first", None).await, at + Duration::seconds(10));
    assert_eq!(failed(20, "second", Some(25)).await, at + Duration::seconds(10));
    let health = log.deliveries.health(&company, &ep).await.unwrap();
    assert_eq!(health.failing_since, Some(at + Duration::seconds(10)));
    assert_eq!(health.last_failure_at, Some(at + Duration::seconds(20)));
    assert_eq!(health.last_failure.as_deref(), Some("second"));
    assert_eq!(health.open_until, Some(at + Duration::seconds(25)));
    log.deliveries.succeeded(&company, &ep, at + Duration::seconds(30)).await.unwrap();
    let health = log.deliveries.health(&company, &ep).await.unwrap();
    assert_eq!((health.failing_since, health.open_until), (None, None));
    assert_eq!(health.last_success_at, Some(at + Duration::seconds(30)));
    assert_eq!(failed(40, "third", None).await, at + Duration::seconds(40), "it began to fail anew");
}

async fn keeps_replays_and_their_end(log: &Log) {
    let company = scope("comp_a");
    let replay = |n: i64| Replay {
        id: Uuid::new_v4(),
        company_id: "comp_a".parse().unwrap(),
        filter: Filter { states: BTreeSet::from([State::Dead]), from: Some(now()), ..Filter::default() },
        state: ReplayState::Running,
        replayed: 0,
        skipped: 0,
        created_at: time::macros::datetime!(2026-11-20 10:00 UTC) + Duration::seconds(n),
        updated_at: now(),
    };
    let (one, two) = (replay(1), replay(2));
    for it in [&one, &two] {
        log.deliveries.add_replay(&company, it, later()).await.unwrap();
    }
    assert_eq!(log.deliveries.replays(&company, 10).await.unwrap(), [two.clone(), one.clone()]);
    assert_eq!(log.deliveries.replays(&company, 1).await.unwrap(), std::slice::from_ref(&two));
    let on = Replay { replayed: 100, skipped: 3, updated_at: now(), ..one.clone() };
    log.deliveries.put_replay(&company, &on).await.unwrap();
    assert_eq!(log.deliveries.replay(&company, one.id).await.unwrap(), Some(on.clone()));
    assert!(log.deliveries.cancel_replay(&company, one.id, now()).await.unwrap());
    assert!(!log.deliveries.cancel_replay(&company, one.id, now()).await.unwrap());
    let done = Replay { replayed: 200, state: ReplayState::Done, ..on };
    log.deliveries.put_replay(&company, &done).await.unwrap();
    let kept = log.deliveries.replay(&company, one.id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.replayed), (ReplayState::Cancelled, 200), "what was cancelled stays so");
    log.deliveries.put_replay(&company, &Replay { state: ReplayState::Done, ..two.clone() }).await.unwrap();
    assert!(!log.deliveries.cancel_replay(&company, two.id, now()).await.unwrap(), "it was done");
    assert_eq!(log.deliveries.replay(&scope("comp_b"), one.id).await.unwrap(), None);
}

async fn erases_one_company(log: &Log) {
    let (own, other) = (parcel("comp_a", 1), parcel("comp_b", 1));
    open(log, std::slice::from_ref(&own)).await;
    open(log, std::slice::from_ref(&other)).await;
    log.deliveries.failed(&scope("comp_a"), &endpoint("ep_1"), now(), "no", None).await.unwrap();
    assert_eq!(log.deliveries.erase_deliveries(&scope("comp_a")).await.unwrap(), 1);
    assert!(log.deliveries.delivery(&scope("comp_a"), own.delivery.id).await.unwrap().is_none());
    assert_eq!(log.deliveries.health(&scope("comp_a"), &endpoint("ep_1")).await.unwrap().last_failure, None);
    assert!(log.deliveries.delivery(&scope("comp_b"), other.delivery.id).await.unwrap().is_some());
}

async fn erases_a_conversation_up_to_a_moment(log: &Log) {
    let (company, talk) = (scope("comp_a"), conversation());
    let (early, late) =
        (in_conversation(parcel("comp_a", 1), talk, 1, 0), in_conversation(parcel("comp_a", 60), talk, 2, 0));
    let other = in_conversation(parcel("comp_a", 1), conversation(), 1, 0);
    open(log, &[early.clone(), late.clone(), other.clone()]).await;
    let until = early.delivery.began_at;
    assert_eq!(log.deliveries.erase_conversation(&company, talk, until).await.unwrap(), 1);
    let mut left: Vec<_> = all(log, &company, &Filter::default()).await.into_iter().map(|it| it.id).collect();
    left.sort();
    let mut expected = vec![late.delivery.id, other.delivery.id];
    expected.sort();
    assert_eq!(left, expected);
}

async fn forgets_what_is_due(log: &Log) {
    let (company, parcel) = (scope("comp_a"), parcel("comp_a", 1));
    log.deliveries.open(&company, std::slice::from_ref(&parcel), now() - Duration::seconds(1)).await.unwrap();
    let kept = self::parcel("comp_a", 2);
    open(log, std::slice::from_ref(&kept)).await;
    log.deliveries.expire_deliveries(now()).await.unwrap();
    let left: Vec<_> = all(log, &company, &Filter::default()).await.into_iter().map(|it| it.id).collect();
    assert_eq!(left, [kept.delivery.id]);
    log.conversations.check().await.unwrap();
}
