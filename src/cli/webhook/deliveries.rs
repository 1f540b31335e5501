//! `turnpike webhook deliveries`, `delivery`, `replay`, `replays` and `cancel`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::config::Settings;
use crate::domain::delivery::{Delivery, Filter, Replay, ReplayState, ReplayStep, State};
use crate::domain::event::WORKER;
use crate::domain::{CompanyId, ConversationId, EndpointId, EventType};
use crate::ports::bus::Message;
use crate::ports::store::Page;
use crate::roles::parts;
use crate::roles::stores::Stores;

/// Between two looks at a replay.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// List deliveries, the newest event first
    Deliveries {
        #[command(flatten)]
        wanted: Wanted,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// As JSON, one on a line
        #[arg(long)]
        json: bool,
    },
    /// Show a delivery with what is sent and every try, as JSON
    Delivery {
        /// Whose delivery
        #[arg(long)]
        company: CompanyId,
        /// Which delivery
        id: Uuid,
    },
    /// Send deliveries again, each under its webhook-id: what died or was never sent, unless --state says otherwise
    Replay {
        #[command(flatten)]
        wanted: Wanted,
        /// This delivery alone, whatever became of it
        #[arg(long, value_name = "DELIVERY")]
        id: Option<Uuid>,
        /// Of this turn of their conversation or a later one
        #[arg(long, value_name = "N")]
        from_sequence: Option<u64>,
        /// Of this turn of their conversation or an earlier one
        #[arg(long, value_name = "N")]
        until_sequence: Option<u64>,
        /// Do not wait until the workers have put all of them on their way
        #[arg(long)]
        no_wait: bool,
    },
    /// List the last replays
    Replays {
        /// Whose replays
        #[arg(long)]
        company: CompanyId,
    },
    /// Stop a replay; what is on its way arrives all the same
    Cancel {
        /// Whose replay
        #[arg(long)]
        company: CompanyId,
        /// Which replay
        id: Uuid,
    },
}

/// Which deliveries are wanted.
#[derive(Args)]
pub(in crate::cli) struct Wanted {
    /// Whose deliveries
    #[arg(long)]
    company: CompanyId,
    /// To this endpoint
    #[arg(long)]
    endpoint: Option<EndpointId>,
    /// That stand so: pending, delivered, dead, discarded
    #[arg(long = "state", value_delimiter = ',')]
    states: Vec<State>,
    /// Of this type of event, such as conversation.updated
    #[arg(long)]
    event: Option<String>,
    /// Of this conversation
    #[arg(long)]
    conversation: Option<ConversationId>,
    /// Of events of this time or later, such as 2026-11-20T10:00:00Z
    #[arg(long, value_parser = time_of)]
    from: Option<OffsetDateTime>,
    /// Of events before this time
    #[arg(long, value_parser = time_of)]
    until: Option<OffsetDateTime>,
}

impl Wanted {
    fn filter(self) -> anyhow::Result<Filter> {
        let event_type = self.event.map(|name| {
            let known = serde_json::from_value::<EventType>(serde_json::Value::String(name.clone()));
            known.with_context(|| format!("there are no events of type {name:?}"))
        });
        Ok(Filter {
            endpoint_id: self.endpoint,
            states: self.states.into_iter().collect(),
            event_type: event_type.transpose()?,
            conversation_id: self.conversation,
            from: self.from,
            until: self.until,
            ..Filter::default()
        })
    }
}

fn time_of(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "a time is written like 2026-11-20T10:00:00Z".to_owned())
}

