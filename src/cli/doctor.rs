//! `turnpike doctor`: each part, whether it works, and what to do if not.

use std::process::ExitCode;

use clap::Args;

use super::Common;
use crate::config::{self, AuthMode, Settings};
use crate::domain::{Company, CompanyId, CompanyScope};
use crate::knowledge::sparse;
use crate::ports::bus::Account;
use crate::ports::cluster::Cluster;
use crate::ports::index::{Encoder, Error as IndexError, KnowledgeIndex};
use crate::roles::migrations::{self, Migration};
use crate::roles::stores::Stores;
use crate::roles::{accounts, data_dir, embedder, models, parts};
use crate::spool::Spool;

#[derive(Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How a part is, better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Degraded,
    Broken,
}

#[derive(serde::Serialize)]
struct Finding {
    part: &'static str,
    state: State,
    detail: String,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("error"))?;
    let mut findings = Vec::new();
    let mut found = |part, state, detail: String| findings.push(Finding { part, state, detail });
    let dir = parts::data_dir(&settings)?;
    // Held to the end: only who has it may open the index.
    let lock = dir.lock("doctor");
    match &lock {
        Ok(_) => found("data directory", State::Ok, format!("{}, not in use", dir.root().display())),
        Err(error @ data_dir::Error::InUse { .. }) => found("data directory", State::Ok, error.to_string()),
        Err(error) => found("data directory", State::Broken, error.to_string()),
    }
    let stores = Stores::open(&settings);
    let mut known = None;
    match &stores {
        Ok(stores) => {
            let (state, detail, companies) = store(&settings, stores).await;
            found("store", state, detail);
            known = companies;
            let (state, detail) = bus(&settings, stores).await;
            found("bus", state, detail);
            if let Some(cluster) = stores.cluster() {
                let (state, detail) = members(&settings, cluster.as_ref()).await;
                found("processes", state, detail);
            }
        }
        Err(error) => found("store", State::Broken, format!("{error:#}")),
    }
    match Spool::inspect(&dir.spool()) {
        Ok(account) => found(
            "spool",
            State::Ok,
            format!("{} events wait, {} bytes", account.accepted - account.forwarded, account.pending_bytes),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found("spool", State::Ok, "not made yet".to_owned())
        }
        Err(error) => found("spool", State::Broken, error.to_string()),
    }
    let embedder = embedder::open(&settings);
    match &embedder {
        Ok(Some(embedder)) => {
            let model = embedder.model();
            let languages = model.languages.join(", ");
            found("embedder", State::Ok, format!("{}, {} dimensions, knows {languages}", model.name, model.dimensions));
        }
        Ok(None) if !settings.embedder.enabled => {
            found("embedder", State::Degraded, "switched off: keyword search alone".to_owned())
        }
        Ok(None) => {
            found("embedder", State::Degraded, "no model: keyword search alone; run `turnpike models pull`".to_owned())
        }
        Err(error) => found("embedder", State::Broken, format!("{error:#}")),
    }
    let encoder = embedder.as_ref().ok().map(|embedder| embedder::encoder(embedder.as_ref()));
    let made_by = encoder.clone().unwrap_or_else(|| embedder::encoder(None));
    if let Ok(stores) = &stores {
        for Migration { engine, steps } in migrations::pending(&settings, stores, &made_by).await? {
            match steps {
                Ok(steps) if steps.is_empty() => found("migrations", State::Ok, format!("{engine} is up to date")),
                Ok(steps) => {
                    let steps = migrations::in_short(&steps);
                    found("migrations", State::Broken, format!("{engine}: {steps}; run `turnpike migrate`"));
                }
                Err(reason) => found("migrations", State::Broken, format!("{engine}: {reason}")),
            }
        }
    }
    let embedded = matches!(settings.index, config::Index::Embedded { .. });
    let (state, detail) = match (&lock, &known) {
        (Err(data_dir::Error::InUse { .. }), _) if embedded => {
            (State::Ok, "in use: the running service answers for it at /readyz".to_owned())
        }
        (_, Some(companies)) => match parts::index(&settings, &dir, &made_by) {
            Ok(opened) => index(opened.as_ref(), companies, encoder).await,
            Err(error) => (State::Broken, format!("{error:#}")),
        },
        _ => (State::Degraded, "not looked at: the store cannot be used".to_owned()),
    };
    found("index", state, detail);
    match parts::catalog(&settings) {
        Ok(catalog) => found("pipelines", State::Ok, format!("{} are right", catalog.iter().count())),
        Err(error) => found("pipelines", State::Broken, format!("{error:#}")),
    }
    match models::chain(&settings) {
        Ok(chain) if chain.has_providers() => {
            let names: Vec<&str> = settings.providers.iter().map(|provider| provider.name.as_str()).collect();
            found("llm", State::Ok, format!("providers: {}", names.join(", ")));
        }
        Ok(_) => found(
            "llm",
            State::Degraded,
            "no provider is set: answers quote the best passages; set OPENAI_API_KEY, or [providers] in turnpike.toml"
                .to_owned(),
        ),
        Err(error) => found("llm", State::Broken, format!("{error:#}")),
    }
    if settings.auth.mode == AuthMode::Open {
        found("auth", State::Degraded, "open: whoever reaches the address reads every company's data".to_owned());
    }
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            let word = match finding.state {
                State::Ok => "ok",
                State::Degraded => "degraded",
                State::Broken => "BROKEN",
            };
            say!("{:<16}{word:<10}{}", finding.part, finding.detail);
        }
    }
    let broken = findings.iter().any(|finding| finding.state == State::Broken);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn store(settings: &Settings, stores: &Stores) -> (State, String, Option<Vec<Company>>) {
    let engine = match (&settings.store, &stores.shared) {
        (config::Store::MongoDb { .. }, Some(shared)) => match shared.mongodb.describe().await {
            Ok(server) => format!("MongoDB {server}"),
            Err(error) => return (State::Broken, format!("MongoDB: {error}; is MONGODB_URI right?"), None),
        },
        _ => "SQLite, migrated".to_owned(),
    };
    match (stores.conversations.check().await, stores.directory.companies().await) {
        (Ok(()), Ok(companies)) => (State::Ok, format!("{engine}, {} companies", companies.len()), Some(companies)),
        (Err(error), _) | (_, Err(error)) => (State::Broken, error.to_string(), None),
    }
}

