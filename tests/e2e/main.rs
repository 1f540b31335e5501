//! End to end: the real binary as a process, real faults, clients over real sockets.

#![allow(unreachable_pub, reason = "nothing uses a test crate from outside")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and one that is skipped says so"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod analytics;
mod cli;
mod cluster;
mod console;
mod crash;
mod crowd;
mod deliveries;
mod gateways;
mod limits;
mod moving;
mod openai;
mod openapi;
mod page;
mod providers;
mod receiver;
mod stream;
mod surfaces;
mod understanding;
mod verifying;
mod walls;
mod webhooks;
mod widget;
