//! Tests of the file behind its async face.
#![expect(clippy::disallowed_methods, reason = "a test's own tasks")]

use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite_migration::M;
use tempfile::TempDir;

use super::*;

fn schema() -> Migrations<'static> {
    Migrations::new(vec![M::up("CREATE TABLE notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL UNIQUE) STRICT")])
}

fn open(folder: &TempDir) -> Result<Database, Error> {
    let options = Options { busy_timeout: Duration::from_millis(100), ..Options::default() };
    Database::open(&folder.path().join("notes.db"), &schema(), options)
}

async fn add(database: &Database, note: &str) -> Result<(), Error> {
    let note = note.to_owned();
    database
        .write(move |connection| {
            connection.execute("INSERT INTO notes (note) VALUES (?)", [note])?;
            Ok(())
        })
        .await
}

async fn notes(database: &Database) -> Vec<String> {
    database
        .read(|connection| {
            let mut statement = connection.prepare("SELECT note FROM notes ORDER BY number")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap()
}

/// Keeps the writer in a write of its own, so that what comes meanwhile stands in line.
fn hold(database: &Database) -> (tokio::task::JoinHandle<Result<(), Error>>, Sender<()>, Receiver<()>) {
    let (release, released) = channel::<()>();
    let (enter, entered) = channel();
    let database = database.clone();
    let held = tokio::spawn(async move {
        let write = database.write(move |_| {
            enter.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        });
        write.await
    });
    (held, release, entered)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_share_a_commit_and_fail_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).unwrap();
    add(&database, "there already").await.unwrap();
    let log = folder.path().join("notes.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();

    let (held, release, entered) = hold(&database);
    entered.recv().unwrap();
    let writes = (0..100).map(|n| {
        let database = database.clone();
        tokio::spawn(async move {
            match n {
                50 => add(&database, "there already").await,
                60 => database.write(|_| panic!("a fault in a write")).await,
                n => add(&database, &n.to_string()).await,
            }
        })
    });
    let writes: Vec<_> = writes.collect();
    while database.writer.max_capacity() - database.writer.capacity() < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(notes(&database).await, ["there already"], "reads wait for no write");
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    for (n, write) in writes.into_iter().enumerate() {
        match (n, write.await.unwrap()) {
            (50, answer) => assert!(answer.unwrap_err().is_constraint()),
            (60, answer) => assert!(matches!(answer.unwrap_err(), Error::Stopped { .. })),
            (_, answer) => answer.unwrap(),
        }
    }
    assert_eq!(notes(&database).await.len(), 99);
    // A commit of its own for each write would log the table's and the index's page a hundred times.
    let frames = (std::fs::metadata(&log).unwrap().len() - before) / 4_120;
    assert!(frames <= 8, "{frames} pages were logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).unwrap();
    let limit = |pages: i64| {
        database.write(move |connection| {
            Ok(connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?)
        })
    };
    limit(6).await.unwrap();
    let error = add(&database, &"x".repeat(100_000)).await.unwrap_err();
    assert!(!error.is_permanent());
    let text = error.to_string();
    assert!(text.contains("notes.db") && text.contains("the disk is full") && text.contains("make room"), "{text}");
    add(&database, "small").await.unwrap();
    limit(1_000).await.unwrap();
    add(&database, &"x".repeat(100_000)).await.unwrap();
    assert_eq!(notes(&database).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_locks_the_file_is_told_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).unwrap();
    let other = Connection::open(database.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = add(&database, "not now").await.unwrap_err();
    assert!(!error.is_permanent() && error.to_string().contains("another process keeps it locked"), "{error}");
    assert_eq!(notes(&database).await.len(), 0);
    other.execute_batch("COMMIT").unwrap();
    add(&database, "now").await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.db"), "a letter to a friend ".repeat(1_000)).unwrap();
    let text = open(&folder).err().unwrap().to_string();
    assert!(text.contains("notes.db") && text.contains("not a database") && text.contains("move it"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    let mut connection = Connection::open(&path).unwrap();
    schema().to_latest(&mut connection).unwrap();
    connection.execute("INSERT INTO notes (note) VALUES ('lost')", []).unwrap();
    connection.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4_096..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();

    let database = open(&folder).unwrap();
    let error = add(&database, "x").await.unwrap_err();
    let text = error.to_string();
    assert!(!error.is_permanent() && text.contains("notes.db") && text.contains("it is damaged"), "{text}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    assert_eq!(pending_migrations(&path, &schema()).unwrap(), 1);
    assert!(!path.exists(), "looking made the file");
    drop(open(&folder).unwrap());
    assert_eq!(pending_migrations(&path, &schema()).unwrap(), 0);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    for answer in [open(&folder).err(), pending_migrations(&path, &schema()).err()] {
        let error = answer.unwrap();
        assert!(
            matches!(error, Error::Newer { ahead: 2, .. }) && error.to_string().contains("newer version"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder).unwrap();
    let answer = database.read(|connection| Ok(connection.execute("INSERT INTO notes (note) VALUES ('x')", [])?)).await;
    assert!(answer.is_err());
    assert_eq!(notes(&database).await.len(), 0);
}
