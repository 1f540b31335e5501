//! The MongoDB store on a server that fails, and between two of its steps.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::future::join_all;
use mongodb::bson::{Document, doc};
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};
use turnpike::adapters::store::mongodb::MongoStore;
use turnpike::domain::delivery::{Parcel, Standing, State};
use turnpike::domain::{CompanyScope, TurnRecord};
use turnpike::ports::bus::Queue;
use turnpike::ports::ledger::Ledger;
use turnpike::ports::store::{ConversationStore, Error, Filter, Page};

use super::Base;
use super::upkeep::{age, fold};
use crate::deliveries::{conversation, in_conversation, parcel};
use crate::ledger::{account, message};
use crate::store::{record, scope};
use crate::support::proxy::Proxy;
use crate::support::services::OwnServer;
use crate::support::wait_for;

/// What a worker gets to come to where it is held up. If it is not there by then the test sees another interleaving,
/// which has to come out as well.
const CHANCE: Duration = Duration::from_millis(500);

/// A server that these tests share, one at a time: a fail point is the whole server's.
async fn server() -> Option<MutexGuard<'static, Option<OwnServer>>> {
    static SERVER: OnceLock<Mutex<Option<OwnServer>>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Mutex::new(OwnServer::mongodb())).lock().await;
    server.is_some().then_some(server)
}

/// Makes commands of a store fail from now on, but for the first few.
fn fail(server: &OwnServer, base: &Base, mode: &str, how: &str) {
    server.ctl(&[&format!(
        r#"{{"configureFailPoint": "failCommand", "mode": {mode}, "data": {{
            "failCommands": ["find", "insert", "update", "delete"], "appName": "{}", {how}
        }}}}"#,
        base.name
    )]);
}

