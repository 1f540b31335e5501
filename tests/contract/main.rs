//! The contract suites of the ports, each run on every adapter.

#![allow(unreachable_pub, reason = "nothing uses a test crate from outside")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

mod analytics;
mod architecture;
mod bus;
mod cluster;
mod deliveries;
mod directory;
mod index;
mod leases;
mod ledger;
mod openapi;
mod services;
mod store;
