//! `turnpike company key`.

use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Subcommand;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::cli;
use crate::config::Settings;
use crate::domain::key::Wanted;
use crate::domain::{ApiKey, CompanyId, CompanyScope, KeyScope};
use crate::ports::directory::Directory;
use crate::roles::stores::Stores;

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a key and print its secret, once
    Add {
        /// The company
        company: CompanyId,
        /// What it opens: admin (all of the company), backend (turns, conversations, search, numbers) or publishable
        /// (turns, from pages of its origins)
        #[arg(long, default_value = "backend")]
        scope: KeyScope,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// An origin whose pages may use it, such as `https://shop.example`; a publishable key needs at least one
        #[arg(long = "origin", value_name = "ORIGIN")]
        origins: Vec<String>,
        /// Requests per minute, instead of what is usual for its scope
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
        /// When it stops to work: a time such as 2026-12-31T00:00:00Z, or a number of days such as 90d
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        expires: Option<OffsetDateTime>,
    },
    /// List a company's keys
    List {
        /// The company
        company: CompanyId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key; it stops to work within seconds
    Revoke {
        /// The company
        company: CompanyId,
        /// How the key begins, as `list` shows it
        prefix: String,
    },
    /// Make a key in place of another one, which works on for a while, and print its secret, once
    Rotate {
        /// The company
        company: CompanyId,
        /// How the old key begins, as `list` shows it
        prefix: String,
        /// How long the old key works on, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3600)]
        grace: u32,
    },
}

pub(super) async fn run(settings: &Settings, command: Command) -> anyhow::Result<()> {
    let directory = Stores::open(settings)?.directory;
    let now = OffsetDateTime::now_utc();
    match command {
        Command::Add { company, scope, name, origins, requests_per_minute, expires } => {
            let (_, company) = cli::company(directory.as_ref(), &company).await?;
            let wanted = Wanted { scope, name, origins, requests_per_minute, expires_at: expires };
            let (key, secret) = make(&directory, &company, wanted, now).await?;
            say!("made key {}, scope {}", key.prefix, key.scope);
            say!("the key, shown only now: {secret}");
        }
        Command::List { company, json } => {
            let (_, company) = cli::company(directory.as_ref(), &company).await?;
            for key in directory.keys(&company).await? {
                print(&key, json, now)?;
            }
        }
        Command::Revoke { company, prefix } => {
            let (_, company) = cli::company(directory.as_ref(), &company).await?;
            let key = find(&directory, &company, &prefix).await?;
            directory.remove_key(&company, &key.hash).await?;
            say!("removed key {prefix}");
        }
        Command::Rotate { company, prefix, grace } => {
            let (_, company) = cli::company(directory.as_ref(), &company).await?;
            let old = find(&directory, &company, &prefix).await?;
            let (key, secret) = make(&directory, &company, old.again(now), now).await?;
            let outgoing = old.outgoing(Duration::seconds(i64::from(grace)), now);
            ensure!(directory.put_key(&company, &outgoing).await?, "key {prefix} was removed meanwhile");
            let end = outgoing.expires_at.map(|end| end.format(&Rfc3339)).transpose()?.unwrap_or_default();
            say!("made key {} in place of {prefix}, which works until {end}", key.prefix);
            say!("the key, shown only now: {secret}");
        }
    }
    Ok(())
}

async fn make(
    directory: &Arc<dyn Directory>,
    company: &CompanyScope,
    wanted: Wanted,
    now: OffsetDateTime,
) -> anyhow::Result<(ApiKey, String)> {
    let known = directory.keys(company).await?;
    let wanted = wanted.check(&known, now)?;
    let made = loop {
        let (key, secret) = ApiKey::make(company.company().clone(), wanted.clone(), cli::random()?, now);
        if !key.is_named_like(&known) {
            break (key, secret);
        }
    };
    directory.add_key(&made.0).await?;
    Ok(made)
}

async fn find(directory: &Arc<dyn Directory>, company: &CompanyScope, prefix: &str) -> anyhow::Result<ApiKey> {
    let mut keys = directory.keys(company).await?.into_iter();
    keys.find(|key| key.prefix == prefix).with_context(|| {
        let id = company.company();
        format!("company {id} has no key {prefix}; `turnpike company key list {id}` shows those it has")
    })
}

fn print(key: &ApiKey, json: bool, now: OffsetDateTime) -> anyhow::Result<()> {
    let time = |time: Option<OffsetDateTime>| time.map(|time| time.format(&Rfc3339)).transpose();
    let (expires_at, last_used_at) = (time(key.expires_at)?, time(key.last_used_at)?);
    if json {
        let line = serde_json::json!({
            "prefix": key.prefix, "scope": key.scope, "name": key.name, "origins": key.origins,
            "requests_per_minute": key.requests_per_minute, "created_at": time(Some(key.created_at))?,
            "expires_at": expires_at, "last_used_at": last_used_at,
        });
        say!("{line}");
        return Ok(());
    }
    let state = match expires_at {
        None => "for good".to_owned(),
        Some(end) if key.is_valid_at(now) => format!("until {end}"),
        Some(end) => format!("over since {end}"),
    };
    let used = last_used_at.map_or_else(|| "never used".to_owned(), |last| format!("last used {last}"));
    let name = key.name.as_deref().unwrap_or("-");
    say!("{}\t{}\t{name}\t{state}\t{used}\t{}", key.prefix, key.scope, key.origins.join(" "));
    Ok(())
}

/// A moment, or so many days from now.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let wrong = || format!("{text:?} is neither a time such as 2026-12-31T00:00:00Z nor a number of days such as 90d");
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => OffsetDateTime::now_utc().checked_add(Duration::days(i64::from(days))).ok_or_else(wrong),
        _ => OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong()),
    }
}
