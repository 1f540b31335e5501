//! Small writes of many tasks, sent together: one `update` command takes what has come in while others were under way,
//! so that the cost of making something durable is shared, and nothing waits for a clock.
//!
//! Statements have to bear being run twice: a command that may or may not have been run is run again.

use std::sync::Arc;
use std::time::Duration;

use ::mongodb::Database;
use ::mongodb::bson::raw::{RawArrayBuf, RawDocumentBuf};
use ::mongodb::bson::{Document, rawdoc};
use ::mongodb::error::{Error as DriverError, ErrorKind};
use futures::future::try_join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::MongoStore;
use super::call::{DUPLICATE_KEY, out_of_time, refused};
use super::codec::pause;
use crate::ports::store::Error;
use crate::runtime::tasks;

/// Commands under way at once.
const COMMANDS: usize = 4;
/// Orders that may wait; who brings more waits until there is room.
const WAITING: usize = 4_096;
/// Statements of one command at most.
const STATEMENTS: usize = 1_000;
/// Bytes of one command's statements at most, beyond its first order. A server takes 16 MiB.
const BYTES: usize = 4 * 1_024 * 1_024;

/// What the server answers when another one should have been asked, or it is about to stop: the next try finds the right
/// one.
const ELSEWHERE: &[i32] = &[6, 7, 89, 91, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436];

/// The writer that all tasks share.
#[derive(Clone)]
pub(super) struct Batches {
    orders: mpsc::Sender<Order>,
}

