//! `turnpike import`.

use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use clap::Args;

use super::Common;
use super::export::{Lines, backends};
use crate::domain::knowledge::{EncodedPassage, Passage};
use crate::domain::{CompanyId, CompanyScope};
use crate::knowledge::ingest::Ingester;
use crate::ports::index::Encoder;
use crate::roles::parts::{Parts, Purpose};
use crate::transfer::{self, Archive, Encode, Imported};

#[derive(Args)]
pub(super) struct Arguments {
    /// A folder that `turnpike export` wrote
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only these companies
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    company: Vec<CompanyId>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What makes vectors here.
struct InUse {
    encoder: Encoder,
    ingester: Ingester,
}

#[async_trait]
impl Encode for InUse {
    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    async fn encode(&self, passages: Vec<Passage>) -> Result<Vec<EncodedPassage>, String> {
        self.ingester.encode(passages).await.map_err(|error| error.to_string())
    }
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    // All of it is checked before anything is written, or a server is asked.
    let archive = Archive::open(&arguments.dir)?;
    let companies = archive.companies(&arguments.company)?;
    for id in &companies {
        archive.check(id)?;
    }
    let parts = Parts::open(&settings, "import", Purpose::Knowledge).await?;
    let (to, lines) = (backends(&parts), Lines::default());
    let mut all = Vec::new();
    for id in companies {
        let company = archive.company(&id)?;
        if let Some(pipeline) = company.pipeline.as_ref().filter(|name| parts.catalog.get(name).is_none()) {
            eprintln!("note: {id} uses the pipeline {pipeline:?}, which is not here; bring its file as well");
        }
        let ingester = parts.ingester(&settings, &company)?;
        let in_use = InUse { encoder: parts.encoder.clone(), ingester };
        let imported = transfer::import(&archive, &to, &CompanyScope::granted(id), &in_use, &lines).await?;
        if let Some(made_by) = &imported.encoded_anew_from {
            eprintln!(
                "note: the vectors of {} were made with {made_by}; its passages were encoded anew with {}",
                imported.company, parts.encoder
            );
        }
        if imported.expired > 0 {
            eprintln!(
                "note: {} turns of {} are older than it keeps them and were left out",
                imported.expired, imported.company
            );
        }
        all.push(imported);
    }
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&all.iter().map(json).collect::<Vec<_>>())?);
    } else {
        show(&all);
    }
    let is_same = all.iter().flat_map(|imported| &imported.comparisons).all(transfer::Comparison::agrees);
    if !is_same {
        eprintln!("error: what was read back is not what was exported");
    }
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(all: &[Imported]) {
    say!("{:<24}{:<16}{:>12}{:>12}  {:<18}", "company", "what", "exported", "imported", "SHA-256");
    for imported in all {
        for comparison in &imported.comparisons {
            let sum: String = comparison.imported.sha256.chars().take(16).collect();
            say!(
                "{:<24}{:<16}{:>12}{:>12}  {:<18}{}",
                imported.company.as_str(),
                comparison.kind.noun(),
                comparison.exported.rows,
                comparison.imported.rows,
                sum,
                if comparison.agrees() { "same" } else { "DIFFERS" },
            );
        }
    }
}

fn json(imported: &Imported) -> serde_json::Value {
    let files: Vec<_> = imported
        .comparisons
        .iter()
        .map(|comparison| {
            serde_json::json!({
                "file": comparison.kind, "exported": comparison.exported, "imported": comparison.imported,
                "same": comparison.agrees(),
            })
        })
        .collect();
    serde_json::json!({
        "company_id": imported.company, "encoded_anew_from": imported.encoded_anew_from, "expired": imported.expired,
        "files": files,
    })
}
