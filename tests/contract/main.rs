//! The contract suites of the ports, each run on every adapter.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod architecture;
mod bus;
mod directory;
mod index;
mod store;