/// Statements of one task for one collection.
struct Order {
    collection: &'static str,
    statements: Vec<RawDocumentBuf>,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl MongoStore {
    /// Runs statements of an `update` command (`q`, `u`, `upsert`), durably. One that cannot insert because what it did
    /// not match is there already has nothing to do.
    pub(super) async fn update(&self, collection: &'static str, statements: &[Document]) -> Result<(), Error> {
        let pieces = pieces(statements)?;
        let connection = self.connection().await?;
        let orders = &connection.batches.orders;
        let mut answers = Vec::with_capacity(pieces.len());
        for statements in pieces {
            let (answer, answered) = oneshot::channel();
            let gone = |_| Error::Unavailable("the writer of the database has ended".to_owned());
            orders.send(Order { collection, statements, answer }).await.map_err(gone)?;
            answers.push(async {
                answered.await.unwrap_or_else(|_| Err(Error::Unavailable("the write was broken off".to_owned())))
            });
        }
        try_join_all(answers).await.map(|_| ())
    }
}

impl Batches {
    /// Starts the writer. It ends when nobody can bring orders any more.
    pub(super) fn start(database: Database, timeout: Duration) -> Self {
        let (orders, waiting) = mpsc::channel(WAITING);
        tasks::spawn("mongodb writes", collect(database, timeout, waiting));
        Self { orders }
    }
}

async fn collect(database: Database, timeout: Duration, mut waiting: mpsc::Receiver<Order>) {
    let commands = Arc::new(Semaphore::new(COMMANDS));
    loop {
        // A permit comes first: while all commands are under way, orders gather.
        let Ok(permit) = Arc::clone(&commands).acquire_owned().await else { return };
        let mut orders = Vec::new();
        if waiting.recv_many(&mut orders, STATEMENTS).await == 0 {
            return;
        }
        let database = database.clone();
        tasks::spawn("mongodb write", async move {
            for command in commands_of(orders) {
                run(&database, timeout, command).await;
            }
            drop(permit);
        });
    }
}

/// Statements in pieces that are not too much for one command each.
fn pieces(statements: &[Document]) -> Result<Vec<Vec<RawDocumentBuf>>, Error> {
    let mut pieces: Vec<Vec<RawDocumentBuf>> = Vec::new();
    let mut bytes = 0;
    for statement in statements {
        let statement = RawDocumentBuf::try_from(statement)?;
        bytes += statement.as_bytes().len();
        match pieces.last_mut() {
            Some(last) if last.len() < STATEMENTS && bytes <= BYTES => last.push(statement),
            _ => {
                bytes = statement.as_bytes().len();
                pieces.push(vec![statement]);
            }
        }
    }
    Ok(pieces)
}

/// Orders as they go into one command each: of one collection, and not too many.
fn commands_of(mut orders: Vec<Order>) -> Vec<Vec<Order>> {
    orders.sort_by_key(|order| order.collection);
    let mut commands: Vec<Vec<Order>> = Vec::new();
    let (mut statements, mut bytes) = (0, 0);
    for order in orders {
        statements += order.statements.len();
        bytes += size(&order);
        match commands.last_mut() {
            Some(last)
                if statements <= STATEMENTS
                    && bytes <= BYTES
                    && last.first().is_some_and(|first| first.collection == order.collection) =>
            {
                last.push(order);
            }
            _ => {
                (statements, bytes) = (order.statements.len(), size(&order));
                commands.push(vec![order]);
            }
        }
    }
    commands
}

fn size(order: &Order) -> usize {
    order.statements.iter().map(|statement| statement.as_bytes().len()).sum()
}

/// Runs a command and answers its orders.
async fn run(database: &Database, timeout: Duration, orders: Vec<Order>) {
    let result = tokio::time::timeout(timeout, command(database, timeout, &orders)).await;
    let failures = result.unwrap_or_else(|_| Err(out_of_time(timeout)));
    if matches!(failures, Err(Error::Invalid(_))) && orders.len() > 1 {
        // One of them is to blame, and the others are not to suffer for it.
        for order in orders {
            Box::pin(run(database, timeout, vec![order])).await;
        }
        return;
    }
    let mut first = 0;
    for order in orders {
        let own = first..first + order.statements.len();
        first = own.end;
        let answer = match &failures {
            Ok(failures) => {
                failures.iter().find(|(index, _)| own.contains(index)).map_or(Ok(()), |(_, error)| Err(same(error)))
            }
            Err(error) => Err(same(error)),
        };
        // Whoever asked may have stopped to wait.
        let _ = order.answer.send(answer);
    }
}

/// Runs all statements of orders. Gives the statements that failed, by their place among all.
async fn command(database: &Database, timeout: Duration, orders: &[Order]) -> Result<Vec<(usize, Error)>, Error> {
    let statements: Vec<&RawDocumentBuf> = orders.iter().flat_map(|order| &order.statements).collect();
    let Some(collection) = orders.first().map(|order| order.collection) else { return Ok(Vec::new()) };
    metrics::histogram!("turnpike_store_batch_statements", "collection" => collection).record(statements.len() as f64);
    let failures = update(database, timeout, collection, &statements).await?;
    let (doubled, mut failed): (Vec<_>, Vec<_>) = failures.into_iter().partition(|one| one.code == DUPLICATE_KEY);
    if !doubled.is_empty() {
        // Two inserted the same at once, or it was there and not matched: now it is there, and is matched or not.
        let again: Vec<&RawDocumentBuf> = doubled.iter().filter_map(|one| statements.get(one.index).copied()).collect();
        let failures = update(database, timeout, collection, &again).await?;
        failed.extend(
            failures
                .into_iter()
                .filter(|one| one.code != DUPLICATE_KEY)
                .filter_map(|one| Some(Failure { index: doubled.get(one.index)?.index, ..one })),
        );
    }
    Ok(failed.into_iter().map(|one| (one.index, refused(one.code, &one.message))).collect())
}

/// A statement that failed.
pub(super) struct Failure {
    index: usize,
    pub(super) code: i32,
    pub(super) message: String,
}

/// Runs statements by one command. Gives those that failed, by their place.
pub(super) async fn update(
    database: &Database,
    timeout: Duration,
    collection: &str,
    statements: &[&RawDocumentBuf],
) -> Result<Vec<Failure>, Error> {
    let mut updates = RawArrayBuf::new();
    for statement in statements {
        updates.push(*statement);
    }
    let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    let command = rawdoc! {
        "update": collection, "ordered": false, "updates": updates,
        "writeConcern": { "w": "majority", "j": true, "wtimeout": timeout_ms },
        // Who asked goes away then and asks again. What still waited for the first time would be work for nothing, and
        // a server that is behind would never catch up.
        "maxTimeMS": timeout_ms,
    };
    let answer = match database.run_raw_command(command.clone()).await {
        // The driver does not run commands of one's own again by itself.
        Err(error) if is_elsewhere(&error) => {
            pause(1).await;
            database.run_raw_command(command).await
        }
        answer => answer,
    }?;
    if let Ok(failure) = answer.get_document("writeConcernError") {
        let message = failure.get_str("errmsg").unwrap_or("a majority of servers did not confirm");
        return Err(Error::Unavailable(format!("MongoDB: {message}")));
    }
    let failures = answer.get_array("writeErrors").map_or(&[][..], Vec::as_slice).iter();
    Ok(failures
        .filter_map(|failure| failure.as_document())
        .map(|failure| Failure {
            index: failure.get_i32("index").ok().and_then(|index| usize::try_from(index).ok()).unwrap_or_default(),
            code: failure.get_i32("code").unwrap_or_default(),
            message: failure.get_str("errmsg").unwrap_or_default().to_owned(),
        })
        .collect())
}

fn is_elsewhere(error: &DriverError) -> bool {
    match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => true,
        ErrorKind::Command(failure) => ELSEWHERE.contains(&failure.code),
        _ => false,
    }
}

fn same(error: &Error) -> Error {
    match error {
        Error::Unavailable(text) => Error::Unavailable(text.clone()),
        Error::Invalid(text) => Error::Invalid(text.clone()),
        Error::Removed => Error::Removed,
    }
}
