//! The `turnpike` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    turnpike::cli::run()
}
