//! The ledger's account over the removal of what it accounts for.

use futures::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};
use time::OffsetDateTime;
use turnpike::adapters::store::mongodb::MongoStore;
use turnpike::ports::bus::{Account, Queue};
use turnpike::ports::ledger::{Ledger, Standing};

use super::Base;
use crate::ledger::{account, message};
use crate::store::scope;

/// Moves all that happened so far into the past, what was counted of it included.
pub(super) async fn age(base: &Base, minutes: i64) {
    let bare = base.bare().await;
    for (collection, dates) in [("ledger", ["at", "opened_at"]), ("ledger_totals", ["until", "marked_until"])] {
        let collection = bare.collection::<Document>(collection);
        let all: Vec<Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        for one in all {
            let back = |field: &str| {
                let millis = one.get_datetime(field).unwrap().timestamp_millis() - minutes * 60_000;
                (field.to_owned(), Bson::DateTime(DateTime::from_millis(millis)))
            };
            let change = doc! { "$set": dates.into_iter().map(back).collect::<Document>() };
            collection.update_one(doc! { "_id": one.get_str("_id").unwrap() }, change).await.unwrap();
        }
    }
}

/// Has a process that just started look for what is overdue, and with it count what does not change any more.
pub(super) async fn fold(process: MongoStore) {
    let now = OffsetDateTime::now_utc();
    process.overdue(Queue::Analytics, now, now, 1).await.unwrap();
}

/// Removes what may be removed, as the database does when its week is over. Says how much that was.
async fn remove(base: &Base) -> u64 {
    let ledger = base.bare().await.collection::<Document>("ledger");
    ledger.delete_many(doc! { "expires_at": { "$exists": true } }).await.unwrap().deleted_count
}

async fn deliver(ledger: &dyn Ledger) -> Account {
    let account = account(ledger, Queue::Deliver).await.unwrap();
    assert!(account.balances(), "{account:?}");
    Account { oldest_ms: None, ..account }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_outlasts_what_it_accounts_for() {
    let Some(base) = Base::new() else { return };
    let ledger = base.migrated().await;
    let due = OffsetDateTime::now_utc() + time::Duration::hours(1);
    let mut expected = (0, 0);
    for round in 0..3 {
        let messages: Vec<_> = (0..6).map(|_| message("comp_a")).chain((0..2).map(|_| message("comp_b"))).collect();
        ledger.open(Queue::Deliver, &messages, due).await.unwrap();
        for one in &messages[..4] {
            ledger.done(Queue::Deliver, one.id).await.unwrap();
        }
        ledger.dead(Queue::Deliver, &messages[4], "410").await.unwrap();
        assert_eq!(Ledger::erase(&ledger, &scope("comp_b")).await.unwrap(), 2);
        expected = (expected.0 + 4, expected.1 + 2);
        let known = deliver(&ledger).await;
        assert_eq!(
            (known.done, known.erased, known.dead, known.pending),
            (expected.0, expected.1, round + 1, round + 1)
        );
        age(&base, 30).await;
        // Two processes count at once.
        tokio::join!(fold(base.open()), fold(base.open()));
        assert_eq!(deliver(&ledger).await, known);
        assert_eq!(ledger.standing(Queue::Deliver, messages[0].id).await.unwrap(), Standing::Done);
        assert_eq!(remove(&base).await, 6, "what is done or erased, and nothing else");
        let after = deliver(&ledger).await;
        assert_eq!((after.accepted, after.done, after.erased), (known.accepted, known.done, known.erased));
        assert_eq!(ledger.standing(Queue::Deliver, messages[0].id).await.unwrap(), Standing::Unknown);
    }
    assert_eq!(ledger.redrive(None, None, due).await.unwrap().len(), 3, "what is dead or pending is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_that_was_not_counted() {
    let Some(base) = Base::new() else { return };
    let ledger = base.migrated().await;
    let due = OffsetDateTime::now_utc();
    let messages: Vec<_> = (0..3).map(|_| message("comp_a")).collect();
    ledger.open(Queue::Deliver, &messages, due).await.unwrap();
    ledger.done(Queue::Deliver, messages[0].id).await.unwrap();
    fold(base.open()).await;
    assert_eq!(remove(&base).await, 0, "what is new may still change");
    age(&base, 30).await;
    fold(base.open()).await;
    // A process that died after it had counted, and before it let go what it had counted.
    let bare = base.bare().await;
    let unmark = doc! { "$unset": { "expires_at": "" } };
    bare.collection::<Document>("ledger").update_many(doc! {}, unmark).await.unwrap();
    let undone = doc! { "$set": { "marked_until": DateTime::from_millis(0) } };
    bare.collection::<Document>("ledger_totals").update_many(doc! {}, undone).await.unwrap();
    fold(base.open()).await;
    assert_eq!(remove(&base).await, 1);
    let account = deliver(&ledger).await;
    assert_eq!((account.accepted, account.done, account.pending), (3, 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_shows_what_was_lost() {
    let Some(base) = Base::new() else { return };
    let ledger = base.migrated().await;
    let messages: Vec<_> = (0..3).map(|_| message("comp_a")).collect();
    ledger.open(Queue::Deliver, &messages, OffsetDateTime::now_utc()).await.unwrap();
    age(&base, 30).await;
    fold(base.open()).await;
    base.bare().await.collection::<Document>("ledger").delete_one(doc! {}).await.unwrap();
    let account = account(&ledger, Queue::Deliver).await.unwrap();
    assert_eq!((account.accepted, account.pending, account.balances()), (3, 2, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_company_is_left_in_the_ledger() {
    let Some(base) = Base::new() else { return };
    let ledger = base.migrated().await;
    let messages: Vec<_> = (0..4).map(|_| message("comp_canary")).collect();
    ledger.open(Queue::Deliver, &messages, OffsetDateTime::now_utc()).await.unwrap();
    ledger.done(Queue::Deliver, messages[0].id).await.unwrap();
    ledger.dead(Queue::Deliver, &messages[1], "canary").await.unwrap();
    Ledger::erase(&ledger, &scope("comp_canary")).await.unwrap();
    let left = base.bare().await.collection::<Document>("ledger").find(doc! {}).await.unwrap();
    let left: Vec<Document> = left.try_collect().await.unwrap();
    assert_eq!(left.len(), 4);
    for entry in left {
        assert!(!entry.to_string().contains("canary") && !entry.contains_key("body"), "{entry}");
    }
}
