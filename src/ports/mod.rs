//! What the service needs of the outside, as traits. Bus, directory, index and store have a contract suite in
//! `tests/contract` that every adapter of theirs passes.

pub mod analytics;
pub mod bus;
pub mod cluster;
pub mod curator;
pub mod deliveries;
pub mod directory;
pub mod embedder;
pub mod erasure;
pub mod index;
pub mod ledger;
pub mod model;
pub mod operations;
pub mod outbox;
pub mod peer;
pub mod store;
pub mod upstream;
pub mod webhook;
