//! One SQLite file behind an async face: a thread that writes, many writes to a commit, and a few that read beside it.
//!
//! Every write that is waiting goes into one transaction, so that one sync of the disk pays for all of them. Each is a
//! savepoint of its own: when one fails the others stand. Readers see the file as it was at their own beginning and
//! never wait for a writer (WAL). Other processes may hold the same file open; SQLite's locks keep them apart.

mod columns;
mod error;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rusqlite_migration::Migrations;
use tokio::sync::{mpsc, oneshot};

pub use columns::{from_json, nanos_of, signed, text_id, time_of, to_json, unsigned};
pub use error::Error;

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections that read; more reads than that at once wait for one another.
    pub readers: usize,
    /// Reads and writes that may stand in line, each; whoever comes after them waits to get in.
    pub queue: usize,
    /// How long to wait for another process that holds the file locked.
    pub busy_timeout: Duration,
    /// Whether deleted rows are overwritten with zeros at once. `Database::scrub` removes them in any case.
    pub secure_delete: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 2, queue: 1_024, busy_timeout: Duration::from_secs(10), secure_delete: false }
    }
}

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open file. Clones share it; the last one to go lets its threads finish what stands in line and end.
#[derive(Clone)]
pub struct Database {
    file: Arc<Path>,
    writer: mpsc::Sender<writer::Command>,
    readers: mpsc::Sender<Read>,
}

impl Database {
    /// How long `scrub` tries to get past readers of old pages.
    const SCRUB_DEADLINE: Duration = Duration::from_secs(30);

    /// Opens a file, making it if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database, and `Newer` when a newer version has changed its schema.
    pub fn open(path: &Path, migrations: &Migrations<'_>, options: Options) -> Result<Self, Error> {
        let file: Arc<Path> = path.into();
        let mut connection = connect(&file, &options).map_err(|error| error.at(&file))?;
        migrate(&mut connection, migrations, &file)?;

        let (reads, line) = mpsc::channel::<Read>(options.queue.max(1));
        let line = Arc::new(Mutex::new(line));
        for number in 0..options.readers.max(1) {
            let mut reader = connect(&file, &options).map_err(|error| error.at(&file))?;
            reader.pragma_update(None, "query_only", true).map_err(|error| Error::from(error).at(&file))?;
            let line = Arc::clone(&line);
            spawn(format!("sqlite-read-{number}"), &file, move || {
                // One idle thread waits for the next read with the lock in its hand, the others for the lock.
                loop {
                    let Some(read) = line.lock().blocking_recv() else { break };
                    // A read that panics must not end the thread; its caller is told that it broke off.
                    drop(catch_unwind(AssertUnwindSafe(|| read(&mut reader))));
                }
            })?;
        }
        let (writes, commands) = mpsc::channel(options.queue.max(1));
        let path = Arc::clone(&file);
        spawn("sqlite-write".to_owned(), &file, move || writer::run(connection, commands, &path))?;
        Ok(Self { file, writer: writes, readers: reads })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Does something to the file. Returns after the commit, when the disk has it. What `work` did is undone when it
    /// returns an error. A caller that goes away before the end does not undo it.
    ///
    /// # Errors
    /// What `work` returns, and whatever keeps SQLite from committing.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let command = writer::Command::Write(writer::job(work, reply));
        self.writer.send(command).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?.map_err(|error| error.at(&self.file))
    }

    /// Reads from the file. All queries of `work` see it at one moment, with every write that was answered before.
    ///
    /// # Errors
    /// What `work` returns, and whatever keeps SQLite from reading.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            if !reply.is_closed() {
                // A caller that went away meanwhile is no failure.
                drop(reply.send(at_one_moment(connection, work)));
            }
        });
        self.readers.send(read).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?.map_err(|error| error.at(&self.file))
    }

    /// Removes from the disk what was deleted before: rewrites the file without the remains that deleted and moved rows
    /// leave in its pages, and empties the log. Takes time in proportion to the file, in which nothing is written.
    ///
    /// # Errors
    /// When there is no room for the copy, or another process reads old pages for too long. The rows are deleted all
    /// the same, and calling again is right.
    pub async fn scrub(&self) -> Result<(), Error> {
        let deadline = Instant::now() + Self::SCRUB_DEADLINE;
        let mut rewrite = true;
        loop {
            let (reply, answer) = oneshot::channel();
            let command = writer::Command::Scrub { rewrite, reply };
            self.writer.send(command).await.map_err(|_| self.stopped())?;
            if answer.await.map_err(|_| self.stopped())?.map_err(|error| error.at(&self.file))? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::OldPages { file: self.file.to_path_buf() });
            }
            // Only the log is left to be emptied.
            rewrite = false;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the file can be read and a write transaction begun.
    ///
    /// # Errors
    /// Whatever keeps SQLite from it.
    pub async fn check(&self) -> Result<(), Error> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?)
        })
        .await?;
        self.write(|_| Ok(())).await
    }

    fn stopped(&self) -> Error {
        Error::Stopped { file: self.file.to_path_buf() }
    }
}

/// How many migrations a file lacks, without touching it. A file that is not there lacks all.
///
/// # Errors
/// When the file cannot be read, and `Newer` when a newer version has changed its schema.
pub fn pending_migrations(path: &Path, migrations: &Migrations<'_>) -> Result<usize, Error> {
    let missing = !path.exists();
    let connection = if missing {
        Connection::open_in_memory()
    } else {
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    };
    let connection = connection.map_err(|error| Error::from(error).at(path))?;
    pending(&connection, migrations, path)
}

fn connect(path: &Path, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(options.busy_timeout)?;
    enter_wal(&connection, options.busy_timeout)?;
    // FULL makes every commit wait for the disk: power loss takes nothing that was answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", options.secure_delete)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1_024 * 1_024)?;
    connection.pragma_update(None, "cache_size", -8 * 1_024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Two processes that make a file at once get in each other's way here, and SQLite does not wait by itself.
fn enter_wal(connection: &Connection, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let mode =
            connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).and_then(|mode| {
                if mode == "wal" {
                    return Ok(mode);
                }
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
            });
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(Error::Content(format!(
                    "its file system does not let SQLite keep a write-ahead log (it offers {mode:?}): use a local disk"
                )));
            }
            Err(error) if error::is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn migrate(connection: &mut Connection, migrations: &Migrations<'_>, file: &Path) -> Result<(), Error> {
    if pending(connection, migrations, file)? == 0 {
        return Ok(());
    }
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    if let Err(error) = migrations.to_latest(connection) {
        // Another process that opened the file at the same moment may have done it between the two looks.
        if pending(connection, migrations, file)? != 0 {
            return Err(Error::of_migration(error).at(file));
        }
    }
    Ok(())
}

fn pending(connection: &Connection, migrations: &Migrations<'_>, file: &Path) -> Result<usize, Error> {
    let pending = migrations.pending_migrations(connection).map_err(|error| Error::of_migration(error).at(file))?;
    usize::try_from(pending)
        .map_err(|_| Error::Newer { file: file.to_path_buf(), ahead: pending.unsigned_abs() as usize })
}

fn at_one_moment<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let transaction = connection.transaction()?;
    work(&transaction)
}

fn spawn(name: String, file: &Path, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new()
        .name(name)
        .spawn(run)
        .map(drop)
        .map_err(|source| Error::Thread { file: PathBuf::from(file), source: Arc::new(source) })
}

#[cfg(test)]
mod tests;
