//! `turnpike webhook`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use clap::Subcommand;
use time::OffsetDateTime;

use super::Common;
use crate::adapters::webhook::{self, HttpSender};
use crate::config::Settings;
use crate::domain::event::EventType;
use crate::domain::webhook::Endpoint;
use crate::domain::{CompanyId, EndpointId};
use crate::jobs::deliver;
use crate::ports::webhook::Sender;
use crate::roles::stores::Stores;

/// Bytes of a secret that we make; Standard Webhooks asks for 24 to 64.
const SECRET_BYTES: usize = 24;

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
        /// What it wants to hear of: conversation.updated, conversation.created, message.created
        #[arg(long = "event", value_delimiter = ',', default_value = "conversation.updated")]
        events: Vec<String>,
        /// A secret of your own: whsec_ and the base64 of 24 to 64 bytes
        #[arg(long)]
        secret: Option<String>,
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
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let directory = Stores::open(&settings)?.directory;
    match command {
        Command::Add { company, url, events, secret } => {
            let (company, scope) = super::company(directory.as_ref(), &company).await?;
            webhook::check_url(&url, settings.webhooks.allow_private).with_context(|| format!("the address {url}"))?;
            let secret = match secret {
                Some(secret) => checked_secret(secret)?,
                None => format!(
                    "whsec_{}",
                    base64::engine::general_purpose::STANDARD.encode(super::random::<SECRET_BYTES>()?)
                ),
            };
            let event_types = events.iter().map(|name| subscribable(name)).collect::<anyhow::Result<Vec<_>>>()?;
            let endpoint = Endpoint {
                id: EndpointId::generate(),
                company_id: company.id,
                url,
                secret: secret.clone(),
                event_types,
                disabled: None,
                created_at: OffsetDateTime::now_utc(),
            };
            directory.add_endpoint(&scope, &endpoint).await?;
            say!("added endpoint {}", endpoint.id);
            say!("its secret, shown only now: {secret}");
        }
        Command::List { company } => {
            let (_, scope) = super::company(directory.as_ref(), &company).await?;
            for endpoint in directory.endpoints(&scope).await? {
                let events: Vec<&str> = endpoint.event_types.iter().map(|event| event.as_str()).collect();
                let state = endpoint.disabled.map_or_else(|| "on".to_owned(), |reason| format!("off: {reason}"));
                say!("{}\t{}\t{}\t{state}", endpoint.id, endpoint.url, events.join(","));
            }
        }
        Command::Test { company, endpoint } => {
            let (_, scope) = super::company(directory.as_ref(), &company).await?;
            let endpoint = directory.endpoint(&scope, &endpoint).await?.with_context(|| {
                format!("there is no endpoint {endpoint}; `turnpike webhook list` shows those there are")
            })?;
            return test(&settings, &endpoint).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn subscribable(name: &str) -> anyhow::Result<EventType> {
    const ALL: [EventType; 3] =
        [EventType::ConversationUpdated, EventType::ConversationCreated, EventType::MessageCreated];
    ALL.into_iter().find(|event| event.as_str() == name).with_context(|| {
        let known: Vec<&str> = ALL.iter().map(|event| event.as_str()).collect();
        format!("{name:?} is not an event to subscribe to; there are {}", known.join(", "))
    })
}

fn checked_secret(secret: String) -> anyhow::Result<String> {
    let encoded = secret.strip_prefix("whsec_").context("a secret begins with whsec_")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).context("a secret is whsec_ and base64")?;
    if !(24..=64).contains(&bytes.len()) {
        bail!("a secret has 24 to 64 bytes, not {}", bytes.len());
    }
    Ok(secret)
}

/// Sends one webhook as the deliver job would, without a queue, and shows what came back.
async fn test(settings: &Settings, endpoint: &Endpoint) -> anyhow::Result<ExitCode> {
    let sender = HttpSender::new(&settings.webhooks).context("setting up the client of webhooks")?;
    let request = deliver::probe(endpoint, OffsetDateTime::now_utc())?;
    let started = std::time::Instant::now();
    let answered = sender.post(request).await;
    let ms = started.elapsed().as_millis();
    match answered {
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
