//! What processes know of each other. These records help and decide nothing, claims excepted.

use std::time::Duration;

use ::mongodb::bson::{DateTime, Document, doc};
use ::mongodb::options::ReadConcern;
use async_trait::async_trait;
use futures::TryStreamExt;

use super::MongoStore;
use super::call::{LONG, is_duplicate};
use super::codec::{date_of, from_document, key, not_over, pause, to_document};
use crate::domain::{CompanyScope, ConversationId, TurnId};
use crate::ports::cluster::{Claim, Cluster, Member, Whereabouts};
use crate::ports::store::Error;

const MEMBERS: &str = "members";
const LIVE_TURNS: &str = "live_turns";
const CLAIMS: &str = "claims";

/// How long a process is remembered that says nothing.
const MEMBER: Duration = Duration::from_secs(10 * 60);
/// How long it is remembered where a turn ran.
const LIVE_TURN: Duration = Duration::from_secs(15 * 60);
/// How long an `Idempotency-Key` is a turn's.
const CLAIM: Duration = Duration::from_secs(24 * 60 * 60);

#[async_trait]
impl Cluster for MongoStore {
    async fn report(&self, member: &Member) -> Result<(), Error> {
        let mut document = to_document(member)?;
        document.insert("_id", &member.id);
        if member.turns.is_none_or(|turns| turns.accepted <= turns.ended + turns.lost) {
            document.insert("expires_at", date_of(member.seen_at + MEMBER)?);
        }
        let written = self.call("report", async {
            let members = self.collection(MEMBERS).await?;
            Ok(members.replace_one(doc! { "_id": &member.id }, document).upsert(true).await?)
        });
        written.await.map(|_| ())
    }

    async fn members(&self) -> Result<Vec<Member>, Error> {
        let filter = doc! { "expires_at": not_over(DateTime::now()) };
        let found = self.call("members", async {
            let found = self.collection(MEMBERS).await?.find(filter).sort(doc! { "_id": 1 }).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        found.await?.into_iter().map(from_document).collect()
    }

    async fn announce(&self, scope: &CompanyScope, turn: &Whereabouts) -> Result<(), Error> {
        let mut set = to_document(turn)?;
        set.remove("has_ended");
        set.insert("expires_at", after(LIVE_TURN));
        // Two words of one turn may come in either order: one that has ended does not begin again.
        let change = doc! { "$set": set, "$max": { "has_ended": turn.has_ended } };
        let statement = doc! { "q": key(scope.company(), &turn.turn_id.to_string()), "u": change, "upsert": true };
        self.call("announce", self.update(LIVE_TURNS, &[statement])).await
    }

    async fn whereabouts(&self, scope: &CompanyScope, turn: TurnId) -> Result<Option<Whereabouts>, Error> {
        let filter = key(scope.company(), &turn.to_string());
        self.live_turn("whereabouts", filter).await
    }

    async fn turn_before(
        &self,
        scope: &CompanyScope,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Result<Option<Whereabouts>, Error> {
        // Ids are of equal length and sort by time.
        let filter = doc! {
            "company_id": scope.company().as_str(), "conversation_id": conversation.to_string(),
            "turn_id": { "$lt": turn.to_string() },
        };
        self.live_turn("turn_before", filter).await
    }

    async fn claim(&self, scope: &CompanyScope, claim: &Claim) -> Result<Claim, Error> {
        let key = key(scope.company(), claim.key.as_str());
        let mut document = key.clone();
        document.extend(to_document(claim)?);
        document.insert("expires_at", after(CLAIM));
        self.call("claim", async {
            let claims = self.collection(CLAIMS).await?;
            let mut tries = 0;
            loop {
                match claims.insert_one(&document).await {
                    Ok(_) => return Ok(claim.clone()),
                    Err(error) if is_duplicate(&error) => {}
                    Err(error) => return Err(error.into()),
                }
                // An explicit session would make the first claim seen at once; without one it is seen when a majority
                // of servers have it.
                if let Some(first) = claims.find_one(key.clone()).await? {
                    return from_document(first);
                }
                tries += 1;
                pause(tries).await;
            }
        })
        .await
    }

    async fn disclaim(&self, scope: &CompanyScope, claim: &Claim) -> Result<(), Error> {
        let mut filter = key(scope.company(), claim.key.as_str());
        filter.insert("turn_id", claim.turn_id.to_string());
        self.call("disclaim", async { Ok(self.collection(CLAIMS).await?.delete_one(filter).await?) }).await.map(|_| ())
    }

    async fn erase(&self, scope: &CompanyScope) -> Result<(), Error> {
        let filter = doc! { "company_id": scope.company().as_str() };
        self.call_within(LONG, "erase_cluster", async {
            self.collection(LIVE_TURNS).await?.delete_many(filter.clone()).await?;
            self.collection(CLAIMS).await?.delete_many(filter).await?;
            Ok(())
        })
        .await
    }
}

impl MongoStore {
    /// The turn that a filter finds; of several, the one that began last, which ids of turns are ordered by.
    async fn live_turn(&self, operation: &'static str, filter: Document) -> Result<Option<Whereabouts>, Error> {
        let found = self.call(operation, async {
            let turns = self.collection(LIVE_TURNS).await?;
            // What one server was told is what is asked for.
            Ok(turns.find_one(filter).sort(doc! { "turn_id": -1 }).read_concern(ReadConcern::local()).await?)
        });
        let is_live = |found: &Document| found.get_datetime("expires_at").is_ok_and(|end| *end > DateTime::now());
        found.await?.filter(is_live).map(from_document).transpose()
    }
}

fn after(time: Duration) -> DateTime {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_millis(DateTime::now().timestamp_millis().saturating_add(millis))
}
