//! `turnpike demo`: a sample company with its knowledge, on loopback.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use time::OffsetDateTime;

use super::Common;
use super::progress::Progress;
use super::serve::{listen, serve};
use crate::config::Settings;
use crate::domain::{Company, CompanyId, CompanyScope, DocumentId, Language};
use crate::knowledge::ingest::{Attributes, Format, Outcome, Progress as _};
use crate::roles::parts::{Parts, Purpose};
use crate::roles::service::Roles;

/// The company and its documents.
static DEMO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/demo");
/// Where the demo keeps its data unless told otherwise.
const DATA_DIR: &str = ".data/demo";
/// Where `make models` puts the embedding model.
const MODELS_DIR: &str = ".data/models";

#[derive(Args)]
pub(super) struct Arguments {
    /// Port to listen on
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

#[derive(Deserialize)]
struct Sample {
    id: CompanyId,
    name: String,
    industry: String,
    languages: Vec<Language>,
    description: String,
    questions: Vec<String>,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let common =
        Common { data_dir: Some(common.data_dir.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR))), ..common };
    let mut flags = vec![
        ("server.host", "127.0.0.1".to_owned()),
        ("server.port", arguments.port.to_string()),
        ("auth.mode", "open".to_owned()),
        // The demo needs no server, whatever the environment has for a real service.
        ("bus.backend", "embedded".to_owned()),
        ("store.backend", "embedded".to_owned()),
        ("index.backend", "embedded".to_owned()),
        ("webhooks.allow_private", "true".to_owned()),
    ];
    let has_own_models = common.data_dir.as_ref().is_some_and(|dir| dir.join("models").exists());
    if !has_own_models && Path::new(MODELS_DIR).exists() && std::env::var_os("TURNPIKE__EMBEDDER__MODELS_DIR").is_none()
    {
        flags.push(("embedder.models_dir", MODELS_DIR.to_owned()));
    }
    let settings = common.settings(&flags, Some("warn"))?;
    let listener = listen(&settings).await?;
    let parts = Parts::open(&settings, "demo", Purpose::Turns).await?;
    let sample: Sample = {
        let file = DEMO.get_file("company.toml").and_then(|file| file.contents_utf8());
        toml::from_str(file.context("the sample company is not part of this build")?)?
    };
    let company = Company {
        name: sample.name,
        industry: Some(sample.industry),
        languages: sample.languages,
        description: Some(sample.description),
        ..Company::new(sample.id, OffsetDateTime::now_utc())
    };
    parts.stores.directory.put_company(&company).await?;
    bring_knowledge(&settings, &parts, &company).await?;
    let questions = HashMap::from([(company.id.clone(), sample.questions)]);
    let has_model = parts.embedder.is_some();
    serve(settings, listener, parts.into(), &Roles::all(), questions.clone(), |address, settings| {
        greet(address, settings, &company, &questions, has_model);
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the sample's documents into the index; what is there from the last time is passed over.
async fn bring_knowledge(settings: &Settings, parts: &Parts, company: &Company) -> anyhow::Result<()> {
    let scope = CompanyScope::granted(company.id.clone());
    let ingester = parts.ingester(settings, company)?;
    let knowledge = DEMO.get_dir("knowledge").context("the sample's knowledge is not part of this build")?;
    let mut files = Vec::new();
    collect(knowledge, &mut files);
    let progress = Progress::new("reading the sample's documents");
    progress.started(files.len());
    let mut changed = 0;
    for file in files {
        let path = file.path().strip_prefix("knowledge").unwrap_or(file.path());
        let id: DocumentId = path.with_extension("").display().to_string().parse()?;
        let attributes = Attributes { industry: company.industry.clone(), ..Attributes::default() };
        let format = Format::File(path.to_owned());
        let put = ingester.put(&scope, id, format, file.contents().to_vec(), attributes).await;
        let (outcome, _) = match put {
            // The model has come or gone since the last time.
            Err(crate::knowledge::ingest::Error::Index(crate::ports::index::Error::EncoderMismatch { .. })) => {
                ingester.reindex(&scope, &progress).await?;
                let attributes = Attributes { industry: company.industry.clone(), ..Attributes::default() };
                let id: DocumentId = path.with_extension("").display().to_string().parse()?;
                ingester.put(&scope, id, Format::File(path.to_owned()), file.contents().to_vec(), attributes).await?
            }
            other => other.with_context(|| format!("{}", path.display()))?,
        };
        changed += usize::from(outcome != Outcome::Unchanged);
        progress.advanced(1);
    }
    progress.finish();
    if changed > 0 {
        say!("{changed} documents were put into the knowledge of {}", company.name);
    }
    Ok(())
}

fn collect<'a>(dir: &'a Dir<'a>, files: &mut Vec<&'a include_dir::File<'a>>) {
    files.extend(dir.files());
    for below in dir.dirs() {
        collect(below, files);
    }
}

fn greet(
    address: &str,
    settings: &Settings,
    company: &Company,
    questions: &HashMap<CompanyId, Vec<String>>,
    has_model: bool,
) {
    say!("\nTurnpike is ready: {} answers at\n\n    {address}/\n", company.name);
    say!("Three questions to try there, or with `curl`:\n");
    let questions: Vec<&String> = questions.get(&company.id).into_iter().flatten().collect();
    for question in &questions {
        say!("    {question}");
    }
    if let Some(question) = questions.first() {
        let body = serde_json::json!({"message": question, "company_id": company.id});
        say!("\n    curl -N {address}/api/unified/chat-stream -H 'content-type: application/json' -d '{body}'");
    }
    say!("\nConsole: {address}/console   Health: {address}/readyz   Metrics: {address}/metrics");
    say!("Data: {}", settings.data_dir.display());
    if !has_model {
        say!("Without an embedding model keywords decide alone; `make models` brings one.");
    }
    if settings.providers.is_empty() {
        say!(
            "Without a language model the best passages are quoted; set OPENAI_API_KEY, GEMINI_API_KEY, DEEPSEEK_API_KEY or QWEN_BASE_URL for one."
        );
    }
    say!("Ctrl-C stops.\n");
}