fn mend(server: &OwnServer) {
    server.ctl(&[r#"{"configureFailPoint": "failCommand", "mode": "off"}"#]);
}

fn base_on(server: &OwnServer) -> Base {
    Base::on(server.url().to_owned())
}

/// What is stored of a conversation, and that nothing of it is half done.
async fn is_whole(base: &Base, store: &MongoStore, scope: &CompanyScope, turns: &[&TurnRecord]) {
    let conversation = turns[0].conversation_id;
    let history = store.history(scope, conversation, 100).await.unwrap();
    let sequences: Vec<u64> = history.iter().map(|turn| turn.sequence).collect();
    assert_eq!(sequences, (1..=turns.len() as u64).collect::<Vec<_>>());
    for turn in turns {
        assert_eq!(history.iter().filter(|stored| stored.record == **turn).count(), 1);
    }
    let head = store.conversation(scope, conversation).await.unwrap().unwrap();
    let messages: usize = turns.iter().map(|turn| if turn.answer.is_empty() { 1 } else { 2 }).sum();
    assert_eq!((head.last_sequence, head.message_count), (turns.len() as u64, messages as u64));
    let heads = base.bare().await.collection::<Document>("conversations");
    let head = heads.find_one(doc! { "conversation_id": conversation.to_string() }).await.unwrap().unwrap();
    assert!(head.get_array("assigned").unwrap().is_empty(), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_between_any_two_steps_leaves_nothing_undone() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let store = base.migrated().await;
    for keyed in [false, true] {
        for steps in 0.. {
            let company = format!("comp_{keyed}_{steps}");
            let scope = scope(&company);
            let first = record(&company, "s", "first", 0);
            let mut turn = record(&company, "s", "breaks off", 1);
            turn.idempotency_key = keyed.then(|| "key".to_owned());
            let other = record(&company, "s", "another worker's", 2);
            let last = record(&company, "s", "last", 3);
            store.append(&scope, &first, None).await.unwrap();
            let worker = base.open_within(Duration::from_secs(3));
            fail(server, &base, &format!(r#"{{"skip": {steps}}}"#), r#""errorCode": 112"#);
            let broken = worker.append(&scope, &turn, None).await;
            mend(server);
            // Somebody else goes on with the conversation before the turn comes again.
            let other_place = store.append(&scope, &other, None).await.unwrap();
            let place = store.append(&scope, &turn, None).await.unwrap();
            let again = store.append(&scope, &turn, None).await.unwrap();
            assert_eq!((place.sequence, place.message_count), (again.sequence, again.message_count));
            assert_eq!(place.message_count, 2 * place.sequence);
            assert_eq!(place.sequence + other_place.sequence, 2 + 3, "after {steps} steps");
            store.append(&scope, &last, None).await.unwrap();
            is_whole(&base, &store, &scope, &[&first, &turn, &other, &last]).await;
            if let Ok(done) = broken {
                assert_eq!((done.sequence, done.message_count), (2, 4));
                assert!(steps >= 5, "two reads and three writes, and it was done after {steps} of them");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_overtaken_between_any_two_steps_stores_nothing_twice() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let store = base.migrated().await;
    for steps in 1..=5 {
        let company = format!("comp_{steps}");
        let scope = scope(&company);
        let (first, turn) = (record(&company, "s", "first", 0), record(&company, "s", "overtaken", 1));
        store.append(&scope, &first, None).await.unwrap();
        let slow = base.open();
        slow.check().await.unwrap();
        fail(server, &base, &format!(r#"{{"skip": {steps}}}"#), r#""blockConnection": true, "blockTimeMS": 1500"#);
        let (by, late) = (scope.clone(), turn.clone());
        let slow = tokio::spawn(async move { slow.append(&by, &late, None).await });
        tokio::time::sleep(CHANCE).await;
        // Nothing holds this one up, for its client has another name.
        let quick = base.open_as("quick", Duration::from_secs(20)).append(&scope, &turn, None).await.unwrap();
        mend(server);
        let slow = slow.await.unwrap().unwrap();
        assert_eq!((quick.sequence, quick.message_count), (2, 4), "overtaken after {steps} steps");
        assert_eq!((slow.sequence, slow.message_count), (2, 4), "overtaken after {steps} steps");
        let last = record(&company, "s", "last", 2);
        store.append(&scope, &last, None).await.unwrap();
        is_whole(&base, &store, &scope, &[&first, &turn, &last]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_count_at_once_count_once() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let ledger = base.open_as("quick", Duration::from_secs(20));
    ledger.migrate().await.unwrap();
    for _ in 0..2 {
        let messages: Vec<_> = (0..3).map(|_| message("comp_a")).collect();
        ledger.open(Queue::Deliver, &messages, OffsetDateTime::now_utc()).await.unwrap();
        ledger.done(Queue::Deliver, messages[0].id).await.unwrap();
        age(&base, 30).await;
        // The first to count is held up when it is about to write down what it has counted.
        server.ctl(&[&format!(
            r#"{{"configureFailPoint": "failCommand", "mode": {{"times": 1}}, "data": {{
                "failCommands": ["insert", "update"], "appName": "{}", "blockConnection": true, "blockTimeMS": 1500
            }}}}"#,
            base.name
        )]);
        let slow = fold(base.open());
        let quick = async {
            tokio::time::sleep(CHANCE).await;
            fold(base.open_as("quick", Duration::from_secs(20))).await;
        };
        tokio::join!(slow, quick);
        mend(server);
    }
    let account = account(&ledger, Queue::Deliver).await.unwrap();
    assert_eq!((account.accepted, account.done, account.pending), (6, 2, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_on_a_server_that_fails_number_without_gaps() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    base.migrated().await;
    let scope = scope("comp_a");
    let workers: Vec<MongoStore> = (0..3).map(|_| base.open()).collect();
    let turns: Vec<TurnRecord> = (0..36).map(|n| record("comp_a", &format!("s{}", n % 3), "q", n)).collect();
    let work = workers.iter().map(|worker| async {
        // Each turn comes to every worker, and again as long as it fails.
        let stored = turns.iter().map(|turn| async {
            while worker.append(&scope, turn, None).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        join_all(stored).await;
    });
    let work = join_all(work);
    tokio::pin!(work);
    let mut rounds = 0;
    loop {
        tokio::select! {
            _ = &mut work => break,
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                rounds += 1;
                // Some commands are not done, and of some it is not heard that they were.
                let lost = r#""writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}"#;
                let how = if rounds % 2 == 0 { r#""errorCode": 112"# } else { lost };
                fail(server, &base, r#"{"times": 4}"#, how);
            }
        }
    }
    mend(server);
    assert!(rounds > 0, "nothing failed");
    for session in 0..3 {
        let own: Vec<&TurnRecord> = turns.iter().skip(session).step_by(3).collect();
        is_whole(&base, &workers[0], &scope, &own).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_told_from_what_cannot() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let store = base.migrated().await;
    let scope = scope("comp_a");
    let turn = record("comp_a", "s", "q", 0);
    for how in [
        r#""writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}"#,
        r#""errorCode": 50"#,
        r#""errorCode": 13"#,
    ] {
        fail(server, &base, r#""alwaysOn""#, how);
        let answer = store.append(&scope, &turn, None).await;
        mend(server);
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{how} gave {answer:?}");
    }
    fail(server, &base, r#"{"skip": 2}"#, r#""errorCode": 10334"#);
    let answer = store.append(&scope, &turn, None).await;
    mend(server);
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
    assert_eq!(store.append(&scope, &turn, None).await.unwrap().sequence, 1);
    is_whole(&base, &store, &scope, &[&turn]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_company_stays_erased_while_a_turn_of_it_is_being_stored() {
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let store = base.migrated().await;
    let scope = scope("comp_a");
    store.append(&scope, &record("comp_a", "s", "first", 0), None).await.unwrap();
    // The turn is counted in and inserted, and its last step takes long.
    let turn = record("comp_a", "s", "late", 1);
    fail(server, &base, r#"{"skip": 4}"#, r#""blockConnection": true, "blockTimeMS": 4000"#);
    let worker = base.open();
    let (late, by) = (turn.clone(), scope.clone());
    let storing = tokio::spawn(async move { worker.append(&by, &late, None).await });
    let bare = base.bare().await;
    let turns = bare.collection::<Document>("turns");
    wait_for("the turn to be inserted", || async {
        (turns.count_documents(doc! {}).await.unwrap() == 2).then_some(())
    })
    .await;
    // What erases is another process, which nothing holds up.
    for collection in ["conversations", "turns"] {
        bare.collection::<Document>(collection).delete_many(doc! { "company_id": "comp_a" }).await.unwrap();
    }
    turns.insert_one(mongodb_turn(&turn)).await.unwrap();
    let answer = storing.await.unwrap();
    mend(server);
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    let left: Vec<Document> = turns.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    let page = Page { limit: 10, after: None };
    assert_eq!(store.conversations(&scope, &Filter::default(), &page).await.unwrap().0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_written_down_while_its_line_is_looked_at_is_not_taken_for_one_that_is_over() {
    use turnpike::ports::deliveries::Deliveries;
    let Some(server) = server().await else { return };
    let server = server.as_ref().unwrap();
    let base = base_on(server);
    let log = base.migrated().await;
    let scope = scope("comp_a");
    let talk = conversation();
    let parcels: Vec<Parcel> = (1..=3).map(|n| in_conversation(parcel("comp_a", 1), talk, n, 3)).collect();
    let endpoint = &parcels[0].delivery.endpoint_id;
    let later = OffsetDateTime::now_utc() + time::Duration::days(1);
    Deliveries::open(&log, &scope, &parcels[..1], later).await.unwrap();
    Deliveries::open(&log, &scope, &parcels[2..], later).await.unwrap();
    let first = &parcels[0].delivery;
    let delivered = Standing { state: State::Delivered, ..first.standing.clone() };
    log.note(&scope, first.id, &delivered, None).await.unwrap();
    for steps in 0..2 {
        let looking = base.open();
        looking.check().await.unwrap();
        // The one who looks is held up before each of the questions in turn.
        fail(server, &base, &format!(r#"{{"skip": {steps}}}"#), r#""blockConnection": true, "blockTimeMS": 1500"#);
        let place = parcels[2].delivery.place().unwrap();
        let (by, whose) = (scope.clone(), endpoint.clone());
        let since = first.began_at - time::Duration::days(1);
        let looking = tokio::spawn(async move { looking.ahead(&by, &whose, place, since).await });
        tokio::time::sleep(CHANCE).await;
        let quick = base.open_as("quick", Duration::from_secs(20));
        Deliveries::open(&quick, &scope, &parcels[1..2], later).await.unwrap();
        mend(server);
        let ahead = looking.await.unwrap().unwrap();
        let knows_of_it = ahead.pending.is_some() || ahead.last_known == Some(1);
        assert!(knows_of_it, "after {steps} steps the second is taken for delivered: {ahead:?}");
        let bare = base.bare().await;
        let second = doc! { "id": parcels[1].delivery.id.to_string() };
        assert_eq!(bare.collection::<Document>("deliveries").delete_one(second).await.unwrap().deleted_count, 1);
    }
}

/// The turn as if it had been inserted after the company's turns were removed.
fn mongodb_turn(turn: &TurnRecord) -> Document {
    doc! {
        "_id": format!("comp_a/{}", turn.turn_id), "company_id": "comp_a", "turn_id": turn.turn_id.to_string(),
        "conversation_id": turn.conversation_id.to_string(), "sequence": 2_i64, "message_count": 4_i64,
        "started_at": mongodb::bson::DateTime::now(), "record": {
            "turn_id": turn.turn_id.to_string(), "company_id": "comp_a",
            "conversation_id": turn.conversation_id.to_string(), "message": "", "answer": "", "finish_reason": "stop",
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_outlives_its_database() {
    let Some(server) = OwnServer::mongodb() else { return };
    let base = base_on(&server);
    let scope = scope("comp_a");
    let (first, second) = (record("comp_a", "s", "first", 0), record("comp_a", "s", "second", 1));
    base.migrated().await.append(&scope, &first, None).await.unwrap();
    server.kill();
    // A store that is opened while the database is away works when it is back, as does one that was there before.
    let store = base.open_within(Duration::from_secs(4));
    let started = Instant::now();
    let answer = store.append(&scope, &second, None).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    assert!(matches!(store.check().await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?} to say so", started.elapsed());
    server.start_again();
    wait_for("the database to be back", || async { store.check().await.ok() }).await;
    assert_eq!(store.append(&scope, &second, None).await.unwrap().sequence, 2);
    is_whole(&base, &store, &scope, &[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_comes_back_when_the_first_words_of_its_connections_were_lost_for_good() {
    // One of its own: the test server does not bear connections that fall silent, and others would wait with it.
    let Some(server) = OwnServer::mongodb() else { return };
    let proxy = Proxy::before(server.url()).await;
    let base = Base::on(proxy.url(server.url()));
    let store = base.open_within(Duration::from_millis(400));
    store.check().await.unwrap();
    // Connections are accepted and nothing is heard on them: neither now, nor when the line is well again.
    proxy.blackhole();
    let lost = join_all((0..40).map(|_| store.check())).await;
    assert!(lost.iter().all(Result::is_err));
    proxy.forget();
    proxy.restore();
    wait_for("the store to answer", || async { store.check().await.ok() }).await;
}