async fn bus(settings: &Settings, stores: &Stores) -> (State, String) {
    let bus = match parts::bus(settings, stores) {
        Ok(bus) => bus,
        Err(error) => return (State::Broken, format!("{error:#}")),
    };
    let engine = match &settings.bus {
        config::Bus::Embedded => "SQLite, migrated",
        config::Bus::RabbitMq { .. } => "RabbitMQ",
    };
    if let Err(error) = bus.check().await {
        return (State::Broken, format!("{engine}: {error}"));
    }
    let accounts = match accounts::accounts(stores, bus.as_ref()).await {
        Ok(accounts) => accounts,
        Err(error) => return (State::Broken, format!("{engine}: {error:#}")),
    };
    let balances = accounts.iter().all(Account::balances);
    let dead: u64 = accounts.iter().map(|account| account.dead).sum();
    let pending: u64 = accounts.iter().map(|account| account.pending).sum();
    let state = match (balances, dead) {
        (false, _) => State::Broken,
        (true, 0) => State::Ok,
        (true, _) => State::Degraded,
    };
    let word = if balances { "the ledger balances" } else { "the ledger does not balance" };
    (state, format!("{engine}, {pending} pending, {dead} dead; {word}"))
}

/// The processes that were heard of, and what they cannot do for each other.
async fn members(settings: &Settings, cluster: &dyn Cluster) -> (State, String) {
    let members = match cluster.members().await {
        Ok(members) => members,
        Err(error) => return (State::Broken, error.to_string()),
    };
    let of = |role: &str| members.iter().filter(|member| member.roles.iter().any(|one| one == role)).count();
    let (gateways, workers) = (of("gateway"), of("worker"));
    let hidden = members.iter().filter(|it| it.url.is_none() && it.roles.iter().any(|role| role == "gateway")).count();
    let mut detail = format!("{gateways} gateways, {workers} workers were heard of in the last ten minutes");
    if gateways > 1 && hidden > 0 {
        detail.push_str(&format!(
            "; {hidden} gateways cannot be reached by the others, so turns of theirs cannot be taken up elsewhere: \
             set `server.advertise_url`"
        ));
        return (State::Degraded, detail);
    }
    if gateways > 1 && matches!(settings.index, config::Index::Embedded { .. }) {
        detail.push_str("; each gateway has a knowledge of its own: set QDRANT_URL for one that they share");
        return (State::Degraded, detail);
    }
    (State::Ok, detail)
}

