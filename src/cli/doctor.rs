//! `turnpike doctor`: each part, whether it works, and what to do if not.

use std::process::ExitCode;

use clap::Args;

use super::Common;
use crate::config::AuthMode;
use crate::knowledge::sparse;
use crate::ports::bus::Bus;
use crate::ports::directory::Directory;
use crate::ports::store::ConversationStore;
use crate::roles::{models, parts};
use crate::spool::Spool;

#[derive(Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How a part is.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
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
    match dir.lock("doctor") {
        Ok(_lock) => found("data directory", State::Ok, format!("{}, not in use", dir.root().display())),
        Err(error @ crate::roles::data_dir::Error::InUse { .. }) => {
            found("data directory", State::Ok, error.to_string())
        }
        Err(error) => found("data directory", State::Broken, error.to_string()),
    }
    match parts::store(&settings) {
        Ok(store) => match (store.check().await, store.companies().await) {
            (Ok(()), Ok(companies)) => {
                found("store", State::Ok, format!("SQLite, migrated, {} companies", companies.len()))
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
    match parts::embedder(&settings) {
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
    found(
        "index",
        State::Ok,
        format!("qdrant-edge, sparse encoder v{}; ranking is isolated by company", sparse::VERSION),
    );
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
