//! The account of the ledger, exact though what is done is removed after a week.
//!
//! What was opened and what came to its end until a moment well in the past cannot change any more. It is counted once
//! into `ledger_totals`, one document a queue, which moves from one such moment to the next by comparing and setting; only
//! what was counted so may be removed. The account is the totals and what has come since, each side counted for itself:
//! `accepted` by when messages were opened, the rest by what became of them.
//!
//! It rests on this: clocks of processes that write are less than ten minutes apart, an operation's timeout included.

use std::time::{Duration, Instant};

use ::mongodb::ClientSession;
use ::mongodb::bson::{DateTime, Document, doc};
use ::mongodb::error::ErrorKind;
use parking_lot::Mutex;

use super::{DEAD, DONE, ERASED, LEDGER, PENDING};
use crate::adapters::store::mongodb::MongoStore;
use crate::adapters::store::mongodb::call::{LONG, is_duplicate};
use crate::adapters::store::mongodb::codec::{count_in, signed};
use crate::ports::bus::{Account, Queue};
use crate::ports::store::Error;

const TOTALS: &str = "ledger_totals";

/// What is so old does not change any more.
const SETTLED: Duration = Duration::from_secs(10 * 60);
/// How often that is counted.
const EVERY: Duration = Duration::from_secs(60);
/// Of messages that ended in so much time the end is marked by one write.
const PIECE: Duration = Duration::from_secs(5);
/// How long a message is recognised after it came to its end.
const RECOGNISED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When this process folded last.
#[derive(Default)]
pub(in crate::adapters::store::mongodb) struct Folding(Mutex<Option<Instant>>);

impl Folding {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// What was counted for good.
#[derive(Clone, Copy)]
struct Totals {
    until: DateTime,
    marked_until: DateTime,
    accepted: u64,
    done: u64,
    erased: u64,
}

impl MongoStore {
    /// Folds, if it has not been done for a while. A failure is no failure of what it is done beside.
    pub(super) async fn fold_now_and_then(&self) {
        if self.folding.is_due() {
            let until = DateTime::from_millis(DateTime::now().timestamp_millis() - millis(SETTLED));
            for queue in Queue::ALL {
                if let Err(error) = self.call_within(LONG, "ledger_fold", self.fold(queue, until)).await {
                    tracing::warn!(queue = queue.name(), %error, "the ledger's totals were not brought up to date");
                }
            }
        }
    }

    /// Counts for good what was opened and what came to its end until a moment, and lets that be removed in a week.
    async fn fold(&self, queue: Queue, until: DateTime) -> Result<(), Error> {
        let totals = self.collection(TOTALS).await?;
        let key = doc! { "_id": queue.name() };
        let mut known = totals.find_one(key.clone()).await?.map(|found| Totals::read(&found)).transpose()?;
        let from = known.map_or(DateTime::from_millis(0), |known| known.until);
        if from < until {
            let new = Totals {
                until,
                marked_until: known.map_or(DateTime::from_millis(0), |known| known.marked_until),
                accepted: self.count(opened(queue, from, Some(until))).await?,
                done: self.count(ended(queue, DONE, from, Some(until))).await?,
                erased: self.count(ended(queue, ERASED, from, Some(until))).await?,
            };
            if new.accepted + new.done + new.erased > 0 || known.is_some() {
                let new = new.after(known);
                let is_mine = match known {
                    None => match totals.insert_one(new.document(queue)?).await {
                        Err(error) if is_duplicate(&error) => false,
                        inserted => inserted.map(|_| true)?,
                    },
                    Some(known) => {
                        let filter = doc! { "_id": queue.name(), "until": known.until };
                        totals.replace_one(filter, new.document(queue)?).await?.matched_count == 1
                    }
                };
                if !is_mine {
                    // Another process has counted.
                    return Ok(());
                }
                known = Some(new);
            }
        }
        match known {
            Some(known) => self.mark(queue, known).await,
            None => Ok(()),
        }
    }

    /// Lets go in a week what was counted for good, a little at a time: each piece is short work for the server, and done
    /// for good when whoever does it dies or gives up.
    async fn mark(&self, queue: Queue, known: Totals) -> Result<(), Error> {
        let (ledger, totals) = (self.collection(LEDGER).await?, self.collection(TOTALS).await?);
        let end = DateTime::from_millis(DateTime::now().timestamp_millis() + millis(RECOGNISED));
        let mut from = known.marked_until;
        while from < known.until {
            let mut first = None;
            for state in [DONE, ERASED] {
                let next = ledger.find_one(ended(queue, state, from, Some(known.until))).sort(doc! { "at": 1 });
                let next = next.projection(doc! { "at": 1 }).await?;
                let at = next.and_then(|next| next.get_datetime("at").ok().copied());
                first = first.into_iter().chain(at).min();
            }
            // Where nothing has ended for long there are no pieces.
            let upto = first.map_or(known.until, |first: DateTime| {
                known.until.min(DateTime::from_millis(first.timestamp_millis() + millis(PIECE)))
            });
            for state in [DONE, ERASED] {
                let piece = ended(queue, state, from, Some(upto));
                ledger.update_many(piece, doc! { "$set": { "expires_at": end } }).await?;
            }
            let filter = doc! { "_id": queue.name(), "marked_until": from };
            let moved = totals.update_one(filter, doc! { "$set": { "marked_until": upto } }).await?;
            if moved.matched_count == 0 {
                // Another process is at it.
                return Ok(());
            }
            from = upto;
        }
        Ok(())
    }

