//! The ledger: one document for each message of a queue, in one of four states.
//!
//! `pending` and `dead` messages have their bodies. `done` ones have lost them, and those of an erased company
//! (`erased`) have lost all that was the company's; both are only there to be counted and recognised, and go after a
//! week, when `fold` has counted them for good. `at` is what a state is ordered by: when a pending message should have
//! come to its end, or when any other came to it.

mod fold;

use std::collections::HashMap;

use ::mongodb::bson::raw::RawDocumentBuf;
use ::mongodb::bson::spec::BinarySubtype;
use ::mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use async_trait::async_trait;
use futures::TryStreamExt;
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) use self::fold::Folding;
use super::MongoStore;
use super::batch;
use super::call::{LONG, refused};
use super::codec::{at_most, count_in, date_of, nanos_of, nanos_to_time, time_of};
use crate::domain::CompanyScope;
use crate::ports::bus::{Account, DeadLetter, Message, Queue, Turns};
use crate::ports::ledger::{Ledger, Standing};
use crate::ports::store::Error;

/// The collection.
const LEDGER: &str = "ledger";

const PENDING: &str = "pending";
const DONE: &str = "done";
const DEAD: &str = "dead";
const ERASED: &str = "erased";

/// Messages leased or redriven with one command.
const BATCH: usize = 500;

fn standing_of(entry: &Document) -> Result<Standing, Error> {
    Ok(match entry.get_str("state") {
        Ok(PENDING) => Standing::Pending { attempts: attempts(entry)? },
        Ok(DONE) => Standing::Done,
        Ok(DEAD) => Standing::Dead,
        _ => Standing::Unknown,
    })
}

#[async_trait]
impl Ledger for MongoStore {
    async fn open(&self, queue: Queue, messages: &[Message], due_at: OffsetDateTime) -> Result<(), Error> {
        let due_at = date_of(due_at)?;
        let statements = messages.iter().map(|message| {
            let mut entry = contents(queue, message)?;
            entry.insert("state", PENDING);
            entry.insert("at", due_at);
            entry.insert("attempts", i64::from(message.attempts));
            Ok(doc! { "q": { "_id": key_of(queue, message.id) }, "u": { "$setOnInsert": entry }, "upsert": true })
        });
        let statements = statements.collect::<Result<Vec<_>, Error>>()?;
        self.call("ledger_open", self.update(LEDGER, &statements)).await
    }

    async fn standing(&self, queue: Queue, id: Uuid) -> Result<Standing, Error> {
        let found = self.call("ledger_standing", async {
            let ledger = self.collection(LEDGER).await?;
            let fields = doc! { "state": 1, "attempts": 1 };
            Ok(ledger.find_one(doc! { "_id": key_of(queue, id) }).projection(fields).await?)
        });
        found.await?.map_or(Ok(Standing::Unknown), |entry| standing_of(&entry))
    }

