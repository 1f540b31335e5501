//! `turnpike doctor`: each part, whether it works, and what to do if not.

use std::process::ExitCode;

use clap::Args;

use super::Common;
use crate::adapters::index::edge::{self, EdgeIndex};
use crate::config::AuthMode;
use crate::domain::{Company, CompanyId, CompanyScope};
use crate::knowledge::sparse;
use crate::ports::bus::Bus;
use crate::ports::directory::Directory;
use crate::ports::index::{Encoder, Error as IndexError, KnowledgeIndex};
use crate::ports::store::ConversationStore;
use crate::roles::data_dir::DataDir;
use crate::roles::{data_dir, models, parts};
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
    let mut known = None;
    match parts::store(&settings) {
        Ok(store) => match (store.check().await, store.companies().await) {
            (Ok(()), Ok(companies)) => {
                found("store", State::Ok, format!("SQLite, migrated, {} companies", companies.len()));
                known = Some(companies);
            }
            (Err(error), _) | (_, Err(error)) => found("store", State::Broken, error.to_string()),
        },
        Err(error) => found("store", State::Broken, format!("{error:#}")),
    }
    match parts::bus(&settings) {
        Ok(bus) => match bus.accounts().await {
            Ok(accounts) => {
                let balances = accounts.iter().all(crate::ports::bus::Account::balances);
                let dead: u64 = accounts.iter().map(|account| account.dead).sum();
                let pending: u64 = accounts.iter().map(|account| account.pending).sum();
                let state = match (balances, dead) {
                    (false, _) => State::Broken,
                    (true, 0) => State::Ok,
                    (true, _) => State::Degraded,
                };
                let word = if balances { "the ledger balances" } else { "the ledger does not balance" };
                found("bus", state, format!("SQLite, migrated, {pending} pending, {dead} dead; {word}"));
            }
            Err(error) => found("bus", State::Broken, error.to_string()),
        },
        Err(error) => found("bus", State::Broken, format!("{error:#}")),
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
    let embedder = parts::embedder(&settings);
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
    let encoder = embedder.as_ref().ok().map(|embedder| parts::encoder(embedder.as_ref()));
    let (state, detail) = match (&lock, &known) {
        (Err(data_dir::Error::InUse { .. }), _) => {
            (State::Ok, "in use: the running service answers for it at /readyz".to_owned())
        }
        (Ok(_), Some(companies)) => index(&dir, companies, encoder).await,
        _ => (State::Degraded, "not looked at: the data directory or the store cannot be used".to_owned()),
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

/// Opens the index of each company. `current` is what would read and write it; none when the embedding model cannot be
/// loaded.
async fn index(dir: &DataDir, companies: &[Company], current: Option<Encoder>) -> (State, String) {
    let encoder = current.clone().unwrap_or_else(|| parts::encoder(None));
    let index = EdgeIndex::new(dir.index(), encoder, edge::Settings { open_shards: 1 });
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
    let whole = format!("qdrant-edge, sparse encoder v{}, {passages} passages", sparse::VERSION);
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
