//! `turnpike serve`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Common;
use crate::config::{AuthMode, Settings};
use crate::domain::CompanyId;
use crate::roles::service::{Open, Roles, Service};
use crate::roles::workers::JobKind;
use crate::roles::{embedder, migrations};
use crate::runtime::{limits, tasks, telemetry};

#[derive(Args)]
pub(super) struct Arguments {
    /// What this process does: gateway, worker. With the embedded bus one process does both
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Gateway, Role::Worker])]
    roles: Vec<Role>,
    /// What a worker does: persist, deliver, analytics
    #[arg(long, value_delimiter = ',', default_values_t = JobKind::ALL)]
    jobs: Vec<JobKind>,
    /// Address to listen on
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 takes any free one
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Runs turns
    Gateway,
    /// Does the jobs
    Worker,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut flags = Vec::new();
    flags.extend(arguments.host.map(|host| ("server.host", host)));
    flags.extend(arguments.port.map(|port| ("server.port", port.to_string())));
    let settings = common.settings(&flags, None)?;
    let is_worker = arguments.roles.contains(&Role::Worker);
    let roles = Roles {
        is_gateway: arguments.roles.contains(&Role::Gateway),
        jobs: if is_worker { arguments.jobs } else { Vec::new() },
    };
    if !settings.bus.is_shared() && roles != Roles::all() {
        bail!(
            "with the embedded bus one process has all roles and jobs; set RABBITMQ_URL, or leave --roles and --jobs out"
        );
    }
    let listener = listen(&settings).await?;
    let open = Open::new(&settings, &roles, "serve").await?;
    refuse_unmigrated(&settings, &open).await?;
    serve(settings, listener, open, &roles, HashMap::new(), |address, _| {
        tracing::info!(address, "listening");
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// A server that is not what this version works with stops the start. One that is away does not: it may come back.
async fn refuse_unmigrated(settings: &Arc<Settings>, open: &Open) -> anyhow::Result<()> {
    let encoder = open.parts().map_or_else(|| embedder::encoder(None), |parts| parts.encoder.clone());
    for finding in migrations::pending(settings, open.stores(), &encoder).await? {
        match finding.steps {
            Ok(steps) if steps.is_empty() => {}
            // What RabbitMQ lacks is declared when it is needed: a queue that somebody deleted must not keep a process down.
            Ok(steps) if finding.engine == "RabbitMQ" && steps.iter().all(|step| step.ends_with(" is missing")) => {
                tracing::warn!(
                    missing = migrations::in_short(&steps),
                    "RabbitMQ lacks what will be declared as needed"
                );
            }
            // A worker does not touch the index.
            Ok(_) if finding.engine == "Qdrant" && open.parts().is_none() => {}
            Ok(steps) => {
                bail!("{} is not migrated: {}; run `turnpike migrate`", finding.engine, migrations::in_short(&steps))
            }
            Err(reason) => {
                tracing::warn!(engine = finding.engine, reason, "a server is away; the service starts without it")
            }
        }
    }
    Ok(())
}

/// Binds the address before anything slow is done, so that a port that is taken is said at once.
pub(super) async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    limits::raise_open_files();
    let address = (settings.server.host, settings.server.port);
    TcpListener::bind(address).await.with_context(|| {
        format!("listening on {}:{}; is another process there? give another --port", address.0, address.1)
    })
}

/// Runs the service until the process is told to stop.
pub(super) async fn serve(
    settings: Arc<Settings>,
    listener: TcpListener,
    open: Open,
    roles: &Roles,
    questions: HashMap<CompanyId, Vec<String>>,
    ready: impl FnOnce(&str, &Settings),
) -> anyhow::Result<()> {
    let metrics = telemetry::metrics();
    let local = listener.local_addr()?;
    let address = format!("http://{local}");
    // What listens on all addresses does not know which of them others can reach.
    let own = (!local.ip().is_unspecified()).then(|| address.clone());
    let url = settings.server.advertise_url.clone().or(own);
    let shutdown = CancellationToken::new();
    let service = Service::start(Arc::clone(&settings), open, roles, url).await?;
    watch_signals(shutdown.clone())?;
    if settings.auth.mode == AuthMode::Open {
        tracing::warn!("auth.mode is \"open\": whoever reaches this address reads every company's data");
    }
    ready(&address, &settings);
    service.serve(listener, metrics, questions, shutdown).await
}

/// SIGTERM and SIGINT stop the service in order; a second one at once.
fn watch_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tasks::spawn("signals", async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                tracing::info!("stopping: streams may end first; a second signal stops at once");
                shutdown.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(())
}
