//! `turnpike ingest` and `turnpike reindex`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Common;
use super::progress::Progress;
use crate::domain::{CompanyId, Language};
use crate::knowledge::ingest::Options;
use crate::roles::parts::{Parts, Purpose};
use crate::roles::tidings::{Tidings, Way};

#[derive(Args)]
pub(super) struct Arguments {
    /// Whose knowledge
    #[arg(long)]
    company: CompanyId,
    /// Files and folders: Markdown, HTML, plain text
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Remove documents that came from the same folder before and are gone from it
    #[arg(long)]
    prune: bool,
    /// A name for what is ingested together, instead of the folder's path
    #[arg(long)]
    collection: Option<String>,
    /// The documents' language, where they do not say and it should not be detected
    #[arg(long)]
    language: Option<Language>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ReindexArguments {
    /// Whose knowledge
    #[arg(long)]
    company: CompanyId,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let parts = Parts::open(&settings, "ingest", Purpose::Knowledge).await?;
    let (company, scope) = super::company(parts.stores.directory.as_ref(), &arguments.company).await?;
    let mut ingester = parts.ingester(&settings, &company)?;
    let (directory, bus) = (parts.stores.directory.clone(), parts.bus.clone());
    ingester.listener = Some(Arc::new(Tidings { directory, way: Way::Bus(bus) }));
    let options = Options {
        prune: arguments.prune,
        collection: arguments.collection,
        industry: company.industry.clone(),
        language: arguments.language,
    };
    let progress = Progress::new("ingesting");
    let report = ingester.ingest_paths(&scope, &arguments.paths, &options, &progress).await;
    progress.finish();
    let report = report?;
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for failure in &report.failed {
            eprintln!("{}: {}", failure.path.display(), failure.reason);
        }
        say!(
            "{} added, {} updated, {} unchanged, {} removed, {} failed; {} passages written{}",
            report.added,
            report.updated,
            report.unchanged,
            report.removed,
            report.failed.len(),
            report.passages,
            if parts.embedder.is_some() { "" } else { " (keywords only: no embedding model)" },
        );
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn reindex(common: Common, arguments: ReindexArguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let parts = Parts::open(&settings, "reindex", Purpose::Knowledge).await?;
    let (company, scope) = super::company(parts.stores.directory.as_ref(), &arguments.company).await?;
    let progress = Progress::new("encoding");
    let count = parts.ingester(&settings, &company)?.reindex(&scope, &progress).await;
    progress.finish();
    say!("{} passages encoded with {}", count?, parts.encoder);
    Ok(ExitCode::SUCCESS)
}
