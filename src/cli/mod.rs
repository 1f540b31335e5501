//! The command line: one file per command. It reads settings, asks [`crate::roles`] for the parts, and prints.
#![expect(clippy::print_stderr, reason = "printing is what a command line does")]

/// Prints a line. A reader that went away, such as `head`, ends the process in silence.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::cli::print_line(format_args!($($argument)*))
    };
}

mod chat;
mod company;
mod config;
mod demo;
mod doctor;
mod eval;
mod export;
mod import;
mod ingest;
mod migrate;
mod models;
mod pipeline;
mod progress;
mod queue;
mod search;
mod serve;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::{Settings, Sources};
use crate::domain::{Company, CompanyId, CompanyScope};
use crate::ports::directory::Directory;

/// Chat over a company's own knowledge: streams answers, keeps every turn, delivers webhooks.
#[derive(Parser)]
#[command(name = "turnpike", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
struct Common {
    /// Settings file; `turnpike.toml` in this folder when there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or filters such as turnpike=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a sample company with its knowledge, on loopback; no server or key needed
    Demo(demo::Arguments),
    /// Run the service
    Serve(serve::Arguments),
    /// Bring RabbitMQ, MongoDB and Qdrant to what this version works with
    Migrate(migrate::Arguments),
    /// Add, list, show and remove companies, and their keys
    #[command(subcommand)]
    Company(company::Command),
    /// Put documents into a company's knowledge
    Ingest(ingest::Arguments),
    /// Encode a company's knowledge anew, after the embedding model changed
    Reindex(ingest::ReindexArguments),
    /// Write companies into a folder, to bring them to other backends
    Export(export::Arguments),
    /// Bring exported companies, and read them back to compare
    Import(import::Arguments),
    /// Search a company's knowledge
    Search(search::Arguments),
    /// Talk to a company's chatbot in the terminal
    Chat(chat::Arguments),
    /// Add, list and test webhook endpoints
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Look into the queues: accepted = done + dead + pending
    #[command(subcommand)]
    Queue(queue::Command),
    /// Check and test pipelines
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// Bring ONNX Runtime and an embedding model
    #[command(subcommand)]
    Models(models::Command),
    /// Measure retrieval, language detection and intent detection; JSON on standard output
    #[command(subcommand)]
    Eval(eval::Command),
    /// Show settings
    #[command(subcommand)]
    Config(config::Command),
    /// Check each part: reachable, migrated, degraded
    Doctor(doctor::Arguments),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // An error here means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    if let Command::Config(command) = cli.command {
        return config::run(&common, &command);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    // Boxed, because the futures of all commands together are large.
    let done: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>> = match cli.command {
        Command::Demo(arguments) => Box::pin(demo::run(common, arguments)),
        Command::Serve(arguments) => Box::pin(serve::run(common, arguments)),
        Command::Migrate(arguments) => Box::pin(migrate::run(common, arguments)),
        Command::Company(command) => Box::pin(company::run(common, command)),
        Command::Ingest(arguments) => Box::pin(ingest::run(common, arguments)),
        Command::Reindex(arguments) => Box::pin(ingest::reindex(common, arguments)),
        Command::Export(arguments) => Box::pin(export::run(common, arguments)),
        Command::Import(arguments) => Box::pin(import::run(common, arguments)),
        Command::Search(arguments) => Box::pin(search::run(common, arguments)),
        Command::Chat(arguments) => Box::pin(chat::run(common, arguments)),
        Command::Webhook(command) => Box::pin(webhook::run(common, command)),
        Command::Queue(command) => Box::pin(queue::run(common, command)),
        Command::Pipeline(command) => Box::pin(pipeline::run(common, command)),
        Command::Models(command) => Box::pin(models::run(common, command)),
        Command::Eval(command) => Box::pin(eval::run(common, command)),
        Command::Doctor(arguments) => Box::pin(doctor::run(common, arguments)),
        Command::Config(_) => return Ok(ExitCode::SUCCESS),
    };
    runtime.block_on(done)
}

impl Common {
    /// The settings, with flags of the command over them. Logs go at `quiet` unless something says otherwise.
    fn settings(&self, flags: &[(&str, String)], quiet: Option<&str>) -> anyhow::Result<Arc<Settings>> {
        let default = PathBuf::from("turnpike.toml");
        let file = self.config.clone().or_else(|| default.exists().then_some(default));
        let mut all: Vec<(String, String)> =
            flags.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect();
        if let Some(dir) = &self.data_dir {
            all.push(("storage.data_dir".to_owned(), dir.display().to_string()));
        }
        if let Some(level) = &self.log_level {
            all.push(("telemetry.log_level".to_owned(), level.clone()));
        }
        let env: std::collections::BTreeMap<String, String> = std::env::vars().collect();
        let is_level_set = self.log_level.is_some() || env.contains_key("LOG_LEVEL");
        let settings = crate::config::load(&Sources { file, env, flags: all }).map_err(|problems| {
            let list = problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
            anyhow::anyhow!("the settings are wrong:{list}")
        })?;
        let mut telemetry = settings.telemetry.clone();
        if let (Some(quiet), false) = (quiet, is_level_set) {
            quiet.clone_into(&mut telemetry.log_level);
        }
        crate::runtime::telemetry::log(&telemetry);
        Ok(Arc::new(settings))
    }
}

/// The company that the command line names, and the right to its data.
async fn company(directory: &dyn Directory, id: &CompanyId) -> anyhow::Result<(Company, CompanyScope)> {
    let company = directory.company(id).await?;
    let company =
        company.with_context(|| format!("there is no company {id}; `turnpike company list` shows those there are"))?;
    let scope = CompanyScope::granted(company.id.clone());
    Ok((company, scope))
}

/// Random bytes of the operating system.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

fn print_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}
