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
        Command::Default => print!("{}", crate::config::DEFAULT_FILE),
        Command::Check => {
            common.settings(&[], None)?;
            println!("the settings are right");
        }
    }
    Ok(ExitCode::SUCCESS)
}
