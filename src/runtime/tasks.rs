//! Tasks with names. A bare `tokio::spawn` is banned in `clippy.toml`: a task that nobody named is one that nobody finds.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Runs a task under a name. A panic in it is logged and counted, and ends only the task.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<Option<T>> {
    let span = tracing::info_span!("task", task = name);
    tokio::spawn(async move {
        // The tasks share state only behind locks that do not poison and channels that close.
        let caught = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(task.instrument(span))).await;
        caught
            .inspect_err(|panic| {
                metrics::counter!("turnpike_task_panics_total", "task" => name).increment(1);
                let reason = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                tracing::error!(task = name, reason, "a task panicked");
            })
            .ok()
    })
}
