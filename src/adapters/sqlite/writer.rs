//! The thread that writes: everything that stands in line goes into one transaction, and nobody is answered before its
//! commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Error, error};

/// Most writes in one transaction: what keeps the first of them from waiting for long.
const GROUP: usize = 256;

/// What the thread is asked to do.
pub(super) enum Command {
    /// A write.
    Write(Job),
    /// Remove what was deleted from the disk; answers whether the log could be emptied too.
    Scrub { rewrite: bool, reply: oneshot::Sender<Result<bool, Error>> },
}

/// A write that does not care about its type any more. Given an error instead of a connection, it passes that on.
pub(super) type Job = Box<dyn FnOnce(Result<&Connection, Error>) -> Outcome + Send>;

type Answer = Box<dyn FnOnce(Result<(), Error>)>;

/// What a write came to, before the commit.
pub(super) struct Outcome {
    /// Whether it succeeded, so that its changes are to stay.
    keep: bool,
    /// Answers whoever asked, given how the commit ended.
    answer: Answer,
}

/// The job that does `work` and sends what it returns, once that is committed.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    reply: oneshot::Sender<Result<T, Error>>,
) -> Job {
    Box::new(move |connection| {
        let result = connection.and_then(work);
        Outcome {
            keep: result.is_ok(),
            // A caller that went away meanwhile is no failure.
            answer: Box::new(move |committed| drop(reply.send(result.and_then(|value| committed.map(|()| value))))),
        }
    })
}

/// Works until every handle is gone and the line is empty.
pub(super) fn run(mut connection: Connection, mut commands: mpsc::Receiver<Command>, file: &Path) {
    while let Some(first) = commands.blocking_recv() {
        let mut jobs = Vec::new();
        let mut scrub = None;
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Write(job) => jobs.push(job),
                Command::Scrub { rewrite, reply } => {
                    scrub = Some((rewrite, reply));
                    break;
                }
            }
            if jobs.len() < GROUP {
                next = commands.try_recv().ok();
            }
        }
        if !jobs.is_empty() {
            write_all(&mut connection, jobs, file);
        }
        if let Some((rewrite, reply)) = scrub {
            drop(reply.send(scrub_once(&connection, rewrite)));
        }
    }
}

fn write_all(connection: &mut Connection, jobs: Vec<Job>, file: &Path) {
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = Error::from(error);
            for job in jobs {
                (job(Err(error.clone())).answer)(Ok(()));
            }
            return;
        }
    };
    let mut kept = Vec::with_capacity(jobs.len());
    let mut broken = None;
    for job in jobs {
        if let Some(error) = &broken {
            (job(Err(Error::clone(error))).answer)(Ok(()));
            continue;
        }
        kept.extend(write_one(&mut transaction, job));
        // Some failures, a full disk above all, make SQLite undo the whole transaction.
        if transaction.is_autocommit() {
            broken = Some(Error::Undone { file: file.to_path_buf() });
        }
    }
    let committed = match broken {
        Some(error) => Err(error),
        None => transaction.commit().map_err(Error::from),
    };
    for answer in kept {
        answer(committed.clone());
    }
}

fn write_one(transaction: &mut Transaction<'_>, job: Job) -> Option<Answer> {
    let savepoint = match transaction.savepoint() {
        Ok(savepoint) => savepoint,
        Err(error) => {
            (job(Err(error.into())).answer)(Ok(()));
            return None;
        }
    };
    // One write that panics must not end the thread that all others need. Its caller is told that it broke off, and
    // the savepoint, dropped, takes its changes back.
    let outcome = catch_unwind(AssertUnwindSafe(|| job(Ok(&savepoint)))).ok()?;
    if !outcome.keep {
        drop(savepoint);
        (outcome.answer)(Ok(()));
        return None;
    }
    match savepoint.commit() {
        Ok(()) => Some(outcome.answer),
        Err(error) => {
            (outcome.answer)(Err(error.into()));
            None
        }
    }
}

/// `secure_delete` alone leaves copies: SQLite moves rows between pages and does not clear where they were. So the file
/// is rewritten from its live rows, and the log, which holds old pages too, is emptied.
fn scrub_once(connection: &Connection, rewrite: bool) -> Result<bool, Error> {
    if rewrite {
        connection.execute_batch("VACUUM")?;
    }
    // Reads are short, and this thread has others to serve: rather come again than wait for long.
    let patience: u32 = connection.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
    connection.busy_timeout(Duration::from_millis(100))?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(Duration::from_millis(patience.into()))?;
    match busy {
        Ok(busy) => Ok(busy == 0),
        Err(error) if error::is_busy(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
