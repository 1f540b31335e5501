//! `turnpike webhook`.

mod deliveries;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Common;
use crate::config::Settings;
use crate::domain::event::EventType;
use crate::domain::webhook::{self, Disabled, Endpoint, Order, Payload, ROTATION, Retries, Secret};
use crate::domain::{CompanyId, CompanyScope, EndpointId};
use crate::ports::directory::Directory;
use crate::ports::webhook::{Error, Trial};
use crate::roles::stores::Stores;
use crate::roles::trial::WebhookTrial;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an endpoint and print its secret, once
    Add {
        /// Whose events
        #[arg(long)]
        company: CompanyId,
        /// Where webhooks are posted
        #[arg(long)]
        url: String,
        /// A secret of your own: whsec_ and the base64 of 24 to 64 bytes, or whsk_ and that of an ed25519 key
        #[arg(long)]
        secret: Option<Secret>,
        /// Make an ed25519 key instead of a shared secret; what is printed is its public half
        #[arg(long, conflicts_with = "secret")]
        asymmetric: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Change an endpoint: what is given replaces what was, and the rest stays
    Change {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
        /// Where webhooks are posted
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Replace an endpoint's secret and print the new one, once; for 24 hours the old one signs too
    Rotate {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
        /// A secret of your own
        #[arg(long)]
        secret: Option<Secret>,
    },
    /// Send nothing to an endpoint until it is enabled
    Disable {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
    },
    /// Send to an endpoint again
    Enable {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
    },
    /// Remove an endpoint; what is on its way to it is given up
    Remove {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
    },
    /// List a company's endpoints
    List {
        /// Whose endpoints
        #[arg(long)]
        company: CompanyId,
    },
    /// Send a test webhook now, and show what came back
    Test {
        /// Whose endpoint
        #[arg(long)]
        company: CompanyId,
        /// Which endpoint
        endpoint: EndpointId,
    },
    #[command(flatten)]
    Deliveries(deliveries::Command),
}

/// What can be said of an endpoint besides its address and secret.
#[derive(Args)]
pub(super) struct Form {
    /// What it wants to hear of: conversation.updated (unless more is said), conversation.created, message.created,
    /// conversation.ended, turn.feedback, knowledge.updated, endpoint.disabled
    #[arg(long = "event", value_delimiter = ',')]
    events: Vec<String>,
    /// What people call it
    #[arg(long)]
    description: Option<String>,
    /// Only conversations of these channels, such as web
    #[arg(long = "channel", value_delimiter = ',')]
    channels: Vec<String>,
    /// Only turns of these intents, such as sales_inquiry
    #[arg(long = "intent", value_delimiter = ',')]
    intents: Vec<String>,
    /// A header of its own, as "name: value"; may be repeated
    #[arg(long = "header")]
    headers: Vec<String>,
    /// full, or thin: ids and numbers, and no word of what was said
    #[arg(long)]
    payload: Option<Payload>,
    /// Deliveries per second at most, 1 to 1000; 0 takes the limit away
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,
    /// parallel, or ordered: within a conversation one after the other
    #[arg(long)]
    order: Option<Order>,
    /// Time before the first retry, in seconds
    #[arg(long, value_name = "SECONDS")]
    initial_delay: Option<u32>,
    /// Longest time between two tries, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_delay: Option<u32>,
    /// When to give up, in seconds
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u32>,
}

impl Form {
    /// What was given, with an address if one was.
    fn asked(self, url: Option<String>, known: Retries) -> anyhow::Result<webhook::Form> {
        // An empty name takes a filter away again.
        let names = |given: Vec<String>| {
            (!given.is_empty()).then(|| given.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>())
        };
        let pairs = self.headers.iter().filter(|header| !header.is_empty()).map(|header| {
            let (name, value) = header.split_once(':').context("a header is written as \"name: value\"")?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let headers = pairs.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        let retries = Retries {
            initial_delay_s: self.initial_delay.or(known.initial_delay_s),
            max_delay_s: self.max_delay.or(known.max_delay_s),
            give_up_after_s: self.give_up_after.or(known.give_up_after_s),
        };
        Ok(webhook::Form {
            url,
            event_types: names(self.events),
            channels: names(self.channels),
            intents: names(self.intents),
            description: self.description,
            headers: (!self.headers.is_empty()).then_some(headers),
            payload: self.payload,
            retries: Some(retries),
            rate_limit: self.rate_limit.map(|limit| Some(limit).filter(|&limit| limit > 0)),
            order: self.order,
        })
    }
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let stores = Stores::open(&settings)?;
    let directory = stores.directory.as_ref();
    match command {
        Command::Add { company, url, secret, asymmetric, form } => {
            let (company, scope) = super::company(directory, &company).await?;
            let most = settings.webhooks.endpoints_per_company;
            let count = directory.endpoints(&scope).await?.len();
            ensure!(count < most, "the company has {count} endpoints already (`webhooks.endpoints_per_company`)");
            let url = checked(&settings, url).await?;
            let secret = match secret {
                Some(secret) => secret,
                None if asymmetric => Secret::key_pair(super::random()?),
                None => Secret::shared(super::random()?),
            };
            let (id, now) = (EndpointId::generate(), OffsetDateTime::now_utc());
            let mut endpoint = Endpoint::new(id, company.id, url, secret, vec![EventType::ConversationUpdated], now);
            form.asked(None, endpoint.retries)?.fill(&mut endpoint)?;
            directory.add_endpoint(&scope, &endpoint).await?;
            say!("added endpoint {}", endpoint.id);
            show(&endpoint.secret)?;
        }
        Command::Change { company, endpoint, url, form } => {
            let (scope, known) = known(directory, &company, &endpoint).await?;
            let mut endpoint = known.clone();
            let url = match url {
                Some(url) => Some(checked(&settings, url).await?),
                None => None,
            };
            form.asked(url, endpoint.retries)?.fill(&mut endpoint)?;
            put(directory, &scope, &known, &endpoint).await?;
            say!("changed endpoint {}", endpoint.id);
        }
        Command::Rotate { company, endpoint, secret } => {
            let (scope, known) = known(directory, &company, &endpoint).await?;
            let mut endpoint = known.clone();
            let secret = match secret {
                Some(secret) => secret,
                None if endpoint.secret.is_shared() => Secret::shared(super::random()?),
                None => Secret::key_pair(super::random()?),
            };
            endpoint.rotate(secret, OffsetDateTime::now_utc());
            put(directory, &scope, &known, &endpoint).await?;
            say!(
                "endpoint {} has a new secret; the old one signs too for {} hours",
                endpoint.id,
                ROTATION.whole_hours()
            );
            show(&endpoint.secret)?;
        }
        Command::Disable { company, endpoint } => {
            let (scope, endpoint) = known(directory, &company, &endpoint).await?;
            directory.disable_endpoint(&scope, &endpoint.id, &Disabled::now("by hand")).await?;
            say!("nothing is sent to endpoint {} any more", endpoint.id);
        }
        Command::Enable { company, endpoint } => {
            let (scope, known) = known(directory, &company, &endpoint).await?;
            let endpoint = Endpoint { disabled: None, ..known.clone() };
            put(directory, &scope, &known, &endpoint).await?;
            say!("endpoint {} is sent to again", endpoint.id);
        }
        Command::Remove { company, endpoint } => {
            let (scope, endpoint) = known(directory, &company, &endpoint).await?;
            directory.remove_endpoint(&scope, &endpoint.id).await?;
            say!("removed endpoint {}", endpoint.id);
        }
        Command::List { company } => {
            let (_, scope) = super::company(directory, &company).await?;
            for endpoint in directory.endpoints(&scope).await? {
                say!("{}", line(&endpoint)?);
            }
        }
        Command::Test { company, endpoint } => {
            let (_, endpoint) = known(directory, &company, &endpoint).await?;
            return test(&settings, &endpoint).await;
        }
        Command::Deliveries(command) => return deliveries::run(&settings, &stores, command).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// An address as it is asked for. A name that nobody knows yet may be known later, when something is sent.
async fn checked(settings: &Settings, url: String) -> anyhow::Result<String> {
    match WebhookTrial::new(settings)?.check(&url).await {
        Ok(url) => Ok(url),
        Err(error @ (Error::Dns(_) | Error::Timeout(_))) => {
            eprintln!("warning: {url}: {error}");
            Ok(url)
        }
        Err(error) => Err(error).with_context(|| format!("the address {url}")),
    }
}

/// An endpoint of a company.
async fn known(
    directory: &dyn Directory,
    company: &CompanyId,
    endpoint: &EndpointId,
) -> anyhow::Result<(CompanyScope, Endpoint)> {
    let (_, scope) = super::company(directory, company).await?;
    let found = directory.endpoint(&scope, endpoint).await?;
    let found = found
        .with_context(|| format!("there is no endpoint {endpoint}; `turnpike webhook list` shows those there are"))?;
    Ok((scope, found))
}

/// Writes a changed endpoint.
async fn put(
    directory: &dyn Directory,
    scope: &CompanyScope,
    known: &Endpoint,
    changed: &Endpoint,
) -> anyhow::Result<()> {
    let is_written = directory.change_endpoint(scope, known, changed).await?;
    ensure!(is_written, "endpoint {} was changed by somebody else meanwhile; try again", known.id);
    Ok(())
}

/// An endpoint on a line: id, address, events, state, how it is sent to, and what people call it.
fn line(endpoint: &Endpoint) -> anyhow::Result<String> {
    let events: Vec<&str> = endpoint.event_types.iter().map(|event| event.as_str()).collect();
    let state = match &endpoint.disabled {
        None => "on".to_owned(),
        Some(Disabled { reason, at: None, .. }) => format!("off: {reason}"),
        Some(Disabled { reason, at: Some(at), .. }) => format!("off: {reason}, since {}", at.format(&Rfc3339)?),
    };
    let pace = endpoint.rate_limit.map(|limit| format!(", {} per second", limit.per_second())).unwrap_or_default();
    let pace = format!("{}{pace}", endpoint.order.as_str());
    let description = endpoint.description.as_deref().unwrap_or_default();
    Ok(format!("{}\t{}\t{}\t{state}\t{pace}\t{description}", endpoint.id, endpoint.url, events.join(",")))
}

/// Shows what a receiver needs to verify.
fn show(secret: &Secret) -> anyhow::Result<()> {
    let what = if secret.is_shared() { "its secret, shown only now" } else { "its public key" };
    say!("{what}: {}", secret.verifier()?);
    Ok(())
}

/// Sends one webhook as the deliver job would, without a queue, and shows what came back.
async fn test(settings: &Settings, endpoint: &Endpoint) -> anyhow::Result<ExitCode> {
    let posted = WebhookTrial::new(settings)?.test(endpoint).await?;
    let ms = posted.timing.total.as_millis();
    match posted.result {
        Ok(answer) => {
            say!("{} answered {} after {ms} ms", endpoint.url, answer.status);
            let body = String::from_utf8_lossy(&answer.body_start);
            if !body.trim().is_empty() {
                say!("{}", body.chars().take(500).collect::<String>());
            }
            Ok(if (200..300).contains(&answer.status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            say!("{} did not answer after {ms} ms: {error}", endpoint.url);
            Ok(ExitCode::FAILURE)
        }
    }
}