pub(super) async fn run(settings: &Settings, stores: &Stores, command: Command) -> anyhow::Result<ExitCode> {
    let (directory, log) = (stores.directory.as_ref(), stores.deliveries.as_ref());
    match command {
        Command::Deliveries { wanted, limit, json } => {
            let (_, scope) = crate::cli::company(directory, &wanted.company).await?;
            let filter = wanted.filter()?;
            let (mut shown, mut after) = (0, None);
            while shown < limit {
                let page = Page { limit: (limit - shown).min(200), after };
                let (deliveries, next) = log.deliveries(&scope, &filter, &page).await?;
                shown += deliveries.len();
                for delivery in &deliveries {
                    say!("{}", if json { serde_json::to_string(delivery)? } else { line(delivery)? });
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
            if shown == 0 && !json {
                say!("no deliveries");
            }
        }
        Command::Delivery { company, id } => {
            let (_, scope) = crate::cli::company(directory, &company).await?;
            let parcel = log.delivery(&scope, id).await?.with_context(|| format!("there is no delivery {id}"))?;
            let tries = log.attempts(&scope, id).await?;
            let whole = serde_json::json!({"delivery": parcel.delivery, "payload": parcel.payload, "tries": tries});
            say!("{}", serde_json::to_string_pretty(&whole)?);
        }
        Command::Replay { wanted, id, from_sequence, until_sequence, no_wait } => {
            let (company, scope) = crate::cli::company(directory, &wanted.company).await?;
            let mut filter = Filter { id, from_sequence, until_sequence, ..wanted.filter()? };
            if filter.states.is_empty() {
                let given_up = [State::Dead, State::Discarded].into();
                filter.states = if id.is_some() { State::ALL.into() } else { given_up };
            }
            let now = OffsetDateTime::now_utc();
            filter.until = Some(filter.until.unwrap_or(now));
            let replay = Replay::new(company.id, filter, now);
            let bus = parts::bus(settings, stores)?;
            log.add_replay(&scope, &replay, now + settings.webhooks.keep_deliveries).await?;
            let first = ReplayStep::first(&replay).event(WORKER, scope.company())?;
            bus.publish(&[Message::of_event(&first)?]).await.context("asking the workers to begin")?;
            say!("replay {} was handed to the workers", replay.id);
            if no_wait {
                return Ok(ExitCode::SUCCESS);
            }
            say!(
                "waiting until all are on their way; to stop it: turnpike webhook cancel --company {} {}",
                scope.company(),
                replay.id
            );
            loop {
                let now = log.replay(&scope, replay.id).await?.context("the replay is gone")?;
                if now.state != ReplayState::Running {
                    say!("{}", progress(&now)?);
                    return Ok(ExitCode::SUCCESS);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Command::Replays { company } => {
            let (_, scope) = crate::cli::company(directory, &company).await?;
            for replay in log.replays(&scope, 100).await? {
                say!("{}", progress(&replay)?);
            }
        }
        Command::Cancel { company, id } => {
            let (_, scope) = crate::cli::company(directory, &company).await?;
            let stopped = log.cancel_replay(&scope, id, OffsetDateTime::now_utc()).await?;
            anyhow::ensure!(stopped, "there is no replay {id} that goes on");
            say!("stopped replay {id}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A delivery on a line: when, what, where, how it stands, and why.
fn line(delivery: &Delivery) -> anyhow::Result<String> {
    let standing = &delivery.standing;
    let at = delivery.happened_at.replace_nanosecond(0)?.format(&Rfc3339)?;
    let what = delivery.event_type.as_str();
    let tries = match standing.attempts {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    };
    let reason = standing.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let next = match standing.next_attempt_at {
        Some(next) => format!("; next {}", next.replace_nanosecond(0)?.format(&Rfc3339)?),
        None => String::new(),
    };
    let (id, endpoint, state) = (delivery.id, &delivery.endpoint_id, standing.state.as_str());
    Ok(format!("{at}  {id}  {endpoint}  {what}  {state} after {tries}{reason}{next}"))
}

fn progress(replay: &Replay) -> anyhow::Result<String> {
    let state = match replay.state {
        ReplayState::Running => "goes on",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "stopped",
    };
    let at = replay.created_at.replace_nanosecond(0)?.format(&Rfc3339)?;
    Ok(format!(
        "{at}  {}  {state}: {} on their way again, {} left as they are",
        replay.id, replay.replayed, replay.skipped
    ))
}
