//! `turnpike serve`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Common;
use crate::config::{AuthMode, Settings};
use crate::domain::CompanyId;
use crate::roles::parts::Parts;
use crate::roles::service::Service;
use crate::runtime::{limits, tasks, telemetry};

#[derive(Args)]
pub(super) struct Arguments {
    /// What this process does: gateway, worker. With the embedded bus one process does both
    #[arg(long, value_delimiter = ',', default_value = "gateway,worker")]
    roles: Vec<String>,
    /// Address to listen on
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 takes any free one
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(common: Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    for role in &arguments.roles {
        if !["gateway", "worker"].contains(&role.as_str()) {
            bail!("there is no role {role:?}; write gateway, worker or both");
        }
    }
    if !["gateway", "worker"].iter().all(|role| arguments.roles.iter().any(|given| given == role)) {
        bail!("with the embedded bus one process has all roles; leave --roles out");
    }
    let mut flags = Vec::new();
    flags.extend(arguments.host.map(|host| ("server.host", host)));
    flags.extend(arguments.port.map(|port| ("server.port", port.to_string())));
    let settings = common.settings(&flags, None)?;
    let listener = listen(&settings).await?;
    let parts = Parts::open(&settings, "serve").await?;
    serve(settings, listener, parts, HashMap::new(), |address, _| {
        tracing::info!(address, "listening");
    })
    .await?;
    Ok(ExitCode::SUCCESS)
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
    parts: Parts,
    questions: HashMap<CompanyId, Vec<String>>,
    ready: impl FnOnce(&str, &Settings),
) -> anyhow::Result<()> {
    let metrics = telemetry::metrics();
    let address = format!("http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let service = Service::start(Arc::clone(&settings), parts).await?;
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