    async fn standings(&self, queue: Queue, ids: &[Uuid]) -> Result<Vec<Standing>, Error> {
        let keys: Vec<String> = ids.iter().map(|&id| key_of(queue, id)).collect();
        let found = self.call("ledger_standings", async {
            let ledger = self.collection(LEDGER).await?;
            let fields = doc! { "state": 1, "attempts": 1 };
            let found = ledger.find(doc! { "_id": { "$in": &keys } }).projection(fields).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let found = found.await?;
        let found: HashMap<&str, &Document> =
            found.iter().filter_map(|entry| Some((entry.get_str("_id").ok()?, entry))).collect();
        let of = |key: &String| found.get(key.as_str()).map_or(Ok(Standing::Unknown), |entry| standing_of(entry));
        keys.iter().map(of).collect()
    }

    async fn postpone(&self, queue: Queue, id: Uuid, attempts: u32, due_at: OffsetDateTime) -> Result<(), Error> {
        // An old copy of the message knows of fewer tries, and has no say.
        let statement = doc! {
            "q": { "_id": key_of(queue, id), "state": PENDING, "attempts": { "$lte": i64::from(attempts) } },
            "u": { "$set": { "attempts": i64::from(attempts), "at": date_of(due_at)? } },
        };
        self.call("ledger_postpone", self.update(LEDGER, &[statement])).await
    }

    async fn done(&self, queue: Queue, id: Uuid) -> Result<(), Error> {
        let statement = doc! {
            // A message whose effect is done is not dead, whatever another copy of it came to.
            "q": { "_id": key_of(queue, id), "state": { "$in": [PENDING, DEAD] } },
            "u": {
                "$set": { "state": DONE, "at": DateTime::now() },
                "$unset": {
                    "body": "", "routing_key": "", "attempts": "", "first_queued_ns": "", "reason": "", "lease": "",
                },
            },
        };
        self.call("ledger_done", self.update(LEDGER, &[statement])).await
    }

    async fn dead(&self, queue: Queue, message: &Message, reason: &str) -> Result<(), Error> {
        let statement = doc! {
            "q": { "_id": key_of(queue, message.id), "state": PENDING },
            "u": {
                "$set": {
                    "state": DEAD, "at": DateTime::now(), "reason": reason, "attempts": i64::from(message.attempts),
                },
                "$setOnInsert": contents(queue, message)?,
            },
            "upsert": true,
        };
        self.call("ledger_dead", self.update(LEDGER, &[statement])).await
    }

    async fn overdue(
        &self,
        queue: Queue,
        now: OffsetDateTime,
        lease_until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        self.fold_now_and_then().await;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (now, lease_until) = (date_of(now)?, date_of(lease_until)?);
        self.call("ledger_overdue", async {
            let due = doc! { "queue": queue.name(), "state": PENDING, "at": { "$lt": now } };
            let change = doc! { "$set": { "at": lease_until } };
            self.take(due, limit, change).await?.into_iter().map(|(_, message)| Ok(message)).collect()
        })
        .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.call("ledger_accounts", self.count_accounts()).await
    }

    async fn dead_letters(&self, queue: Option<Queue>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.call("ledger_dead_letters", async {
            let ledger = self.collection(LEDGER).await?;
            let order = doc! { "at": 1, "_id": 1 };
            let found = ledger.find(dead_in(queue)).sort(order).limit(at_most(limit)).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let letters = found.await?.into_iter().map(|entry| {
            let reason = entry.get_str("reason").unwrap_or_default().to_owned();
            let died_at = time_of(entry.get_datetime("at").copied().map_err(|error| invalid(&error))?)?;
            let (queue, message) = message(entry)?;
            Ok(DeadLetter { queue: queue.name().to_owned(), message, reason, died_at })
        });
        letters.collect()
    }

    async fn redrive(
        &self,
        queue: Option<Queue>,
        id: Option<Uuid>,
        due_at: OffsetDateTime,
    ) -> Result<Vec<(Queue, Message)>, Error> {
        let mut dead = dead_in(queue);
        if let Some(id) = id {
            let ids: Vec<String> = Queue::ALL.into_iter().map(|queue| key_of(queue, id)).collect();
            dead.insert("_id", doc! { "$in": ids });
        }
        let change = doc! {
            "$set": {
                "state": PENDING, "at": date_of(due_at)?, "attempts": 0_i64,
                "first_queued_ns": nanos_of(OffsetDateTime::now_utc())?,
            },
            "$unset": { "reason": "" },
        };
        let mut redriven = Vec::new();
        loop {
            // Those of this round are not dead any more, so that the next one finds others.
            let round = self.call("ledger_redrive", self.take(dead.clone(), BATCH, change.clone())).await?;
            if round.is_empty() {
                return Ok(redriven);
            }
            redriven.extend(round);
        }
    }

    async fn expire(&self, before: OffsetDateTime) -> Result<u64, Error> {
        let before = date_of(before)?;
        self.call_within(LONG, "ledger_expire", async {
            let ledger = self.collection(LEDGER).await?;
            let mut expired = 0;
            for queue in Queue::ALL {
                let over = doc! { "queue": queue.name(), "state": DEAD, "at": { "$lt": before } };
                expired += ledger.update_many(over, erased()).await?.modified_count;
            }
            Ok(expired)
        })
        .await
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let company = scope.company().as_str();
        self.call_within(LONG, "ledger_erase", async {
            let ledger = self.collection(LEDGER).await?;
            let not_done = doc! { "company_id": company, "state": { "$in": [PENDING, DEAD] } };
            let erased = ledger.update_many(not_done, erased()).await?.modified_count;
            // What is done is still counted, but no longer as anybody's.
            let forget = doc! { "$unset": { "company_id": "" } };
            ledger.update_many(doc! { "company_id": company }, forget).await?;
            Ok(erased)
        })
        .await
    }

    async fn erase_turns(&self, scope: &CompanyScope, turns: Turns) -> Result<u64, Error> {
        let not_done = doc! { "company_id": scope.company().as_str(), "state": { "$in": [PENDING, DEAD] } };
        self.call_within(LONG, "ledger_erase_turns", async {
            let ledger = self.collection(LEDGER).await?;
            // What a message tells of stands in its body alone.
            let mut found = ledger.find(not_done.clone()).projection(doc! { "body": 1 }).await?;
            let mut ids: Vec<Bson> = Vec::new();
            while let Some(mut entry) = found.try_next().await? {
                if matches!(entry.get("body"), Some(Bson::Binary(body)) if turns.have(&body.bytes)) {
                    ids.extend(entry.remove("_id"));
                }
            }
            let mut count = 0;
            for some in ids.chunks(BATCH) {
                let mut gone = not_done.clone();
                gone.insert("_id", doc! { "$in": some });
                count += ledger.update_many(gone, erased()).await?.modified_count;
            }
            Ok(count)
        })
        .await
    }
}

/// What takes all that is the company's out of a message that is not done.
fn erased() -> Document {
    doc! {
        "$set": { "state": ERASED, "at": DateTime::now() },
        "$unset": {
            "company_id": "", "body": "", "routing_key": "", "attempts": "", "first_queued_ns": "", "reason": "",
            "lease": "",
        },
    }
}

impl MongoStore {
    /// Changes messages, the first by `at`, so that of several processes that ask one gets each. Gives those that this one
    /// got, as they are after the change.
    async fn take(&self, filter: Document, limit: usize, change: Document) -> Result<Vec<(Queue, Message)>, Error> {
        let ledger = self.collection(LEDGER).await?;
        loop {
            let found = ledger
                .find(filter.clone())
                .sort(doc! { "at": 1, "_id": 1 })
                .limit(at_most(limit.min(BATCH)))
                .projection(doc! { "_id": 1 })
                .await?;
            let found: Vec<Document> = found.try_collect().await?;
            let ids = found.iter().filter_map(|entry| entry.get_str("_id").ok());
            let ids: Vec<String> = ids.map(str::to_owned).collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            // The filter once more: whoever is later finds it changed. The token tells whose change it was.
            let token = Uuid::new_v4().to_string();
            let mut still = filter.clone();
            still.insert("_id", doc! { "$in": &ids });
            let mut change = change.clone();
            if let Ok(set) = change.get_document_mut("$set") {
                set.insert("lease", &token);
            }
            let statement = RawDocumentBuf::try_from(&doc! { "q": still, "u": change, "multi": true })?;
            let (connection, limit) = (self.connection().await?, self.settings.timeout);
            let failures = batch::update(&connection.database, limit, LEDGER, &[&statement]).await?;
            if let Some(failure) = failures.first() {
                return Err(refused(failure.code, &failure.message));
            }
            let taken = ledger.find(doc! { "_id": { "$in": &ids }, "lease": &token }).await?;
            let taken: Vec<Document> = taken.try_collect().await?;
            if taken.is_empty() {
                // Others were quicker with all of them.
                continue;
            }
            let by_id = |entry: Document| Some((entry.get_str("_id").ok()?.to_owned(), entry));
            let mut taken: HashMap<String, Document> = taken.into_iter().filter_map(by_id).collect();
            let in_order = ids.iter().filter_map(|id| taken.remove(id));
            return in_order.map(message).collect();
        }
    }
}

fn key_of(queue: Queue, id: Uuid) -> String {
    format!("{}/{id}", queue.name())
}

fn dead_in(queue: Option<Queue>) -> Document {
    let queues: Vec<&str> =
        Queue::ALL.into_iter().filter(|one| queue.is_none_or(|queue| queue == *one)).map(Queue::name).collect();
    doc! { "queue": { "$in": queues }, "state": DEAD }
}

/// What does not change while a message is pending or dead.
fn contents(queue: Queue, message: &Message) -> Result<Document, Error> {
    let company = message.routing_key.rsplit_once('.').map(|(_, company)| company).filter(|it| !it.is_empty());
    let company = company.ok_or_else(|| Error::Invalid(format!("{:?} names no company", message.routing_key)))?;
    Ok(doc! {
        "queue": queue.name(),
        "company_id": company,
        "routing_key": &message.routing_key,
        "body": Binary { subtype: BinarySubtype::Generic, bytes: message.body.to_vec() },
        "first_queued_ns": nanos_of(message.first_queued_at)?,
        "opened_at": DateTime::now(),
    })
}

fn message(mut entry: Document) -> Result<(Queue, Message), Error> {
    let (Some(Bson::Binary(body)), Some(Bson::String(routing_key))) =
        (entry.remove("body"), entry.remove("routing_key"))
    else {
        return Err(Error::Invalid("a message in the ledger has no body".to_owned()));
    };
    let key = entry.get_str("_id").ok().and_then(|key| key.split_once('/'));
    let key = key.and_then(|(queue, id)| Some((Queue::from_name(queue)?, id.parse().ok()?)));
    let (queue, id) = key.ok_or_else(|| Error::Invalid("a message in the ledger is of no known queue".to_owned()))?;
    let message = Message {
        id,
        routing_key,
        body: body.bytes.into(),
        attempts: attempts(&entry)?,
        first_queued_at: nanos_to_time(i128::from(entry.get_i64("first_queued_ns").map_err(|error| invalid(&error))?))?,
    };
    Ok((queue, message))
}

fn attempts(entry: &Document) -> Result<u32, Error> {
    u32::try_from(count_in(entry, "attempts")?).map_err(|error| invalid(&error))
}

fn invalid(error: &dyn std::fmt::Display) -> Error {
    Error::Invalid(format!("a message in the ledger: {error}"))
}