/// Looks into each company's index. `current` is what would read and write it; none when the embedding model cannot be
/// loaded.
async fn index(index: &dyn KnowledgeIndex, companies: &[Company], current: Option<Encoder>) -> (State, String) {
    if let Err(error) = index.check().await {
        return (State::Broken, error.to_string());
    }
    let mut passages = 0;
    let mut troubles = Vec::new();
    for company in companies {
        match index.contents(&CompanyScope::granted(company.id.clone())).await {
            Ok(contents) => {
                passages += contents.passages;
                troubles.extend(misfit(&company.id, contents.encoder, current.as_ref()));
            }
            Err(error) => troubles.push((State::Broken, format!("company {}: {error}", company.id))),
        }
    }
    if !matches!(index.is_isolated().await, Ok(true)) {
        let text = "ranking is not isolated: one company's documents change another's scores; use Qdrant 1.19 or later";
        troubles.push((State::Degraded, text.to_owned()));
    }
    let whole = format!("sparse encoder v{}, {passages} passages", sparse::VERSION);
    let state = troubles.iter().map(|(state, _)| *state).max().unwrap_or(State::Ok);
    let details: Vec<String> = std::iter::once(whole).chain(troubles.into_iter().map(|(_, text)| text)).collect();
    (state, details.join("; "))
}

/// What is wrong with an index that was made by another encoder than the one in use.
fn misfit(company: &CompanyId, made_by: Option<Encoder>, current: Option<&Encoder>) -> Option<(State, String)> {
    let (made_by, current) = (made_by?, current?);
    if made_by == *current {
        return None;
    }
    let is_same_sparse = made_by.sparse == current.sparse;
    if is_same_sparse && current.dense.is_none() {
        // Making it anew would throw its vectors away, so that is not advised.
        let text =
            format!("the index of company {company} was made with {made_by}; without that model keywords decide");
        return Some((State::Degraded, text));
    }
    // An index without dense vectors is searched by keywords; any other difference stops searches.
    let state = if is_same_sparse && made_by.dense.is_none() { State::Degraded } else { State::Broken };
    let error = IndexError::EncoderMismatch {
        company: company.to_string(),
        index: Box::new(made_by),
        current: Box::new(current.clone()),
    };
    Some((state, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::index::DenseEncoder;

    fn encoder(sparse: u32, model: Option<&str>) -> Encoder {
        let dense =
            model.map(|model| DenseEncoder { model: model.to_owned(), fingerprint: "f".to_owned(), dimensions: 3 });
        Encoder { sparse, dense }
    }

    #[test]
    fn an_index_of_another_encoder_is_named_with_what_to_do() {
        let company: CompanyId = "comp_1".parse().unwrap();
        let current = encoder(1, Some("m"));
        let misfit = |made_by, current: &Encoder| misfit(&company, made_by, Some(current));
        assert_eq!(misfit(None, &current), None);
        assert_eq!(misfit(Some(current.clone()), &current), None);
        for (made_by, expected) in [
            (encoder(2, Some("m")), State::Broken),
            (encoder(1, Some("n")), State::Broken),
            (encoder(1, None), State::Degraded),
        ] {
            let (state, text) = misfit(Some(made_by), &current).unwrap();
            assert_eq!(state, expected, "{text}");
            assert!(text.contains("turnpike reindex --company comp_1"), "{text}");
        }
        let (state, text) = misfit(Some(current.clone()), &encoder(1, None)).unwrap();
        assert!(state == State::Degraded && !text.contains("reindex"), "{text}");
    }
}
