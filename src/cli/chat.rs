//! `turnpike chat`: a conversation in the terminal, by the same engine, kept and delivered like any other.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use unicode_normalization::UnicodeNormalization;

use super::Common;
use crate::domain::turn::UserInfo;
use crate::domain::{CompanyId, SessionId};
use crate::pipeline::ask::{Ask, Options};
use crate::pipeline::engine::Found;
use crate::pipeline::live::TurnEvent;
use crate::roles::service::{Open, Roles, Service};

#[derive(Args)]
pub(super) struct Arguments {
    /// Whose chatbot
    #[arg(long)]
    company: CompanyId,
    /// One question; without it, questions are read line by line
    message: Option<String>,
    /// A session to go on with
    #[arg(long)]
    session: Option<SessionId>,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("error"))?;
    let roles = Roles::of_command(&settings);
    let open = Open::new(&settings, &roles, "chat").await?;
    let (company, scope) = super::company(open.stores().directory.as_ref(), &arguments.company).await?;
    let company = Arc::new(company);
    let most = settings.limits.message_chars;
    let service = Service::start(settings, open, &roles, None).await?;
    let engine = service.engine().cloned().context("turns run in a gateway")?;
    let session = arguments.session.unwrap_or_else(SessionId::generate);
    let mut questions: Box<dyn Iterator<Item = String>> = match arguments.message {
        Some(message) => Box::new(std::iter::once(message)),
        None => Box::new(lines()),
    };
    let mut answered = true;
    for question in questions.by_ref() {
        let message = question.nfc().collect::<String>().trim().to_owned();
        if message.is_empty() {
            continue;
        }
        let chars = message.chars().count();
        anyhow::ensure!(chars <= most, "the question has {chars} characters; {most} are allowed");
        let ask = Ask {
            company: Arc::clone(&company),
            scope: scope.clone(),
            message,
            session_id: Some(session.clone()),
            previous_turn_id: None,
            language: None,
            industry: None,
            user: UserInfo { source: Some("terminal".to_owned()), ..UserInfo::default() },
            context: serde_json::Map::new(),
            options: Options::default(),
            idempotency_key: None,
            traceparent: None,
        };
        let Found::Here(mut reader) = engine.begin(ask).await? else {
            bail!("another process has this turn");
        };
        while let Some((_, events)) = reader.next().await {
            for event in &events {
                answered = show(event)?;
            }
        }
    }
    service.stop().await;
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lines of standard input, with a prompt when somebody types them.
fn lines() -> impl Iterator<Item = String> {
    let is_terminal = std::io::stdin().is_terminal();
    std::iter::from_fn(move || {
        if is_terminal {
            write!(std::io::stdout(), "> ").ok()?;
            std::io::stdout().flush().ok()?;
        }
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    })
}

/// Shows an event; says whether all is well so far.
fn show(event: &TurnEvent) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match event {
        TurnEvent::Start => {}
        TurnEvent::Language { language, confidence } => write!(out, "[{} {confidence:.2}", language.name())?,
        TurnEvent::Intent(found) => write!(out, " · {} {:.2}", found.intent, found.confidence)?,
        TurnEvent::Sources(sources) => writeln!(out, " · {} sources]", sources.len())?,
        TurnEvent::Content(text) => write!(out, "{text}")?,
        TurnEvent::Reset { .. } => writeln!(out, "\n[the provider failed; once more]")?,
        TurnEvent::Done { degraded, .. } => {
            writeln!(out)?;
            if !degraded.is_empty() {
                let parts: Vec<&str> = degraded.iter().map(|part| part.as_str()).collect();
                writeln!(out, "[degraded: {}]", parts.join(", "))?;
            }
        }
        TurnEvent::Error { message, code, .. } => {
            writeln!(out, "\n[{code}] {message}")?;
            return Ok(false);
        }
    }
    out.flush()?;
    Ok(true)
}
