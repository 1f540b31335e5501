//! `turnpike export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use parking_lot::Mutex;

use super::Common;
use crate::config::Settings;
use crate::domain::{CompanyId, CompanyScope};
use crate::ports::bus::Queue;
use crate::roles::accounts;
use crate::roles::parts::{Parts, Purpose};
use crate::spool::Spool;
use crate::transfer::{self, Backends, CompanyFiles, Exported, Kind};

#[derive(Args)]
pub(super) struct Arguments {
    /// A folder that is empty or not there yet, or one with an export that was cut short, which is gone on with
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only these companies
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    company: Vec<CompanyId>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let parts = Parts::open(&settings, "export", Purpose::Knowledge).await?;
    let scopes = scopes(&parts, arguments.company).await?;
    let waiting = waiting(&settings, &parts).await;
    let exported = transfer::export(&backends(&parts), &scopes, &arguments.dir, &Lines::default()).await?;
    match waiting {
        Ok(false) => {}
        Ok(true) => eprintln!(
            "note: when this began, turns waited to be stored: they may not be in the export. `turnpike queue ledger` \
             shows when none waits"
        ),
        Err(error) => eprintln!("note: it is not known whether turns wait to be stored: {error:#}"),
    }
    if exported.missing > 0 {
        eprintln!(
            "note: {} turns were being stored while this ran and are missing in the middle of their conversations; \
             export once more into another folder when no turn waits",
            exported.missing
        );
    }
    if arguments.json {
        let all = serde_json::json!({
            "manifest": exported.manifest, "kept": exported.kept, "missing": exported.missing,
        });
        say!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        show(&arguments.dir, &exported);
    }
    Ok(ExitCode::SUCCESS)
}

/// The companies that are named, or all of them, and the right to their data.
async fn scopes(parts: &Parts, mut named: Vec<CompanyId>) -> anyhow::Result<Vec<CompanyScope>> {
    let directory = parts.stores.directory.as_ref();
    if named.is_empty() {
        named = directory.companies().await?.into_iter().map(|company| company.id).collect();
        anyhow::ensure!(!named.is_empty(), "there is no company to export");
    }
    named.sort_unstable();
    named.dedup();
    let mut scopes = Vec::new();
    for id in &named {
        scopes.push(super::company(directory, id).await?.1);
    }
    Ok(scopes)
}

/// What is open, as the transfer sees it.
pub(super) fn backends(parts: &Parts) -> Backends {
    let stores = parts.stores.clone();
    Backends {
        directory: stores.directory,
        conversations: stores.conversations,
        documents: stores.documents,
        index: parts.index.clone(),
    }
}

/// Whether turns were accepted and are not stored yet: in this directory's spool, or in the queue of the persist job.
async fn waiting(settings: &Settings, parts: &Parts) -> anyhow::Result<bool> {
    let accounts = accounts::accounts(&parts.stores, parts.bus.as_ref()).await?;
    if accounts.iter().any(|account| account.queue == Queue::Persist.name() && account.pending > 0) {
        return Ok(true);
    }
    if settings.bus.is_shared() {
        // The gateways report what their spools hold, and the account has it.
        return Ok(false);
    }
    let spool = Spool::inspect(&parts.dir.spool()).context("reading the spool")?;
    Ok(spool.accepted > spool.forwarded || spool.unfinished_turns > 0)
}

fn show(dir: &Path, exported: &Exported) {
    let columns = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Company);
    let heading: String = columns.clone().map(|kind| format!("{:>15}", kind.noun())).collect();
    say!("{:<24}{heading}", "company");
    for CompanyFiles { id, files } in &exported.manifest.companies {
        let counts: String =
            columns.clone().map(|kind| format!("{:>15}", files.get(&kind).map_or(0, |entry| entry.rows))).collect();
        say!("{:<24}{counts}", id.as_str());
    }
    if exported.kept > 0 {
        say!("{} files of an earlier run were complete and kept", exported.kept);
    }
    say!(
        "written to {}, readable by this user alone: it holds conversations, hashes of API keys and secrets of webhooks",
        dir.display()
    );
}

/// Prints every few seconds how far it is.
pub(super) struct Lines(Mutex<Instant>);

impl Default for Lines {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl transfer::Progress for Lines {
    fn at(&self, company: &CompanyId, what: &'static str, kind: Kind, rows: u64) {
        const EVERY: Duration = Duration::from_secs(5);
        let mut printed = self.0.lock();
        if printed.elapsed() >= EVERY {
            *printed = Instant::now();
            eprintln!("{what} {company}: {rows} {}", kind.noun());
        }
    }
}
