//! Facts about turns, one document each, added up by the database.

use ::mongodb::bson::{Bson, Document, doc};
use async_trait::async_trait;
use futures::TryStreamExt;
use time::OffsetDateTime;

use super::MongoStore;
use super::call::LONG;
use super::codec::{count_in, date_of, from_document, key, nanos_of, time_of, to_document};
use crate::domain::CompanyScope;
use crate::domain::analytics::{Cell, Fact, Grain, UsageCell};
use crate::ports::analytics::Analytics;
use crate::ports::store::Error;

/// The collection.
const FACTS: &str = "facts";

#[async_trait]
impl Analytics for MongoStore {
    async fn record(&self, scope: &CompanyScope, fact: &Fact, keep_until: OffsetDateTime) -> Result<(), Error> {
        let key = key(scope.company(), &fact.turn_id.to_string());
        let mut fields = to_document(fact)?;
        fields.remove("turn_id");
        // The exact moment decides which range it is in; the periods are what it is grouped by.
        fields.insert("at_ns", nanos_of(fact.at)?);
        fields.insert("minute", date_of(beginning(fact.at, 60)?)?);
        fields.insert("day", date_of(beginning(fact.at, 86_400)?)?);
        fields.insert("expires_at", date_of(keep_until)?);
        let update = doc! { "$setOnInsert": fields };
        let statement = doc! { "q": key, "u": update, "upsert": true };
        self.call("record", self.update(FACTS, &[statement])).await
    }

    async fn cells(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error> {
        self.add_up(scope.company().as_str().into(), from, to, grain).await
    }

    async fn cells_of_several(
        &self,
        scopes: &[CompanyScope],
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error> {
        let companies: Vec<&str> = scopes.iter().map(|scope| scope.company().as_str()).collect();
        self.add_up(doc! { "$in": companies }.into(), from, to, grain).await
    }

    async fn usage(
        &self,
        scope: &CompanyScope,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<UsageCell>, Error> {
        let pipeline = vec![
            doc! { "$match": {
                "company_id": scope.company().as_str(),
                "at_ns": { "$gte": nanos_of(from)?, "$lt": nanos_of(until)? },
            } },
            doc! { "$group": {
                "_id": { "day": "$day", "model": "$model", "is_estimated": "$is_estimated" },
                "turns": { "$sum": 1_i64 },
                "input_tokens": { "$sum": "$input_tokens" },
                "output_tokens": { "$sum": "$output_tokens" },
            } },
        ];
        let found = self.call("usage", async {
            let found = self.collection(FACTS).await?.aggregate(pipeline).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let mut cells = found.await?.into_iter().map(usage).collect::<Result<Vec<_>, _>>()?;
        cells.sort_by(|a, b| (a.day, &a.model, a.is_estimated).cmp(&(b.day, &b.model, b.is_estimated)));
        Ok(cells)
    }

    async fn erase_analytics(&self, scope: &CompanyScope) -> Result<u64, Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        let deleted = self.call_within(LONG, "erase_analytics", async {
            Ok(self.collection(FACTS).await?.delete_many(filter).await?)
        });
        Ok(deleted.await?.deleted_count)
    }
}

impl MongoStore {
    /// Adds up the turns of a company, or of those that a condition names.
    async fn add_up(
        &self,
        company: Bson,
        from: OffsetDateTime,
        to: OffsetDateTime,
        grain: Grain,
    ) -> Result<Vec<Cell>, Error> {
        let period = match grain {
            Grain::Minute => "$minute",
            Grain::Day => "$day",
        };
        let pipeline = vec![
            doc! { "$match": {
                "company_id": company, "at_ns": { "$gte": nanos_of(from)?, "$lt": nanos_of(to)? },
            } },
            doc! { "$group": {
                "_id": {
                    "period": period, "intent": "$intent", "language": "$language", "finish_reason": "$finish_reason",
                    "is_degraded": "$is_degraded", "first_token_class": "$first_token_class",
                },
                "turns": { "$sum": 1_i64 },
            } },
        ];
        let found = self.call("cells", async {
            let found = self.collection(FACTS).await?.aggregate(pipeline).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let mut cells = found.await?.into_iter().map(cell).collect::<Result<Vec<_>, _>>()?;
        cells.sort_by_key(|cell| cell.period);
        Ok(cells)
    }
}

/// The moment at which the period of so many seconds began that a time is in.
fn beginning(time: OffsetDateTime, seconds: i64) -> Result<OffsetDateTime, Error> {
    let whole = time.unix_timestamp().div_euclid(seconds) * seconds;
    OffsetDateTime::from_unix_timestamp(whole).map_err(|error| Error::Invalid(error.to_string()))
}

fn usage(mut document: Document) -> Result<UsageCell, Error> {
    #[derive(serde::Deserialize)]
    struct Alike {
        #[serde(default)]
        model: Option<String>,
        // Facts from before tokens were counted do not say.
        #[serde(default)]
        is_estimated: Option<bool>,
    }
    // A sum of nothing is a number of the smallest kind.
    let sum = |name: &str| match document.get(name) {
        Some(Bson::Int32(sum)) => u64::try_from(*sum).unwrap_or_default(),
        Some(Bson::Int64(sum)) => u64::try_from(*sum).unwrap_or_default(),
        _ => 0,
    };
    let (turns, input_tokens, output_tokens) = (sum("turns"), sum("input_tokens"), sum("output_tokens"));
    let Some(Bson::Document(mut alike)) = document.remove("_id") else {
        return Err(Error::Invalid("the database grouped by nothing".to_owned()));
    };
    let Some(Bson::DateTime(day)) = alike.remove("day") else {
        return Err(Error::Invalid("a fact in the database has no day".to_owned()));
    };
    let Alike { model, is_estimated } = from_document(alike)?;
    let is_estimated = is_estimated.unwrap_or_default();
    Ok(UsageCell { day: time_of(day)?, model, is_estimated, turns, input_tokens, output_tokens })
}

fn cell(mut document: Document) -> Result<Cell, Error> {
    #[derive(serde::Deserialize)]
    struct Alike {
        #[serde(default)]
        intent: Option<String>,
        #[serde(default)]
        language: Option<String>,
        finish_reason: crate::domain::FinishReason,
        is_degraded: bool,
        #[serde(default)]
        first_token_class: Option<u8>,
    }
    let turns = count_in(&document, "turns")?;
    let Some(Bson::Document(mut alike)) = document.remove("_id") else {
        return Err(Error::Invalid("the database grouped by nothing".to_owned()));
    };
    let Some(Bson::DateTime(period)) = alike.remove("period") else {
        return Err(Error::Invalid("a fact in the database has no period".to_owned()));
    };
    let Alike { intent, language, finish_reason, is_degraded, first_token_class } = from_document(alike)?;
    Ok(Cell { period: time_of(period)?, intent, language, finish_reason, is_degraded, first_token_class, turns })
}
