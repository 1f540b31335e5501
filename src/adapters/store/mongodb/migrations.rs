//! The steps that bring a database to what this version works with: commands in JSON, one file a step.
//!
//! Each command can be run again, and several processes may run them at once: what is there already is made the same.
//! The collection `migrations` says which steps were done.

use ::mongodb::bson::{DateTime, Document, doc};
use futures::TryStreamExt;

use super::MongoStore;
use super::call::{LONG, is_duplicate};
use super::codec::to_document;
use crate::ports::store::Error;

const MIGRATIONS: &str = "migrations";

/// A collection that is to be made is there already.
const NAMESPACE_EXISTS: i32 = 48;

/// The steps, in order. One that was released is never edited.
const STEPS: &[(&str, &str)] = &[
    ("0001-collections", include_str!("../../../../migrations/mongodb/0001-collections.json")),
    ("0002-removed", include_str!("../../../../migrations/mongodb/0002-removed.json")),
    ("0003-deliveries", include_str!("../../../../migrations/mongodb/0003-deliveries.json")),
];

impl MongoStore {
    /// Does the steps that were not done, and says which.
    ///
    /// # Errors
    /// `Invalid` for a database that a newer version has changed, which is left as it is; or when it cannot be written.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        for step in self.pending().await? {
            let Some((number, (name, text))) = (1_i64..).zip(STEPS).find(|(_, (name, _))| *name == step) else {
                continue;
            };
            for command in commands(name, text)? {
                self.call_within(LONG, "migrate", self.apply(command)).await?;
            }
            self.call_within(LONG, "migrate", self.note(number, name)).await?;
            tracing::info!(step = name, "the database was migrated");
            done.push(step);
        }
        Ok(done)
    }

    /// The steps that were not done.
    ///
    /// # Errors
    /// `Invalid` for a database that a newer version has changed; or when it cannot be read.
    pub async fn pending(&self) -> Result<Vec<String>, Error> {
        let found = self.call("pending", async {
            let found = self.collection(MIGRATIONS).await?.find(Document::new()).sort(doc! { "_id": 1 }).await?;
            Ok(found.try_collect::<Vec<Document>>().await?)
        });
        let found = found.await?;
        let done: Vec<&str> = found.iter().filter_map(|step| step.get_str("name").ok()).collect();
        let unknown: Vec<&str> =
            done.iter().copied().filter(|done| !STEPS.iter().any(|(name, _)| name == done)).collect();
        if !unknown.is_empty() {
            return Err(Error::Invalid(format!(
                "the database {} was changed by a newer version of turnpike ({}); run that version",
                self.settings.database,
                unknown.join(", ")
            )));
        }
        Ok(STEPS.iter().map(|(name, _)| *name).filter(|name| !done.contains(name)).map(str::to_owned).collect())
    }

    async fn apply(&self, command: Document) -> Result<(), Error> {
        let connection = self.connection().await?;
        let database = &connection.database;
        match database.run_command(command.clone()).await {
            Err(error) if is_there(&error) => {
                // The collection was made by an earlier try, another process, or a write before any migration.
                if let Some(change) = as_change(command) {
                    database.run_command(change).await?;
                }
                Ok(())
            }
            done => Ok(done.map(|_| ())?),
        }
    }

    async fn note(&self, number: i64, name: &str) -> Result<(), Error> {
        let step = doc! {
            "_id": number, "name": name, "version": env!("CARGO_PKG_VERSION"), "applied_at": DateTime::now(),
        };
        match self.collection(MIGRATIONS).await?.insert_one(step).await {
            Err(error) if is_duplicate(&error) => Ok(()),
            noted => Ok(noted.map(|_| ())?),
        }
    }
}

fn is_there(error: &::mongodb::error::Error) -> bool {
    matches!(&*error.kind, ::mongodb::error::ErrorKind::Command(failure) if failure.code == NAMESPACE_EXISTS)
}

/// The command that makes a collection which is there like the one that was to be made.
fn as_change(create: Document) -> Option<Document> {
    let name = create.get_str("create").ok()?.to_owned();
    let mut change = doc! { "collMod": name };
    change.extend(create.into_iter().filter(|(field, _)| field.starts_with("validat")));
    (change.len() > 1).then_some(change)
}

fn commands(name: &str, text: &str) -> Result<Vec<Document>, Error> {
    let broken = |problem: String| Error::Invalid(format!("migrations/mongodb/{name}.json: {problem}"));
    let step: Step = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    step.commands.iter().map(|command| to_document(command).map_err(|error| broken(error.to_string()))).collect()
}

/// A file.
#[derive(serde::Deserialize)]
struct Step {
    commands: Vec<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_can_be_read_and_is_numbered() {
        for (number, (name, text)) in (1..).zip(STEPS) {
            assert!(name.starts_with(&format!("{number:04}-")), "{name}");
            assert!(!commands(name, text).unwrap().is_empty());
        }
    }

    #[test]
    fn a_collection_that_is_there_gets_the_validator() {
        let create = doc! { "create": "turns", "validator": { "a": 1 }, "validationLevel": "strict" };
        let change = doc! { "collMod": "turns", "validator": { "a": 1 }, "validationLevel": "strict" };
        assert_eq!(as_change(create), Some(change));
        assert_eq!(as_change(doc! { "create": "members" }), None);
    }
}
