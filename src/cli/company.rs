//! `turnpike company`.

mod key;

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use time::OffsetDateTime;

use super::Common;
use crate::config::pipelines::ROOT;
use crate::domain::{ApiKey, Company, CompanyId, KeyScope, Language};
use crate::roles::erase;
use crate::roles::parts::{self, Parts, Purpose};
use crate::roles::stores::Stores;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a company and print its API key, once; for one that exists, change what is given and print a further key
    Add {
        /// Its id: letters, digits, `_` and `-`
        id: CompanyId,
        /// What its customers call it
        #[arg(long)]
        name: Option<String>,
        /// Its industry, which chooses the pipeline
        #[arg(long)]
        industry: Option<String>,
        /// The languages its customers write in, such as vi,en
        #[arg(long, value_delimiter = ',')]
        language: Vec<Language>,
        /// A pipeline by name, instead of its industry's
        #[arg(long)]
        pipeline: Option<String>,
        /// A sentence about it for the prompts
        #[arg(long)]
        description: Option<String>,
        /// Remove its turns after so many days; 0 keeps them
        #[arg(long, value_name = "DAYS")]
        retention_days: Option<u32>,
    },
    /// List companies
    List,
    /// Show one company
    Show {
        /// Its id
        id: CompanyId,
    },
    /// Make, list, replace and remove keys
    #[command(subcommand)]
    Key(key::Command),
    /// Remove a company with everything that is kept of it, and print a receipt
    Remove {
        /// Its id
        id: CompanyId,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    match command {
        Command::Add { id, name, industry, language, pipeline, description, retention_days } => {
            let catalog = parts::catalog(&settings)?;
            if let Some(pipeline) = &pipeline
                && catalog.get(pipeline).is_none()
            {
                let known: Vec<&str> = catalog.iter().map(|pipeline| pipeline.definition.name.as_str()).collect();
                bail!("there is no pipeline {pipeline:?}; there are {}", known.join(", "));
            }
            anyhow::ensure!(name.as_ref().is_none_or(|name| !name.trim().is_empty()), "the name is empty");
            if let Some(industry) = &industry
                && catalog.for_industry(industry).definition.name == ROOT
            {
                eprintln!("note: no pipeline serves the industry {industry:?}; the default one is used");
            }
            let directory = Stores::open(&settings)?.directory;
            let now = OffsetDateTime::now_utc();
            let known = directory.company(&id).await?;
            let known = known.unwrap_or_else(|| Company::new(id.clone(), now));
            let company = Company {
                name: name.unwrap_or(known.name),
                industry: industry.or(known.industry),
                languages: if language.is_empty() { known.languages } else { language },
                pipeline: pipeline.or(known.pipeline),
                description: description.or(known.description),
                retention_days: retention_days.or(known.retention_days).filter(|&days| days > 0),
                ..known
            };
            let is_new = directory.put_company(&company).await?;
            let (key, secret) = ApiKey::issue(id.clone(), KeyScope::Admin, super::random()?, now);
            directory.add_key(&key).await?;
            say!("{} company {id}", if is_new { "added" } else { "changed" });
            say!("its API key, shown only now: {secret}");
        }
        Command::List => {
            for company in Stores::open(&settings)?.directory.companies().await? {
                let industry = company.industry.as_deref().unwrap_or("-");
                let languages: Vec<&str> = company.languages.iter().map(|language| language.code()).collect();
                say!("{}\t{}\t{industry}\t{}", company.id, company.name, languages.join(","));
            }
        }
        Command::Show { id } => {
            let stores = Stores::open(&settings)?;
            let (company, scope) = super::company(stores.directory.as_ref(), &id).await?;
            let documents = stores.documents.documents(&scope).await?;
            let endpoints = stores.directory.endpoints(&scope).await?;
            let catalog = parts::catalog(&settings)?;
            say!("{}", serde_json::to_string_pretty(&company)?);
            say!("pipeline   {}", catalog.for_company(&company, None).definition.name);
            say!("documents  {}", documents.len());
            say!("passages   {}", documents.iter().map(|document| document.passages).sum::<usize>());
            say!("endpoints  {}", endpoints.len());
        }
        Command::Key(command) => key::run(&settings, command).await?,
        Command::Remove { id, yes } => remove(&common, id, yes).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(common: &Common, id: CompanyId, yes: bool) -> anyhow::Result<()> {
    let settings = common.settings(&[], Some("warn"))?;
    if !yes {
        bail!("this removes everything that is kept of {id}, for good; say so with --yes");
    }
    // With a bus of its own this process settles the spool first; else the spools are those of running gateways.
    let purpose = if settings.bus.is_shared() { Purpose::Knowledge } else { Purpose::Turns };
    let parts = Parts::open(&settings, "company remove", purpose).await?;
    let (_, scope) = super::company(parts.stores.directory.as_ref(), &id).await?;
    let receipt = erase::company(&settings, &parts, &scope).await?;
    say!("{}", serde_json::to_string_pretty(&receipt)?);
    Ok(())
}
