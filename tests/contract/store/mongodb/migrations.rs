//! How a database is brought to what this version works with.

use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use mongodb::bson::{Bson, DateTime, Document, doc};
use turnpike::adapters::store::mongodb::{MongoStore, Settings};
use turnpike::config::Secret;
use turnpike::ports::store::{ConversationStore, Error};

use super::Base;
use crate::store::{record, scope};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_may_migrate_at_once_and_again() {
    let Some(base) = Base::new() else { return };
    let processes: Vec<MongoStore> = (0..3).map(|_| base.open()).collect();
    let pending = processes[0].pending().await.unwrap();
    assert!(!pending.is_empty());
    let done = join_all(processes.iter().map(MongoStore::migrate)).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(done.iter().any(|done| done.as_ref().unwrap() == &pending));
    assert_eq!(processes[0].pending().await.unwrap(), [""; 0]);
    assert_eq!(processes[0].migrate().await.unwrap(), [""; 0]);
    let noted = base.bare().await.collection::<Document>("migrations").count_documents(doc! {}).await.unwrap();
    assert_eq!(noted, pending.len() as u64, "each step is noted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let Some(base) = Base::new() else { return };
    let store = base.migrated().await;
    let migrations = base.bare().await.collection::<Document>("migrations");
    migrations.insert_one(doc! { "_id": 9_999_i64, "name": "9999-of-tomorrow" }).await.unwrap();
    for answer in [store.pending().await, store.migrate().await] {
        assert!(matches!(&answer, Err(Error::Invalid(text)) if text.contains("9999-of-tomorrow")), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_any_migration_is_checked_after_it() {
    let Some(base) = Base::new() else { return };
    let store = base.open();
    let scope = scope("comp_a");
    store.append(&scope, &record("comp_a", "s", "early", 0), None).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.append(&scope, &record("comp_a", "s", "late", 1), None).await.unwrap().sequence, 2);
    let turns = base.bare().await.collection::<Document>("turns");
    let stray = turns.insert_one(doc! { "_id": "comp_a/stray", "company_id": "comp_a", "sequence": 0_i64 }).await;
    assert!(stray.unwrap_err().to_string().contains("121"), "a malformed turn was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_collection_of_a_company_can_be_sharded_by_it() {
    let Some(base) = Base::new() else { return };
    base.migrated().await;
    let bare = base.bare().await;
    // Whose documents are found before their company is known, or are of no company.
    let others = ["companies", "api_keys", "ledger", "ledger_totals", "members", "migrations"];
    let mut sharded = 0;
    for name in bare.list_collection_names().await.unwrap() {
        if others.contains(&name.as_str()) || name.starts_with("system.") {
            continue;
        }
        sharded += 1;
        let indexes = bare.collection::<Document>(&name).list_indexes().await.unwrap();
        let indexes: Vec<_> = indexes.try_collect().await.unwrap();
        let begins_with = |keys: &Document| keys.keys().next().cloned().unwrap_or_default();
        assert!(indexes.iter().any(|index| begins_with(&index.keys) == "company_id"), "{name} has no shard key");
        for index in indexes {
            let is_unique = index.options.as_ref().and_then(|options| options.unique) == Some(true);
            let first = begins_with(&index.keys);
            assert!(!is_unique || first == "company_id", "{name}: unique by {:?}", index.keys);
        }
    }
    assert_eq!(sharded, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_removed_by_the_database() {
    let Some(base) = Base::new() else { return };
    let store = base.migrated().await;
    let over =
        turnpike::domain::TurnRecord { idempotency_key: Some("k".to_owned()), ..record("comp_a", "s", "over", 0) };
    let end = over.finished_at;
    store.append(&scope("comp_a"), &over, Some(end)).await.unwrap();
    store.append(&scope("comp_a"), &record("comp_a", "kept", "kept", 0), None).await.unwrap();
    let bare = base.bare().await;
    let deadline = std::time::Instant::now() + crate::store::retention::PATIENCE;
    for collection in ["turns", "conversations"] {
        while bare.collection::<Document>(collection).count_documents(doc! {}).await.unwrap() > 1 {
            assert!(std::time::Instant::now() < deadline, "{collection} keeps what is over");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // Each collection whose documents end has the index that ends them.
    for name in ["turns", "conversations", "facts", "ledger", "members", "live_turns", "claims"] {
        let indexes = bare.run_command(doc! { "listIndexes": name }).await.unwrap();
        let indexes = indexes.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        let ends = indexes.iter().filter_map(Bson::as_document).any(|index| {
            index.get_document("key").unwrap().contains_key("expires_at") && index.contains_key("expireAfterSeconds")
        });
        assert!(ends, "{name} keeps for ever");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_may_send_along_what_documents_cannot_hold() {
    let Some(base) = Base::new() else { return };
    let store = base.migrated().await;
    let mut turn = record("comp_a", "s", "q", 0);
    let deep = (0..90).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    turn.context = serde_json::from_value(serde_json::json!({
        "$where": "1", "a.b": {"": null, "$oid": "x"}, "\u{0}": u64::MAX, "deep": deep, "f": 0.1,
    }))
    .unwrap();
    turn.usage.input_tokens = u64::MAX;
    turn.timings.total_ms = Some(812.300_000_000_000_1);
    let scope = scope("comp_a");
    store.append(&scope, &turn, None).await.unwrap();
    assert_eq!(store.turn(&scope, turn.turn_id).await.unwrap().unwrap().record, turn);
    // What is kept can be asked for as it is written.
    let turns = base.bare().await.collection::<Document>("turns");
    let asked = doc! { "record.finish_reason": "stop", "record.timings.total_ms": { "$gt": 800 }, "started_at": { "$lt": DateTime::now() } };
    assert_eq!(turns.count_documents(asked).await.unwrap(), 1);
}

#[tokio::test]
async fn a_wrong_uri_is_refused_without_its_password() {
    for uri in [
        "mongodb://user:hidden@",
        "mongodb://user:hid@den@host",
        "http://user:hidden@host",
        "mongodb://user:hidden@host:port/",
    ] {
        let settings = Settings {
            uri: Secret::new(uri),
            database: "turnpike".to_owned(),
            max_pool_size: 1,
            min_pool_size: 0,
            timeout: Duration::from_secs(1),
        };
        let error = MongoStore::open(&settings).err().unwrap_or_else(|| panic!("{uri} was taken"));
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert!(!error.to_string().contains("hid"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_it_works_with() {
    let Some(base) = Base::new() else { return };
    let said = base.open().describe().await.unwrap();
    assert!(said.contains(&base.name) && said.starts_with(|c: char| c.is_ascii_digit()), "{said}");
}