    /// The account of each queue that has one, as it was at one moment where the server can tell.
    pub(super) async fn count_accounts(&self) -> Result<Vec<Account>, Error> {
        let connection = self.connection().await?;
        let client = &connection.client;
        let mut session = client.start_session().snapshot(true).await?;
        match self.accounts_in(&mut session).await {
            Err(Failure::Driver(error)) if matches!(*error.kind, ErrorKind::Command(_)) => {
                // A single server has no snapshots. While messages come and go, its account may be off by those.
                let mut session = client.start_session().await?;
                Ok(self.accounts_in(&mut session).await?)
            }
            accounts => Ok(accounts?),
        }
    }

    async fn accounts_in(&self, session: &mut ClientSession) -> Result<Vec<Account>, Failure> {
        let ledger = self.collection(LEDGER).await?;
        let totals = self.collection(TOTALS).await?;
        let now = DateTime::now();
        let mut accounts = Vec::new();
        for queue in Queue::ALL {
            let found = totals.find_one(doc! { "_id": queue.name() }).session(&mut *session).await?;
            let known = found.map(|found| Totals::read(&found)).transpose()?.unwrap_or(Totals::NONE);
            let mut counts = [0; 5];
            let filters = [
                opened(queue, known.until, None),
                ended(queue, DONE, known.until, None),
                ended(queue, ERASED, known.until, None),
                doc! { "queue": queue.name(), "state": DEAD },
                doc! { "queue": queue.name(), "state": PENDING },
            ];
            for (count, filter) in counts.iter_mut().zip(filters) {
                *count = ledger.count_documents(filter).session(&mut *session).await?;
            }
            let [accepted, done, erased, dead, pending] = counts;
            let oldest = ledger
                .find_one(doc! { "queue": queue.name(), "state": PENDING, "at": { "$lte": now } })
                .sort(doc! { "at": 1 })
                .projection(doc! { "at": 1 })
                .session(&mut *session)
                .await?;
            let oldest = oldest.and_then(|oldest| oldest.get_datetime("at").ok().copied());
            let account = Account {
                queue: queue.name(),
                accepted: known.accepted + accepted,
                done: known.done + done,
                dead,
                pending,
                erased: known.erased + erased,
                oldest_ms: oldest
                    .map(|at| now.timestamp_millis().saturating_sub(at.timestamp_millis()).max(0).cast_unsigned()),
            };
            if account.accepted + account.done + account.dead + account.pending + account.erased > 0 {
                accounts.push(account);
            }
        }
        Ok(accounts)
    }

    async fn count(&self, filter: Document) -> Result<u64, Error> {
        Ok(self.collection(LEDGER).await?.count_documents(filter).await?)
    }
}

impl Totals {
    const NONE: Self = Self {
        until: DateTime::from_millis(0),
        marked_until: DateTime::from_millis(0),
        accepted: 0,
        done: 0,
        erased: 0,
    };

    fn read(document: &Document) -> Result<Self, Error> {
        let date = |field: &str| document.get_datetime(field).copied().unwrap_or(DateTime::from_millis(0));
        Ok(Self {
            until: date("until"),
            marked_until: date("marked_until"),
            accepted: count_in(document, "accepted")?,
            done: count_in(document, "done")?,
            erased: count_in(document, "erased")?,
        })
    }

    fn after(self, known: Option<Self>) -> Self {
        let known = known.unwrap_or(Self::NONE);
        Self {
            accepted: known.accepted + self.accepted,
            done: known.done + self.done,
            erased: known.erased + self.erased,
            ..self
        }
    }

    fn document(self, queue: Queue) -> Result<Document, Error> {
        Ok(doc! {
            "_id": queue.name(), "until": self.until, "marked_until": self.marked_until,
            "accepted": signed(self.accepted)?, "done": signed(self.done)?, "erased": signed(self.erased)?,
        })
    }
}

/// Why an account was not given: what the driver says is needed once more.
enum Failure {
    Driver(::mongodb::error::Error),
    Other(Error),
}

impl From<::mongodb::error::Error> for Failure {
    fn from(error: ::mongodb::error::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Driver(error) => error.into(),
            Failure::Other(error) => error,
        }
    }
}

fn opened(queue: Queue, from: DateTime, until: Option<DateTime>) -> Document {
    doc! { "queue": queue.name(), "opened_at": between(from, until) }
}

fn ended(queue: Queue, state: &str, from: DateTime, until: Option<DateTime>) -> Document {
    doc! { "queue": queue.name(), "state": state, "at": between(from, until) }
}

fn between(from: DateTime, until: Option<DateTime>) -> Document {
    let mut range = doc! { "$gt": from };
    if let Some(until) = until {
        range.insert("$lte", until);
    }
    range
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
