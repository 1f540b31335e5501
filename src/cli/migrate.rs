//! `turnpike migrate`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Common;
use crate::config::Settings;
use crate::ports::index::Encoder;
use crate::roles::embedder;
use crate::roles::migrations::{self, Migration};
use crate::roles::stores::Stores;

#[derive(Args)]
pub(super) struct Arguments {
    /// Change nothing; say what is to be done, and exit with 1 if anything is
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let stores = Stores::open(&settings)?;
    let encoder = encoder(&settings).await?;
    let findings = match arguments.check {
        true => migrations::pending(&settings, &stores, &encoder).await?,
        false => migrations::migrate(&settings, &stores, &encoder).await?,
    };
    if findings.is_empty() {
        say!("no server is set; what is embedded is brought up to date when it is opened");
    }
    let mut is_well = true;
    for Migration { engine, steps } in findings {
        match (steps, arguments.check) {
            (Ok(steps), _) if steps.is_empty() => say!("{engine:<10}up to date"),
            (Ok(steps), is_check) => {
                is_well &= !is_check;
                let word = if is_check { "to do" } else { "done" };
                steps.iter().for_each(|step| say!("{engine:<10}{word}: {step}"));
            }
            (Err(reason), _) => {
                is_well = false;
                say!("{engine:<10}FAILED: {reason}");
            }
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What makes the index's vectors: their length is part of what Qdrant is told.
async fn encoder(settings: &Arc<Settings>) -> anyhow::Result<Encoder> {
    let settings = Arc::clone(settings);
    tokio::task::spawn_blocking(move || Ok(embedder::encoder(embedder::open(&settings)?.as_ref()))).await?
}
