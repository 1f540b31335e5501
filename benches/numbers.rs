//! The numbers of the design, measured through the real binary on loopback and printed beside what each is compared
//! with and what it has to reach. `make bench` runs all of it; words after `--` choose parts: `token gaps spool start
//! frames relay storing publishing search deliveries broker`. `TURNPIKE_BENCH_QUICK=1` makes all counts small, to see
//! that every part works.
//!
//! Machines are noisy, so what is compared takes turns in short rounds, and what processor time can say is not said by
//! the clock.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on has failed, and its figures are far below 2^52"
)]

#[path = "numbers/broker.rs"]
mod broker;
#[path = "numbers/client.rs"]
mod client;
#[path = "numbers/deliveries.rs"]
mod deliveries;
#[path = "numbers/first_token.rs"]
mod first_token;
#[path = "numbers/frames.rs"]
mod frames;
#[path = "numbers/gaps.rs"]
mod gaps;
#[path = "numbers/knowledge.rs"]
mod knowledge;
#[path = "numbers/nginx.rs"]
mod nginx;
#[path = "numbers/proc.rs"]
mod proc;
#[path = "numbers/provider.rs"]
mod provider;
#[path = "numbers/publishing.rs"]
mod publishing;
#[path = "numbers/relay.rs"]
mod relay;
#[path = "numbers/remote_search.rs"]
mod remote_search;
#[path = "numbers/sites.rs"]
mod sites;
#[path = "numbers/spool.rs"]
mod spool;
#[path = "numbers/start.rs"]
mod start;
#[path = "numbers/storing.rs"]
mod storing;
#[path = "../tests/support/mod.rs"]
#[expect(unreachable_pub, reason = "it is written for test crates, where this is not asked")]
mod support;
#[path = "numbers/table.rs"]
mod table;

use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    quick: bool,
}

impl Effort {
    /// The first in a full run, the second in a quick one.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn main() {
    let effort = Effort { quick: std::env::var_os("TURNPIKE_BENCH_QUICK").is_some_and(|value| value != "0") };
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    if cfg!(debug_assertions) {
        println!("This is a debug build: what follows says that the parts work, and nothing about their speed.");
    }
    // A thousand streams are a thousand sockets of the client and as many of the provider, all in this process.
    turnpike::runtime::limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // A process of its own, so that its processor time is its own.
    if let Ok(order) = std::env::var(deliveries::BARE) {
        return runtime.block_on(deliveries::bare(&order));
    }
    let started = Instant::now();
    runtime.block_on(async {
        if is_chosen("token") {
            first_token::measure(effort).await;
        }
        if is_chosen("gaps") {
            gaps::measure(effort).await;
        }
        if is_chosen("spool") {
            spool::measure(effort).await;
        }
        if is_chosen("start") {
            start::measure(effort).await;
        }
        if is_chosen("frames") {
            frames::measure(effort).await;
        }
        if is_chosen("relay") {
            relay::measure(effort).await;
        }
        if is_chosen("storing") {
            storing::measure(effort).await;
        }
        if is_chosen("publishing") {
            publishing::measure(effort).await;
        }
        if is_chosen("search") {
            remote_search::measure(effort).await;
        }
        if is_chosen("deliveries") {
            deliveries::measure(effort).await;
        }
        if is_chosen("broker") {
            broker::measure(effort).await;
        }
    });
    println!("\nAll of it took {:.0} s.", started.elapsed().as_secs_f64());
}
