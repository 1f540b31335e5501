//! `turnpike queue`: the ledger, the dead letters, and another try for them.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use uuid::Uuid;

use super::Common;
use crate::ports::bus::Queue;
use crate::roles::stores::Stores;
use crate::roles::{accounts, parts};
use crate::spool::Spool;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print every queue's account; exits with 1 when one does not balance
    Ledger {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List what was given up, oldest first
    Dead {
        /// Only of this queue: persist, deliver or analytics
        #[arg(long)]
        queue: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try what was given up again
    Redrive {
        /// Only of this queue: persist, deliver or analytics
        #[arg(long)]
        queue: Option<String>,
        /// Only this message
        #[arg(long)]
        id: Option<Uuid>,
    },
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let stores = Stores::open(&settings)?;
    let bus = parts::bus(&settings, &stores)?;
    match command {
        Command::Ledger { json } => {
            // The spool first: what moves on while this is read is then counted twice rather than not at all.
            let spool = Spool::inspect(&parts::data_dir(&settings)?.spool()).context("reading the spool")?;
            let accounts = accounts::accounts(&stores, bus.as_ref()).await?;
            let balances = spool.lost == 0 && accounts.iter().all(crate::ports::bus::Account::balances);
            if json {
                let queues: Vec<_> = accounts
                    .iter()
                    .map(|account| {
                        serde_json::json!({
                            "queue": account.queue, "accepted": account.accepted, "done": account.done,
                            "dead": account.dead, "pending": account.pending, "erased": account.erased,
                            "oldest_ms": account.oldest_ms, "balances": account.balances(),
                        })
                    })
                    .collect();
                let ledger = serde_json::json!({
                    "spool": {
                        "accepted": spool.accepted, "forwarded": spool.forwarded,
                        "pending": spool.accepted - spool.forwarded, "pending_bytes": spool.pending_bytes,
                        "unfinished_turns": spool.unfinished_turns, "lost": spool.lost,
                    },
                    "queues": queues, "balances": balances,
                });
                say!("{}", serde_json::to_string_pretty(&ledger)?);
            } else {
                say!("{:<20}{:>10}{:>10}{:>8}{:>10}{:>8}  ", "queue", "accepted", "done", "dead", "pending", "erased");
                let waiting = spool.accepted - spool.forwarded;
                // With RabbitMQ the spools are the gateways', and this one is at most one of them.
                let name = if stores.shared.is_some() { "spool of this host" } else { "spool" };
                say!("{name:<20}{:>10}{:>10}{:>8}{:>10}{:>8}", spool.accepted, spool.forwarded, 0, waiting, 0);
                for account in &accounts {
                    say!(
                        "{:<20}{:>10}{:>10}{:>8}{:>10}{:>8}  {}",
                        account.queue,
                        account.accepted,
                        account.done,
                        account.dead,
                        account.pending,
                        account.erased,
                        if account.balances() { "balances" } else { "DOES NOT BALANCE" },
                    );
                }
                if spool.lost > 0 {
                    say!(
                        "{} events are lost: the disk damaged the spool; *.damaged in it holds what was there",
                        spool.lost
                    );
                }
                if spool.unfinished_turns > 0 {
                    say!("{} turns are under way, or were when the process died", spool.unfinished_turns);
                }
            }
            Ok(if balances { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Dead { queue, limit, json } => {
            let letters = bus.dead_letters(named(queue.as_deref())?, limit).await?;
            for letter in &letters {
                if json {
                    let line = serde_json::json!({
                        "id": letter.message.id, "queue": letter.queue, "routing_key": letter.message.routing_key,
                        "attempts": letter.message.attempts, "reason": letter.reason,
                        "died_at": letter.died_at.format(&time::format_description::well_known::Rfc3339)?,
                    });
                    say!("{line}");
                } else {
                    say!(
                        "{}  {}  {}  after {} tries: {}",
                        letter.message.id,
                        letter.queue,
                        letter.message.routing_key,
                        letter.message.attempts,
                        letter.reason,
                    );
                }
            }
            if letters.is_empty() && !json {
                say!("nothing was given up");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Redrive { queue, id } => {
            let count = bus.redrive(named(queue.as_deref())?, id).await?;
            say!("{count} messages are tried again");
            // Whoever names one message wants it to be there.
            Ok(if count == 0 && id.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

fn named(queue: Option<&str>) -> anyhow::Result<Option<Queue>> {
    queue
        .map(|name| {
            Queue::from_name(name)
                .with_context(|| format!("there is no queue {name:?}; write persist, deliver or analytics"))
        })
        .transpose()
}
