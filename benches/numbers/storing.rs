//! Storing in MongoDB: turns stored exactly once and numbered, by how many are stored at a time, against the same
//! documents in a plain `insert_many`; and the ledger of deliveries, in which many share one command.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use turnpike::adapters::store::mongodb::{MongoStore, Settings};
use turnpike::config::Secret;
use turnpike::domain::{CompanyScope, TurnId};
use turnpike::ports::bus::{Message, Queue};
use turnpike::ports::ledger::Ledger;
use turnpike::ports::store::ConversationStore;
use uuid::Uuid;

use crate::Effort;
use crate::sites::{COMPANY, turn};
use crate::support::services;
use crate::table::{Sample, Table, ms, ratio};

/// Documents of one `insert_many`.
const BATCH: usize = 100;
/// Turns that are stored at a time, each of a conversation of its own.
const WORKERS: [usize; 3] = [1, 16, 64];
/// Deliveries that are written down at a time.
const DELIVERIES: usize = 256;

/// What one way has written so far.
#[derive(Default)]
struct Made {
    seconds: f64,
    documents: usize,
    waits_ms: Sample,
}

impl Made {
    fn add(&mut self, begun: Instant, documents: usize, waits_ms: impl IntoIterator<Item = f64>) {
        self.seconds += begun.elapsed().as_secs_f64();
        self.documents += documents;
        self.waits_ms.extend(waits_ms);
    }

    fn per_second(&self) -> f64 {
        self.documents as f64 / self.seconds
    }
}

pub(crate) async fn measure(effort: Effort) {
    let Some(uri) = services::mongodb("storing") else { return };
    let name = format!("turnpike_bench_{}", Uuid::new_v4().simple());
    let settings = Settings {
        uri: Secret::new(&uri),
        database: name.clone(),
        max_pool_size: 64,
        min_pool_size: 0,
        timeout: Duration::from_secs(60),
    };
    let store = MongoStore::open(&settings).unwrap();
    store.migrate().await.unwrap();
    let database = Client::with_uri_str(&uri).await.unwrap().database(&name);
    let (rounds, time) = (effort.pick(4, 1), Duration::from_millis(effort.pick(2_000, 300)));
    let (mut plain, mut ledger) = (Made::default(), Made::default());
    let mut stored: [Made; WORKERS.len()] = Default::default();
    for _ in 0..rounds {
        insert_many(&database.collection("plain"), time, &mut plain).await;
        for (made, workers) in stored.iter_mut().zip(WORKERS) {
            store_turns(&store, workers, time, made).await;
        }
        keep_books(&store, time, &mut ledger).await;
    }
    let server = store.describe().await.unwrap();
    database.drop().await.unwrap();

    let title = format!("Storing in MongoDB {server} ({rounds} rounds of each)");
    let mut table = Table::new(title, &["", "a second", "ratio", "wait p50", "wait p99"]);
    let row = |made: &Made| {
        let numbers = [made.per_second(), made.waits_ms.p50(), made.waits_ms.p99()];
        [format!("{:.0}", numbers[0]), ratio(numbers[0], plain.per_second()), ms(numbers[1]), ms(numbers[2])]
    };
    table.row(format!("plain insert_many of {BATCH}, by majority"), &row(&plain), "");
    for (made, workers) in stored.iter().zip(WORKERS) {
        table.row(format!("turns stored, {workers} at a time"), &row(made), "");
    }
    table.row(format!("deliveries opened and done, {DELIVERIES} at a time"), &row(&ledger), "");
    table.print();
}

async fn insert_many(collection: &Collection<Document>, time: Duration, made: &mut Made) {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let turn = turn("s");
    let begun = Instant::now();
    while begun.elapsed() < time {
        let documents = (0..BATCH).map(|_| {
            doc! {
                "_id": format!("{COMPANY}/{}", TurnId::generate()), "company_id": COMPANY,
                "message": &turn.message, "answer": &turn.answer,
            }
        });
        let documents: Vec<Document> = documents.collect();
        let before = Instant::now();
        collection.insert_many(documents).write_concern(durable.clone()).await.unwrap();
        made.waits_ms.push(before.elapsed().as_secs_f64() * 1000.0);
        made.documents += BATCH;
    }
    made.add(begun, 0, []);
}

async fn store_turns(store: &MongoStore, workers: usize, time: Duration, made: &mut Made) {
    let scope = CompanyScope::granted(COMPANY.parse().unwrap());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (store, scope, session) = (store.clone(), scope.clone(), Uuid::new_v4().to_string());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < time {
                let turn = turn(&session);
                let before = Instant::now();
                store.append(&scope, &turn, None).await.unwrap();
                waits.push(before.elapsed().as_secs_f64() * 1000.0);
            }
            waits
        });
    }
    let waits = tasks.join_all().await.concat();
    made.add(begun, waits.len(), waits);
}

async fn keep_books(store: &MongoStore, time: Duration, made: &mut Made) {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..DELIVERIES {
        let store = store.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < time {
                let now = OffsetDateTime::now_utc();
                let message = Message {
                    id: Uuid::new_v4(),
                    routing_key: format!("webhook.attempt.{COMPANY}"),
                    body: vec![b'x'; 512].into(),
                    attempts: 0,
                    first_queued_at: now,
                };
                let before = Instant::now();
                store.open(Queue::Deliver, std::slice::from_ref(&message), now).await.unwrap();
                store.done(Queue::Deliver, message.id).await.unwrap();
                waits.push(before.elapsed().as_secs_f64() * 1000.0);
            }
            waits
        });
    }
    let waits = tasks.join_all().await.concat();
    made.add(begun, waits.len(), waits);
}
