//! Leases of deliveries, in the documents of the deliveries themselves.

use ::mongodb::bson::{Bson, Document, doc};
use async_trait::async_trait;
use uuid::Uuid;

use super::super::MongoStore;
use super::super::codec::{from_document, key, nanos_of, nanos_to_time, to_document};
use super::DELIVERIES;
use crate::domain::CompanyScope;
use crate::domain::delivery::{Standing, State};
use crate::ports::deliveries::{Lease, Leased, Leases};
use crate::ports::store::Error;

#[async_trait]
impl Leases for MongoStore {
    async fn lease(&self, scope: &CompanyScope, id: Uuid, lease: &Lease) -> Result<Leased, Error> {
        let it = key(scope.company(), &id.to_string());
        let (at, until) = (nanos_of(lease.at)?, nanos_of(lease.until)?);
        let mut free = it.clone();
        free.extend(doc! {
            "standing.state": { "$ne": State::Delivered.as_str() },
            "standing.attempts": { "$lte": i64::from(lease.attempts) },
            "lease.until_ns": { "$not": { "$gt": at } },
        });
        let change = doc! { "$set": { "lease": { "holder": lease.holder.to_string(), "until_ns": until } } };
        self.call("lease_delivery", async {
            let deliveries = self.collection(DELIVERIES).await?;
            if deliveries.update_one(free, change.clone()).await?.matched_count > 0 {
                return Ok(Leased::Granted);
            }
            let fields = doc! { "standing": 1, "lease": 1 };
            let Some(found) = deliveries.find_one(it.clone()).projection(fields).await? else {
                return Ok(Leased::Granted);
            };
            let known = Held::of(found)?;
            let answer = known.answer_to(lease)?;
            if answer != Leased::Granted {
                return Ok(answer);
            }
            // Given up with more tries than this message knows of and redriven since, or leased to the same worker before.
            let mut same = it;
            same.extend(known.as_it_stands()?);
            let changed = deliveries.update_one(same, change).await?.matched_count > 0;
            Ok(if changed { Leased::Granted } else { Leased::Held { until: lease.at } })
        })
        .await
    }
}

/// How a delivery stands, and who holds it until when.
struct Held {
    standing: Standing,
    holder: Option<String>,
    until_ns: Option<i64>,
}

impl Held {
    /// What the fields `standing` and `lease` of a delivery say.
    fn of(mut found: Document) -> Result<Self, Error> {
        let Some(Bson::Document(standing)) = found.remove("standing") else {
            return Err(Error::Invalid("a delivery in the log does not say how it stands".to_owned()));
        };
        let lease = found.get_document("lease").ok();
        let holder = lease.and_then(|lease| lease.get_str("holder").ok()).map(str::to_owned);
        let until_ns = lease.and_then(|lease| lease.get_i64("until_ns").ok());
        Ok(Self { standing: from_document(standing)?, holder, until_ns })
    }

    /// Whether whoever asks for a lease may have it.
    fn answer_to(&self, asked: &Lease) -> Result<Leased, Error> {
        let state = self.standing.state;
        if state == State::Delivered {
            return Ok(Leased::Delivered);
        }
        if state == State::Pending && self.standing.attempts > asked.attempts {
            return Ok(Leased::Tried(self.standing.clone()));
        }
        let at = nanos_of(asked.at)?;
        let is_of_another = self.holder.as_deref() != Some(asked.holder.to_string().as_str());
        match self.until_ns.filter(|&until| until > at && is_of_another) {
            Some(until) => Ok(Leased::Held { until: nanos_to_time(until.into())? }),
            None => Ok(Leased::Granted),
        }
    }

    /// What finds it as long as nothing of this has changed.
    fn as_it_stands(&self) -> Result<Document, Error> {
        let standing = to_document(&self.standing)?;
        let of = |field: &str| standing.get(field).cloned().unwrap_or(Bson::Null);
        Ok(doc! {
            "standing.state": of("state"), "standing.attempts": of("attempts"), "lease.until_ns": self.until_ns,
        })
    }
}
