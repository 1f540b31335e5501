//! `turnpike config`.

use std::process::ExitCode;

use clap::Subcommand;

use super::Common;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the commented default file
    Default,
    /// Check the settings in force, all mistakes at once
    Check,
}

pub(super) fn run(common: &Common, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Default => say!("{}", crate::config::DEFAULT_FILE.trim_end()),
        Command::Check => {
            common.settings(&[], None)?;
            say!("the settings are right");
        }
    }
    Ok(ExitCode::SUCCESS)
}
